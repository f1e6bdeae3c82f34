# Runs as root, or as root of a user namespace, with these arguments:
#   DISK ROOT-ARCHIVE SCRATCH USR-OFFSET USR-KIBIBYTES ROOT-OFFSET ROOT-KIBIBYTES [NAME=EXTENSION]...
# Makes the file systems USR-A and ROOT inside the disk file, without loop devices or mounts.
set -eu
export LC_ALL=C.UTF-8
disk=$1 archive=$2 tree=$3 usr_offset=$4 usr_size=$5 root_offset=$6 root_size=$7
shift 7

# The tree belongs to users that only this namespace can remove.
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree"
tar -C "$tree" --numeric-owner --preserve-permissions --xattrs --xattrs-include='*' -xf "$archive"

mkdir -p "$tree/usr/share/flatcar/sysext" "$tree/etc/extensions"
for extension in "$@"; do
    name=${extension%%=*}
    cp "${extension#*=}" "$tree/usr/share/flatcar/sysext/$name.raw"
    chown 0:0 "$tree/usr/share/flatcar/sysext/$name.raw"
    chmod 0644 "$tree/usr/share/flatcar/sysext/$name.raw"
    ln -s "/usr/share/flatcar/sysext/$name.raw" "$tree/etc/extensions/$name.raw"
done

# The disk file is all zeros where nothing was written: the guest need not clear inode tables.
make() {
    mke2fs -q -F -t ext4 -E "offset=$3,assume_storage_prezeroed=1,hash_seed=$5" -U "$5" -L "$1" -d "$2" $6 \
        "$disk" "$4k"
}
mv "$tree/usr" "$tree.usr"
trap 'rm -rf "$tree" "$tree.usr"' EXIT
mkdir "$tree/usr"
make USR-A "$tree.usr" "$usr_offset" "$usr_size" 7130c94a-213a-4e5a-8e26-6cce9662f132 "-O ^has_journal -m 0"
make ROOT "$tree" "$root_offset" "$root_size" 5d1ffa3c-1c3e-4b6f-9a6b-0d2f3a7c1e09 ""
