//! Hashes of secrets that we make ourselves, such as those of application credentials: fast, because nobody can guess
//! what was chosen at random, and keyed, so that the database alone gives nothing to try against.
//!
//! A secret that a person chose is a password: give it to [`crate::PasswordHasher`].

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hanse_core::{Cx, Error, Result, Secret};

use crate::{MasterKey, PASSWORD_MAX};

/// What a hash begins with; the id of the master key and the HMAC follow.
const IDENT: &str = "$hanse-hmac-sha256$";

/// A new secret as Keystone makes it: 64 random bytes, which are 86 characters of URL-safe base64.
pub fn generate(cx: &Cx) -> Secret<String> {
    let bytes = Secret::new(cx.bytes::<64>());
    Secret::new(URL_SAFE_NO_PAD.encode(bytes.expose()))
}

/// The text to store. `purpose` is bound to it: name table, column and row, so that whoever writes to the database
/// cannot give one row the secret of another.
///
/// # Errors
/// Internal if the secret is longer than [`PASSWORD_MAX`] bytes, which none of ours is.
pub fn hash(master: &MasterKey, purpose: &str, secret: &Secret<String>) -> Result<String> {
    if secret.expose().len() > PASSWORD_MAX {
        return Err(Error::internal(format!("a secret for {purpose} is longer than {PASSWORD_MAX} bytes")));
    }
    let hash = master.keyed_hash(purpose, secret.expose().as_bytes())?;
    Ok(format!("{IDENT}{}${}", master.id(), URL_SAFE_NO_PAD.encode(hash.expose())))
}

/// Whether `stored` was made by [`hash`] and not by a [`crate::PasswordHasher`] or Keystone.
pub fn is_hash(stored: &str) -> bool {
    stored.starts_with(IDENT)
}

/// Whether `stored` is the hash of this secret for this purpose. It takes microseconds, so it needs no pool.
///
/// # Errors
/// Internal if `stored` is no such hash or was made with another master key.
pub fn verify(master: &MasterKey, purpose: &str, secret: &Secret<String>, stored: &str) -> Result<bool> {
    let id = stored.strip_prefix(IDENT).and_then(|rest| rest.split_once('$')).map(|(id, _)| id);
    let id = id.ok_or_else(|| Error::internal(format!("the stored hash of {purpose} is not one")))?;
    if id != master.id().to_string() {
        return Err(Error::internal(format!(
            "the stored hash of {purpose} needs another master key than {}: put the right one back from the backup",
            master.id()
        )));
    }
    if secret.expose().len() > PASSWORD_MAX {
        return Ok(false);
    }
    Ok(Secret::new(hash(master, purpose, secret)?) == Secret::new(stored.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn master() -> MasterKey {
        let dir = tempfile::tempdir().unwrap();
        MasterKey::load_or_create(&dir.path().join("master.key"), &Cx::system()).unwrap()
    }

    #[test]
    fn generated_secrets_have_512_bits_and_are_all_different() {
        let cx = Cx::system();
        let secrets: BTreeSet<String> = (0..100).map(|_| generate(&cx).expose().clone()).collect();
        assert_eq!(secrets.len(), 100);
        assert!(secrets.iter().all(|secret| URL_SAFE_NO_PAD.decode(secret).unwrap().len() == 64));
    }

    #[test]
    fn a_secret_verifies_for_its_own_purpose_alone() {
        let (cx, master) = (Cx::system(), master());
        let (secret, other) = (generate(&cx), generate(&cx));
        let stored = hash(&master, "app_credential.secret:1", &secret).unwrap();
        assert!(verify(&master, "app_credential.secret:1", &secret, &stored).unwrap());
        assert!(!verify(&master, "app_credential.secret:1", &other, &stored).unwrap());
        assert!(!verify(&master, "app_credential.secret:2", &secret, &stored).unwrap());
        assert!(!verify(&master, "app_credential.secret:1", &Secret::default(), &stored).unwrap());
        let long = Secret::new("x".repeat(PASSWORD_MAX + 1));
        assert!(!verify(&master, "app_credential.secret:1", &long, &stored).unwrap());
        assert!(hash(&master, "x", &long).is_err());
    }

    #[test]
    fn the_stored_text_says_nothing_about_the_secret_without_the_master_key() {
        let (cx, one, two) = (Cx::system(), master(), master());
        let secret = generate(&cx);
        let stored = hash(&one, "x", &secret).unwrap();
        let under_two = hash(&two, "x", &secret).unwrap();
        assert_ne!(stored.rsplit_once('$').unwrap().1, under_two.rsplit_once('$').unwrap().1);
        let error = verify(&two, "x", &secret, &stored).unwrap_err();
        assert!(error.detail().contains("another master key"), "{error:?}");
    }

    #[test]
    fn a_change_of_any_byte_is_noticed() {
        let (cx, master) = (Cx::system(), master());
        let secret = generate(&cx);
        let stored = hash(&master, "x", &secret).unwrap();
        for at in 0..stored.len() {
            let mut changed = stored.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(!matches!(verify(&master, "x", &secret, &changed), Ok(true)), "byte {at}");
            assert!(!matches!(verify(&master, "x", &secret, &stored[..at]), Ok(true)), "cut at {at}");
        }
    }

    #[test]
    fn hashes_of_passwords_are_told_apart() {
        let master = master();
        let stored = hash(&master, "x", &generate(&Cx::system())).unwrap();
        assert!(is_hash(&stored));
        for other in ["$argon2id$v=19$m=8,t=1,p=1$a$b", "$2b$04$x", ""] {
            assert!(!is_hash(other));
            assert!(verify(&master, "x", &Secret::default(), other).is_err());
        }
    }
}
