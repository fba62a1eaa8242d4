//! What the index keeps of a record and of a payload.

use bytes::Bytes;
use hanse_core::Result;

use crate::payload::blocks;
use crate::wire::{Malformed, Put, Reader};
use crate::{Record, damaged};

/// A record, and where in the log it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub seq: u64,
    pub segment: u64,
    /// The oldest segment that may hold an older version of it.
    pub first: u64,
    pub record: Record,
}

impl Entry {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(28 + 16 * self.record.payloads.len() + self.record.value.len());
        [self.seq, self.segment, self.first].iter().for_each(|field| bytes.put_u64(*field));
        bytes.put_u32(self.record.payloads.len() as u32);
        self.record.payloads.iter().for_each(|id| bytes.put(id.as_bytes()));
        bytes.put(&self.record.value);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Entry> {
        Entry::read(Reader(bytes)).map_err(|Malformed| damaged("index: a record is malformed"))
    }

    fn read(mut reader: Reader<'_>) -> Result<Entry, Malformed> {
        let (seq, segment, first) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let count = reader.u32()?;
        let payloads = reader.many(count as usize, 16, Reader::id)?;
        Ok(Entry {
            seq,
            segment,
            first,
            record: Record { value: Bytes::copy_from_slice(reader.0), payloads },
        })
    }
}

/// Where the bytes of a payload are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// In the log, at an offset of the segment.
    Inline { offset: u64, crcs: Vec<u32> },
    /// In a file of its own.
    Extent,
    /// A record names it, and the log has not told of it: while the index is made again, or because that part of the
    /// log is lost.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    pub home: Home,
    /// Where the log tells of it.
    pub segment: u64,
    pub len: u64,
    /// How many records name it, each as often as it does.
    pub refs: u32,
}

impl Payload {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(40);
        bytes.put_u8(match self.home {
            Home::Unknown => 0,
            Home::Inline { .. } => 1,
            Home::Extent => 2,
        });
        bytes.put_u64(self.segment);
        bytes.put_u64(self.len);
        bytes.put_u32(self.refs);
        if let Home::Inline { offset, crcs } = &self.home {
            bytes.put_u64(*offset);
            crcs.iter().for_each(|crc| bytes.put_u32(*crc));
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Payload> {
        Payload::read(Reader(bytes)).map_err(|Malformed| damaged("index: a payload is malformed"))
    }

    fn read(mut reader: Reader<'_>) -> Result<Payload, Malformed> {
        let kind = reader.u8()?;
        let (segment, len, refs) = (reader.u64()?, reader.u64()?, reader.u32()?);
        let home = match kind {
            0 => Home::Unknown,
            1 => {
                let offset = reader.u64()?;
                let count = usize::try_from(blocks(len)).map_err(|_| Malformed)?;
                Home::Inline { offset, crcs: reader.many(count, 4, Reader::u32)? }
            }
            2 => Home::Extent,
            _ => return Err(Malformed),
        };
        Ok(Payload { home, segment, len, refs })
    }

    /// How many bytes of the log live because it does.
    pub(crate) fn weight(&self) -> u64 {
        (match &self.home {
            Home::Inline { crcs, .. } => crate::frame::inline_weight(self.len, crcs.len()),
            Home::Extent => crate::frame::EXTENT_WEIGHT,
            Home::Unknown => 0,
        }) as u64
    }
}
