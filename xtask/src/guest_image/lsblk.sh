#!/bin/sh
# lsblk: the disks as `lsblk -lb --nodeps` prints them, which is what test suites parse. Options are ignored.
echo "NAME MAJ:MIN RM SIZE RO TYPE MOUNTPOINTS"
for disk in /sys/block/vd*; do
    [ -e "$disk" ] || continue
    name=${disk##*/}
    where=$(awk -v device="/dev/$name" '$1 == device { print $2; exit }' /proc/mounts)
    echo "$name $(cat "$disk/dev") $(cat "$disk/removable") $(($(cat "$disk/size") * 512)) $(cat "$disk/ro") disk $where"
done
