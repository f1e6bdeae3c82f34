#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Unpacks Debian's package `ignition` into a directory, for the test `oracle` to compare with.
# It is not installed: its dependencies would bring dracut onto the host.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 DIRECTORY" >&2
    exit 2
fi
directory=$1
binary=$directory/usr/bin/ignition-validate

if [ -x "$binary" ]; then
    echo "already there: $binary" >&2
else
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        echo "$0: needs apt-get and dpkg-deb; elsewhere, put an ignition-validate (2.14 or later) on PATH" >&2
        exit 3
    fi
    mkdir -p "$directory"
    # Unpacked beside the directory and moved at the end, so that an interruption leaves nothing half-made.
    scratch=$(mktemp -d "$directory/fetch.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    # apt downloads as the user _apt when it can.
    chmod 755 "$scratch"
    echo "downloading the package ignition" >&2
    (cd "$scratch" && apt-get download -q ignition >&2)
    echo "unpacking it into $directory" >&2
    dpkg-deb -x "$scratch"/ignition_*.deb "$scratch/root"
    rm -rf "${directory:?}/usr"
    mv "$scratch/root/usr" "$directory/usr"
fi

"$binary" -version >&2
echo "LOADGAUGE_IGNITION_VALIDATE=$binary"
