#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs inside the new root after the packages and the tree `root/` are in place.
# It makes the packages' defaults into Flatcar's.
set -eu
export LC_ALL=C.UTF-8

# --- users ---
groupadd --system --gid 500 core
groupadd --system --gid 233 docker
groupadd --system --gid 10500 wheel
useradd --uid 500 --gid core --comment 'Flatcar Admin' --create-home --home-dir /home/core --shell /bin/bash \
    --groups sudo,docker,wheel,systemd-journal core
chmod 0700 /home/core
chmod 0440 /etc/sudoers.d/core

# --- units ---
# Debian's own ways to start sshd stand in the way of the socket.
systemctl mask ssh.service ssh.socket systemd-firstboot.service
# Indexes over /usr that are complete as shipped; each boot with an extension would make them anew.
systemctl mask ldconfig.service systemd-hwdb-update.service systemd-journal-catalog-update.service
# Generators and units for what no machine of this kind has. Each generator is a process at boot and
# at each reload, each unit file is looked at, and both count where the processor is emulated.
for generator in debug gpt-auto hibernate-resume rc-local run ssh system-update sysv tpm2; do
    rm -f /usr/lib/systemd/system-generators/systemd-"$generator"-generator
done
cd /usr/lib/systemd/system
rm -rf autovt@* bluetooth* cryptdisks* dpkg-db-backup* e2scrub* factory-reset* fstrim* hibernate* hwclock* hybrid-sleep* \
    pam_namespace* printer* procps.service proc-sys-fs-binfmt_misc* quotaon* rc-local* runlevel* smartcard* sound* \
    ssh-access* storage-target-mode* sudo.service suspend* system-update* systemd-backlight* systemd-battery* \
    systemd-binfmt* systemd-boot* systemd-bsod* systemd-creds* systemd-growfs* systemd-hibernate* \
    systemd-hybrid* systemd-initctl* systemd-network-generator* systemd-pcr* systemd-pstore* \
    systemd-quotacheck* systemd-rfkill* systemd-storagetm* systemd-suspend* systemd-tpm2* systemd-udev-load* tpm2* \
    usb-gadget* x11-common* dracut-* initrd.target.wants
# Each of these costs a process at boot, for file systems and prompts that nothing here uses.
for wanted in sysinit.target.wants/dev-hugepages.mount sysinit.target.wants/dev-mqueue.mount \
    sysinit.target.wants/dracut-shutdown.service sysinit.target.wants/sys-fs-fuse-connections.mount \
    sysinit.target.wants/sys-kernel-config.mount sysinit.target.wants/sys-kernel-debug.mount \
    sysinit.target.wants/sys-kernel-tracing.mount sysinit.target.wants/systemd-ask-password-console.path \
    sysinit.target.wants/systemd-random-seed.service sysinit.target.wants/systemd-tmpfiles-setup-dev.service \
    multi-user.target.wants/systemd-ask-password-wall.path multi-user.target.wants/systemd-logind.service \
    getty.target.wants/getty-static.service sockets.target.wants/systemd-hostnamed.socket \
    sockets.target.wants/systemd-sysext.socket; do
    rm -f "$wanted"
done
sed -i 's/ systemd-networkd-persistent-storage\.service//' systemd-networkd.service
# The daemons of the base do without their confinement: building their system call filters takes
# longer than starting them. Units of extensions and of Ignition keep all of theirs.
for daemon in hostnamed journald localed logind networkd resolved timedated udevd; do
    sed -E -i '/^(SystemCall|Restrict|Protect|Private)[A-Za-z]*=|^(MemoryDenyWriteExecute|LockPersonality|IPAddressDeny)=/d' \
        systemd-$daemon.service
done
# No session is registered, so that a login starts neither logind nor a manager of the user's own.
sed -i '/pam_systemd\.so/d' /etc/pam.d/common-session
# Rules for hardware that is not there are read at each start of udevd and tried on each device.
cd /usr/lib/udev/rules.d
rm -f 50-firmware* 60-autosuspend* 60-cdrom* 60-dmi* 60-drm* 60-evdev* 60-fido* 60-infiniband* 60-input* 60-persistent-alsa* \
    60-persistent-input* 60-persistent-storage-mtd* 60-persistent-storage-tape* 60-persistent-v4l* 60-sensor* \
    64-btrfs-zoned* 64-ext4* 70-camera* 70-joystick* 70-memory* 70-mouse* 70-power-switch* 70-touchpad* 70-uaccess* \
    71-seat* 73-seat-late* 75-probe_mtd* 78-sound* 90-iocost* 96-e2scrub*
cd /

# Their presets and links are Debian's policy.
rm -rf /etc/systemd/system/*.wants /etc/systemd/system/sshd.service /etc/systemd/system/sshd@.service
rm -f /usr/lib/systemd/system-preset/90-systemd.preset
systemctl preset-all

# --- /etc and /var ---
mkdir -p /etc/extensions /opt /oem /boot /usr/share/flatcar/sysext /var/log/journal
rm -f /etc/ssh/ssh_host_* /etc/hostname /var/lib/dbus/machine-id
# Absent, so that the first boot is one to systemd too: it applies Ignition's presets.
rm -f /etc/machine-id
: > /etc/default/locale
# A host name that Ignition wrote must resolve without the network.
sed -i 's/^hosts:.*/hosts: files myhostname resolve [!UNAVAIL=return] dns/' /etc/nsswitch.conf
ln -sfn ../run/systemd/resolve/resolv.conf /etc/resolv.conf
: > /etc/fstab
