#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Arguments: TREE WORK; see ../README.md. Makes the default /etc into the configuration extension
# 00-flatcar-default: a disk image of its own with a hash tree and a signature (Discoverable Disk
# Image specification), by a key that is thrown away.
set -eu
tree=$1 work=$2/confext
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/tree" "$tree/usr/lib/confexts" "$tree/usr/lib/verity.d"
cp -a "$tree/usr/share/flatcar/etc" "$work/tree/etc"
mkdir "$work/tree/etc/extension-release.d"
echo ID=_any > "$work/tree/etc/extension-release.d/extension-release.00-flatcar-default"
find "$work/tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

# --- data and hash tree ---
uuid=cc56d2cd-5fcb-4f5e-9a37-1c6e3f2d8a01
mkfs.erofs --quiet -T "$SOURCE_DATE_EPOCH" -U "$uuid" "$work/data" "$work/tree"
veritysetup format --uuid "$uuid" --salt "$(printf %s "$uuid" | sha256sum | cut -c 1-64)" "$work/data" "$work/hash" |
    sed -n 's/^Root hash:[[:space:]]*//p' > "$work/root-hash"
hash=$(cat "$work/root-hash")

# --- signature ---
openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days 36500 -subj /CN=confext \
    -keyout "$work/key" -out "$work/confext.crt" 2>/dev/null
cp "$work/confext.crt" "$tree/usr/lib/verity.d/confext.crt"
chmod 0644 "$tree/usr/lib/verity.d/confext.crt"
printf %s "$hash" > "$work/signed"
openssl smime -sign -nocerts -noattr -binary -in "$work/signed" -inkey "$work/key" -signer "$work/confext.crt" \
    -outform der -out "$work/pkcs7"
fingerprint=$(openssl x509 -in "$work/confext.crt" -outform der | sha256sum | cut -c 1-64)
printf '{"rootHash":"%s","certificateFingerprint":"%s","signature":"%s"}' \
    "$hash" "$fingerprint" "$(base64 -w 0 "$work/pkcs7")" > "$work/signature"
truncate -s 16384 "$work/signature"

# --- the disk: the partitions that belong together are told by their identities ---
uuid_of() {
    printf %s "$1" | sed -E 's/(.{8})(.{4})(.{4})(.{4})(.{12})/\1-\2-\3-\4-\5/'
}
sectors() {
    # Whole blocks of 4096 bytes.
    truncate -s %4096 "$work/$1"
    echo $(($(stat -c %s "$work/$1") / 512))
}
image=$tree/usr/lib/confexts/00-flatcar-default.raw
data=$(sectors data) hashes=$(sectors hash) signature=$(sectors signature)
truncate -s $(((2048 + data + hashes + signature + 40) * 512)) "$image"
sfdisk --quiet "$image" <<TABLE
label: gpt
label-id: $uuid
first-lba: 2048
start=2048, size=$data, type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709, name=root, attrs="GUID:60", uuid=$(uuid_of "$(printf %s "$hash" | cut -c 1-32)")
start=$((2048 + data)), size=$hashes, type=2c7357ed-ebd2-46d9-aec1-23d437ec2bf5, name=root-verity, attrs="GUID:60", uuid=$(uuid_of "$(printf %s "$hash" | cut -c 33-64)")
start=$((2048 + data + hashes)), size=$signature, type=41092b05-9fc8-4523-994f-2def0408b176, name=root-verity-sig, attrs="GUID:60", uuid=$uuid
TABLE
write() {
    dd if="$work/$1" of="$image" bs=4096 seek=$(($2 / 8)) conv=notrunc status=none
}
write data 2048
write hash $((2048 + data))
write signature $((2048 + data + hashes))
chmod 0644 "$image"
touch -d "@$SOURCE_DATE_EPOCH" "$image" "$tree/usr/lib/confexts" "$tree/usr/lib/verity.d/confext.crt"
