//! Encryption at rest: what the database keeps secret is sealed under a key that the database does not hold.

use std::fmt;
use std::path::Path;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use hanse_core::{Cx, Error, Result, Secret, hex};
use hkdf::Hkdf;
use hkdf::hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::secret_file;

/// The largest plaintext that is sealed, in bytes: envelopes are for keys, passwords and user data, not for files.
pub const PLAINTEXT_MAX: usize = 1024 * 1024;

const KEY: usize = 32;
const NONCE: usize = 12;
const TAG: usize = 16;
const KEY_ID: usize = 8;

// An envelope: version, id of the master key, nonce and wrapped data key, nonce and ciphertext.
const VERSION: u8 = 1;
const WRAP_AT: usize = 1 + KEY_ID;
const DATA_AT: usize = WRAP_AT + NONCE + KEY + TAG;
const TEXT_AT: usize = DATA_AT + NONCE;

/// Names a master key without telling anything about it; part of every envelope.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; KEY_ID]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The key under which all secrets of a cloud are encrypted at rest: 32 bytes in a file outside the database.
///
/// Who loses the file loses every sealed secret, so it belongs into the operator's backup, apart from that of the
/// database.
#[derive(Clone)]
pub struct MasterKey {
    id: KeyId,
    wrapping: Secret<[u8; KEY]>,
    /// The pseudo-random key of HKDF from which all subkeys come; the bytes of the file are not kept.
    root: Secret<[u8; KEY]>,
}

impl MasterKey {
    /// Reads the key, or makes a new one if there is no such file. Two processes that start at once get the same.
    ///
    /// # Errors
    /// Internal, with path and remedy, if others may read the file, if it has not exactly 32 bytes, or if the disk
    /// refuses.
    pub fn load_or_create(path: &Path, cx: &Cx) -> Result<MasterKey> {
        let content = secret_file::read_or_create(path, secret_file::PRIVATE, KEY, || {
            Ok(Secret::new(cx.bytes::<KEY>().to_vec()))
        })?;
        MasterKey::read(path, &content)
    }

    /// Reads the key and makes none, for a cloud that already has secrets.
    ///
    /// # Errors
    /// As for [`MasterKey::load_or_create`], and if there is no such file.
    pub fn load(path: &Path) -> Result<MasterKey> {
        match secret_file::read_checked(path, KEY)? {
            Some(content) => MasterKey::read(path, &content),
            None => Err(Error::internal(format!(
                "there is no master key at {}: put it back from the backup; without it no sealed secret can be read",
                path.display()
            ))),
        }
    }

    fn read(path: &Path, content: &Secret<Vec<u8>>) -> Result<MasterKey> {
        if content.expose().len() != KEY {
            return Err(Error::internal(format!(
                "{} has {} bytes, a master key has {KEY}: put the right file back from the backup",
                path.display(),
                content.expose().len()
            )));
        }
        let (prk, _) = Hkdf::<Sha256>::extract(Some(b"hanse master key 1"), content.expose());
        let root = Secret::new(prk.into());
        let id = derive::<KEY_ID>(&root, "id", "")?;
        Ok(MasterKey { id: KeyId(*id.expose()), wrapping: derive(&root, "wrap", "")?, root })
    }

    /// Which key this is.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// A key for one use, different for every `purpose` and of no help in finding the master key or another.
    ///
    /// # Errors
    /// Internal, if the library refuses (it does not for this length).
    pub fn subkey(&self, purpose: &str) -> Result<Secret<[u8; 32]>> {
        derive(&self.root, "subkey", purpose)
    }

    /// HMAC-SHA-256 under the subkey of `purpose`: to look a secret up by its hash without storing anything that can
    /// be guessed offline. Compare it as the [`Secret`] it is, which takes constant time.
    ///
    /// # Errors
    /// As for [`MasterKey::subkey`].
    pub fn keyed_hash(&self, purpose: &str, data: &[u8]) -> Result<Secret<[u8; 32]>> {
        let key = derive::<KEY>(&self.root, "hash", purpose)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(key.expose())
            .map_err(|_| Error::internal("HMAC refuses a key of 32 bytes"))?;
        mac.update(data);
        Ok(Secret::new(mac.finalize().into_bytes().into()))
    }

    /// Encrypts with AES-256-GCM under a new data key, which the master key wraps. The envelope is 97 bytes longer
    /// than the plaintext.
    ///
    /// `purpose` is bound to the envelope: it opens with the same one alone. Name table, column and row in it, so
    /// that whoever writes to the database cannot move a secret from one row to another.
    ///
    /// Nonces are random, so one master key is good for about four thousand million envelopes (NIST SP 800-38D,
    /// 8.3).
    ///
    /// # Errors
    /// Internal if the plaintext is longer than [`PLAINTEXT_MAX`].
    pub fn seal(&self, cx: &Cx, purpose: &str, plaintext: &[u8]) -> Result<Vec<u8>> {
        if plaintext.len() > PLAINTEXT_MAX {
            return Err(Error::internal(format!(
                "{} bytes are too many to seal as {purpose}; the limit is {PLAINTEXT_MAX}",
                plaintext.len()
            )));
        }
        let data_key = Secret::new(cx.bytes::<KEY>());
        let mut envelope = Vec::with_capacity(TEXT_AT + plaintext.len() + TAG);
        envelope.push(VERSION);
        envelope.extend_from_slice(&self.id.0);
        for (key, text) in [(&self.wrapping, &data_key.expose()[..]), (&data_key, plaintext)] {
            let nonce = cx.bytes::<NONCE>();
            // All that stands before is authenticated, so no part can come from another envelope.
            let aad = associated(&envelope, purpose);
            let sealed = cipher(key)
                .encrypt(&Nonce::from(nonce), Payload { msg: text, aad: &aad })
                .map_err(|_| Error::internal(format!("cannot encrypt {purpose}")))?;
            envelope.extend_from_slice(&nonce);
            envelope.extend_from_slice(&sealed);
        }
        Ok(envelope)
    }

    /// The plaintext of what [`MasterKey::seal`] made for the same `purpose`.
    ///
    /// # Errors
    /// Internal if it is no envelope, was sealed under another master key or for another purpose, or was changed.
    pub fn open(&self, purpose: &str, envelope: &[u8]) -> Result<Secret<Vec<u8>>> {
        let broken =
            |why: String| Error::internal(format!("the sealed secret of {purpose} cannot be opened: {why}"));
        match envelope.first() {
            Some(&VERSION) => {}
            Some(version) => {
                return Err(broken(format!("its version {version} is not known to this release")));
            }
            None => return Err(broken("it is empty".to_owned())),
        }
        if envelope.len() < TEXT_AT + TAG || envelope.len() > TEXT_AT + PLAINTEXT_MAX + TAG {
            return Err(broken(format!("it has {} bytes", envelope.len())));
        }
        if envelope[1..WRAP_AT] != self.id.0 {
            let mut id = [0; KEY_ID];
            id.copy_from_slice(&envelope[1..WRAP_AT]);
            return Err(broken(format!("it needs the master key {}, this is {}", KeyId(id), self.id)));
        }
        let part = |key: &Secret<[u8; KEY]>, from: usize, to: usize| {
            let (nonce, sealed) = envelope[from..to].split_at(NONCE);
            let aad = associated(&envelope[..from], purpose);
            let mut twelve = [0; NONCE];
            twelve.copy_from_slice(nonce);
            cipher(key)
                .decrypt(&Nonce::from(twelve), Payload { msg: sealed, aad: &aad })
                .map(Secret::new)
                .map_err(|_| broken("it was changed, or belongs to another purpose".to_owned()))
        };
        let unwrapped = part(&self.wrapping, WRAP_AT, DATA_AT)?;
        let mut data_key = [0; KEY];
        data_key.copy_from_slice(unwrapped.expose());
        part(&Secret::new(data_key), DATA_AT, envelope.len())
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey").field("id", &self.id).finish_non_exhaustive()
    }
}

fn cipher(key: &Secret<[u8; KEY]>) -> Aes256Gcm {
    Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key.expose()))
}

fn associated(before: &[u8], purpose: &str) -> Vec<u8> {
    [before, purpose.as_bytes()].concat()
}

/// HKDF-Expand (RFC 5869). The NUL keeps kind and purpose apart; no kind contains one.
fn derive<const N: usize>(root: &Secret<[u8; KEY]>, kind: &str, purpose: &str) -> Result<Secret<[u8; N]>> {
    let mut key = [0; N];
    Hkdf::<Sha256>::from_prk(root.expose())
        .map_err(|error| Error::internal(format!("cannot derive the {kind} key of {purpose}: {error}")))?
        .expand_multi_info(&[kind.as_bytes(), b"\0", purpose.as_bytes()], &mut key)
        .map_err(|error| Error::internal(format!("cannot derive the {kind} key of {purpose}: {error}")))?;
    Ok(Secret::new(key))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use proptest::prelude::*;

    use super::*;

    fn key() -> MasterKey {
        let dir = tempfile::tempdir().unwrap();
        MasterKey::load_or_create(&dir.path().join("master.key"), &Cx::system()).unwrap()
    }

    #[test]
    fn a_new_key_is_kept_in_a_file_of_its_owner_and_found_again() {
        let (cx, dir) = (Cx::system(), tempfile::tempdir().unwrap());
        let path = dir.path().join("master.key");
        assert!(MasterKey::load(&path).unwrap_err().detail().contains("put it back from the backup"));
        let first = MasterKey::load_or_create(&path, &cx).unwrap();
        let envelope = first.seal(&cx, "test", b"secret").unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.len()), (0o600, 32));
        for again in [MasterKey::load(&path).unwrap(), MasterKey::load_or_create(&path, &cx).unwrap()] {
            assert_eq!(again.open("test", &envelope).unwrap().expose(), b"secret");
        }
    }

    #[test]
    fn processes_that_start_at_once_agree_on_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let ids: Vec<KeyId> = std::thread::scope(|scope| {
            let start = || MasterKey::load_or_create(&path, &Cx::system()).unwrap().id();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]));
    }

    #[test]
    fn a_key_left_half_written_by_a_crash_is_not_taken_for_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        fs::write(dir.path().join(".master.key.tmp"), [7; 32]).unwrap();
        let made = MasterKey::load_or_create(&path, &Cx::system()).unwrap();
        assert_ne!(fs::read(&path).unwrap(), [7; 32]);
        assert_eq!(MasterKey::load(&path).unwrap().id(), made.id());
    }

    #[test]
    fn a_key_of_wrong_mode_or_length_is_refused_and_left_alone() {
        let (cx, dir) = (Cx::system(), tempfile::tempdir().unwrap());
        let path = dir.path().join("master.key");
        MasterKey::load_or_create(&path, &cx).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(MasterKey::load_or_create(&path, &cx).unwrap_err().detail().contains("chmod 600"));
        for (length, said) in [(0, "has 0 bytes"), (31, "has 31 bytes"), (33, "larger than 32 bytes")] {
            secret_file::write(&path, secret_file::PRIVATE, &vec![1; length]).unwrap();
            let detail = MasterKey::load_or_create(&path, &cx).unwrap_err().detail();
            assert!(detail.contains(said), "{detail}");
            assert_eq!(fs::metadata(&path).unwrap().len(), length as u64);
        }
    }

    #[test]
    fn an_envelope_opens_for_its_purpose_and_key_only() {
        let (cx, key) = (Cx::system(), key());
        let envelope = key.seal(&cx, "users.totp:1", b"secret").unwrap();
        assert_eq!(envelope.len(), b"secret".len() + 97);
        assert_eq!(key.open("users.totp:1", &envelope).unwrap().expose(), b"secret");
        assert!(key.open("users.totp:2", &envelope).is_err());
        let other = super::tests::key();
        let detail = other.open("users.totp:1", &envelope).unwrap_err().detail();
        assert!(
            detail.contains(&key.id().to_string()) && detail.contains(&other.id().to_string()),
            "{detail}"
        );
    }

    #[test]
    fn a_change_of_any_byte_and_a_cut_anywhere_are_noticed() {
        let (cx, key) = (Cx::system(), key());
        let envelope = key.seal(&cx, "test", b"secret").unwrap();
        for at in 0..envelope.len() {
            let mut changed = envelope.clone();
            changed[at] ^= 1;
            assert!(key.open("test", &changed).is_err(), "byte {at}");
            assert!(key.open("test", &envelope[..at]).is_err(), "cut at {at}");
        }
        assert!(key.open("test", &[&envelope[..], b"x"].concat()).is_err());
    }

    #[test]
    fn parts_of_two_envelopes_do_not_make_a_third() {
        let (cx, key) = (Cx::system(), key());
        let one = key.seal(&cx, "test", b"one").unwrap();
        let two = key.seal(&cx, "test", b"two").unwrap();
        assert!(key.open("test", &[&one[..DATA_AT], &two[DATA_AT..]].concat()).is_err());
    }

    #[test]
    fn what_is_too_large_is_not_sealed() {
        let (cx, key) = (Cx::system(), key());
        let largest = key.seal(&cx, "test", &vec![0; PLAINTEXT_MAX]).unwrap();
        assert_eq!(key.open("test", &largest).unwrap().expose().len(), PLAINTEXT_MAX);
        assert!(key.seal(&cx, "test", &vec![0; PLAINTEXT_MAX + 1]).is_err());
    }

    #[test]
    fn subkeys_and_keyed_hashes_differ_by_purpose_and_key_and_stay_the_same_otherwise() {
        let (key, other) = (key(), key());
        assert!(key.subkey("a").unwrap() == key.subkey("a").unwrap());
        assert!(key.subkey("a").unwrap() != key.subkey("b").unwrap());
        assert!(key.subkey("a").unwrap() != other.subkey("a").unwrap());
        assert!(key.keyed_hash("a", b"x").unwrap() == key.keyed_hash("a", b"x").unwrap());
        assert!(key.keyed_hash("a", b"x").unwrap() != key.keyed_hash("a", b"y").unwrap());
        assert!(key.keyed_hash("a", b"x").unwrap() != key.keyed_hash("b", b"x").unwrap());
        assert!(key.subkey("").unwrap() != key.wrapping, "no purpose reaches the wrapping key");
    }

    #[test]
    fn a_master_key_prints_its_id_alone() {
        let key = key();
        assert_eq!(format!("{key:?}"), format!("MasterKey {{ id: {}, .. }}", key.id()));
    }

    #[test]
    fn whatever_is_sealed_opens_and_whatever_is_not_fails() {
        let (cx, key) = (Cx::system(), key());
        proptest!(|(plaintext: Vec<u8>, purpose: String)| {
            let envelope = key.seal(&cx, &purpose, &plaintext).unwrap();
            let opened = key.open(&purpose, &envelope).unwrap();
            prop_assert_eq!(opened.expose(), &plaintext);
            prop_assert!(key.open(&purpose, &plaintext).is_err());
        });
    }
}
