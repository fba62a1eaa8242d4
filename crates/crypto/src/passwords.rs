//! Password hashes: Argon2id as PHC strings, computed on threads of their own so that the validation of tokens
//! never waits behind logins.

use std::fmt::Display;
use std::num::NonZero;
use std::thread;

use argon2::password_hash::{Output, ParamsString, PasswordHash, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use hanse_core::{Cx, Error, Result, Secret};

use crate::pool::Pool;
use crate::{scratch, stored_hash};

/// The longest password that is looked at, in bytes: hashing it is work that anybody can ask for.
pub const PASSWORD_MAX: usize = 4096;
const SALT_BYTES: usize = 16;

/// What a stored hash says about a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It is the password. If the hash is `outdated`, replace it by [`PasswordHasher::hash`] of this password.
    Match {
        outdated: bool,
    },
    Mismatch,
}

impl Verdict {
    pub fn is_match(self) -> bool {
        matches!(self, Verdict::Match { .. })
    }

    /// Whether the password is right and its hash should be replaced now that the password is at hand.
    pub fn is_outdated(self) -> bool {
        matches!(self, Verdict::Match { outdated: true })
    }
}

/// How expensive a hash is and how much of the machine logins may take.
#[derive(Clone, Debug)]
pub struct PasswordConfig {
    /// Memory per hash in KiB.
    pub memory_kib: u32,
    /// Passes over that memory.
    pub iterations: u32,
    /// Lanes; more than one only pays on idle cores.
    pub parallelism: u32,
    /// Threads that hash; each needs `memory_kib` while it does.
    pub threads: usize,
    /// Jobs that may wait for a thread before the next is refused with 429.
    pub queue: usize,
}

impl PasswordConfig {
    /// OWASP Password Storage Cheat Sheet, Argon2id: 19 MiB, two iterations, one lane.
    pub const MEMORY_KIB: u32 = 19_456;
    pub const ITERATIONS: u32 = 2;
    pub const PARALLELISM: u32 = 1;
    /// With two threads and 30 ms for each hash the last of the queue waits for about a second.
    pub const QUEUE: usize = 64;

    /// The cheapest that Argon2 allows, for tests alone.
    pub fn cheap_for_tests() -> PasswordConfig {
        PasswordConfig { memory_kib: 8, iterations: 1, parallelism: 1, threads: 1, queue: 64 }
    }
}

impl Default for PasswordConfig {
    fn default() -> PasswordConfig {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        PasswordConfig {
            memory_kib: PasswordConfig::MEMORY_KIB,
            iterations: PasswordConfig::ITERATIONS,
            parallelism: PasswordConfig::PARALLELISM,
            threads: (cores / 2).max(1),
            queue: PasswordConfig::QUEUE,
        }
    }
}

/// Hashes and verifies passwords on a bounded pool of threads, which end when this is dropped.
pub struct PasswordHasher {
    pool: Pool,
    argon2: Argon2<'static>,
    /// Verified against in place of the hash of a user who does not exist.
    dummy: String,
}

impl PasswordHasher {
    /// Starts the threads.
    ///
    /// # Errors
    /// Internal if the parameters are outside of what Argon2 allows or no thread can be started.
    pub fn start(cx: &Cx, config: &PasswordConfig) -> Result<PasswordHasher> {
        let params = Params::new(config.memory_kib, config.iterations, config.parallelism, None)
            .map_err(|error| Error::internal(format!("Argon2 refuses its parameters {config:?}: {error}")))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let dummy = argon2_hash(&argon2, &cx.bytes::<32>(), &cx.bytes())?;
        // This thread hashes no more.
        scratch::release();
        let pool = Pool::start("password", config.threads, config.queue, scratch::release)?;
        Ok(PasswordHasher { pool, argon2, dummy })
    }

    /// The PHC string to store. The salt comes from `cx`.
    ///
    /// # Errors
    /// 400 if the password is longer than [`PASSWORD_MAX`] bytes; 429 if too many wait already; 408 if the request's
    /// deadline passed while it waited.
    pub async fn hash(&self, cx: &Cx, password: Secret<String>) -> Result<String> {
        check_length(&password)?;
        let (cx, argon2, salt) = (cx.clone(), self.argon2.clone(), cx.bytes());
        self.pool
            .run(move || {
                cx.check_deadline()?;
                argon2_hash(&argon2, password.expose().as_bytes(), &salt)
            })
            .await?
    }

    /// Whether `hash` is a hash of the password. Pass `None` if there is no such user: that takes as long as a hash
    /// of ours, and the answer is no.
    ///
    /// Argon2 is understood with any parameters, and whatever Keystone stores: bcrypt, `bcrypt_sha256`, scrypt and
    /// `pbkdf2_sha512`. All but Argon2id with at least our memory and iterations is outdated. A hash brought from
    /// elsewhere takes its own time until the first login has replaced it; so long somebody who measures can tell
    /// that its user exists.
    ///
    /// # Errors
    /// 400 if the password is longer than [`PASSWORD_MAX`] bytes; 429 if too many wait already; internal if the stored
    /// hash is not one, or asks for more memory or time than is reasonable.
    pub async fn verify(&self, password: Secret<String>, hash: Option<String>) -> Result<Verdict> {
        check_length(&password)?;
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy.clone());
        let argon2 = self.argon2.clone();
        let verify = move || stored_hash::verify(password.expose().as_bytes(), &hash, argon2.params());
        let verdict = self.pool.run(verify).await??;
        // Only now: the work above is done in either case.
        Ok(if known { verdict } else { Verdict::Mismatch })
    }
}

fn check_length(password: &Secret<String>) -> Result<()> {
    if password.expose().len() > PASSWORD_MAX {
        return Err(Error::bad_request(format!("The password is longer than {PASSWORD_MAX} bytes.")));
    }
    Ok(())
}

fn argon2_hash(argon2: &Argon2<'_>, password: &[u8], salt: &[u8; SALT_BYTES]) -> Result<String> {
    let failed = |error: &dyn Display| Error::internal(format!("cannot hash a password: {error}"));
    let mut hash = [0; Params::DEFAULT_OUTPUT_LEN];
    scratch::hash_into(argon2, password, salt, &mut hash).map_err(|error| failed(&error))?;
    let text = SaltString::encode_b64(salt).map_err(|error| failed(&error))?;
    Ok(PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(argon2.params()).map_err(|error| failed(&error))?,
        salt: Some(text.as_salt()),
        hash: Some(Output::new(&hash).map_err(|error| failed(&error))?),
    }
    .to_string())
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::time::Duration;

    use hanse_core::{Kind, ManualClock, OsRandom, SeededRandom, Timestamp};

    use super::*;
    use crate::pool::tests::{gate, submit};

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    fn hasher() -> PasswordHasher {
        PasswordHasher::start(&Cx::system(), &PasswordConfig::cheap_for_tests()).unwrap()
    }

    #[tokio::test]
    async fn a_password_verifies_against_its_own_hash_only() {
        let (cx, hasher) = (Cx::system(), hasher());
        let hash = hasher.hash(&cx, secret("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        let verdict = hasher.verify(secret("correct horse"), Some(hash.clone())).await.unwrap();
        assert_eq!(verdict, Verdict::Match { outdated: false });
        assert_eq!(hasher.verify(secret("battery staple"), Some(hash)).await.unwrap(), Verdict::Mismatch);
    }

    #[tokio::test]
    async fn memory_is_kept_from_hash_to_hash_by_the_threads_that_hash_alone() {
        let (cx, hasher) = (Cx::system(), hasher());
        assert_eq!(scratch::kept(), 0);
        let hash = hasher.hash(&cx, secret("x")).await.unwrap();
        assert_eq!(hasher.pool.run(scratch::kept).await.unwrap(), 8);
        // A hash that needs more than the one before, and one that needs less.
        let params = Params::new(64, 1, 1, None).unwrap();
        let larger = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let larger = argon2_hash(&larger, b"x", &[7; SALT_BYTES]).unwrap();
        assert!(hasher.verify(secret("x"), Some(larger)).await.unwrap().is_match());
        assert!(hasher.verify(secret("x"), Some(hash)).await.unwrap().is_match());
        assert_eq!(hasher.pool.run(scratch::kept).await.unwrap(), 64);
        hasher.pool.run(scratch::release).await.unwrap();
        assert_eq!(hasher.pool.run(scratch::kept).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn the_default_parameters_are_those_of_owasp() {
        let (cx, hasher) =
            (Cx::system(), PasswordHasher::start(&Cx::system(), &PasswordConfig::default()).unwrap());
        let hash = hasher.hash(&cx, secret("x")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(hasher.verify(secret("x"), Some(hash)).await.unwrap().is_match());
    }

    #[tokio::test]
    async fn the_salt_comes_from_the_context() {
        let hasher = hasher();
        let cx = || Cx::new(Arc::new(ManualClock::at(Timestamp(0))), Arc::new(SeededRandom::new(1)));
        let again = cx();
        let first = hasher.hash(&again, secret("x")).await.unwrap();
        assert_eq!(first, hasher.hash(&cx(), secret("x")).await.unwrap());
        assert_ne!(first, hasher.hash(&again, secret("x")).await.unwrap());
    }

    #[tokio::test]
    async fn an_unknown_user_costs_a_hash_of_the_same_shape_and_is_never_let_in() {
        let (cx, hasher) = (Cx::system(), hasher());
        let real = hasher.hash(&cx, secret("x")).await.unwrap();
        let (real, dummy) = (PasswordHash::new(&real).unwrap(), PasswordHash::new(&hasher.dummy).unwrap());
        assert_eq!((real.algorithm, real.version), (dummy.algorithm, dummy.version));
        assert_eq!(Params::try_from(&real).unwrap(), Params::try_from(&dummy).unwrap());
        assert_eq!(real.salt.unwrap().len(), dummy.salt.unwrap().len());
        assert_eq!(real.hash.unwrap().len(), dummy.hash.unwrap().len());
        assert_eq!(hasher.verify(secret("x"), None).await.unwrap(), Verdict::Mismatch);

        // Even somebody who guessed the password behind the dummy stays out.
        let mut guessed = hasher;
        guessed.dummy = guessed.hash(&cx, secret("guessed")).await.unwrap();
        assert_eq!(guessed.verify(secret("guessed"), None).await.unwrap(), Verdict::Mismatch);
    }

    #[tokio::test]
    async fn an_unknown_user_queues_like_a_known_one() {
        let config = PasswordConfig { queue: 1, ..PasswordConfig::cheap_for_tests() };
        let hasher = PasswordHasher::start(&Cx::system(), &config).unwrap();
        let (work, begun, open) = gate();
        let mut busy = pin!(hasher.pool.run(work));
        assert!(submit(busy.as_mut()).is_pending());
        begun.recv().unwrap();

        let mut unknown = pin!(hasher.verify(secret("x"), None));
        assert!(submit(unknown.as_mut()).is_pending());
        let refused = hasher.hash(&Cx::system(), secret("x")).await.unwrap_err();
        assert!(matches!(refused.kind(), Kind::RateLimited { .. }));
        let refused = hasher.verify(secret("x"), None).await.unwrap_err();
        assert!(matches!(refused.kind(), Kind::RateLimited { .. }));

        drop(open);
        busy.await.unwrap();
        assert_eq!(unknown.await.unwrap(), Verdict::Mismatch);
    }

    #[tokio::test]
    async fn a_password_over_the_limit_is_refused_for_known_and_unknown_alike() {
        let (cx, hasher) = (Cx::system(), hasher());
        let longest = "x".repeat(PASSWORD_MAX);
        hasher.hash(&cx, secret(&longest)).await.unwrap();
        let longer = longest + "x";
        assert_eq!(hasher.hash(&cx, secret(&longer)).await.unwrap_err().kind(), Kind::BadRequest);
        assert_eq!(hasher.verify(secret(&longer), None).await.unwrap_err().kind(), Kind::BadRequest);
    }

    #[tokio::test]
    async fn a_hash_from_keystone_lets_in_and_is_replaced_by_one_that_is_not_outdated() {
        let (cx, hasher) = (Cx::system(), hasher());
        let stored = "$2b$04$6RZ8Ezbmxgcrq.FHPLg5rO3EXESQtXpccLzZZ8v0my3enlQL.0esC".to_owned();
        assert!(!hasher.verify(secret("battery staple"), Some(stored.clone())).await.unwrap().is_match());
        assert!(hasher.verify(secret("correct horse"), Some(stored)).await.unwrap().is_outdated());
        let replaced = hasher.hash(&cx, secret("correct horse")).await.unwrap();
        let verdict = hasher.verify(secret("correct horse"), Some(replaced)).await.unwrap();
        assert!(verdict.is_match() && !verdict.is_outdated());
    }

    #[tokio::test]
    async fn a_stored_hash_that_is_none_is_an_error_and_not_a_no() {
        let error = hasher().verify(secret("x"), Some("plain".to_owned())).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Internal);
    }

    #[tokio::test]
    async fn a_job_past_the_deadline_of_its_request_is_not_computed() {
        let clock = Arc::new(ManualClock::at(Timestamp(0)));
        let cx = Cx::new(clock.clone(), Arc::new(OsRandom)).request(Duration::from_secs(1));
        clock.advance(Duration::from_secs(2));
        assert_eq!(hasher().hash(&cx, secret("x")).await.unwrap_err().kind(), Kind::Timeout);
    }
}
