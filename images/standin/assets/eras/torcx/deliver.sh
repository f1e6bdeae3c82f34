#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Arguments: TREE [NAME=PATH]...; see ../README.md. Packs the vendor's Docker as an image for torcx
# and puts it into the store, under the version of its engine and under the name that the vendor's
# profile knows it by; what is not for torcx are extensions, and the OEM's.
set -eu
tree=$1
shift
store=$tree/usr/share/torcx/store
mkdir -p "$store" "$tree/etc/extensions" "$tree/oem/sysext"
for extension in "$@"; do
    name=${extension%%=*} path=${extension#*=}
    case $name in
    docker-torcx)
        # Paths in the image are without /usr, but for /usr/share.
        image=$tree/torcx-image
        mkdir -p "$image/usr" "$image/.torcx"
        cp -R -P "$path/usr/bin" "$path/usr/lib" "$image/"
        cp -R -P "$path/usr/share" "$image/usr/"
        mv "$image/usr/share/torcx/manifest.json" "$image/.torcx/manifest.json"
        rm -rf "$image/usr/share/torcx" "$image/lib/extension-release.d"
        version=$(sed -n 's/^docker\.io-\([0-9.]*\).*/\1/p' "${path}_packages.txt")
        # Not compressed: it is unpacked at each boot, by a processor that may be emulated.
        tar -C "$image" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -cf - . |
            chroot "$tree" pigz -0 -n > "$store/docker:$version.torcx.tgz"
        ln -s "docker:$version.torcx.tgz" "$store/docker:com.coreos.cl.torcx.tgz"
        rm -rf "$image"
        ;;
    oem-*)
        # Bound to no version until 3717.
        cp "$path" "$tree/oem/sysext/$name-initial.raw"
        touch "$tree/oem/sysext/active-$name"
        ;;
    esac
done
find "$store" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
chown -R 0:0 "$store" "$tree/oem"
