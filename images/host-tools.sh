#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the programs of the host that loadgauge needs and that are missing.
#
# Does nothing where nothing is missing. Exits with 3 where it cannot install: on another system than
# Debian and Ubuntu, or where a package would have to be removed for it.
set -eu

# Looked for in the directories for administrators as well, which a user's PATH leaves out.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

packages=
want() {
    case " $packages " in
    *" $1 "*) ;;
    *) packages="${packages:+$packages }$1" ;;
    esac
}

# program PACKAGE PROGRAM...: wants a package unless all programs are there.
program() {
    package=$1
    shift
    for name in "$@"; do
        command -v "$name" >/dev/null 2>&1 || {
            want "$package"
            return 0
        }
    done
}

# file PACKAGE FILE...: wants a package unless one of the files is there.
file() {
    package=$1
    shift
    for name in "$@"; do
        [ ! -e "$name" ] || return 0
    done
    want "$package"
}

# QEMU before version 9 lacks what warm starts need; it is asked only where it is cheap to know.
qemu_is_new_enough() {
    version=$(qemu-img --version 2>/dev/null | sed -n 's/^qemu-img version \([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge 9 ]
}

find_missing() {
    program qemu-system-x86 qemu-system-x86_64
    program qemu-utils qemu-img
    file seabios /usr/share/seabios/bios-256k.bin /usr/share/qemu/bios-256k.bin
    file ovmf /usr/share/OVMF/OVMF_CODE_4M.fd /usr/share/OVMF/OVMF_CODE.fd
    program mmdebstrap mmdebstrap
    program squashfs-tools mksquashfs unsquashfs
    program erofs-utils mkfs.erofs fsck.erofs
    program e2fsprogs mke2fs debugfs
    program btrfs-progs mkfs.btrfs btrfs
    program dosfstools mkfs.vfat
    program mtools mcopy mmd
    program fdisk sfdisk
    program uidmap newuidmap
    program grub-common grub-mkimage
    file grub-pc-bin /usr/lib/grub/i386-pc/boot.img
    program systemd-container systemd-dissect
    program pkg-config pkg-config
    program zstd zstd
    program gcc cc
    program make make
    file libssl-dev /usr/include/openssl/ssl.h
    file debian-archive-keyring /usr/share/keyrings/debian-archive-keyring.gpg \
        /usr/share/keyrings/debian-archive-keyring.pgp
}

system=
codename=
if [ -r /etc/os-release ]; then
    # shellcheck source=/dev/null
    system=$(. /etc/os-release && echo "${ID:-}")
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
fi

find_missing
backports=
if [ "$system" = debian ] && [ "$codename" = bookworm ] && ! qemu_is_new_enough; then
    # Both together: the newer emulator alone makes apt remove the tools that are older.
    backports=yes
    want qemu-system-x86
    want qemu-utils
fi
[ -n "$packages" ] || exit 0

case $system in
debian | ubuntu) ;;
*)
    echo "host-tools: this system is not Debian or Ubuntu; install what these Debian packages bring: $packages" >&2
    exit 3
    ;;
esac

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

source_list=/etc/apt/sources.list.d/loadgauge-backports.sources
if [ -n "$backports" ] && [ ! -e "$source_list" ]; then
    echo "host-tools: adding bookworm-backports in $source_list"
    as_root tee "$source_list" >/dev/null <<'SOURCES'
# QEMU 9 or newer, for loadgauge.
Types: deb
URIs: http://deb.debian.org/debian
Suites: bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
fi

echo "host-tools: installing $packages"
as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq

# install PACKAGE...: never at the price of another package.
install() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-install-recommends --no-remove "$@" || {
        echo "host-tools: apt could not install these without removing others, or at all: $packages" >&2
        echo "host-tools: see what it would do with: apt-get install --simulate $packages" >&2
        exit 3
    }
}
if [ -n "$backports" ]; then
    # shellcheck disable=SC2086 # a list of words
    install --target-release bookworm-backports qemu-system-x86 qemu-utils
fi
# shellcheck disable=SC2086 # a list of words
install $packages
