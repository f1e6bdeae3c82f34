#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs inside the new root after the packages and the tree `root/` are in place.
# It makes the packages' defaults into Flatcar's, builds the initrd, and takes off what only the
# building needed.
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
for generator in hibernate-resume rc-local run ssh system-update sysv tpm2; do
    rm -f /usr/lib/systemd/system-generators/systemd-"$generator"-generator
done
cd /usr/lib/systemd/system
rm -rf autovt@* bluetooth* cryptdisks* dpkg-db-backup* e2scrub* factory-reset* fstrim* hibernate* hwclock* hybrid-sleep* \
    pam_namespace* printer* procps.service proc-sys-fs-binfmt_misc* quotaon* rc-local* runlevel* smartcard* sound* \
    ssh-access* storage-target-mode* sudo.service suspend* system-update* systemd-backlight* systemd-battery* \
    systemd-binfmt* systemd-boot* systemd-bsod* systemd-creds* systemd-growfs* systemd-hibernate* \
    systemd-hybrid* systemd-initctl* systemd-network-generator* systemd-pcr* systemd-pstore* \
    systemd-quotacheck* systemd-rfkill* systemd-storagetm* systemd-suspend* systemd-tpm2* systemd-udev-load* tpm2* \
    usb-gadget* x11-common*
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

# --- the initrd ---
version=$(ls /usr/lib/modules)
dracut --force --no-hostonly --no-hostonly-cmdline --no-hostonly-default-device --no-early-microcode \
    --reproducible --no-machineid --modules standin --kver "$version" --compress "zstd -3" /boot/initrd
cp /boot/vmlinuz-"$version" /boot/vmlinuz
# Its packages stay in the database: a base that misses what its kernel package needs is one that
# apt refuses to resolve anything against.
rm -rf /boot/*-"$version" /vmlinuz* /initrd.img* /usr/lib/dracut /etc/dracut* /etc/kernel

# --- what nobody reads ---
rm -rf /var/cache/* /var/log/*.log /var/log/apt /var/lib/apt /usr/share/doc/* /usr/share/man/* /usr/share/locale/* \
    /usr/share/lintian /usr/share/bash-completion /etc/dpkg/dpkg.cfg.d/99mmdebstrap
# What was made last is newer than /usr, so that no unit with ConditionNeedsUpdate= runs at first boot.
touch /etc/.updated /var/.updated
