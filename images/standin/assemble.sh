#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs as root, or as root of a user namespace, with these arguments:
#   DISK ROOT-ARCHIVE SCRATCH USR-OFFSET USR-KIBIBYTES ROOT-OFFSET ROOT-KIBIBYTES [NAME=EXTENSION]...
# Makes the file systems USR-A and ROOT inside the disk file, without loop devices or mounts.
set -eu
export LC_ALL=C.UTF-8
disk=$1 archive=$2 tree=$3 usr_offset=$4 usr_size=$5 root_offset=$6 root_size=$7
shift 7

# The tree belongs to users that only this namespace can remove.
trap 'rm -rf "$tree" "$tree.usr"' EXIT
mkdir -p "$tree"
# Device nodes cannot be made in a user namespace, and the kernel makes them at boot.
tar -C "$tree" --exclude='./dev/*' --numeric-owner --preserve-permissions --xattrs --xattrs-include='*' -xf "$archive"

sh "$(dirname "$0")/deliver.sh" "$tree" "$@"

# make LABEL DIRECTORY OFFSET KIBIBYTES UUID [OPTION]...
# The disk file is all zeros where nothing was written: the guest need not clear inode tables.
make() {
    label=$1 directory=$2 offset=$3 size=$4 uuid=$5
    shift 5
    mke2fs -q -F -t ext4 -E "offset=$offset,assume_storage_prezeroed=1,hash_seed=$uuid" -U "$uuid" \
        -L "$label" -d "$directory" "$@" "$disk" "${size}k"
}
mv "$tree/usr" "$tree.usr"
mkdir "$tree/usr"
make USR-A "$tree.usr" "$usr_offset" "$usr_size" 7130c94a-213a-4e5a-8e26-6cce9662f132 -O ^has_journal -m 0
make ROOT "$tree" "$root_offset" "$root_size" 5d1ffa3c-1c3e-4b6f-9a6b-0d2f3a7c1e09
