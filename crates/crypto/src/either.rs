//! Tokens of both kinds: one kind is made, both are opened, so that the kind can be changed while tokens are out.

use std::time::Duration;

use hanse_core::{Cx, Error, Result, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::jws::{JwsTokens, Signed, SigningKeys};
use crate::tokens::{FernetKeys, FernetTokens, refused};

/// Which kind of token is made; named as Keystone names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenProvider {
    /// Sealed: nobody else can read it.
    #[default]
    Fernet,
    /// Signed: whoever has it can read it, and whoever has the published keys can verify it.
    Jws,
}

/// What a token says, in the form of each kind.
pub trait Content: Sized {
    /// What a signed token claims beside its times.
    type Claims: Serialize + DeserializeOwned;

    fn to_bytes(&self) -> Vec<u8>;

    /// `None` if [`Content::to_bytes`] does not write this.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;

    /// When it was issued, and when it ends.
    fn times(&self) -> (Timestamp, Timestamp);

    fn to_claims(&self) -> Self::Claims;

    /// `None` if [`Content::to_claims`] does not say this.
    fn from_claims(signed: Signed<Self::Claims>) -> Option<Self>;
}

/// Makes tokens of one kind and opens those of both.
pub struct Tokens {
    provider: TokenProvider,
    fernet: FernetTokens,
    /// Absent as long as no signed token was ever to be made.
    jws: Option<JwsTokens>,
}

impl Tokens {
    /// Makes the keys that are missing and reads them all: those of sealed tokens always, since receipts are sealed
    /// too; those of signed ones if such tokens are to be made, or were.
    ///
    /// # Errors
    /// Internal if keys cannot be made, others may read them, or a file is not a key.
    pub fn load(
        cx: &Cx,
        provider: TokenProvider,
        fernet: FernetKeys,
        signing: SigningKeys,
    ) -> Result<Tokens> {
        fernet.create(cx)?;
        if provider == TokenProvider::Jws {
            signing.create(cx)?;
        }
        let jws = if signing.exists() { Some(JwsTokens::load(signing)?) } else { None };
        Ok(Tokens { provider, fernet: FernetTokens::load(fernet)?, jws })
    }

    /// Sealed text that is no token, such as receipts, which are never signed.
    pub fn fernet(&self) -> &FernetTokens {
        &self.fernet
    }

    /// # Errors
    /// Internal if the content is too long for a token.
    pub fn seal<C: Content>(&self, cx: &Cx, content: &C) -> Result<String> {
        match (self.provider, &self.jws) {
            (TokenProvider::Fernet, _) => self.fernet.seal(cx, &content.to_bytes()),
            (TokenProvider::Jws, Some(jws)) => {
                let (issued_at, expires_at) = content.times();
                jws.sign(issued_at, expires_at, &content.to_claims())
            }
            (TokenProvider::Jws, None) => Err(Error::internal("there are no keys for signed tokens")),
        }
    }

    /// What a token of either kind says. Whether it has expired is for the content to judge.
    ///
    /// # Errors
    /// 401 if it is no token of our keys, or says something else.
    pub fn open<C: Content>(&self, token: &str) -> Result<C> {
        // Base64 has no dots; a signed token has two.
        let content = match &self.jws {
            Some(jws) if token.contains('.') => C::from_claims(jws.verify(token)?),
            _ => C::from_bytes(&self.fernet.open(token)?),
        };
        content.ok_or_else(refused)
    }

    /// See [`FernetTokens::keep_fresh`]: the same for the keys of both kinds, of which neither waits for the other.
    ///
    /// # Errors
    /// As there, for the first that failed.
    pub fn keep_fresh(&self, cx: &Cx, every: Duration) -> Result<bool> {
        let fernet = self.fernet.keep_fresh(cx, every);
        let jws = self.jws.as_ref().map_or(Ok(false), |jws| jws.keep_fresh(cx, every));
        Ok(fernet? | jws?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hanse_core::{Kind, ManualClock, OsRandom};
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_250_000);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Word(String);

    impl Content for Word {
        type Claims = Value;

        fn to_bytes(&self) -> Vec<u8> {
            format!("W{}", self.0).into_bytes()
        }

        fn from_bytes(bytes: &[u8]) -> Option<Word> {
            std::str::from_utf8(bytes).ok()?.strip_prefix('W').map(|word| Word(word.to_owned()))
        }

        fn times(&self) -> (Timestamp, Timestamp) {
            (NOW, NOW.plus(DAY))
        }

        fn to_claims(&self) -> Value {
            json!({ "word": self.0 })
        }

        fn from_claims(signed: Signed<Value>) -> Option<Word> {
            Some(Word(signed.claims.get("word")?.as_str()?.to_owned()))
        }
    }

    fn at(now: Timestamp) -> (Cx, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(now));
        (Cx::new(clock.clone(), Arc::new(OsRandom)), clock)
    }

    fn load(cx: &Cx, dir: &TempDir, provider: TokenProvider) -> Tokens {
        let (fernet, signing) = (dir.path().join("fernet"), dir.path().join("signing"));
        Tokens::load(cx, provider, FernetKeys::new(fernet), SigningKeys::new(signing)).unwrap()
    }

    #[test]
    fn tokens_of_the_other_kind_stay_good_when_the_kind_is_changed_and_changed_back() {
        let ((cx, _), dir) = (at(NOW), tempfile::tempdir().unwrap());
        let word = Word("x".to_owned());
        let sealed = load(&cx, &dir, TokenProvider::Fernet).seal(&cx, &word).unwrap();
        assert!(!dir.path().join("signing").exists(), "no keys for what is not made");
        let both = load(&cx, &dir, TokenProvider::Jws);
        let signed = both.seal(&cx, &word).unwrap();
        assert_eq!((sealed.matches('.').count(), signed.matches('.').count()), (0, 2));
        let again = load(&cx, &dir, TokenProvider::Fernet);
        assert!(!again.seal(&cx, &word).unwrap().contains('.'));
        for tokens in [both, again] {
            for token in [&sealed, &signed] {
                assert_eq!(tokens.open::<Word>(token).unwrap(), word);
            }
        }
    }

    #[test]
    fn what_is_sealed_beside_tokens_is_no_token_and_other_keys_open_none() {
        let ((cx, _), ours, theirs) = (at(NOW), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for provider in [TokenProvider::Fernet, TokenProvider::Jws] {
            let (ours, theirs) = (load(&cx, &ours, provider), load(&cx, &theirs, provider));
            let receipt = ours.fernet().seal(&cx, b"R").unwrap();
            let foreign = theirs.seal(&cx, &Word("x".to_owned())).unwrap();
            for none in [&receipt, &foreign, "", ".", "..", "a.b.c"] {
                assert_eq!(ours.open::<Word>(none).unwrap_err().kind(), Kind::Unauthorized, "{none}");
            }
        }
    }

    #[test]
    fn the_keys_of_both_kinds_are_rotated_when_it_is_due() {
        let ((cx, clock), dir) = (at(NOW), tempfile::tempdir().unwrap());
        let tokens = load(&cx, &dir, TokenProvider::Jws);
        let (word, primary) = (Word("x".to_owned()), |kind: &str| dir.path().join(kind).join("2").exists());
        let signed = tokens.seal(&cx, &word).unwrap();
        assert!(!tokens.keep_fresh(&cx, DAY).unwrap());
        clock.advance(DAY);
        assert!(tokens.keep_fresh(&cx, DAY).unwrap());
        assert!(primary("fernet") && primary("signing"));
        assert_eq!(tokens.open::<Word>(&signed).unwrap(), word);
    }

    #[test]
    fn any_content_comes_back_from_both_kinds() {
        let ((cx, _), dir) = (at(NOW), tempfile::tempdir().unwrap());
        let both = [TokenProvider::Fernet, TokenProvider::Jws].map(|provider| load(&cx, &dir, provider));
        proptest!(|(word in ".{0,200}")| {
            for tokens in &both {
                let token = tokens.seal(&cx, &Word(word.clone())).unwrap();
                prop_assert_eq!(tokens.open::<Word>(&token).unwrap(), Word(word.clone()));
            }
        });
    }
}
