#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the programs of the host that loadgauge needs and that are missing; with `--test` those
# that only its tests ask as well.
#
# Does nothing where nothing is missing. Exits with 3 where it cannot install: on another system than
# Debian and Ubuntu, or where a package would have to be removed for it.
set -eu

tests=
case ${1-} in
'') ;;
--test) tests=yes ;;
*)
    echo "usage: $0 [--test]" >&2
    exit 2
    ;;
esac

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

# either PACKAGE FILE...: wants a package unless one of the files is there. (Not `file`: that is a program.)
either() {
    package=$1
    shift
    for name in "$@"; do
        [ ! -e "$name" ] || return 0
    done
    want "$package"
}

# QEMU before version 9 lacks what warm starts need. The tools tell the version faster than the
# emulator, and are of the same.
qemu_is_new_enough() {
    command -v qemu-system-x86_64 >/dev/null 2>&1 || return 1
    version=$(qemu-img --version 2>/dev/null | sed -n 's/^qemu-img version \([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge 9 ]
}

find_missing() {
    program qemu-system-x86 qemu-system-x86_64
    program qemu-utils qemu-img
    either seabios /usr/share/seabios/bios-256k.bin /usr/share/qemu/bios-256k.bin
    either ovmf /usr/share/OVMF/OVMF_CODE_4M.fd /usr/share/OVMF/OVMF_CODE.fd
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
    either grub-pc-bin /usr/lib/grub/i386-pc/boot.img
    either grub-efi-amd64-bin /usr/lib/grub/x86_64-efi/modinfo.sh
    program cryptsetup-bin veritysetup
    program systemd-container systemd-dissect
    program swtpm swtpm
    program pkg-config pkg-config
    program openssl openssl
    program zstd zstd
    program gcc cc
    either libc6-dev /usr/include/stdio.h
    program make make
    either libssl-dev /usr/include/openssl/ssl.h
    either libzstd-dev /usr/include/zstd.h
    either liblzma-dev /usr/include/lzma.h
    either debian-archive-keyring /usr/share/keyrings/debian-archive-keyring.gpg \
        /usr/share/keyrings/debian-archive-keyring.pgp
}

# What tests compare with, and the real servers and archives that they make.
find_missing_of_tests() {
    program cryptsetup-bin veritysetup
    program file file
    program openssh-server sshd
    program openssh-client ssh-keygen
    program binutils readelf
    program gpg gpg
    program gpg-agent gpg-agent
    program gpgconf gpgconf
    program dpkg dpkg-deb
    program diffutils diff
    program util-linux setpriv unshare
    program shellcheck shellcheck
    # A real Portage, and what it calls.
    program python3 python3
    python3 -c "import ensurepip, venv" >/dev/null 2>&1 || want python3-venv
    program bzip2 bzip2
    program pax-utils scanelf
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
[ -z "$tests" ] || find_missing_of_tests
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

if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null 2>&1; then
    echo "host-tools: without sudo, ask an administrator for: apt-get install $packages" >&2
    exit 3
fi

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# The same suite in two places may name two keys, which apt refuses.
has_backports() {
    grep -rqs '^[^#]*bookworm-backports' /etc/apt/sources.list /etc/apt/sources.list.d
}

source_list=/etc/apt/sources.list.d/loadgauge-backports.sources
if [ -n "$backports" ] && ! has_backports; then
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
as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq || {
    echo "host-tools: apt cannot read its archives; what is missing: $packages" >&2
    exit 3
}

# install PACKAGE...: never at the price of another package.
install() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-install-recommends --no-remove "$@" || {
        echo "host-tools: apt could not install these without removing others, or at all: $packages" >&2
        echo "host-tools: see what it would do with: apt-get install --simulate $packages" >&2
        exit 3
    }
}

# Tests start an sshd of their own. A server that listens to the world is nothing they may leave
# behind: a unit that is masked is neither enabled nor started by its package.
case " $packages " in
*" openssh-server "*)
    for unit in ssh.service ssh.socket; do
        [ -e "/etc/systemd/system/$unit" ] || [ -L "/etc/systemd/system/$unit" ] || {
            echo "host-tools: masking $unit; if you want it: systemctl unmask $unit"
            as_root mkdir -p /etc/systemd/system
            as_root ln -s /dev/null "/etc/systemd/system/$unit"
        }
    done
    ;;
esac

if [ -n "$backports" ]; then
    # shellcheck disable=SC2086 # a list of words
    install --target-release bookworm-backports qemu-system-x86 qemu-utils
fi
# shellcheck disable=SC2086 # a list of words
install $packages
