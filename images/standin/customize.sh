#!/bin/sh
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
# Their presets and links are Debian's policy.
rm -rf /etc/systemd/system/*.wants /etc/systemd/system/sshd.service /etc/systemd/system/sshd@.service
rm -f /usr/lib/systemd/system-preset/90-systemd.preset
systemctl preset-all
# Generators for what no machine of this kind has; each costs a process at boot and at each reload.
for generator in hibernate-resume rc-local ssh system-update sysv tpm2; do
    rm -f /usr/lib/systemd/system-generators/systemd-"$generator"-generator
done

# --- /etc and /var ---
mkdir -p /etc/extensions /opt /oem /boot /usr/share/flatcar/sysext /var/log/journal
rm -f /etc/ssh/ssh_host_* /etc/hostname /var/lib/dbus/machine-id
: > /etc/machine-id
: > /etc/default/locale
# A host name that Ignition wrote must resolve without the network.
sed -i 's/^hosts:.*/hosts: files myhostname resolve [!UNAVAIL=return] dns/' /etc/nsswitch.conf
ln -sfn ../run/systemd/resolve/resolv.conf /etc/resolv.conf
: > /etc/fstab

# --- the initrd ---
version=$(ls /usr/lib/modules)
dracut --force --no-hostonly --no-hostonly-cmdline --no-hostonly-default-device --no-early-microcode \
    --reproducible --no-machineid --modules standin --kver "$version" --zstd /boot/initrd
cp /boot/vmlinuz-"$version" /boot/vmlinuz
dpkg --purge --force-depends dracut dracut-core dracut-network ignition >/dev/null
rm -rf /boot/*-"$version" /vmlinuz* /initrd.img* /usr/lib/dracut /etc/dracut* /etc/kernel

# --- what nobody reads ---
rm -rf /var/cache/* /var/log/*.log /var/log/apt /var/lib/apt /usr/share/doc/* /usr/share/man/* /usr/share/locale/* \
    /usr/share/lintian /usr/share/bash-completion /etc/dpkg/dpkg.cfg.d/99mmdebstrap
# What was made last is newer than /usr, so that no unit with ConditionNeedsUpdate= runs at first boot.
touch /etc/.updated /var/.updated
