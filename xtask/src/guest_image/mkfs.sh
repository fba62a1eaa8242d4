#!/bin/sh
# mkfs [-t TYPE] DEVICE: busybox has the makers of file systems but not the program that chooses one.
type=ext2
if [ "$1" = -t ]; then
    type=$2
    shift 2
fi
case "$type" in
vfat) exec mkdosfs "$@" ;;
ext2 | ext3 | ext4) exec mke2fs "$@" ;; # an ext2 layout, which the ext4 driver mounts under all three names
*) echo "mkfs: no file system $type here" >&2 && exit 1 ;;
esac
