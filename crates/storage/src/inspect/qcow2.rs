//! The header of a qcow2 file, after QEMU's specification of the format (`docs/interop/qcow2.txt`).
//!
//! All numbers are big-endian. The parser takes any bytes, allocates nothing and never panics.

use hanse_core::{Error, Result};

use crate::{MAX_VIRTUAL_BYTES, SECTOR};

const MAGIC: u32 = 0x5146_49fb;
const V2_LENGTH: u32 = 72;
const V3_LENGTH: u32 = 104;

/// QEMU's own limits; a file beyond them could not be opened anyway.
const MAX_L1_BYTES: u64 = 32 << 20;
const MAX_REFCOUNT_TABLE_BYTES: u64 = 8 << 20;
const MAX_SNAPSHOTS: u32 = 65_536;
/// Real files carry four or five.
const MAX_EXTENSIONS: usize = 64;

const DIRTY: u64 = 1 << 0;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION_TYPE: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;
const KNOWN_INCOMPATIBLE: u64 = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2;
/// Autoclear feature: the external data file is also a raw image by itself.
const RAW_EXTERNAL: u64 = 1 << 1;

const EXTENSION_END: u32 = 0;
const EXTENSION_DATA_FILE: u32 = 0x4441_5441;
const EXTENSION_ENCRYPTION: u32 = 0x0537_be77;

/// The fixed part of a header whose numbers are sane. It may still name other files: see
/// [`Header::check_self_contained`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub version: u32,
    /// Size of the disk that the guest sees, in bytes.
    pub virtual_size: u64,
    pub cluster_bits: u32,
    backing_offset: u64,
    backing_length: u32,
    encryption: u32,
    l1_entries: u32,
    l1_offset: u64,
    refcount_table_offset: u64,
    refcount_table_clusters: u32,
    snapshots: u32,
    snapshots_offset: u64,
    incompatible: u64,
    autoclear: u64,
    length: u32,
}

impl Header {
    /// Reads a header from the first bytes of a file; the first 112 are enough.
    ///
    /// # Errors
    /// 400 if they are no qcow2 header of version 2 or 3 or describe something that cannot be.
    pub fn parse(head: &[u8]) -> Result<Header> {
        if be32(head, 0).ok() != Some(MAGIC) {
            return Err(wrong("it does not start with a qcow2 header"));
        }
        let version = be32(head, 4)?;
        if version != 2 && version != 3 {
            return Err(wrong(format!("its version is {version}, and only 2 and 3 are known")));
        }
        let v3 = version == 3;
        let header = Header {
            version,
            backing_offset: be64(head, 8)?,
            backing_length: be32(head, 16)?,
            cluster_bits: be32(head, 20)?,
            virtual_size: be64(head, 24)?,
            encryption: be32(head, 32)?,
            l1_entries: be32(head, 36)?,
            l1_offset: be64(head, 40)?,
            refcount_table_offset: be64(head, 48)?,
            refcount_table_clusters: be32(head, 56)?,
            snapshots: be32(head, 60)?,
            snapshots_offset: be64(head, 64)?,
            incompatible: if v3 { be64(head, 72)? } else { 0 },
            autoclear: if v3 { be64(head, 88)? } else { 0 },
            length: if v3 { be32(head, 100)? } else { V2_LENGTH },
        };
        header.check_numbers(if v3 { be32(head, 96)? } else { 4 })?;
        header.check_compression(head)?;
        Ok(header)
    }

    fn check_numbers(&self, refcount_order: u32) -> Result<()> {
        if !(9..=21).contains(&self.cluster_bits) {
            return Err(wrong(format!("its clusters have 2^{} bytes, not 2^9 to 2^21", self.cluster_bits)));
        }
        let cluster = 1u64 << self.cluster_bits;
        let length = u64::from(self.length);
        if self.version == 3 && (self.length < V3_LENGTH || length > cluster || !length.is_multiple_of(8)) {
            return Err(wrong(format!("its header claims a length of {length} bytes")));
        }
        if refcount_order > 6 {
            return Err(wrong(format!("its reference counts have 2^{refcount_order} bits, more than 64")));
        }
        let unknown = self.incompatible & !KNOWN_INCOMPATIBLE;
        if unknown != 0 {
            return Err(wrong(format!("it needs features that are not known here ({unknown:#x})")));
        }
        let extended = self.incompatible & EXTENDED_L2 != 0;
        if extended && self.cluster_bits < 14 {
            return Err(wrong("it has extended L2 entries with clusters below 16 KiB"));
        }
        let size = self.virtual_size;
        if size == 0 || !size.is_multiple_of(SECTOR) || size > MAX_VIRTUAL_BYTES {
            return Err(wrong(format!(
                "its virtual size of {size} bytes is not a positive multiple of {SECTOR} up to \
                 {MAX_VIRTUAL_BYTES}"
            )));
        }
        let l2_entries = cluster / if extended { 16 } else { 8 };
        let l1_needed = size.div_ceil(cluster * l2_entries);
        let l1_entries = u64::from(self.l1_entries);
        if l1_entries * 8 > MAX_L1_BYTES || l1_entries < l1_needed {
            return Err(wrong(format!("its L1 table has {l1_entries} entries where {l1_needed} are needed")));
        }
        if self.l1_offset == 0 || !self.l1_offset.is_multiple_of(cluster) {
            return Err(wrong("its L1 table does not start at a cluster"));
        }
        let refcount_bytes = u64::from(self.refcount_table_clusters) * cluster;
        if refcount_bytes == 0 || refcount_bytes > MAX_REFCOUNT_TABLE_BYTES {
            return Err(wrong(format!("its table of reference counts has {refcount_bytes} bytes")));
        }
        if self.refcount_table_offset == 0 || !self.refcount_table_offset.is_multiple_of(cluster) {
            return Err(wrong("its table of reference counts does not start at a cluster"));
        }
        if self.snapshots > MAX_SNAPSHOTS
            || (self.snapshots > 0 && !self.snapshots_offset.is_multiple_of(cluster))
        {
            return Err(wrong("its table of snapshots is too long or does not start at a cluster"));
        }
        Ok(())
    }

    /// The method, if not zlib, stands behind the fixed part and has a feature bit of its own.
    fn check_compression(&self, head: &[u8]) -> Result<()> {
        let method = if self.length > V3_LENGTH { byte(head, 104)? } else { 0 };
        if method > 1 || (method != 0) != (self.incompatible & COMPRESSION_TYPE != 0) {
            return Err(wrong(format!("its compression method {method} is unknown or not announced")));
        }
        Ok(())
    }

    /// Checks that the file needs no other file and no key, and is not damaged. `head` is the first cluster of the
    /// file, or more.
    ///
    /// # Errors
    /// 400 saying what is wrong and how to mend it.
    pub fn check_self_contained(&self, head: &[u8]) -> Result<()> {
        if self.backing_offset != 0 || self.backing_length != 0 {
            return Err(wrong("it has a backing file; flatten it with `qemu-img convert`"));
        }
        if self.incompatible & EXTERNAL_DATA != 0 || self.autoclear & RAW_EXTERNAL != 0 {
            return Err(wrong("it keeps its data in another file; convert it with `qemu-img convert`"));
        }
        if self.encryption != 0 {
            return Err(wrong("it is encrypted; decrypt it first"));
        }
        if self.incompatible & (DIRTY | CORRUPT) != 0 {
            return Err(wrong(
                "it is marked as damaged or still open; repair it with `qemu-img check -r all`",
            ));
        }
        self.check_extensions(head)
    }

    fn check_extensions(&self, head: &[u8]) -> Result<()> {
        let cluster = 1usize << self.cluster_bits;
        let end = head.len().min(cluster);
        let mut at = self.length as usize;
        for _ in 0..MAX_EXTENSIONS {
            // A header may fill its cluster to the last byte; then no end marker has room.
            if at + 8 > end && end == cluster {
                return Ok(());
            }
            let (kind, length) = (be32(head, at)?, be32(head, at + 4)? as usize);
            match kind {
                EXTENSION_END => return Ok(()),
                EXTENSION_DATA_FILE => {
                    return Err(wrong("it names an external data file; convert it with `qemu-img convert`"));
                }
                EXTENSION_ENCRYPTION => return Err(wrong("it is encrypted with LUKS; decrypt it first")),
                _ => {}
            }
            at += 8;
            if length > end.saturating_sub(at) {
                return Err(wrong("a header extension is longer than its cluster"));
            }
            at += length.next_multiple_of(8);
        }
        Err(wrong(format!("it has more than {MAX_EXTENSIONS} header extensions")))
    }

    /// Checks that the tables that the header points at lie within a file of `size` bytes.
    ///
    /// # Errors
    /// 400 if one does not: the file was cut short, or made up.
    pub fn check_tables_within(&self, size: u64) -> Result<()> {
        let cluster = 1u64 << self.cluster_bits;
        // The last cluster of a file need not be written to its end, but a table that QEMU wrote is.
        let tables = [
            ("L1 table", self.l1_offset, u64::from(self.l1_entries) * 8),
            (
                "table of reference counts",
                self.refcount_table_offset,
                u64::from(self.refcount_table_clusters) * cluster,
            ),
            // At least 40 bytes each.
            ("table of snapshots", self.snapshots_offset, u64::from(self.snapshots) * 40),
        ];
        for (name, offset, length) in tables {
            if length > 0 && offset.checked_add(length).is_none_or(|end| end > size) {
                return Err(wrong(format!("its {name} lies beyond its end; was it cut short?")));
            }
        }
        Ok(())
    }
}

fn wrong(what: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("The image was declared as qcow2 but cannot be taken: {what}."))
}

fn bytes<const N: usize>(head: &[u8], at: usize) -> Result<[u8; N]> {
    head.get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .ok_or_else(|| wrong("it ends within its header"))
}

fn byte(head: &[u8], at: usize) -> Result<u8> {
    bytes::<1>(head, at).map(|[byte]| byte)
}

fn be32(head: &[u8], at: usize) -> Result<u32> {
    bytes(head, at).map(u32::from_be_bytes)
}

fn be64(head: &[u8], at: usize) -> Result<u64> {
    bytes(head, at).map(u64::from_be_bytes)
}
