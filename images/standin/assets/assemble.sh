#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs as root, or as root of a user namespace, with these arguments:
#   BASE-ARCHIVE DIRECTORY ext2|btrfs [NAME=EXTENSION]...
# Makes in DIRECTORY the file systems that go to the disk, without loop devices or mounts: usr.img
# with its hash tree, root.img and oem.img, and the hash that /usr is verified by, root-hash.
set -eu
export LC_ALL=C.UTF-8
archive=$1 work=$2 usr_type=$3
shift 3
tree=$work/tree

# The tree belongs to users that only this namespace can remove.
trap 'rm -rf "$tree" "$work/root" "$work/oem"' EXIT
mkdir -p "$tree" "$work/root"
# Device nodes cannot be made in a user namespace, and the kernel makes them at boot.
tar -C "$tree" --exclude='./dev/*' --numeric-owner --preserve-permissions --xattrs --xattrs-include='*' -xf "$archive"
sh "$(dirname "$0")/deliver.sh" "$tree" "$@"

# --- what a production image has not ---
rm -rf "$tree/usr/share/loadgauge" "$tree/var/lib/dpkg" "$tree/var/lib/apt" "$tree/var/lib/ucf" "$tree"/var/lib/systemd/deb-systemd-* \
    "$tree/etc/apt" "$tree/etc/dpkg" "$tree"/etc/rc?.d "$tree/etc/init.d" "$tree/etc/runit" "$tree/var/log/runit" \
    "$tree/etc/sv" "$tree"/etc/*- "$tree/etc/.pwd.lock" "$tree"/etc/.resolv.conf.* "$tree/var/log/README"

# --- what is not in /usr is made from what is ---
share=$tree/usr/share
mkdir -p "$share/baselayout" "$share/skel"
cp -a "$tree/etc/skel/." "$share/skel/"
for database in passwd group shadow gshadow; do
    cp -a "$tree/etc/$database" "$share/baselayout/$database"
done
# Modes and owners of find are those of tmpfiles.d(5); the rules lie apart from those that the final
# system follows, which has its own for some of the paths. A file says when its directory was last
# brought up to /usr, so that systemd does not do it at first boot.
(
    cd "$tree"
    echo '# What the root file system has beside /usr.'
    find bin lib lib32 lib64 libx32 sbin -maxdepth 0 -type l -printf 'L /%p - - - - %l\n' 2>/dev/null || :
    echo 'd /etc 0755 0 0 -'
    echo 'd /.etc-work 0700 0 0 -'
    find home media mnt opt root srv tmp var -type d -printf 'd /%p %#m %U %G -\n'
    find var -type l -printf 'L /%p - - - - %l\n'
    echo 'f /var/.updated 0644 0 0 -'
    for file in "$share"/skel/.[!.]*; do
        echo "C /home/core/${file##*/} 0644 500 500 - /usr/share/skel/${file##*/}"
    done
) | LC_ALL=C sort > "$share/baselayout/root.conf"
rm -rf "$share/flatcar/etc"
mv "$tree/etc" "$share/flatcar/etc"
touch -r "$tree/usr" "$share/baselayout/root.conf" "$share/baselayout" "$share/skel"
if [ -e "$(dirname "$0")/finish.sh" ]; then
    sh "$(dirname "$0")/finish.sh" "$tree" "$work"
fi

# image NAME BYTES: an empty file, all zeros where nothing is written.
image() {
    rm -f "$work/$1"
    truncate -s "$2" "$work/$1"
}

# own PROGRAM ARGUMENT...: a program of the suite, for what the host's may be too old for.
own() {
    program=$(find "$tree/usr/sbin/$1" "$tree/usr/bin/$1" 2>/dev/null | head -n 1)
    shift
    libraries=$(dirname "$(find "$tree/usr/lib" -name 'libc.so.6' | head -n 1)")
    "$(find "$tree/usr/lib64/" "$tree/usr/lib" -maxdepth 2 -name 'ld-linux-*.so.*' | head -n 1)" \
        --library-path "$libraries" "$program" "$@"
}

# --- USR-A: 260094 blocks of data, and the hash tree behind them ---
usr_uuid=7130c94a-213a-4e5a-8e26-6cce9662f132
usr_bytes=1065345024
image usr.img "$usr_bytes"
case $usr_type in
ext2)
    mke2fs -q -F -t ext2 -b 4096 -I 256 -m 0 -E "hash_seed=$usr_uuid" -U "$usr_uuid" -L USR-A \
        -d "$tree/usr" "$work/usr.img" 260094
    ;;
btrfs)
    own mkfs.btrfs -q -U "$usr_uuid" -L USR-A -m single -d single --byte-count "$usr_bytes" --compress zstd:3 \
        --rootdir "$tree/usr" "$work/usr.img"
    ;;
esac
veritysetup format --hash=sha256 --data-block-size 4096 --hash-block-size 4096 --data-blocks 260094 \
    --hash-offset "$usr_bytes" --uuid "$usr_uuid" --salt "$(printf %s "$usr_uuid" | sha256sum | cut -c 1-64)" \
    "$work/usr.img" "$work/usr.img" | sed -n 's/^Root hash:[[:space:]]*//p' > "$work/root-hash"

# --- OEM ---
image oem.img "$OEM_BYTES"
mv "$tree/oem" "$work/oem"
mkfs.btrfs -q -U 5d1ffa3c-1c3e-4b6f-9a6b-0d2f3a7c1e06 -L OEM -M -m single -d single \
    --rootdir "$work/oem" "$work/oem.img"

# --- ROOT ---
image root.img "$ROOT_BYTES"
mkdir "$work/root/boot" "$work/root/usr" "$work/root/oem"
touch -d "@$SOURCE_DATE_EPOCH" "$work/root/boot" "$work/root/usr" "$work/root/oem" "$work/root"
# The guest need not clear inode tables where the file is all zeros.
mke2fs -q -F -t ext4 -I 256 -E assume_storage_prezeroed=1,hash_seed=5d1ffa3c-1c3e-4b6f-9a6b-0d2f3a7c1e09 \
    -U 5d1ffa3c-1c3e-4b6f-9a6b-0d2f3a7c1e09 -L ROOT -d "$work/root" "$work/root.img"
