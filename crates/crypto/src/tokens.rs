//! Fernet tokens: a payload sealed so that nobody without the keys can read or change it.
//!
//! The format is the public Fernet specification, version 0x80, so Keystone's own tools open these tokens when they
//! are given the keys.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use fernet::Fernet;
use hanse_core::{Cx, Error, Result, Secret};

use crate::key_directory::{KeyDirectory, KeyKind, KeyRing};

/// The longest token that is made or looked at, in bytes.
pub const TOKEN_MAX: usize = 4096;

/// The clock that the library is given to open a token. It refuses tokens more than 60 s from the future, which is
/// for the payload to judge: at the end of time (less those 60 s, which it adds) nothing is.
const END_OF_TIME: u64 = u64::MAX - 60;

/// The keys of Fernet tokens on disk, each 32 bytes in URL-safe base64.
pub type FernetKeys = KeyDirectory<Fernet>;

impl KeyKind for Fernet {
    const NAME: &'static str = "Fernet key";
    /// A key in base64 has 44 bytes; editors add a line break.
    const FILE_MAX: usize = 64;
    const CRASH_POINTS: [&'static str; 3] = ["fernet.promoted", "fernet.staged", "fernet.dropped"];

    fn make(cx: &Cx) -> Result<Secret<Vec<u8>>> {
        let key = Secret::new(cx.bytes::<32>());
        Ok(Secret::new(URL_SAFE.encode(key.expose()).into_bytes()))
    }

    fn parse(content: &[u8]) -> Option<Fernet> {
        Fernet::new(std::str::from_utf8(content).ok()?.trim_ascii_end())
    }
}

/// Seals and opens tokens with the keys of a [`FernetKeys`] directory, held in memory.
pub struct FernetTokens(KeyRing<Fernet>);

impl FernetTokens {
    /// Reads the keys.
    ///
    /// # Errors
    /// Internal if there is no primary key, others may read the keys, or a file is not a key.
    pub fn load(keys: FernetKeys) -> Result<FernetTokens> {
        KeyRing::load(keys).map(FernetTokens)
    }

    /// Reads the keys again, after a rotation by this or another process. On error the present ones stay in use.
    ///
    /// # Errors
    /// As for [`FernetTokens::load`].
    pub fn reload(&self) -> Result<()> {
        self.0.reload()
    }

    /// For a periodic task: [`KeyDirectory::rotate_if_due`], then [`FernetTokens::reload`]. Tells whether this call
    /// rotated. See [`KeyDirectory`] for how often to call it and what `every` has to be.
    ///
    /// # Errors
    /// As for both. If only the rotation failed, what another process has rotated is in use all the same.
    pub fn keep_fresh(&self, cx: &Cx, every: Duration) -> Result<bool> {
        self.0.keep_fresh(cx, every)
    }

    /// A token of the payload, without the `=` at its end that base64 would have, as Keystone writes it. Its
    /// timestamp is that of `cx`; its initialisation vector comes from the operating system, because the library
    /// takes none.
    ///
    /// # Errors
    /// Internal if the token would be longer than [`TOKEN_MAX`] (a payload of about 3,000 bytes).
    pub fn seal(&self, cx: &Cx, payload: &[u8]) -> Result<String> {
        let too_long =
            || Error::internal(format!("a payload of {} bytes is too long for a token", payload.len()));
        if payload.len() > TOKEN_MAX {
            return Err(too_long());
        }
        let keys = self.0.keys();
        let primary = keys.first().ok_or_else(|| Error::internal("there is no primary Fernet key"))?;
        let seconds = u64::try_from(cx.now().seconds()).unwrap_or(0);
        let mut token = primary.encrypt_at_time(payload, seconds);
        token.truncate(token.trim_end_matches('=').len());
        if token.len() > TOKEN_MAX {
            return Err(too_long());
        }
        Ok(token)
    }

    /// The payload of a token, with or without `=` at its end. Whether it has expired is for the payload to say: the
    /// timestamp is not judged.
    ///
    /// # Errors
    /// 401 if it is longer than [`TOKEN_MAX`], is no token, was changed, or was sealed with a key that is gone.
    pub fn open(&self, token: &str) -> Result<Vec<u8>> {
        let bare = token.trim_end_matches('=');
        if token.len() > TOKEN_MAX || token.len() - bare.len() > 2 {
            return Err(refused());
        }
        let keys = self.0.keys();
        keys.iter().find_map(|key| key.decrypt_at_time(bare, None, END_OF_TIME).ok()).ok_or_else(refused)
    }
}

/// One answer for all that is wrong with a token, so that it teaches nothing.
pub(crate) fn refused() -> Error {
    Error::unauthorized("The token is not valid.")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use hanse_core::{Kind, ManualClock, OsRandom, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::secret_file;

    fn tokens() -> FernetTokens {
        let (cx, dir) = (Cx::system(), tempfile::tempdir().unwrap());
        let keys = FernetKeys::new(dir.path().join("fernet"));
        keys.create(&cx).unwrap();
        FernetTokens::load(keys).unwrap()
    }

    #[test]
    fn a_token_is_opened_with_and_without_padding() {
        let (cx, tokens) = (Cx::system(), tokens());
        for length in 0..40 {
            let payload = vec![7; length];
            let token = tokens.seal(&cx, &payload).unwrap();
            assert!(!token.contains('='));
            assert_eq!(tokens.open(&token).unwrap(), payload);
            let padded = format!("{token}{}", "=".repeat((4 - token.len() % 4) % 4));
            assert_eq!(tokens.open(&padded).unwrap(), payload);
            assert!(tokens.open(&format!("{token}===")).is_err());
        }
    }

    #[test]
    fn the_example_of_the_fernet_specification_is_understood() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fernet");
        secret_file::private_dir(&path).unwrap();
        let key = b"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
        secret_file::write(&path.join("1"), secret_file::PRIVATE, key).unwrap();
        let tokens = FernetTokens::load(FernetKeys::new(path)).unwrap();
        let token = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";
        assert_eq!(tokens.open(token).unwrap(), b"hello");
    }

    #[test]
    fn the_timestamp_is_that_of_the_context_and_is_not_judged() {
        let tokens = tokens();
        for seconds in [0, 1_800_000_000, 99_999_999_999] {
            let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(seconds)));
            let token = tokens.seal(&Cx::new(clock, Arc::new(OsRandom)), b"x").unwrap();
            let raw = URL_SAFE_NO_PAD.decode(&token).unwrap();
            assert_eq!(raw[1..9], seconds.to_be_bytes());
            assert_eq!(tokens.open(&token).unwrap(), b"x");
        }
    }

    #[test]
    fn a_token_that_would_be_too_long_is_not_made_and_not_looked_at() {
        let (cx, tokens) = (Cx::system(), tokens());
        let token = tokens.seal(&cx, &[0; 2990]).unwrap();
        assert!(token.len() <= TOKEN_MAX);
        tokens.open(&token).unwrap();
        assert_eq!(tokens.seal(&cx, &[0; 3100]).unwrap_err().kind(), Kind::Internal);
        assert_eq!(tokens.open(&"g".repeat(TOKEN_MAX + 1)).unwrap_err().kind(), Kind::Unauthorized);
    }

    #[test]
    fn another_clouds_token_is_unauthorized() {
        let token = tokens().seal(&Cx::system(), b"x").unwrap();
        assert_eq!(tokens().open(&token).unwrap_err().kind(), Kind::Unauthorized);
    }

    #[test]
    fn no_string_opens_or_panics() {
        let tokens = tokens();
        proptest!(|(text in any::<String>())| {
            prop_assert_eq!(tokens.open(&text).unwrap_err().kind(), Kind::Unauthorized);
        });
    }

    #[test]
    fn no_bytes_in_base64_open_or_panic() {
        let tokens = tokens();
        proptest!(|(mut bytes in prop::collection::vec(any::<u8>(), 0..200), version: bool)| {
            if let (true, Some(first)) = (version, bytes.first_mut()) {
                *first = 0x80;
            }
            let text = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(tokens.open(&text).unwrap_err().kind(), Kind::Unauthorized);
        });
    }

    #[test]
    fn a_token_with_one_byte_changed_is_refused() {
        let tokens = tokens();
        let token = URL_SAFE_NO_PAD.decode(tokens.seal(&Cx::system(), b"payload").unwrap()).unwrap();
        proptest!(|(at in 0..token.len(), change in 1_u8..)| {
            let mut raw = token.clone();
            raw[at] ^= change;
            prop_assert!(tokens.open(&URL_SAFE_NO_PAD.encode(raw)).is_err());
        });
    }
}
