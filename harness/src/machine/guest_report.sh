#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs in the guest. Reports that the guest is up, and then serves requests of the harness:
#   hold NONCE    store a nonce in memory only, before a snapshot is made
#   wake TIME ENTROPY AUTHORIZED HOST PUBLIC
#                 after a snapshot was restored: set the clock, add entropy, and replace the key that may log
#                 in and the host key
#   links NUMBER  report the states of the network devices
#   units NUMBER  report the states of the units of sshd and of the network
# Only `date` and `systemctl` are programs, because starting one is slow on an emulated processor. All else
# is built into the shell.
port=/dev/virtio-ports/org.loadgauge.events
tries=0
until [ -c $port ]; do
    tries=$((tries + 1))
    # A guest that runs elsewhere must not have a failed unit because of this.
    [ $tries -le 100 ] || exit 0
    sleep 0.2
done
exec 3<>$port

# Polled, because with `--wait` the manager sends a signal for each change of each unit, which takes a tenth
# of the boot on an emulated processor.
while state=$(systemctl is-system-running); [ "$state" = starting ] || [ "$state" = initializing ]; do
    sleep 0.5
done
read -r boot </proc/sys/kernel/random/boot_id
echo "ready boot_id=$boot state=$state" >&3

# replace_key FILE KEY: replaces the harness's key. The file is rewritten in place, which keeps owner, mode
# and label.
replace_key() {
    [ -f "$1" ] || return
    text=
    while read -r line; do
        case $line in
        *' loadgauge') line="ssh-ed25519 $2 loadgauge" ;;
        esac
        text="$text$line
"
    done <"$1"
    printf %s "$text" >"$1"
}

# replace_host_key HOST PUBLIC: replaces the host key, and removes those of other types, which all copies
# have in common.
replace_host_key() {
    key=/etc/ssh/ssh_host_ed25519_key
    for other in /etc/ssh/ssh_host_*; do
        case $other in
        "$key" | "$key.pub") ;;
        *) [ ! -e "$other" ] || rm -f "$other" ;;
        esac
    done
    [ -e $key ] || (umask 077 && : >$key)
    printf -- '-----BEGIN OPENSSH PRIVATE KEY-----\n%b\n-----END OPENSSH PRIVATE KEY-----\n' "$1" >$key
    echo "ssh-ed25519 $2" >$key.pub
    # An sshd that runs permanently reloads its key; most are started for each connection.
    [ ! -r /run/sshd.pid ] || { read -r pid </run/sshd.pid && kill -HUP "$pid"; }
}

nonce=none
while read -r request one two three four five <&3; do
    case $request in
    hold)
        nonce=$one
        echo "holding nonce=$nonce" >&3
        ;;
    wake)
        date --set="@$one" >/dev/null
        printf %s "$two" >/dev/urandom
        for file in ~core/.ssh/authorized_keys ~core/.ssh/authorized_keys.d/*; do
            replace_key "$file" "$three"
        done
        replace_host_key "$four" "$five"
        read -r boot </proc/sys/kernel/random/boot_id
        echo "awake boot_id=$boot nonce=$nonce" >&3
        ;;
    links)
        # Links of devices only: bridges and veth pairs of the guest do not lead to the host.
        text=
        for link in /sys/class/net/*; do
            [ -e "$link/device" ] && read -r state <"$link/operstate" && text="$text ${link##*/}=$state"
        done
        echo "links number=$one$text" >&3
        ;;
    units)
        text=
        set -- sshd.socket ssh.socket sshd.service ssh.service systemd-networkd.service
        for state in $(systemctl is-active "$@"); do
            text="$text $1=$state"
            shift
        done
        echo "units number=$one$text" >&3
        ;;
    esac
done
