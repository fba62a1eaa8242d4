//! Names of payloads, and the checksums of their blocks.

use std::fmt;

use hanse_core::Cx;

use crate::BLOCK;

/// Names a payload once and for all; never used again. 48 bits of time, so that new ones stand together in the
/// index, and 80 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PayloadId([u8; 16]);

impl PayloadId {
    pub(crate) fn new(cx: &Cx) -> PayloadId {
        let mut bytes: [u8; 16] = cx.bytes();
        let millis = u64::try_from(cx.now().0 / 1000).unwrap_or(0).to_be_bytes();
        bytes[..6].copy_from_slice(&millis[2..]);
        PayloadId(bytes)
    }

    pub fn from_bytes(bytes: [u8; 16]) -> PayloadId {
        PayloadId(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads what `Display` writes.
    pub(crate) fn parse(text: &str) -> Option<PayloadId> {
        if text.len() != 32 || !text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(|number| PayloadId(number.to_be_bytes()))
    }
}

impl fmt::Display for PayloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for PayloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the checksum of a block starts from: it tells a block of another payload, or another block, from the right
/// one, even if its bytes are sound.
pub(crate) fn block_seed(id: PayloadId, block: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(id.as_bytes()), &block.to_le_bytes())
}

pub(crate) fn block_crc(id: PayloadId, block: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(block_seed(id, block), bytes)
}

pub(crate) fn blocks(len: u64) -> u64 {
    len.div_ceil(BLOCK as u64)
}

/// Checksums bytes as they come.
pub(crate) struct Checksums {
    id: PayloadId,
    len: u64,
    current: u32,
    done: Vec<u32>,
}

impl Checksums {
    pub(crate) fn new(id: PayloadId) -> Checksums {
        Checksums { id, len: 0, current: 0, done: Vec::new() }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let within = (self.len % BLOCK as u64) as usize;
            if within == 0 {
                self.current = block_seed(self.id, self.len / BLOCK as u64);
            }
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - within));
            self.current = crc32c::crc32c_append(self.current, now);
            self.len += now.len() as u64;
            if self.len.is_multiple_of(BLOCK as u64) {
                self.done.push(self.current);
            }
            bytes = rest;
        }
    }

    /// Nothing may come after that.
    pub(crate) fn finish(&mut self) -> Vec<u32> {
        if !self.len.is_multiple_of(BLOCK as u64) {
            self.done.push(self.current);
        }
        std::mem::take(&mut self.done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_do_not_depend_on_how_the_bytes_came() {
        let id = PayloadId::from_bytes([7; 16]);
        let bytes: Vec<u8> = (0..BLOCK * 2 + 77).map(|n| (n % 251) as u8).collect();
        let expected: Vec<u32> =
            bytes.chunks(BLOCK).enumerate().map(|(n, block)| block_crc(id, n as u64, block)).collect();
        for step in [1000, BLOCK, BLOCK + 1, bytes.len()] {
            let mut sums = Checksums::new(id);
            bytes.chunks(step).for_each(|chunk| sums.update(chunk));
            assert_eq!(sums.finish(), expected);
        }
        assert_ne!(block_crc(id, 0, b"x"), block_crc(id, 1, b"x"));
    }

    #[test]
    fn an_id_is_read_as_it_is_written_and_never_as_a_path() {
        let id = PayloadId::new(&Cx::system());
        assert_eq!(PayloadId::parse(&id.to_string()), Some(id));
        for wrong in ["", "..", "+0000000000000000000000000000000", &"g".repeat(32), &"A".repeat(32)] {
            assert_eq!(PayloadId::parse(wrong), None);
        }
    }
}
