#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# dracut's interface: check, depends, install and installkernel are called by it.
# Puts into the initrd, as Flatcar has them, what verifies /usr and makes the root file system, and
# Ignition, each with what it needs and no more: Debian's own module (30ignition) would bring in a
# network that runs on each boot.

check() {
    return 255
}

depends() {
    echo dash systemd-initrd systemd-udevd systemd-sysusers
}

installkernel() {
    hostonly='' instmods virtio_pci virtio_blk virtio_net virtio_rng qemu_fw_cfg vfat nls_cp437 nls_ascii \
        nls_iso8859-1 af_packet dm_mod dm_verity btrfs ext4 overlay
}

install() {
    local ignition=$moddir/../30ignition unit target
    inst_simple "$ignition/ignition" /usr/bin/ignition
    for unit in complete diskful subsequent diskful-subsequent; do
        inst_simple "$ignition/ignition-$unit.target" "$systemdsystemunitdir/ignition-$unit.target"
    done
    for unit in fetch-offline fetch kargs disks mount files; do
        inst_simple "$ignition/ignition-$unit.service" "$systemdsystemunitdir/ignition-$unit.service"
        standin_require "ignition-$unit.service" ignition-complete.target
    done
    inst_script "$moddir/ignition-kargs-helper" /usr/sbin/ignition-kargs-helper

    inst_script "$moddir/boot-generator" "$systemdutildir/system-generators/boot-generator"
    for unit in ignition-setup ignition-network ignition-quench; do
        inst_script "$moddir/$unit" "/usr/sbin/$unit"
        inst_simple "$moddir/$unit.service" "$systemdsystemunitdir/$unit.service"
        standin_require "$unit.service" ignition-complete.target
    done
    inst_simple "$moddir/verity-setup.service" "$systemdsystemunitdir/verity-setup.service"
    inst_multiple veritysetup dmsetup
    inst_rules 55-dm.rules 60-persistent-storage-dm.rules 64-btrfs.rules 95-dm-notify.rules
    inst_simple "$moddir/verity.rules" /usr/lib/udev/rules.d/11-verity.rules

    inst_simple "$moddir/oem.mount" "$systemdsystemunitdir/oem.mount"
    for unit in initrd-setup-root initrd-setup-root-after-ignition; do
        inst_script "$moddir/$unit" "/usr/sbin/$unit"
        inst_simple "$moddir/$unit.service" "$systemdsystemunitdir/$unit.service"
        standin_require "$unit.service" initrd.target
    done
    mkdir -p "$initdir/oem"

    inst_simple "$moddir/ignition-console.service" "$systemdsystemunitdir/ignition-console.service"
    inst_simple "$moddir/after-usr.conf" "$systemdsystemunitdir/ignition-files.service.d/after-usr.conf"

    for unit in kargs disks mount; do
        inst_simple "$moddir/only-if-needed.conf" \
            "$systemdsystemunitdir/ignition-$unit.service.d/only-if-needed.conf"
    done
    inst_simple "$moddir/go.conf" "$systemdsystemunitdir/ignition-.service.d/go.conf"
    inst_script "$moddir/ignition-needs" /usr/sbin/ignition-needs

    # Nothing in this initrd needs more than the disk, and the network's driver loads itself.
    inst_simple "$moddir/disk-only.conf" "$systemdsystemunitdir/systemd-udev-trigger.service.d/disk-only.conf"
    for unit in kmod-static-nodes systemd-modules-load systemd-sysctl systemd-tmpfiles-setup \
        systemd-tmpfiles-setup-dev systemd-tmpfiles-setup-dev-early; do
        rm -f "$initdir$systemdsystemunitdir/sysinit.target.wants/$unit.service"
    done

    inst_script "$moddir/emergency-shell" /usr/sbin/emergency-shell
    inst_simple "$moddir/emergency.service" "$systemdsystemunitdir/emergency.service"
    inst_simple /usr/lib/systemd/system/emergency.target

    # Ignition's user configuration: /usr is read-only to services, /run is not.
    mkdir -p "$initdir/usr/lib"
    ln -sfn /run/ignition-user "$initdir/usr/lib/ignition"
    # It relabels for SELinux after each stage and there is no switch.
    inst_script "$moddir/setfiles" /usr/sbin/setfiles

    inst_multiple cat cp grep journalctl ln lsblk ls mkdir mount mountpoint rm sed sleep sulogin systemctl \
        systemd-tmpfiles umount ip modprobe groupadd groupdel mkfs.btrfs mkfs.ext4 mkfs.fat mkswap sgdisk useradd userdel usermod wipefs \
        systemd-detect-virt -o
    inst_multiple -o "$systemdutildir"/systemd-networkd "$systemdutildir"/systemd-networkd-wait-online \
        "$systemdsystemunitdir"/systemd-networkd.service "$systemdsystemunitdir"/systemd-networkd.socket \
        "$systemdnetwork"/99-default.link /usr/lib/systemd/network/zz-default.network
    inst_sysusers systemd-network.conf
    inst_simple /etc/ssl/certs/ca-certificates.crt

    ln_r "$systemdsystemunitdir/initrd.target" "$systemdsystemunitdir/default.target"
    mkdir -p "$initdir/etc"
    grep -v '^PRETTY_NAME=' /usr/lib/os-release > "$initdir/usr/lib/initrd-release"
    echo 'PRETTY_NAME="loadgauge stand-in (initrd)"' >> "$initdir/usr/lib/initrd-release"
    ln -sf ../usr/lib/initrd-release "$initdir/etc/initrd-release"
    ln -sf initrd-release "$initdir/usr/lib/os-release"
    ln -sf ../usr/lib/initrd-release "$initdir/etc/os-release"
}

standin_require() {
    mkdir -p "$initdir$systemdsystemunitdir/$2.requires"
    ln_r "$systemdsystemunitdir/$1" "$systemdsystemunitdir/$2.requires/$1"
}
