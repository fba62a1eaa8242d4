//! A frame: one transaction as it lies in the log. The README of the crate draws it.

use bytes::Bytes;

use crate::payload::block_crc;
use crate::wire::{Malformed, Put, Reader, key_hash};
use crate::{BLOCK, KEY_MAX, PAYLOADS_MAX, PayloadId, Record, VALUE_MAX};

const MAGIC: u32 = 0x3146_4c48; // HLF1
/// The header without its hashes.
pub(crate) const HEAD: usize = 80;
/// What frames are aligned to, so that a search for one after damage has few places to look at.
pub(crate) const ALIGN: u64 = 8;
/// Compaction's: it changes places, not content.
const MOVED: u32 = 1;
/// The hashes of the batch before are all there.
const PREVIOUS: u32 = 2;
/// More hashes of the batch before than these are left out.
const PREVIOUS_MAX: usize = 8192;

/// What a transaction does, one step after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// `first` is the oldest segment that may hold an older version of this key.
    Put { seq: u64, first: u64, key: Vec<u8>, record: Record },
    /// Needed as long as a segment from `since` up to its own may hold what it deletes.
    Delete { seq: u64, since: u64, key: Vec<u8> },
    /// A payload whose bytes are in this frame, `offset` bytes into its payload area.
    Inline { id: PayloadId, offset: u32, len: u32, crcs: Vec<u32> },
    /// A payload in a file of its own.
    Extent { id: PayloadId, len: u64 },
}

impl Op {
    /// How many bytes it takes in the log, with its payload.
    pub(crate) fn weight(&self) -> u64 {
        (match self {
            Op::Put { key, record, .. } => put_weight(key.len(), record),
            Op::Delete { key, .. } => delete_weight(key.len()),
            Op::Inline { len, crcs, .. } => inline_weight(u64::from(*len), crcs.len()),
            Op::Extent { .. } => EXTENT_WEIGHT,
        }) as u64
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Op::Put { seq, first, key, record } => {
                out.put_u8(1);
                out.put_u64(*seq);
                out.put_u64(*first);
                out.put_u16(key.len() as u16);
                out.put(key);
                out.put_u16(record.payloads.len() as u16);
                record.payloads.iter().for_each(|id| out.put(id.as_bytes()));
                out.put_u32(record.value.len() as u32);
                out.put(&record.value);
            }
            Op::Delete { seq, since, key } => {
                out.put_u8(2);
                out.put_u64(*seq);
                out.put_u64(*since);
                out.put_u16(key.len() as u16);
                out.put(key);
            }
            Op::Inline { id, offset, len, crcs } => {
                out.put_u8(3);
                out.put(id.as_bytes());
                out.put_u32(*offset);
                out.put_u32(*len);
                crcs.iter().for_each(|crc| out.put_u32(*crc));
            }
            Op::Extent { id, len } => {
                out.put_u8(4);
                out.put(id.as_bytes());
                out.put_u64(*len);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Op, Malformed> {
        Ok(match reader.u8()? {
            1 => {
                let (seq, first) = (reader.u64()?, reader.u64()?);
                let len = reader.u16()?;
                let key = reader.take(usize::from(len))?.to_vec();
                let count = reader.u16()?;
                let payloads = reader.many(usize::from(count), 16, Reader::id)?;
                let len = reader.u32()? as usize;
                let value = Bytes::copy_from_slice(reader.take(len)?);
                if key.len() > KEY_MAX || len > VALUE_MAX || payloads.len() > PAYLOADS_MAX {
                    return Err(Malformed);
                }
                Op::Put { seq, first, key, record: Record { value, payloads } }
            }
            2 => {
                let (seq, since) = (reader.u64()?, reader.u64()?);
                let len = reader.u16()?;
                Op::Delete { seq, since, key: reader.take(usize::from(len))?.to_vec() }
            }
            3 => {
                let (id, offset, len) = (reader.id()?, reader.u32()?, reader.u32()?);
                let crcs = reader.many((len as usize).div_ceil(BLOCK), 4, Reader::u32)?;
                Op::Inline { id, offset, len, crcs }
            }
            4 => Op::Extent { id: reader.id()?, len: reader.u64()? },
            _ => return Err(Malformed),
        })
    }
}

pub(crate) fn put_weight(key: usize, record: &Record) -> usize {
    25 + key + 16 * record.payloads.len() + record.value.len()
}

pub(crate) fn delete_weight(key: usize) -> usize {
    19 + key
}

pub(crate) fn inline_weight(len: u64, blocks: usize) -> usize {
    25 + 4 * blocks + len as usize
}

pub(crate) const EXTENT_WEIGHT: usize = 25;

/// Where a frame stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub segment: u64,
    pub offset: u64,
    pub batch: u64,
    /// Where the first frame of its batch stands, in the same segment.
    pub batch_start: u64,
}

/// What the first frame of a batch tells of the batch before, so that the loss of that can be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Previous {
    /// Where it began.
    pub start: u64,
    /// The hashes of all keys that it changed.
    pub keys: Vec<u64>,
}

impl Previous {
    pub(crate) fn fits(&self) -> bool {
        self.keys.len() <= PREVIOUS_MAX
    }
}

/// A transaction on its way into the log.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub seq: u64,
    pub moved: bool,
    pub ops: Vec<Op>,
    /// The bytes of the inline payloads, in the order of their ops.
    pub inline: Vec<Bytes>,
}

impl Transaction {
    pub(crate) fn keys(&self) -> impl Iterator<Item = u64> {
        self.ops.iter().filter_map(|op| match op {
            Op::Put { key, .. } | Op::Delete { key, .. } => Some(key_hash(key)),
            _ => None,
        })
    }

    /// An upper bound of the size of its frame.
    pub(crate) fn size_limit(&self, previous: usize) -> u64 {
        let ops: u64 = self.ops.iter().map(|op| op.weight() + 8).sum();
        ops + (HEAD + 8 * previous.min(PREVIOUS_MAX)) as u64 + ALIGN
    }

    /// Appends the frame, and says where in the segment its payload area begins. `previous` is the batch
    /// before, if this frame begins one.
    pub(crate) fn encode(&self, place: Place, previous: Option<&Previous>, out: &mut Vec<u8>) -> u64 {
        let start = out.len();
        let previous = previous.filter(|previous| previous.fits());
        let hashes: Vec<u64> = self.keys().collect();
        let head_len = HEAD + 8 * (hashes.len() + previous.map_or(0, |previous| previous.keys.len()));
        out.resize(start + HEAD, 0);
        hashes
            .iter()
            .chain(previous.iter().flat_map(|previous| &previous.keys))
            .for_each(|hash| out.put_u64(*hash));
        self.ops.iter().for_each(|op| op.encode(out));
        let ops = start + head_len..out.len();
        let payload_len: usize = self.inline.iter().map(Bytes::len).sum();

        let mut head = Vec::with_capacity(HEAD);
        head.put_u32(MAGIC);
        head.put_u32(0);
        head.put_u32(head_len as u32);
        head.put_u32(ops.len() as u32);
        head.put_u32(payload_len as u32);
        head.put_u32(crc32c::crc32c(&out[ops.clone()]));
        for field in [place.segment, self.seq, place.batch, place.offset, place.batch_start] {
            head.put_u64(field);
        }
        head.put_u32(if self.moved { MOVED } else { 0 } | if previous.is_some() { PREVIOUS } else { 0 });
        head.put_u32(hashes.len() as u32);
        head.put_u64(previous.map_or(0, |previous| previous.start));
        out[start..start + HEAD].copy_from_slice(&head);
        let crc = crc32c::crc32c(&out[start + 8..start + head_len]);
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());

        self.inline.iter().for_each(|bytes| out.put(bytes));
        out.resize(start + (out.len() - start).next_multiple_of(ALIGN as usize), 0);
        place.offset + (ops.end - start) as u64
    }
}

/// The header of a frame as it was found.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub head_len: u32,
    pub ops_len: u32,
    pub payload_len: u32,
    ops_crc: u32,
    pub seq: u64,
    pub moved: bool,
    pub place: Place,
    /// Of the keys that this frame changes.
    pub keys: Vec<u64>,
    pub previous: Option<Previous>,
}

impl Head {
    /// How long the header claims to be, from its first [`HEAD`] bytes.
    pub(crate) fn claimed_len(bytes: &[u8]) -> Option<usize> {
        let mut reader = Reader(bytes);
        let magic = reader.u32().ok()?;
        reader.u32().ok()?;
        let len = reader.u32().ok()? as usize;
        (magic == MAGIC && len >= HEAD && len.is_multiple_of(8)).then_some(len)
    }

    /// Reads a whole header; nothing if it is none, or not of this place.
    pub(crate) fn parse(bytes: &[u8], segment: u64, offset: u64) -> Option<Head> {
        let head = Head::decode(bytes).ok()?;
        (head.place.segment == segment && head.place.offset == offset && head.place.batch_start <= offset)
            .then_some(head)
    }

    fn decode(bytes: &[u8]) -> Result<Head, Malformed> {
        let mut reader = Reader(bytes);
        let (magic, crc, head_len) = (reader.u32()?, reader.u32()?, reader.u32()?);
        if magic != MAGIC || head_len as usize != bytes.len() || crc32c::crc32c(&bytes[8..]) != crc {
            return Err(Malformed);
        }
        let (ops_len, payload_len, ops_crc) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let (segment, seq, batch) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (offset, batch_start) = (reader.u64()?, reader.u64()?);
        let (flags, count, start) = (reader.u32()?, reader.u32()?, reader.u64()?);
        let keys = reader.many(count as usize, 8, Reader::u64)?;
        let rest = reader.0.len() / 8;
        let previous = Previous { start, keys: reader.many(rest, 8, Reader::u64)? };
        Ok(Head {
            head_len,
            ops_len,
            payload_len,
            ops_crc,
            seq,
            moved: flags & MOVED != 0,
            place: Place { segment, offset, batch, batch_start },
            keys,
            previous: (flags & PREVIOUS != 0).then_some(previous),
        })
    }

    /// The frame's length with all that belongs to it.
    pub(crate) fn frame_len(&self) -> u64 {
        let len = u64::from(self.head_len) + u64::from(self.ops_len) + u64::from(self.payload_len);
        len.next_multiple_of(ALIGN)
    }

    pub(crate) fn ops_offset(&self) -> u64 {
        self.place.offset + u64::from(self.head_len)
    }

    pub(crate) fn payload_offset(&self) -> u64 {
        self.ops_offset() + u64::from(self.ops_len)
    }

    pub(crate) fn parse_ops(&self, bytes: &[u8]) -> Option<Vec<Op>> {
        if crc32c::crc32c(bytes) != self.ops_crc {
            return None;
        }
        let mut reader = Reader(bytes);
        let mut ops = Vec::new();
        while !reader.is_empty() {
            let op = Op::decode(&mut reader).ok()?;
            if let Op::Inline { offset, len, .. } = &op
                && u64::from(*offset) + u64::from(*len) > u64::from(self.payload_len)
            {
                return None;
            }
            ops.push(op);
        }
        Some(ops)
    }
}

/// Whether these are the bytes of the payload that starts at block 0.
pub(crate) fn is_sound(id: PayloadId, bytes: &[u8], crcs: &[u32]) -> bool {
    bytes.len().div_ceil(BLOCK) == crcs.len()
        && bytes
            .chunks(BLOCK)
            .zip(crcs)
            .enumerate()
            .all(|(n, (block, crc))| block_crc(id, n as u64, block) == *crc)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Transaction {
        let id = PayloadId::from_bytes([3; 16]);
        let record = Record { value: Bytes::from_static(b"value"), payloads: vec![id] };
        Transaction {
            seq: 9,
            moved: false,
            ops: vec![
                Op::Put { seq: 9, first: 1, key: b"key".to_vec(), record },
                Op::Delete { seq: 9, since: 0, key: b"gone".to_vec() },
                Op::Inline { id, offset: 0, len: 3, crcs: vec![block_crc(id, 0, b"abc")] },
                Op::Extent { id, len: 1 << 40 },
            ],
            inline: vec![Bytes::from_static(b"abc")],
        }
    }

    const PLACE: Place = Place { segment: 2, offset: 4096, batch: 5, batch_start: 4096 };

    #[test]
    fn a_frame_is_read_as_it_was_written_at_its_own_place_only() {
        let mut bytes = Vec::new();
        let previous = Previous { start: 4000, keys: vec![1, 2] };
        let payload = sample().encode(PLACE, Some(&previous), &mut bytes);
        assert!(bytes.len() as u64 <= sample().size_limit(2));
        let len = Head::claimed_len(&bytes[..HEAD]).unwrap();
        let head = Head::parse(&bytes[..len], 2, 4096).unwrap();
        assert_eq!((head.seq, head.keys.len(), head.previous.clone()), (9, 2, Some(previous)));
        assert_eq!(head.frame_len(), bytes.len() as u64);
        let ops = (head.ops_offset() - 4096) as usize..(head.payload_offset() - 4096) as usize;
        assert_eq!(head.parse_ops(&bytes[ops.clone()]).unwrap(), sample().ops);
        assert_eq!(&bytes[ops.end..ops.end + 3], b"abc");
        assert_eq!(payload, head.payload_offset());
        assert!(Head::parse(&bytes[..len], 2, 4104).is_none());
        assert!(Head::parse(&bytes[..len], 3, 4096).is_none());
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed() {
        let mut bytes = Vec::new();
        sample().encode(PLACE, None, &mut bytes);
        let len = Head::claimed_len(&bytes).unwrap();
        let ops = len..len + Head::parse(&bytes[..len], 2, 4096).unwrap().ops_len as usize;
        for bit in 0..ops.end * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let head = Head::parse(&bytes[..len], 2, 4096);
            assert!(head.is_none_or(|head| head.parse_ops(&bytes[ops.clone()]).is_none()), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
