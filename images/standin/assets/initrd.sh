#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs inside the new root after customize.sh and that of the era: builds the initrd and takes off
# what only the building needed.
set -eu
export LC_ALL=C.UTF-8

# --- the initrd ---
version=$(ls /usr/lib/modules)
modules=standin
[ ! -d /usr/lib/dracut/modules.d/51era ] || modules="standin era"
dracut --force --no-hostonly --no-hostonly-cmdline --no-hostonly-default-device --no-early-microcode \
    --reproducible --no-machineid --modules "$modules" --kver "$version" --compress "zstd -3" /boot/initrd
cp /boot/vmlinuz-"$version" /boot/vmlinuz
# Its packages stay in the database: a base that misses what its kernel package needs is one that
# apt refuses to resolve anything against.
rm -rf /boot/*-"$version" /vmlinuz* /initrd.img* /usr/lib/dracut /etc/dracut* /etc/kernel

# --- what nobody reads ---
rm -rf /var/cache/* /var/log/*.log /var/log/apt /var/lib/apt /usr/share/doc/* /usr/share/man/* /usr/share/locale/* \
    /usr/share/lintian /usr/share/bash-completion /etc/dpkg/dpkg.cfg.d/99mmdebstrap
# What was made last is newer than /usr, so that no unit with ConditionNeedsUpdate= runs at first boot.
touch /etc/.updated /var/.updated
