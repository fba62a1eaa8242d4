//! Memory that payloads are read into, used again and again: to get it from the system for each read costs as much as
//! the reading.

use std::ops::{Deref, DerefMut, Range};
use std::sync::Mutex;

use crate::lock;

/// How long each buffer is.
pub(crate) const LENGTH: usize = 256 << 10;
/// How many are kept while nobody uses them.
const KEPT: usize = 16;

/// Those that nobody uses, of all stores of the process.
static FREE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Bytes that were read. Their memory is used again when this is dropped.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    window: Range<usize>,
}

impl Buffer {
    /// One with any bytes in it, of which so many count.
    pub(crate) fn of(len: usize) -> Buffer {
        // What is small is cheap to get, and would hold more than it needs.
        let is_kept = (LENGTH / 2 + 1..=LENGTH).contains(&len);
        let free = if is_kept { lock(&FREE).pop() } else { None };
        let bytes = free.unwrap_or_else(|| vec![0; if is_kept { LENGTH } else { len }]);
        Buffer { bytes, window: 0..len }
    }

    /// Leaves only this part of what it shows.
    pub(crate) fn narrow(&mut self, part: Range<usize>) {
        let end = (self.window.start + part.end).min(self.window.end);
        self.window = (self.window.start + part.start).min(end)..end;
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(self.window.clone()).unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.window.clone()).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Buffer> for bytes::Bytes {
    fn from(buffer: Buffer) -> bytes::Bytes {
        bytes::Bytes::from_owner(buffer)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() == LENGTH {
            let mut free = lock(&FREE);
            if free.len() < KEPT {
                free.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_shows_what_it_was_taken_for_and_so_many_are_used_again() {
        let mut buffer = Buffer::of(LENGTH - 5);
        buffer.fill(7);
        buffer.narrow(1..LENGTH);
        assert!(buffer.len() == LENGTH - 6 && buffer.iter().all(|byte| *byte == 7));
        let place = buffer.bytes.as_ptr();
        drop(bytes::Bytes::from(buffer));
        let again = Buffer::of(LENGTH);
        assert_eq!((again.bytes.as_ptr(), again.len()), (place, LENGTH));
        for len in [10, LENGTH + 1] {
            assert_eq!(Buffer::of(len).bytes.len(), len, "others take no more than they need");
        }
        drop((0..KEPT + 5).map(|_| Buffer::of(LENGTH)).collect::<Vec<_>>());
        assert_eq!(lock(&FREE).len(), KEPT);
    }
}
