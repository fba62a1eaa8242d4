//! The formats of password hashes that are understood: our own Argon2id, and those that Keystone stores.
//!
//! Keystone's formats are those of Python's passlib, which it used before it had its own hashers.

use std::num::NonZero;

use argon2::password_hash::{Output, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hanse_core::{Error, Result, Secret};
use ring::{hmac, pbkdf2};
use sha2::{Digest, Sha256};

use crate::passwords::Verdict;
use crate::scratch;

/// Longest stored hash that is looked at, in bytes; ours have about 100, Keystone's at most 255.
const HASH_MAX: usize = 512;

// What a stored hash may cost at most to verify, so that a forged row takes neither the machine's memory nor a thread
// for much more than ten seconds.
const MEMORY_MAX_KIB: u32 = 1024 * 1024;
const ARGON2_ITERATIONS_MAX: u32 = 64;
/// Memory times iterations; our own take 38 MiB.
const ARGON2_WORK_MAX_KIB: u64 = 8 * 1024 * 1024;
/// Keystone's default is 12; each step doubles the work.
const BCRYPT_COST_MAX: u32 = 16;
/// N·r·p; Keystone's default of N = 2^16, r = 8, p = 1 is a 32nd of it.
const SCRYPT_WORK_MAX: u64 = 1 << 24;
/// Keystone's default is 25,000.
const PBKDF2_ROUNDS_MAX: u32 = 2_000_000;

/// Bcrypt hashes no more than these bytes of a password.
const BCRYPT_INPUT_MAX: usize = 72;
const SCRYPT_BYTES: usize = 32;
const PBKDF2_BYTES: usize = 64;

/// Whether the password is that of the stored hash, and whether the hash is weaker than `current` would make it.
///
/// # Errors
/// Internal if the stored hash is of no known format, is broken, or asks for too much memory or time.
pub(crate) fn verify(password: &[u8], stored: &str, current: &Params) -> Result<Verdict> {
    if stored.len() > HASH_MAX || !stored.is_ascii() {
        return Err(broken(format_args!("its {} bytes are too many or not ASCII", stored.len())));
    }
    let fields: Vec<&str> = stored.split('$').collect();
    let (matches, outdated) = match fields[..] {
        ["", "argon2id" | "argon2i" | "argon2d", ..] => argon2(password, stored, current)?,
        // Of a longer password the rest is not proven. To replace the hash might lock its user out.
        ["", ident @ ("2a" | "2b" | "2y"), cost, hash] => {
            (bcrypt(password, ident, cost, hash)?, password.len() <= BCRYPT_INPUT_MAX)
        }
        ["", "bcrypt-sha256", params, salt, hash] => (bcrypt_sha256(password, params, salt, hash)?, true),
        ["", "scrypt", params, salt, hash] => (scrypt(password, params, salt, hash)?, true),
        ["", "pbkdf2-sha512", rounds, salt, hash] => (pbkdf2_sha512(password, rounds, salt, hash)?, true),
        _ => return Err(broken("its format is not known")),
    };
    Ok(if matches { Verdict::Match { outdated } } else { Verdict::Mismatch })
}

fn argon2(password: &[u8], stored: &str, current: &Params) -> Result<(bool, bool)> {
    let parsed = PasswordHash::new(stored).map_err(broken)?;
    let algorithm = Algorithm::try_from(parsed.algorithm).map_err(broken)?;
    let params = Params::try_from(&parsed).map_err(broken)?;
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if params.m_cost() > MEMORY_MAX_KIB
        || params.t_cost() > ARGON2_ITERATIONS_MAX
        || work > ARGON2_WORK_MAX_KIB
    {
        return Err(ruinous());
    }
    let outdated = algorithm != Algorithm::Argon2id
        || parsed.version != Some(u32::from(Version::V0x13))
        || params.m_cost() < current.m_cost()
        || params.t_cost() < current.t_cost();
    let version = parsed.version.map_or(Ok(Version::default()), Version::try_from).map_err(broken)?;
    let (Some(salt), Some(expected)) = (parsed.salt, parsed.hash) else {
        return Err(broken("it has no salt or no hash"));
    };
    let mut room = [0; Salt::MAX_LENGTH];
    let salt = salt.decode_b64(&mut room).map_err(broken)?;
    let mut computed = [0; Output::MAX_LENGTH];
    let computed = computed.get_mut(..expected.len()).ok_or_else(|| broken("its hash is too long"))?;
    scratch::hash_into(&Argon2::new(algorithm, version, params), password, salt, computed).map_err(broken)?;
    // Compares in constant time.
    Ok((Output::new(computed).map_err(broken)? == expected, outdated))
}

/// The variants 2a, 2b and 2y differ in errors of old implementations alone.
fn bcrypt(password: &[u8], ident: &str, cost: &str, hash: &str) -> Result<bool> {
    let cost: u32 = number(cost)?;
    if cost > BCRYPT_COST_MAX {
        return Err(ruinous());
    }
    bcrypt::verify(password, &format!("${ident}${cost:02}${hash}")).map_err(broken)
}

/// Bcrypt of a digest, which has no limit of length: version 2 (`v=2,t=2b,r=12`) takes HMAC-SHA-256 under the salt as
/// it is written, version 1 (`2b,12`, passlib before 1.7.3) SHA-256, both in base64.
fn bcrypt_sha256(password: &[u8], params: &str, salt: &str, hash: &str) -> Result<bool> {
    let (digest, ident, cost) = match params.split_once(',') {
        Some((ident @ ("2a" | "2b"), cost)) => (STANDARD.encode(Sha256::digest(password)), ident, cost),
        _ => {
            if param(params, "v")? != "2" {
                return Err(broken("its version of bcrypt-sha256 is not known"));
            }
            let key = hmac::Key::new(hmac::HMAC_SHA256, salt.as_bytes());
            (STANDARD.encode(hmac::sign(&key, password)), param(params, "t")?, param(params, "r")?)
        }
    };
    let digest = Secret::new(digest);
    bcrypt(digest.expose().as_bytes(), ident, cost, &format!("{salt}{hash}"))
}

fn scrypt(password: &[u8], params: &str, salt: &str, hash: &str) -> Result<bool> {
    let (log_n, r, p): (u8, u32, u32) =
        (number(param(params, "ln")?)?, number(param(params, "r")?)?, number(param(params, "p")?)?);
    let blocks = 1_u64.checked_shl(u32::from(log_n)).unwrap_or(u64::MAX).saturating_mul(u64::from(r));
    // A block has 128 bytes, an eighth of a KiB.
    if blocks / 8 > u64::from(MEMORY_MAX_KIB) || blocks.saturating_mul(u64::from(p)) > SCRYPT_WORK_MAX {
        return Err(ruinous());
    }
    let expected = bytes::<SCRYPT_BYTES>(hash)?;
    let params = scrypt::Params::new(log_n, r, p).map_err(broken)?;
    let mut made = [0; SCRYPT_BYTES];
    scrypt::scrypt(password, &decode(salt)?, &params, &mut made).map_err(broken)?;
    Ok(Secret::new(made) == Secret::new(expected))
}

fn pbkdf2_sha512(password: &[u8], rounds: &str, salt: &str, hash: &str) -> Result<bool> {
    let rounds: NonZero<u32> = number(rounds)?;
    if rounds.get() > PBKDF2_ROUNDS_MAX {
        return Err(ruinous());
    }
    let expected = bytes::<PBKDF2_BYTES>(hash)?;
    // The library compares in constant time.
    Ok(pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA512, rounds, &decode(salt)?, password, &expected).is_ok())
}

/// The value of `name` in `name=value,name=value`.
fn param<'p>(params: &'p str, name: &str) -> Result<&'p str> {
    params
        .split(',')
        .filter_map(|param| param.split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
        .ok_or_else(|| broken(format_args!("it has no parameter {name}")))
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N> {
    text.parse().map_err(|_| broken("a parameter is not a number in its range"))
}

/// Base64 as Keystone writes it, without padding; passlib has `.` in place of `+`.
fn decode(text: &str) -> Result<Vec<u8>> {
    STANDARD_NO_PAD.decode(text.replace('.', "+")).map_err(|_| broken("it is not in base64"))
}

fn bytes<const N: usize>(text: &str) -> Result<[u8; N]> {
    let decoded = decode(text)?;
    decoded.try_into().map_err(|_| broken(format_args!("its digest has not {N} bytes")))
}

fn ruinous() -> Error {
    broken("it asks for too much memory or time")
}

/// Names what is wrong, never the hash.
fn broken(what: impl std::fmt::Display) -> Error {
    Error::internal(format!("a stored password hash cannot be used: {what}; set a new password for its user"))
}

#[cfg(test)]
mod tests {
    use hanse_core::Kind;
    use proptest::prelude::*;

    use super::*;

    /// Made by the hashers of Keystone 30 and by passlib 1.7.4, for the first of [`PASSWORDS`] …
    const OF_SHORT: [&str; 13] = [
        "$2b$04$6RZ8Ezbmxgcrq.FHPLg5rO3EXESQtXpccLzZZ8v0my3enlQL.0esC",
        "$2a$04$32jOA6LPUnV9olcV7NPXbeQnK0/SHw/XwIGbHmD5kaQtQdKdQiCrq",
        "$2y$04$rx/H/GgCGyXHvXDDRjdcNOYmgMWeX9HO3Lovyx2ezR0HwsA9HQCbe",
        "$bcrypt-sha256$v=2,t=2b,r=5$rrhSMUoZtqE7rvxtqnZELu$NP3LlA7m.IkJhhgM8CYEgqOKaQxVoRu",
        "$bcrypt-sha256$v=2,t=2b,r=4$58zEYLY7zTEGKxgbAmRrSO$Jf5DQFPU1HmR7ckJe7nsePY.RHC5MJy",
        "$bcrypt-sha256$2b,4$xgHJuGu8xtgVwgleuouxSO$W1BIibkELlE.VqD8EjkYHvR71hUFVZG",
        "$scrypt$ln=4,r=8,p=1$d8eNp/7UrWY1SO2tjq0gAw$p7VhJPBmr51bzBolWayLAAuuW+5OrS03GLSKEOHyVRQ",
        "$scrypt$ln=5,r=4,p=3$4l7O1uBCpBjWvSCWQ0FIkY7RAuQN$7bHRx/poVNn8wwEXz5PLEQt65ARiK6rA649t8QRQE04",
        "$scrypt$ln=4,r=8,p=1$DOH8X4sxBuA8h5ByrrXWeg$KMNGyjtBmnJ9nH+sKxvTTFHceTIQH2xW5ZL0QCSGepE",
        "$pbkdf2-sha512$1000$myKMhnpCCJ4317gqKqK40w$MmDaMbMC5y/a2GeYmvL8jFVCZRe7nxZzAycUpEfd6LfhLMTccB/7JxJCeG22uEu22uuhlDRrzWIEhEcZK3xpWQ",
        "$pbkdf2-sha512$77$3uf4AEN+cgV3KNBFs/3OPmK65a4$JDVynxMUvKAGsXAtM2uqqYu3l6aM7/4ZyFPW531d2FmLA0IcMeiNqb9EIzICVP86afuJrT7JeFJRXz9aI2sP9A",
        "$pbkdf2-sha512$1000$Rqh1bm2tFQIgRGjNmdPaO4ew$tSQLFlWPZIFfbNz5IRtCAaedDlgHw0ziXUpZ9CF4KTiXXedVWy7Gnn20wFbKNPv6h2vFLang/QM2dezhrMmZQA",
        "$pbkdf2-sha512$100$IKQ05ryXUqr1vre2lhJC6A$4Px3oiKXcDyE/D/gRcmOwSVt2ia0a81A4faSgLP6bs0gmbBv4PnblNjjVplOmvbZLbkvXg4.zW32APXJkjNeeA",
    ];
    /// … the second, which is not ASCII …
    const OF_UMLAUTS: [&str; 4] = [
        "$2b$04$5C9ZnJ4LcGXnA4TF86ng.uWQHQa2WuQLD9/pOBphvbP8pH1mGupzG",
        "$bcrypt-sha256$v=2,t=2b,r=5$n4RqGies/v.K6HWz5yjx/O$PALerIbPWQf.nzreQ3wigRltOEm1LDK",
        "$scrypt$ln=5,r=4,p=3$z9mhsAeUBU8FTShOG+nNivesJoAH$eU6lnlrpOFhjcptHKokOREKt+gWzb+XvJ0nwaw9a/Yw",
        "$pbkdf2-sha512$77$RW40do2Amp2tzX3VsERG3eossyE$WuToHL4DVI/A5FVN9GK9ECYo1ZBk5Ft0BjJTgnYJ05H9jwX/gsb+gPxDkjoeFh4yTOeBKILBIr9kOcEW/ob6pg",
    ];
    /// … and the third, a hundred times `x`.
    const OF_LONG: [&str; 3] = [
        "$bcrypt-sha256$v=2,t=2b,r=5$GRteU.EWef1N2Pe1UifXxe$dzk7hMk6WaxqrehG9H9rs97GbMpug1i",
        "$scrypt$ln=4,r=8,p=1$vvglvbgCTqeL72Cf2Gog5A$WYcdOrgkZ5uOHq6ti7dkmCx5e8nCtTe/4fAOjoO7u+I",
        "$pbkdf2-sha512$1000$SlwhmP2NUBTdw133ojMPMw$fSq8HJyY9y8vnvKmNhdb4aMtmjCfNl1/K5MCitYYHPVRsbYksaeyCYn3prwejIA4tbzc/YQQN6QuYbN1FKT7nw",
    ];
    /// Of the same, of which Keystone gives bcrypt the first 72 bytes.
    const OF_CUT: &str = "$2b$04$D5.i5x1sSYndsJVBaMg72OFQhRKlfXEk2mGaloDkily47wF9Gr9qC";

    fn passwords() -> [String; 3] {
        ["correct horse".to_owned(), "Möwe & Kai-überfluss".to_owned(), "x".repeat(100)]
    }

    fn current() -> Params {
        Params::new(16, 2, 1, None).unwrap()
    }

    fn check(password: &str, stored: &str) -> Result<Verdict> {
        verify(password.as_bytes(), stored, &current())
    }

    #[test]
    fn every_format_of_keystone_takes_its_own_password_alone_and_is_outdated() {
        let sets: [&[&str]; 3] = [&OF_SHORT, &OF_UMLAUTS, &OF_LONG];
        for (own, set) in sets.iter().enumerate() {
            for stored in *set {
                for (n, password) in passwords().iter().enumerate() {
                    let expected =
                        if n == own { Verdict::Match { outdated: true } } else { Verdict::Mismatch };
                    assert_eq!(check(password, stored).unwrap(), expected, "{password} {stored}");
                }
                assert_eq!(check("", stored).unwrap(), Verdict::Mismatch);
            }
        }
    }

    #[test]
    fn a_password_that_bcrypt_cut_lets_in_but_does_not_replace_its_hash() {
        let long = "x".repeat(100);
        assert_eq!(check(&long, OF_CUT).unwrap(), Verdict::Match { outdated: false });
        assert_eq!(check(&long[..71], OF_CUT).unwrap(), Verdict::Mismatch);
    }

    #[test]
    fn the_parameters_of_bcrypt_sha256_may_stand_in_any_order() {
        let stored = OF_SHORT[3].replace("v=2,t=2b,r=5", "r=5,t=2b,v=2");
        assert!(check("correct horse", &stored).unwrap().is_match());
    }

    #[test]
    fn argon2_is_outdated_when_it_is_weaker_than_what_is_made_now() {
        use argon2::password_hash::{PasswordHasher as _, SaltString};
        let salt = SaltString::encode_b64(&[7; 16]).unwrap();
        for (algorithm, version, memory, iterations, outdated) in [
            (Algorithm::Argon2id, Version::V0x13, 16, 2, false),
            (Algorithm::Argon2id, Version::V0x13, 32, 3, false),
            (Algorithm::Argon2id, Version::V0x13, 8, 2, true),
            (Algorithm::Argon2id, Version::V0x13, 16, 1, true),
            (Algorithm::Argon2i, Version::V0x13, 16, 2, true),
            (Algorithm::Argon2id, Version::V0x10, 16, 2, true),
        ] {
            let params = Params::new(memory, iterations, 1, None).unwrap();
            let stored = Argon2::new(algorithm, version, params).hash_password(b"x", &salt).unwrap();
            assert_eq!(check("x", &stored.to_string()).unwrap(), Verdict::Match { outdated }, "{stored}");
            assert_eq!(check("y", &stored.to_string()).unwrap(), Verdict::Mismatch);
        }
    }

    #[test]
    fn a_hash_that_is_broken_or_ruinous_is_an_error_that_does_not_show_it() {
        let salt_and_hash = "c29tZXNhbHRzb21lc2FsdA$c29tZWhhc2hzb21laGFzaHNvbWVoYXNoc29tZWhhc2g";
        let bcrypt = "6RZ8Ezbmxgcrq.FHPLg5rO3EXESQtXpccLzZZ8v0my3enlQL.0esC";
        for stored in [
            String::new(),
            "plain".to_owned(),
            "$1$salt$hash".to_owned(),
            "$$$$$".to_owned(),
            format!("$argon2id$v=19$m=4000000,t=2,p=1${salt_and_hash}"),
            format!("$argon2id$v=19$m=8,t=100000,p=1${salt_and_hash}"),
            format!("$argon2id$v=19$m=1048576,t=9,p=1${salt_and_hash}"),
            format!("$argon2id$v=19$m=8,t=1,p=1${}", "x".repeat(HASH_MAX)),
            format!("$2b$17${bcrypt}"),
            format!("$2b$03${bcrypt}"),
            format!("$2x$04${bcrypt}"),
            format!("$2b$04${}", &bcrypt[1..]),
            format!("$2b$04${}ü", &bcrypt[2..]),
            format!("$bcrypt-sha256$v=2,t=2b,r=17${}${}", &bcrypt[..22], &bcrypt[22..]),
            format!("$bcrypt-sha256$v=3,t=2b,r=4${}${}", &bcrypt[..22], &bcrypt[22..]),
            format!("$bcrypt-sha256$v=2,t=2b${}${}", &bcrypt[..22], &bcrypt[22..]),
            format!("$scrypt$ln=21,r=8,p=1${salt_and_hash}"),
            format!("$scrypt$ln=16,r=8,p=33${salt_and_hash}"),
            format!("$scrypt$ln=255,r=1,p=1${salt_and_hash}"),
            format!("$scrypt$ln=4,r=4294967295,p=4294967295${salt_and_hash}"),
            format!("$scrypt$ln=4,r=0,p=0${salt_and_hash}"),
            format!("$scrypt$ln=4,r=8,p=1${salt_and_hash}A"),
            format!("$pbkdf2-sha512$2000001${salt_and_hash}"),
            format!("$pbkdf2-sha512$0${salt_and_hash}"),
            format!("$pbkdf2-sha512$1${salt_and_hash}"),
        ] {
            let error = check("x", &stored).unwrap_err();
            assert_eq!(error.kind(), Kind::Internal, "{stored}");
            assert!(!error.detail().contains("c29tZ") && !error.detail().contains(bcrypt), "{error:?}");
        }
    }

    #[test]
    fn a_hash_with_one_byte_changed_does_not_match() {
        for stored in OF_SHORT {
            let digest = stored.rfind('$').unwrap() + 1;
            // The first character of the digest, or of the salt where both are one field.
            let mut changed = stored.as_bytes().to_vec();
            changed[digest] = if changed[digest] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(check("correct horse", &changed).unwrap(), Verdict::Mismatch, "{changed}");
        }
    }

    #[test]
    fn no_text_matches_or_panics() {
        let idents =
            ["$2b$04$", "$bcrypt-sha256$", "$scrypt$ln=4,", "$pbkdf2-sha512$9$", "$argon2id$v=19$m=8,", ""];
        proptest!(|(ident in prop::sample::select(idents.to_vec()), rest in "[$=,./+0-9a-zA-Zü]{0,90}")| {
            let verdict = check("x", &format!("{ident}{rest}"));
            prop_assert!(verdict.is_err() || verdict.unwrap() == Verdict::Mismatch);
        });
    }
}
