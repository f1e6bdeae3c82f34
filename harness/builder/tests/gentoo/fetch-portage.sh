#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs Gentoo's Portage into a directory, as an oracle for the tests of Gentoo packages. It is a
# Python package in its own virtual environment; the host is not changed.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 DIRECTORY" >&2
    exit 2
fi
directory=$1
version=3.0.83

if [ -x "$directory/bin/emerge" ] && [ -e "$directory/portage-$version" ]; then
    echo "already installed: $directory/bin/emerge" >&2
else
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        echo "$0: needs python3 with venv (Debian's package python3-venv)" >&2
        exit 3
    fi
    rm -rf "$directory"
    mkdir -p "$directory"
    echo "installing portage $version" >&2
    # The installed files contain absolute paths, so the directory cannot be moved later.
    python3 -m venv "$directory"
    "$directory/bin/pip" install --quiet --disable-pip-version-check "portage==$version"
    # Portage calls GNU tar by this name.
    ln -s "$(command -v tar)" "$directory/bin/gtar"
    # Last, so that an interrupted installation is repeated.
    touch "$directory/portage-$version"
fi

echo "LOADGAUGE_PORTAGE=$directory" >&2
