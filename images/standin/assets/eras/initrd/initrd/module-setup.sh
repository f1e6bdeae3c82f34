#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# dracut's interface. Puts into the initrd what merges the extensions of the final system.

check() {
    return 255
}

depends() {
    echo standin
}

installkernel() {
    hostonly='' instmods loop erofs squashfs
}

install() {
    inst_multiple systemd-sysext systemd-confext
    # What systemd loads when it needs it.
    inst_libdir_file 'libblkid.so.*' 'libcrypto.so.*' 'libcryptsetup.so.*' 'libmount.so.*'
    inst_simple "$moddir/initrd-sysext.service" "$systemdsystemunitdir/initrd-sysext.service"
    mkdir -p "$initdir$systemdsystemunitdir/initrd.target.requires"
    ln -sf ../initrd-sysext.service "$initdir$systemdsystemunitdir/initrd.target.requires/initrd-sysext.service"
}
