#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# in-root.sh PORTAGE WORK COMMAND...: runs a command in its own root directory with the fixed paths that
# Portage uses: /etc/portage, /share and /var/db/pkg. The host is not changed, and root privileges are not
# needed.
#
# PORTAGE is the directory that fetch-portage.sh made. WORK is mounted writable under its own path; it
# contains `etc-portage`, and `var`, which becomes /var.
set -eu

if [ "${LOADGAUGE_IN_ROOT-}" != yes ]; then
    LOADGAUGE_IN_ROOT=yes exec unshare --user --map-root-user --mount --pid --fork --mount-proc "$0" "$@"
fi

here=$(cd "$(dirname "$0")" && pwd)
portage=$1
work=$2
shift 2

root=$work/root
mkdir -p "$root" "$work/var/db" "$work/var/tmp" "$work/var/log" "$work/var/lib/portage" "$work/var/cache/edb" "$work/etc-portage"
[ -L "$work/var/db/pkg" ] || mkdir -p "$work/var/db/pkg"
mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir "$root/etc" "$root/var" "$root/tmp" "$root/proc" "$root/dev" "$root/usr"
for link in bin sbin lib lib64; do
    [ ! -L "/$link" ] || cp -P "/$link" "$root/$link"
done
mount --rbind /usr "$root/usr"
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
mount --bind "$work/var" "$root/var"
mount --bind "$work/var/tmp" "$root/tmp"
# bind DIRECTORY: mounts it under its own path, and hides earlier mounts below it.
bind() {
    mkdir -p "$root$1"
    mount --rbind "$1" "$root$1"
}
bind "$portage"
bind "$here"
bind "$work"
# The Python interpreter may be outside /usr.
python=$(readlink -f "$portage/bin/python3")
case $python in
/usr/*) ;;
*) bind "$(dirname "$(dirname "$python")")" ;;
esac
for file in ld.so.cache ld.so.conf nsswitch.conf localtime alternatives; do
    [ ! -e "/etc/$file" ] || cp -rL "/etc/$file" "$root/etc/" 2>/dev/null || true
done
echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
echo 'root:x:0:root' >"$root/etc/group"
ln -s "$work/etc-portage" "$root/etc/portage"
ln -s "$portage/share" "$root/share"

export PATH="$portage/bin:/usr/bin:/usr/sbin:/bin:/sbin"
# All files belong to root: the namespace has no other user.
export PORTAGE_USERNAME=root PORTAGE_GRPNAME=root
export PORTAGE_OVERRIDE_EPREFIX='' HOME=/tmp TMPDIR=/tmp LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=yes
# Instead of Portage's default list, which has Gentoo's repository.
PORTAGE_REPOSITORIES=$(cat "$work/etc-portage/repos.conf")
export PORTAGE_REPOSITORIES
# shellcheck disable=SC2016 # for the inner shell
exec chroot "$root" sh -c 'cd "$0" && exec "$@"' "$work" "$@"
