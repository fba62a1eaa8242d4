//! MD5, of several bodies at once. A single MD5 is a chain in which each addition waits for the one before, so that a
//! processor is mostly idle; eight of them fit into its vectors and take hardly longer than one.
//!
//! Source: RFC 1321.

#[cfg(target_arch = "x86_64")]
mod eight;
mod one;

use bytes::Bytes;

use self::one::compress;

/// Bytes of a block.
const BLOCK: usize = 64;
/// Bodies that are hashed together.
pub const LANES: usize = 8;
/// Fewer take longer together than one after the other.
const LEAST: usize = 2;

type Block = [u8; BLOCK];
type State = [u32; 4];
/// The compression of as many blocks of each body, of which all have the same number.
type Together = fn(&mut [State; LANES], [&[Block]; LANES]);

/// The MD5 of a body whose bytes come piece by piece.
#[derive(Clone)]
pub struct Md5 {
    state: State,
    /// Bytes that have come.
    len: u64,
    /// The beginning of the next block, in its first `len % BLOCK` bytes.
    begun: Block,
}

impl Md5 {
    pub fn new() -> Md5 {
        // RFC 1321, 3.3.
        let state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
        Md5 { state, len: 0, begun: [0; BLOCK] }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        loop {
            let blocks = self.next(&mut rest);
            if blocks.is_empty() {
                return;
            }
            compress(&mut self.state, blocks.of(&self.begun));
        }
    }

    /// RFC 1321, 3.1 and 3.2: a one, zeros, and the length in bits.
    pub fn finish(mut self) -> [u8; 16] {
        let bits = self.len.wrapping_mul(8);
        let filled = (self.len % BLOCK as u64) as usize;
        let zeros = (2 * BLOCK - 9 - filled) % BLOCK;
        let padding = [&[0x80][..], &[0; BLOCK][..zeros], &bits.to_le_bytes()].concat();
        self.update(&padding);
        let mut digest = [0; 16];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        digest
    }

    /// Takes the next blocks off the bytes, or what there is of one.
    fn next<'b>(&mut self, rest: &mut &'b [u8]) -> Blocks<'b> {
        let filled = (self.len % BLOCK as u64) as usize;
        let (blocks, tail) = rest.as_chunks();
        if filled == 0 && !blocks.is_empty() {
            self.len += (blocks.len() * BLOCK) as u64;
            *rest = tail;
            return Blocks::Given(blocks);
        }
        let (now, later) = rest.split_at(rest.len().min(BLOCK - filled));
        if let Some(place) = self.begun.get_mut(filled..filled + now.len()) {
            place.copy_from_slice(now);
        }
        self.len += now.len() as u64;
        *rest = later;
        if filled + now.len() == BLOCK { Blocks::Begun } else { Blocks::None }
    }
}

/// What is to be compressed next.
#[derive(Clone, Copy)]
enum Blocks<'b> {
    None,
    /// The one that was put together.
    Begun,
    Given(&'b [Block]),
}

impl<'b> Blocks<'b> {
    fn is_empty(self) -> bool {
        matches!(self, Blocks::None)
    }

    fn of<'a>(self, begun: &'a Block) -> &'a [Block]
    where
        'b: 'a,
    {
        match self {
            Blocks::None => &[],
            Blocks::Begun => std::slice::from_ref(begun),
            Blocks::Given(blocks) => blocks,
        }
    }
}

/// A body of several that are hashed together.
struct Lane<'b> {
    md5: &'b mut Md5,
    pieces: std::slice::Iter<'b, Bytes>,
    rest: &'b [u8],
    blocks: Blocks<'b>,
}

impl Lane<'_> {
    /// Finds blocks to compress, and tells whether there are any.
    fn fill(&mut self) -> bool {
        while self.blocks.is_empty() {
            if self.rest.is_empty() {
                let Some(piece) = self.pieces.next() else { return false };
                self.rest = piece;
            }
            self.blocks = self.md5.next(&mut self.rest);
        }
        true
    }

    fn blocks(&self) -> &[Block] {
        self.blocks.of(&self.md5.begun)
    }

    /// So many blocks are done.
    fn advance(&mut self, count: usize) {
        self.blocks = match self.blocks {
            Blocks::Given(blocks) if count < blocks.len() => {
                Blocks::Given(blocks.get(count..).unwrap_or_default())
            }
            _ => Blocks::None,
        };
    }
}

/// Goes on with each MD5 by the pieces beside it.
pub fn update_together(bodies: &mut [(&mut Md5, &[Bytes])]) {
    let mut lanes: Vec<Lane<'_>> = bodies
        .iter_mut()
        .map(|(md5, pieces)| Lane { md5, pieces: pieces.iter(), rest: &[], blocks: Blocks::None })
        .collect();
    let together = together();
    loop {
        lanes.retain_mut(Lane::fill);
        let group = lanes.len().min(LANES);
        let Some(lanes) = lanes.get_mut(..group).filter(|lanes| !lanes.is_empty()) else { return };
        let Some(together) = together.filter(|_| lanes.len() >= LEAST) else {
            for lane in lanes {
                let count = lane.blocks().len();
                compress(&mut lane.md5.state, lane.blocks.of(&lane.md5.begun));
                lane.advance(count);
            }
            continue;
        };
        let count = lanes.iter().map(|lane| lane.blocks().len()).min().unwrap_or_default();
        let mut states = [State::default(); LANES];
        for (state, lane) in states.iter_mut().zip(lanes.iter()) {
            *state = lane.md5.state;
        }
        // What is left over does the same as the first, for nothing.
        let inputs = std::array::from_fn(|n| {
            lanes.get(n).unwrap_or(&lanes[0]).blocks().get(..count).unwrap_or_default()
        });
        together(&mut states, inputs);
        for (state, lane) in states.into_iter().zip(lanes) {
            lane.md5.state = state;
            lane.advance(count);
        }
    }
}

/// How that is done here; `None` if the processor's vectors are not as wide as that, and it would take longer.
fn together() -> Option<Together> {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the processor has what the function is compiled for.
    return is_x86_feature_detected!("avx2")
        .then_some(|states, inputs| unsafe { eight::compress(states, inputs) });
    #[cfg(not(target_arch = "x86_64"))]
    return None;
}

#[cfg(test)]
mod tests {
    use md5::Digest as _;
    use proptest::prelude::*;

    use super::*;

    fn expected(pieces: &[Bytes]) -> [u8; 16] {
        md5::Md5::digest(pieces.concat()).into()
    }

    #[test]
    fn the_digests_are_those_of_the_rfc() {
        for (text, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        ] {
            let mut md5 = Md5::new();
            md5.update(text.as_bytes());
            assert_eq!(hanse_core::hex(md5.finish()), digest, "{text}");
        }
    }

    #[test]
    fn every_length_around_a_block_is_padded_rightly() {
        for length in 0..200 {
            let bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let mut md5 = Md5::new();
            md5.update(&bytes);
            assert_eq!(md5.finish(), expected(&[bytes.into()]), "{length}");
        }
    }

    proptest! {
        #[test]
        fn many_together_are_what_each_is_alone(
            bodies in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 0..6),
                0..12,
            ),
        ) {
            let bodies: Vec<Vec<Bytes>> =
                bodies.into_iter().map(|body| body.into_iter().map(Bytes::from).collect()).collect();
            let mut together = vec![Md5::new(); bodies.len()];
            // In two goes, so that the second begins within blocks.
            for half in 0..2 {
                let part = |body: &Vec<Bytes>| {
                    let (first, second) = body.split_at(body.len() / 2);
                    if half == 0 { first.to_vec() } else { second.to_vec() }
                };
                let parts: Vec<Vec<Bytes>> = bodies.iter().map(part).collect();
                let mut all: Vec<_> = together.iter_mut().zip(parts.iter().map(Vec::as_slice)).collect();
                update_together(&mut all);
            }
            for (md5, body) in together.into_iter().zip(&bodies) {
                prop_assert_eq!(md5.finish(), expected(body));
            }
        }
    }
}
