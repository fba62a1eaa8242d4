//! The compression of eight bodies at once, in the vectors of x86: each holds a word of every body.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_andnot_si256, _mm256_loadu_si256, _mm256_or_si256,
    _mm256_permute2x128_si256, _mm256_set1_epi32, _mm256_setr_epi32, _mm256_setzero_si256, _mm256_slli_epi32,
    _mm256_srli_epi32, _mm256_storeu_si256, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64,
    _mm256_unpacklo_epi32, _mm256_unpacklo_epi64, _mm256_xor_si256,
};

use super::one::{SINES, steps};
use super::{BLOCK, Block, LANES, State};

/// As many blocks of each body as of the first.
#[target_feature(enable = "avx2")]
pub fn compress(states: &mut [State; LANES], inputs: [&[Block]; LANES]) {
    let sines: &[u32; 64] = &SINES;
    let mut vectors = [_mm256_setzero_si256(); 4];
    for (n, vector) in vectors.iter_mut().enumerate() {
        *vector = of_words(states.map(|state| state[n]));
    }
    for number in 0..inputs[0].len() {
        // Loops, since a closure that another function calls cannot be a part of this one, which has other instructions.
        let (mut first, mut second) = ([_mm256_setzero_si256(); LANES], [_mm256_setzero_si256(); LANES]);
        for (lane, blocks) in inputs.iter().enumerate() {
            let (halves, _) = blocks[number].as_chunks();
            first[lane] = load(&halves[0]);
            second[lane] = load(&halves[1]);
        }
        let words = [turned(first), turned(second)];
        let [mut a, mut b, mut c, mut d] = vectors;
        macro_rules! step {
            ($mix:ident $a:ident $b:ident $c:ident $d:ident, $word:literal, $number:expr, $turn:literal) => {
                let sine = _mm256_set1_epi32(sines[$number].cast_signed());
                let sum = _mm256_add_epi32($a, _mm256_add_epi32(words[$word / LANES][$word % LANES], sine));
                let sum = $mix(sum, $b, $c, $d);
                let (up, down) = (_mm256_slli_epi32::<$turn>(sum), _mm256_srli_epi32::<{ 32 - $turn }>(sum));
                $a = _mm256_add_epi32(_mm256_or_si256(up, down), $b);
            };
        }
        steps!(step a b c d);
        let [e, f, g, h] = vectors;
        vectors =
            [_mm256_add_epi32(e, a), _mm256_add_epi32(f, b), _mm256_add_epi32(g, c), _mm256_add_epi32(h, d)];
    }
    for (n, vector) in vectors.into_iter().enumerate() {
        for (state, word) in states.iter_mut().zip(words_of(vector)) {
            state[n] = word;
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn f(sum: __m256i, b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    _mm256_add_epi32(sum, _mm256_xor_si256(d, _mm256_and_si256(b, _mm256_xor_si256(c, d))))
}

#[inline]
#[target_feature(enable = "avx2")]
fn g(sum: __m256i, b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    _mm256_add_epi32(_mm256_add_epi32(sum, _mm256_andnot_si256(d, c)), _mm256_and_si256(b, d))
}

#[inline]
#[target_feature(enable = "avx2")]
fn h(sum: __m256i, b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    _mm256_add_epi32(sum, _mm256_xor_si256(b, _mm256_xor_si256(c, d)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn i(sum: __m256i, b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    let not_d = _mm256_xor_si256(d, _mm256_set1_epi32(-1));
    _mm256_add_epi32(sum, _mm256_xor_si256(c, _mm256_or_si256(b, not_d)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn of_words(words: [u32; LANES]) -> __m256i {
    let [a, b, c, d, e, f, g, h] = words.map(u32::cast_signed);
    _mm256_setr_epi32(a, b, c, d, e, f, g, h)
}

#[inline]
#[target_feature(enable = "avx2")]
fn words_of(vector: __m256i) -> [u32; LANES] {
    let mut words = [0; LANES];
    // SAFETY: the array is as long as the vector, and the instruction asks for no alignment.
    unsafe { _mm256_storeu_si256((&raw mut words).cast(), vector) };
    words
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(half: &[u8; BLOCK / 2]) -> __m256i {
    // SAFETY: the array is as long as the vector, and the instruction asks for no alignment.
    unsafe { _mm256_loadu_si256(half.as_ptr().cast()) }
}

/// From eight words of each body to each word of eight bodies: rows become columns.
#[inline]
#[target_feature(enable = "avx2")]
fn turned([a, b, c, d, e, f, g, h]: [__m256i; LANES]) -> [__m256i; LANES] {
    let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
    let (ef, gh) = (_mm256_unpacklo_epi32(e, f), _mm256_unpacklo_epi32(g, h));
    let (later_ab, later_cd) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
    let (later_ef, later_gh) = (_mm256_unpackhi_epi32(e, f), _mm256_unpackhi_epi32(g, h));
    // Each has a word of four bodies, and the fourth word behind it.
    let (one, one_more) = (_mm256_unpacklo_epi64(ab, cd), _mm256_unpacklo_epi64(ef, gh));
    let (two, two_more) = (_mm256_unpackhi_epi64(ab, cd), _mm256_unpackhi_epi64(ef, gh));
    let (three, three_more) =
        (_mm256_unpacklo_epi64(later_ab, later_cd), _mm256_unpacklo_epi64(later_ef, later_gh));
    let (four, four_more) =
        (_mm256_unpackhi_epi64(later_ab, later_cd), _mm256_unpackhi_epi64(later_ef, later_gh));
    [
        _mm256_permute2x128_si256::<0x20>(one, one_more),
        _mm256_permute2x128_si256::<0x20>(two, two_more),
        _mm256_permute2x128_si256::<0x20>(three, three_more),
        _mm256_permute2x128_si256::<0x20>(four, four_more),
        _mm256_permute2x128_si256::<0x31>(one, one_more),
        _mm256_permute2x128_si256::<0x31>(two, two_more),
        _mm256_permute2x128_si256::<0x31>(three, three_more),
        _mm256_permute2x128_si256::<0x31>(four, four_more),
    ]
}
