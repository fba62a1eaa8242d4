#!/bin/sh
# /lib/hanse/hotplug: called for every event of the kernel's devices, which describes itself in variables.
case "$SUBSYSTEM/$ACTION/$INTERFACE$DEVTYPE" in
net/add/eth*)
    /lib/hanse/nic "$INTERFACE"
    ;;
net/remove/eth*)
    kill "$(cat "/run/nic.$INTERFACE/pid")" 2>/dev/null
    rm -rf "/run/nic.$INTERFACE"
    ;;
block/add/disk)
    . /lib/hanse/instance.sh
    say "disk $DEVNAME added, serial $(cat "/sys/block/$DEVNAME/serial" 2>/dev/null)"
    ;;
block/remove/disk)
    . /lib/hanse/instance.sh
    say "disk $DEVNAME removed"
    ;;
esac
