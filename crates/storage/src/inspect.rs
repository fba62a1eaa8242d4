//! Whether bytes are what their declared format says, judged without ever guessing a format.
//!
//! A tenant's image is hostile until shown otherwise. A qcow2 header can name other files of the host (backing
//! file, external data file) and describe tables far larger than the file; a file declared as raw can carry the
//! magic of a format that some later program would take it for. Both are refused here, before any other program
//! reads a byte.

mod qcow2;

use hanse_core::{Error, Result};
use hanse_node::documents::DiskFormat;

use crate::{MAX_VIRTUAL_BYTES, SECTOR};

pub use qcow2::Header;

/// How much of the start of an image the checks look at: the largest cluster of a qcow2, which holds its whole
/// header.
pub const HEAD_BYTES: usize = 2 << 20;

/// How much of the end of an image the checks look at.
pub const TAIL_BYTES: usize = 512;

/// Checks what can be told from the first [`HEAD_BYTES`] alone (all of them, or the whole image if it is
/// shorter), so that an upload that cannot succeed ends early.
///
/// # Errors
/// 400 saying what is wrong.
pub fn check_head(declared: DiskFormat, head: &[u8]) -> Result<()> {
    match declared {
        DiskFormat::Qcow2 => Header::parse(head)?.check_self_contained(head),
        DiskFormat::Raw => check_raw_head(head),
    }
}

/// Checks a whole image of `size` bytes, of which `head` are the first [`HEAD_BYTES`] and `tail` the last
/// [`TAIL_BYTES`] (all of it, if it is shorter). Gives the virtual size in bytes.
///
/// # Errors
/// 400 saying what is wrong.
pub fn check_image(declared: DiskFormat, head: &[u8], tail: &[u8], size: u64) -> Result<u64> {
    if size == 0 {
        return Err(Error::bad_request("The image is empty."));
    }
    check_head(declared, head)?;
    match declared {
        DiskFormat::Qcow2 => {
            let header = Header::parse(head)?;
            header.check_tables_within(size)?;
            Ok(header.virtual_size)
        }
        DiskFormat::Raw => {
            check_raw_tail(tail)?;
            if size > MAX_VIRTUAL_BYTES {
                return Err(Error::bad_request(format!(
                    "A raw image of {size} bytes is larger than the {MAX_VIRTUAL_BYTES} that a disk can have."
                )));
            }
            // QEMU counts a last sector that is cut short as a whole one.
            Ok(size.next_multiple_of(SECTOR))
        }
    }
}

/// What disk image formats start with, and where.
const MAGICS: &[(usize, &[u8], &str)] = &[
    (0, b"QFI\xfb", "qcow or qcow2"),
    (0, b"QED\0", "QED"),
    (0, b"LUKS\xba\xbe", "LUKS"),
    (0, b"KDMV", "VMDK"),
    (0, b"COWD", "VMDK"),
    (0, b"# Disk Descriptor", "VMDK"),
    (0, b"conectix", "VHD"),
    (0, b"vhdxfile", "VHDX"),
    (64, b"\x7f\x10\xda\xbe", "VDI"),
    (0, b"WithoutFreeSpace", "Parallels"),
    (0, b"WithouFreSpacExt", "Parallels"),
    (0, b"Bochs Virtual HD Image", "Bochs"),
    (0, b"#!/bin/sh\n#V2.0 Format\n", "cloop"),
];

/// What they end with: `(distance from the end, magic, name)`.
const TAIL_MAGICS: &[(usize, &[u8], &str)] = &[(512, b"conectix", "VHD"), (512, b"koly", "DMG")];

fn check_raw_head(head: &[u8]) -> Result<()> {
    let is_at = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    match MAGICS.iter().find(|(at, magic, _)| is_at(*at, magic)) {
        Some((_, _, name)) => Err(not_raw(name)),
        None => Ok(()),
    }
}

fn check_raw_tail(tail: &[u8]) -> Result<()> {
    let is_at = |back: usize, magic: &[u8]| {
        tail.len().checked_sub(back).and_then(|at| tail.get(at..)).is_some_and(|rest| rest.starts_with(magic))
    };
    match TAIL_MAGICS.iter().find(|(back, magic, _)| is_at(*back, magic)) {
        Some((_, _, name)) => Err(not_raw(name)),
        None => Ok(()),
    }
}

fn not_raw(name: &str) -> Error {
    Error::bad_request(format!(
        "The image was declared as raw but its data is {name}; declare the format that it has, or convert it."
    ))
}
