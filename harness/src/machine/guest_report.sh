#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs in the guest. Tells the harness that the guest is up, and then does what it is ordered:
#   hold NONCE    keep a word in memory alone, before a snapshot is taken
#   wake TIME ENTROPY AUTHORIZED HOST PUBLIC
#                 become a machine of its own, once a snapshot was restored: its clock, its random
#                 numbers, who may log in, and the key that it shows to whoever does
#   links NUMBER  tell whether its network leads anywhere
#   units NUMBER  tell what became of its sshd and of what runs its network
# Only `date` and `systemctl` are programs; the rest is the shell's own, since each start of one takes long
# where the processor is emulated.
port=/dev/virtio-ports/org.loadgauge.events
tries=0
until [ -c $port ]; do
    tries=$((tries + 1))
    # A guest that runs elsewhere shall not have a failed unit for it.
    [ $tries -le 100 ] || exit 0
    sleep 0.2
done
exec 3<>$port

# Asked again and again rather than once with `--wait`, which has the manager tell of each change of
# each unit: a tenth of a boot where the processor is emulated.
while state=$(systemctl is-system-running); [ "$state" = starting ] || [ "$state" = initializing ]; do
    sleep 0.5
done
read -r boot </proc/sys/kernel/random/boot_id
echo "ready boot_id=$boot state=$state" >&3

# admit FILE KEY: puts a key in the place of the harness's. Files are written in place, so that owner,
# mode and label stay.
admit() {
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

# show HOST PUBLIC: the host's key; keys of other kinds are those of the machine that was copied.
show() {
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
    # One that runs for good has read the key already; most start for each connection.
    [ ! -r /run/sshd.pid ] || { read -r pid </run/sshd.pid && kill -HUP "$pid"; }
}

nonce=none
while read -r order one two three four five <&3; do
    case $order in
    hold)
        nonce=$one
        echo "holding nonce=$nonce" >&3
        ;;
    wake)
        date --set="@$one" >/dev/null
        printf %s "$two" >/dev/urandom
        for file in ~core/.ssh/authorized_keys ~core/.ssh/authorized_keys.d/*; do
            admit "$file" "$three"
        done
        show "$four" "$five"
        read -r boot </proc/sys/kernel/random/boot_id
        echo "awake boot_id=$boot nonce=$nonce" >&3
        ;;
    links)
        # Those of devices: bridges and pairs that the guest made itself lead nowhere by themselves.
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
