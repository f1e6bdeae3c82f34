#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs as root, or as root of a user namespace, with these arguments:
#   TREE [NAME=EXTENSION]...
# Puts the vendor's extensions into the tree that the disk is made from, and links them into its
# default /etc; the OEM's goes to OEM, and its link is made by the initrd. TREE has the base's files
# and can be changed into with chroot; what is put into TREE/oem gets to the OEM partition.
set -eu
tree=$1
shift
shared=$tree/usr/share/flatcar/sysext
mkdir -p "$shared" "$tree/etc/extensions" "$tree/oem/sysext"
for extension in "$@"; do
    name=${extension%%=*} path=${extension#*=}
    case $name in
    oem-*)
        # A bound extension: it is replaced together with /usr.
        cp "$path" "$tree/oem/sysext/$name-@VERSION@.raw"
        touch "$tree/oem/sysext/active-$name"
        ;;
    *)
        cp "$path" "$shared/$name.raw"
        ln -s "/usr/share/flatcar/sysext/$name.raw" "$tree/etc/extensions/$name.raw"
        ;;
    esac
    # What signed extensions are verified by lies beside them.
    if [ -e "${path%/*}/sysexts.crt" ]; then
        mkdir -p "$tree/usr/lib/verity.d"
        cp "${path%/*}/sysexts.crt" "$tree/usr/lib/verity.d/sysexts.crt"
    fi
done
for directory in "$shared" "$tree/oem/sysext" "$tree/usr/lib/verity.d"; do
    [ -d "$directory" ] || continue
    chown -R 0:0 "$directory"
    chmod -R u=rwX,go=rX "$directory"
done
