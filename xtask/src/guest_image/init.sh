#!/bin/sh
# /etc/rc: what the guest does at boot, run by busybox init before anything else.
#
# The root file system is the initramfs, thus memory: it is new at every boot. What must survive a reboot or belong
# to a snapshot lies on the second partition of the boot disk, which is mounted at /mnt.
. /lib/hanse/instance.sh

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620 devpts /dev/pts
mount -t tmpfs -o mode=755 tmpfs /run

# One process for all of them: under an emulated processor, starting programs is what takes the time.
modprobe -a $(cat /etc/modules) || say "some kernel modules did not load"

hostname hanse-guest
ip link set lo up

state=$(findfs LABEL=hanse-state 2>/dev/null) && mount -t ext4 -o noatime "$state" /mnt ||
    say "no state partition: nothing will survive a reboot"
mkdir -p "$STATE"

# The config drive is OpenStack's way to describe an instance without a network. FAT tools often write its label in
# capitals. The files are copied, so that the drive may be detached afterwards.
# A CD-ROM appears some time after its driver was loaded; there is one if there is a SCSI host.
if ls -d /sys/class/scsi_host/host* >/dev/null 2>&1; then
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        [ -b /dev/sr0 ] && break
        usleep 50000
    done
fi
for label in config-2 CONFIG-2; do
    drive=$(findfs LABEL=$label 2>/dev/null) || continue
    mkdir -p /run/drive
    mount -o ro -t iso9660 "$drive" /run/drive 2>/dev/null || mount -o ro -t vfat "$drive" /run/drive || break
    mkdir -p /run/config-drive
    for file in meta_data.json user_data; do
        [ -f /run/drive/openstack/latest/$file ] && cp /run/drive/openstack/latest/$file /run/config-drive/
    done
    umount /run/drive
    [ -s /run/config-drive/meta_data.json ] && adopt /run/config-drive "config drive $drive"
    break
done

# Only now: the metadata service, which the first lease leads to, must not take the place of a config drive. The
# addresses come while the host key is made, and nothing waits for them.
for path in /sys/class/net/eth*; do
    [ -e "$path" ] && /lib/hanse/nic "${path##*/}"
done

start_sshd

# init starts the listener for the power button when this script has ended. Who reads "ready" may press the button
# at once, so it is said only when the listener has written its process id, which it does when it listens.
{
    until [ -e /run/acpid.pid ]; do usleep 10000; done
    say ready
} &
