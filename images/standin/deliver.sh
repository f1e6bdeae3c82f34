#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs as root, or as root of a user namespace, with these arguments:
#   TREE [NAME=EXTENSION]...
# Puts the vendor's extensions into the tree that the disk is made from, and links them into its
# default /etc. TREE has the base's files and can be changed into with chroot; what is put into
# TREE/oem gets to the OEM partition.
set -eu
tree=$1
shift
mkdir -p "$tree/usr/share/flatcar/sysext" "$tree/etc/extensions"
for extension in "$@"; do
    name=${extension%%=*}
    cp "${extension#*=}" "$tree/usr/share/flatcar/sysext/$name.raw"
    chown 0:0 "$tree/usr/share/flatcar/sysext/$name.raw"
    chmod 0644 "$tree/usr/share/flatcar/sysext/$name.raw"
    ln -s "/usr/share/flatcar/sysext/$name.raw" "$tree/etc/extensions/$name.raw"
done
