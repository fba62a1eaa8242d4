//! Encryption at rest (SSE-S3): each payload under a data key of its own, in frames, so that a range is read without the
//! rest. Data keys are wrapped under a key of the project, and that is sealed under the master key.
//!
//! A frame is 64 KiB of plaintext with AES-256-GCM. Its nonce holds its number and whether it is the last one, so that
//! frames can be neither exchanged nor left out: the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: "Online
//! Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance").

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use hanse_core::{Cx, Error, Result};
use hanse_crypto::MasterKey;
use hanse_logstore::Store;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::keys;

/// Plaintext bytes of a frame.
pub const FRAME: usize = 64 << 10;
/// What a frame takes more than its plaintext.
pub const TAG: usize = 16;
/// Bytes of a whole frame as it is kept.
pub const SEALED: u64 = (FRAME + TAG) as u64;

const KEY: usize = 32;
/// What wrapped keys are bound to, so that nothing else that is sealed under the same key passes for one.
const WRAPPED: &[u8] = b"hanse object storage data key";

fn cannot(what: &str) -> Error {
    Error::internal(format!("cannot {what}"))
}

/// How long a payload with so many bytes of plaintext is.
pub fn sealed_len(size: u64) -> u64 {
    size + size.div_ceil(FRAME as u64) * TAG as u64
}

fn key(bytes: &[u8]) -> Result<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, bytes).map(LessSafeKey::new).map_err(|_| cannot("use a key"))
}

/// What data keys are wrapped under: the key of a project, one that the project manages, or one that a client brings.
pub struct WrappingKey {
    key: LessSafeKey,
    /// What wrapped keys are bound to.
    bound: Vec<u8>,
}

impl WrappingKey {
    /// # Errors
    /// Internal if these are not 32 bytes.
    pub fn of(bytes: &[u8]) -> Result<WrappingKey> {
        WrappingKey::bound(bytes, b"")
    }

    /// One that unwraps in this context alone.
    ///
    /// # Errors
    /// As [`WrappingKey::of`].
    pub fn bound(bytes: &[u8], context: &[u8]) -> Result<WrappingKey> {
        Ok(WrappingKey { key: key(bytes)?, bound: [WRAPPED, context].concat() })
    }

    /// A new data key, and what is kept of it.
    ///
    /// # Errors
    /// Internal if it cannot be made.
    pub fn data_key(&self, cx: &Cx) -> Result<(DataKey, String)> {
        let plain = cx.bytes::<KEY>();
        Ok((DataKey(key(&plain)?), self.wrap(cx, &plain)?))
    }

    fn wrap(&self, cx: &Cx, plain: &[u8]) -> Result<String> {
        let nonce = cx.bytes::<NONCE_LEN>();
        let mut sealed = plain.to_vec();
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(nonce_used, Aad::from(&self.bound), &mut sealed)
            .map_err(|_| cannot("wrap a data key"))?;
        Ok(BASE64.encode([&nonce[..], &sealed[..]].concat()))
    }

    /// The same data key under another one, so that what it encrypts need not be written again.
    ///
    /// # Errors
    /// As [`WrappingKey::unwrap`].
    pub fn rewrap(&self, cx: &Cx, wrapped: &str, other: &WrappingKey) -> Result<String> {
        // Of no bytes there is no key.
        if wrapped.is_empty() { Ok(String::new()) } else { other.wrap(cx, &self.open(wrapped)?) }
    }

    /// The data key that was kept so.
    ///
    /// # Errors
    /// Internal if it is of another project, or damaged.
    pub fn unwrap(&self, wrapped: &str) -> Result<DataKey> {
        Ok(DataKey(key(&self.open(wrapped)?)?))
    }

    fn open(&self, wrapped: &str) -> Result<Vec<u8>> {
        let broken = || Error::internal("a data key does not unwrap");
        let bytes = BASE64.decode(wrapped).map_err(|_| broken())?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>().ok_or_else(broken)?;
        let mut sealed = sealed.to_vec();
        let plain = self
            .key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(&self.bound), &mut sealed)
            .map_err(|_| broken())?;
        Ok(plain.to_vec())
    }
}

/// What one payload is encrypted under.
pub struct DataKey(LessSafeKey);

fn nonce(frame: u64, is_last: bool) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    let (last, number) = (NONCE_LEN - 1, frame.to_be_bytes());
    bytes[last - number.len()..last].copy_from_slice(&number);
    bytes[last] = u8::from(is_last);
    Nonce::assume_unique_for_key(bytes)
}

impl DataKey {
    /// Encrypts a frame in its place.
    ///
    /// # Errors
    /// Internal if that fails.
    pub fn seal(&self, frame: u64, is_last: bool, bytes: &mut Vec<u8>) -> Result<()> {
        self.0
            .seal_in_place_append_tag(nonce(frame, is_last), Aad::empty(), bytes)
            .map_err(|_| cannot("encrypt a frame"))
    }

    /// Decrypts a frame that begins at `start` of these bytes and ends with them; the plaintext is their beginning.
    ///
    /// # Errors
    /// Internal if these are not the bytes that were encrypted.
    pub fn open<'b>(
        &self,
        frame: u64,
        is_last: bool,
        bytes: &'b mut [u8],
        start: usize,
    ) -> Result<&'b mut [u8]> {
        self.0.open_within(nonce(frame, is_last), Aad::empty(), bytes, start..).map_err(|_| {
            Error::internal("damaged: a frame of an object does not decrypt").named(hanse_logstore::DAMAGED)
        })
    }
}

/// The keys of projects, made when they are first asked for.
pub struct ProjectKeys {
    store: Store,
    master: Arc<MasterKey>,
    known: Mutex<HashMap<String, Arc<WrappingKey>>>,
}

fn purpose(project_id: &str) -> String {
    format!("objectstore.project_key:{project_id}")
}

impl ProjectKeys {
    pub fn new(store: Store, master: Arc<MasterKey>) -> ProjectKeys {
        ProjectKeys { store, master, known: Mutex::default() }
    }

    /// # Errors
    /// Internal if the key does not open; 503 if a new one cannot be written down.
    pub async fn of(&self, cx: &Cx, project_id: &str) -> Result<Arc<WrappingKey>> {
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(project_id) {
            return Ok(known.clone());
        }
        let place = keys::project_key(project_id);
        let sealed = match self.store.view()?.get(&place)? {
            Some(record) => record.value,
            None => {
                let fresh = self.master.seal(cx, &purpose(project_id), &cx.bytes::<KEY>())?;
                self.store
                    .write(move |change| {
                        // Of two who make one at once, the first one's is kept.
                        if let Some(record) = change.get(&place)? {
                            return Ok(record.value);
                        }
                        change.put(&place, fresh.clone(), &[])?;
                        Ok(fresh.into())
                    })
                    .await?
            }
        };
        let opened = self.master.open(&purpose(project_id), &sealed)?;
        let made = Arc::new(WrappingKey::of(opened.expose())?);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.entry(project_id.to_owned()).or_insert(made).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_open_in_their_place_alone() {
        let cx = Cx::system();
        let project = WrappingKey::of(&cx.bytes::<KEY>()).unwrap();
        let (data, wrapped) = project.data_key(&cx).unwrap();
        let again = project.unwrap(&wrapped).unwrap();
        let mut bytes = b"some bytes".to_vec();
        data.seal(3, false, &mut bytes).unwrap();
        assert_eq!(bytes.len(), 10 + TAG);
        for (frame, is_last, opens) in [(3, false, true), (3, true, false), (2, false, false)] {
            assert_eq!(again.open(frame, is_last, &mut bytes.clone(), 0).is_ok(), opens, "{frame} {is_last}");
        }
        let other = WrappingKey::of(&cx.bytes::<KEY>()).unwrap();
        assert!(other.unwrap(&wrapped).is_err(), "of another project");
        let moved = project.rewrap(&cx, &wrapped, &other).unwrap();
        assert!(other.unwrap(&moved).unwrap().open(3, false, &mut bytes.clone(), 0).is_ok());
        assert!(other.rewrap(&cx, &wrapped, &project).is_err() && project.unwrap(&moved).is_err());
        let bytes = cx.bytes::<KEY>();
        let (one, two) =
            (WrappingKey::bound(&bytes, b"one").unwrap(), WrappingKey::bound(&bytes, b"two").unwrap());
        let wrapped_there = one.data_key(&cx).unwrap().1;
        assert!(
            one.unwrap(&wrapped_there).is_ok() && two.unwrap(&wrapped_there).is_err(),
            "in another context"
        );
        assert!(project.unwrap("").is_err() && project.unwrap(&wrapped[1..]).is_err());
    }

    #[test]
    fn the_length_of_a_payload_follows_from_that_of_the_plaintext() {
        let frame = FRAME as u64;
        for (size, sealed) in [(0, 0), (1, 17), (frame, SEALED), (frame + 1, SEALED + 17)] {
            assert_eq!(sealed_len(size), sealed, "{size}");
        }
    }
}
