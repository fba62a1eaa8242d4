//! The disk: a hand-written partition table, a FAT partition that SYSLINUX boots from, and an ext4 partition for
//! what the guest wants to keep.
//!
//! Both file systems are made by tools that work on plain files, so no loop device, mount or privilege is needed.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{command, mib};

const SECTOR: u64 = 512;
const MIB: u64 = 1_048_576;

/// Where the boot partition begins: the usual place, behind the boot code.
const BOOT_START: u64 = MIB;
/// Large enough for the kernel and the initramfs, which is checked.
const BOOT_SIZE: u64 = 31 * MIB;
const STATE_START: u64 = BOOT_START + BOOT_SIZE;
const STATE_SIZE: u64 = 16 * MIB;
const DISK_SIZE: u64 = STATE_START + STATE_SIZE;

/// Partition types of the MBR.
const FAT16_LBA: u8 = 0x0e;
const LINUX: u8 = 0x83;

/// The boot code takes at most this much of the first sector; the partition table follows.
const BOOT_CODE_MAX: usize = 440;

/// What the kernel is told: only the serial port is a console, and quietly; a panic must not leave a machine that
/// looks alive; the ciphers need no self-test, which takes a tenth of the boot on an emulated processor.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=10 cryptomgr.notests";

/// Writes the disk to `target`.
pub fn build(root: &Path, kernel: &Path, initramfs: &[u8], work: &Path, target: &Path) -> Result<()> {
    let files = work.join("boot");
    fs::create_dir_all(&files)?;
    fs::write(files.join("initrd.img"), initramfs)?;
    // Without a prompt and a time-out SYSLINUX boots at once.
    let config =
        format!("DEFAULT hanse\nLABEL hanse\nLINUX /vmlinuz\nINITRD /initrd.img\nAPPEND {COMMAND_LINE}\n");
    fs::write(files.join("syslinux.cfg"), config)?;

    let needed = fs::metadata(kernel)?.len() + initramfs.len() as u64;
    // Half a MiB for the boot loader and the file system's tables.
    if needed + MIB / 2 > BOOT_SIZE {
        bail!("the kernel and the initramfs need {:.1} MiB, more than the boot partition has", mib(needed));
    }

    let mut disk = File::create(target).with_context(|| format!("cannot create {}", target.display()))?;
    disk.set_len(DISK_SIZE)?;
    write_first_sector(&mut disk, &read_boot_code(root)?)?;
    drop(disk);
    make_boot_partition(root, kernel, &files, target)?;
    make_state_partition(work, target)
}

/// The code in the first sector, which loads the first sector of the active partition.
fn read_boot_code(root: &Path) -> Result<Vec<u8>> {
    let path = root.join("usr/lib/syslinux/mbr/mbr.bin");
    let code = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if code.len() > BOOT_CODE_MAX {
        bail!("{} is longer than {BOOT_CODE_MAX} bytes", path.display());
    }
    Ok(code)
}

fn write_first_sector(disk: &mut File, boot_code: &[u8]) -> Result<()> {
    let mut sector = [0; SECTOR as usize];
    sector[..boot_code.len()].copy_from_slice(boot_code);
    sector[446..462].copy_from_slice(&partition(true, FAT16_LBA, BOOT_START, BOOT_SIZE));
    sector[462..478].copy_from_slice(&partition(false, LINUX, STATE_START, STATE_SIZE));
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    disk.seek(SeekFrom::Start(0))?;
    disk.write_all(&sector)?;
    Ok(())
}

/// One entry of the partition table; `start` and `size` are in bytes.
fn partition(active: bool, kind: u8, start: u64, size: u64) -> [u8; 16] {
    // Cylinders, heads and sectors are filled with their largest values: everybody uses the sector numbers.
    const NO_GEOMETRY: [u8; 3] = [0xfe, 0xff, 0xff];
    let mut entry = [0; 16];
    entry[0] = if active { 0x80 } else { 0 };
    entry[1..4].copy_from_slice(&NO_GEOMETRY);
    entry[4] = kind;
    entry[5..8].copy_from_slice(&NO_GEOMETRY);
    entry[8..12].copy_from_slice(&((start / SECTOR) as u32).to_le_bytes());
    entry[12..].copy_from_slice(&((size / SECTOR) as u32).to_le_bytes());
    entry
}

fn make_boot_partition(root: &Path, kernel: &Path, files: &Path, target: &Path) -> Result<()> {
    let programs = root.join("usr/bin");
    // SYSLINUX's installer calls mtools by name, so the unpacked ones must be found first.
    let path = match std::env::var_os("PATH") {
        Some(path) => {
            std::env::join_paths(std::iter::once(programs.clone()).chain(std::env::split_paths(&path)))?
        }
        None => programs.clone().into_os_string(),
    };
    let tool = |name: &str| programs.join(name).to_string_lossy().into_owned();
    let drive = format!("{}@@{BOOT_START}", target.display());
    let sectors = (BOOT_SIZE / SECTOR).to_string();
    let hidden = (BOOT_START / SECTOR).to_string();
    command::run(&tool("mformat"), |c| {
        // Clusters of 2 KiB give FAT16 for this size. The geometry is invented; the firmware translates anyway.
        c.args([
            "-i",
            &drive,
            "-v",
            "HANSE-BOOT",
            "-T",
            &sectors,
            "-h",
            "255",
            "-s",
            "63",
            "-c",
            "4",
            "-H",
            &hidden,
        ])
        .arg("::")
    })?;
    for (file, name) in [
        (kernel, "vmlinuz"),
        (&files.join("initrd.img"), "initrd.img"),
        (&files.join("syslinux.cfg"), "syslinux.cfg"),
    ] {
        command::run(&tool("mcopy"), |c| c.args(["-i", &drive]).arg(file).arg(format!("::/{name}")))?;
    }
    command::run(&tool("syslinux"), |c| {
        c.args(["--install", "--offset", &BOOT_START.to_string()]).arg(target).env("PATH", path)
    })?;
    Ok(())
}

fn make_state_partition(work: &Path, target: &Path) -> Result<()> {
    command::ensure_tool("mke2fs", "e2fsprogs")?;
    let part = work.join("state.new");
    File::create(&part)?.set_len(STATE_SIZE)?;
    command::run("mke2fs", |c| {
        c.args(["-q", "-F", "-t", "ext4", "-L", "hanse-state", "-m", "0", "-E", "lazy_itable_init=0"])
            .arg(&part)
    })?;
    let content = fs::read(&part)?;
    let disk = File::options().write(true).open(target)?;
    // Empty blocks stay holes, which keeps the image small.
    for (index, block) in content.chunks(4096).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            disk.write_all_at(block, STATE_START + index as u64 * 4096)?;
        }
    }
    fs::remove_file(part)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_entry_holds_its_place_in_sectors() {
        let entry = partition(true, FAT16_LBA, MIB, 31 * MIB);
        assert_eq!((entry[0], entry[4]), (0x80, FAT16_LBA));
        assert_eq!(entry[8..12], 2048_u32.to_le_bytes());
        assert_eq!(entry[12..], (31 * 2048_u32).to_le_bytes());
    }
}
