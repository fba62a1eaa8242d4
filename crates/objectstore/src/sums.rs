//! Checksums that S3 knows. Source: S3 User Guide, "Checking object integrity".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::CrcAlgorithm;
use hanse_core::{Error, Result};
use http::HeaderMap;
use sha1::Digest as _;

/// The algorithms, as `x-amz-checksum-algorithm` spells them, with the header that carries each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

pub const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme, Algorithm::Sha1, Algorithm::Sha256];

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64Nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
        }
    }

    pub fn header(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "x-amz-checksum-crc32",
            Algorithm::Crc32c => "x-amz-checksum-crc32c",
            Algorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Algorithm::Sha1 => "x-amz-checksum-sha1",
            Algorithm::Sha256 => "x-amz-checksum-sha256",
        }
    }

    pub fn named(name: &str) -> Option<Algorithm> {
        ALGORITHMS.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    pub fn of_header(name: &str) -> Option<Algorithm> {
        ALGORITHMS.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(name))
    }

    /// What computes it, if it is a CRC: of these the checksum of a whole follows from those of its parts.
    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Algorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Algorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Algorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Algorithm::Sha1 | Algorithm::Sha256 => None,
        }
    }

    pub fn is_crc(self) -> bool {
        self.crc().is_some()
    }

    fn show_crc(self, crc: u64) -> String {
        let bytes = crc.to_be_bytes();
        BASE64.encode(bytes.get(bytes.len() - self.length()..).unwrap_or_default())
    }

    /// The checksum of parts that follow each other, from the checksum and the length of each; `None` if it is no CRC, or
    /// if one of them is no checksum.
    pub fn join<'p>(self, parts: impl Iterator<Item = (&'p str, u64)>) -> Option<String> {
        let (kind, mut whole) = (self.crc()?, 0);
        for (sum, length) in parts {
            let bytes = BASE64.decode(sum).ok().filter(|bytes| bytes.len() == self.length())?;
            let sum = bytes.into_iter().fold(0, |sum, byte| sum << 8 | u64::from(byte));
            whole = crc_fast::checksum_combine(kind, whole, sum, length);
        }
        Some(self.show_crc(whole))
    }

    /// In bytes.
    fn length(self) -> usize {
        match self {
            Algorithm::Crc32 | Algorithm::Crc32c => 4,
            Algorithm::Crc64Nvme => 8,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
        }
    }
}

/// A checksum that is being computed.
pub enum Sum {
    Crc(Algorithm, Box<crc_fast::Digest>),
    Sha1(sha1::Sha1),
    Sha256(Box<ring::digest::Context>),
}

impl Sum {
    pub fn new(algorithm: Algorithm) -> Sum {
        match (algorithm, algorithm.crc()) {
            (_, Some(kind)) => Sum::Crc(algorithm, Box::new(crc_fast::Digest::new(kind))),
            (Algorithm::Sha1, _) => Sum::Sha1(sha1::Sha1::new()),
            _ => Sum::Sha256(Box::new(ring::digest::Context::new(&ring::digest::SHA256))),
        }
    }

    pub fn algorithm(&self) -> Algorithm {
        match self {
            Sum::Crc(algorithm, _) => *algorithm,
            Sum::Sha1(_) => Algorithm::Sha1,
            Sum::Sha256(_) => Algorithm::Sha256,
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Sum::Crc(_, digest) => digest.update(bytes),
            Sum::Sha1(digest) => digest.update(bytes),
            Sum::Sha256(digest) => digest.update(bytes),
        }
    }

    /// In base64, as headers and lists carry it.
    pub fn finish(self) -> String {
        match self {
            Sum::Crc(algorithm, digest) => algorithm.show_crc(digest.finalize()),
            Sum::Sha1(digest) => BASE64.encode(digest.finalize()),
            Sum::Sha256(digest) => BASE64.encode(digest.finish()),
        }
    }
}

/// What a client says about the bytes that it sends.
#[derive(Debug, Default)]
pub struct Claimed {
    /// `Content-MD5`, in base64.
    pub md5: Option<String>,
    /// Checksums in headers.
    pub sums: Vec<(Algorithm, String)>,
    /// Whose checksum comes behind the body (`x-amz-trailer`).
    pub trailing: Option<Algorithm>,
    /// What shall be computed although no value is given.
    pub asked: Option<Algorithm>,
}

impl Claimed {
    /// Reads the headers of a request.
    ///
    /// # Errors
    /// 400 if one cannot be a checksum.
    pub fn of(headers: &HeaderMap) -> Result<Claimed> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut claimed = Claimed { md5: text("content-md5"), ..Claimed::default() };
        if let Some(md5) = &claimed.md5 {
            let is_md5 = BASE64.decode(md5).is_ok_and(|bytes| bytes.len() == 16);
            if !is_md5 {
                return Err(
                    Error::bad_request("The Content-MD5 you specified is not valid.").named("InvalidDigest")
                );
            }
        }
        for algorithm in ALGORITHMS {
            let Some(value) = text(algorithm.header()) else { continue };
            if !BASE64.decode(&value).is_ok_and(|bytes| bytes.len() == algorithm.length()) {
                return Err(Error::bad_request(format!(
                    "Value for {} header is invalid.",
                    algorithm.header()
                )));
            }
            claimed.sums.push((algorithm, value));
        }
        if claimed.sums.len() > 1 {
            return Err(Error::bad_request("Expecting a single x-amz-checksum- header."));
        }
        if let Some(trailer) = text("x-amz-trailer") {
            claimed.trailing = Some(Algorithm::of_header(trailer.trim()).ok_or_else(|| {
                Error::bad_request("The value specified in the x-amz-trailer header is not supported")
            })?);
        }
        let asked = text("x-amz-sdk-checksum-algorithm").or(text("x-amz-checksum-algorithm"));
        if let Some(name) = asked {
            claimed.asked = Some(
                Algorithm::named(&name)
                    .ok_or_else(|| Error::bad_request("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"))?,
            );
        }
        Ok(claimed)
    }

    /// Everything that has to be computed.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        let given = self.sums.iter().map(|(algorithm, _)| *algorithm);
        let mut all: Vec<Algorithm> = given.chain(self.trailing).chain(self.asked).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the algorithms, of "123456789". Source: the catalogue of parametrised CRC algorithms
    /// (CRC-32/ISO-HDLC, CRC-32/ISCSI, CRC-64/NVME) and FIPS 180-4.
    #[test]
    fn the_check_values_are_those_of_the_catalogue() {
        for (algorithm, hex) in [
            (Algorithm::Crc32, "cbf43926"),
            (Algorithm::Crc32c, "e3069283"),
            (Algorithm::Crc64Nvme, "ae8b14860a799888"),
            (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ] {
            let mut sum = Sum::new(algorithm);
            sum.update(b"1234");
            sum.update(b"56789");
            let bytes = BASE64.decode(sum.finish()).unwrap();
            assert_eq!(hanse_core::hex(bytes), hex, "{algorithm:?}");
        }
    }

    #[test]
    fn the_checksum_of_a_whole_follows_from_those_of_its_parts() {
        for algorithm in ALGORITHMS {
            let of = |bytes: &[u8]| {
                let mut sum = Sum::new(algorithm);
                sum.update(bytes);
                sum.finish()
            };
            let parts: [&[u8]; 4] = [b"12", b"", b"34567", b"89"];
            let sums = parts.map(|part| (of(part), part.len() as u64));
            let joined = algorithm.join(sums.iter().map(|(sum, length)| (sum.as_str(), *length)));
            assert_eq!(joined, algorithm.is_crc().then(|| of(b"123456789")), "{algorithm:?}");
        }
        assert_eq!(Algorithm::Crc32.join([("AAAA", 3)].into_iter()), None, "three bytes are no CRC32");
    }

    #[test]
    fn what_cannot_be_a_checksum_is_refused() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect::<HeaderMap>()
        };
        for wrong in [
            &[("content-md5", "x")][..],
            &[("x-amz-checksum-crc32", "AAAA")],
            &[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-crc32c", "AAAAAA==")],
            &[("x-amz-trailer", "x-other")],
            &[("x-amz-sdk-checksum-algorithm", "MD5")],
        ] {
            assert!(Claimed::of(&headers(wrong)).is_err(), "{wrong:?}");
        }
        let fine = Claimed::of(&headers(&[
            ("x-amz-checksum-crc32", "AAAAAA=="),
            ("x-amz-sdk-checksum-algorithm", "crc32"),
        ]));
        assert_eq!(fine.unwrap().algorithms(), [Algorithm::Crc32]);
    }
}
