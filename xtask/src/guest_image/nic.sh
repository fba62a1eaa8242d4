#!/bin/sh
# /lib/hanse/nic INTERFACE: brings a network interface up and keeps asking for an address, in the background.
. /lib/hanse/instance.sh

# At boot both /etc/rc and the hot-plug events may name the same interface: whoever makes the directory goes on.
mkdir "/run/nic.$1" 2>/dev/null || exit 0

ip link set "$1" up
# Never gives up: a network may appear long after the guest. Options 121 and 249 are the classless static routes.
udhcpc -f -i "$1" -p "/run/nic.$1/pid" -s /lib/hanse/lease -t 8 -T 1 -A 2 -x hostname:"$(hostname)" \
    -O mtu -O staticroutes -O msstaticroutes >/dev/null 2>&1 </dev/null &
