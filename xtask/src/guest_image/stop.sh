#!/bin/sh
# /lib/hanse/stop: makes the disk safe to switch off. Called by init before a reboot and by the power button.
. /lib/hanse/instance.sh
say stopping
sync
umount /mnt 2>/dev/null || mount -o remount,ro /mnt 2>/dev/null
