//! Signed tokens: claims that everybody can read and check, and that nobody without the keys can make.
//!
//! A token is a JSON Web Signature (RFC 7515, compact form) by ES256, ECDSA over P-256 with SHA-256, as Keystone's
//! `jws` provider makes it. What it claims is in the clear, so put nothing secret in it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hanse_core::{Context, Cx, Error, Result, Secret, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::key_directory::{KeyDirectory, KeyKind, KeyRing};
use crate::tokens::{TOKEN_MAX, refused};

const ISSUED_AT: &str = "iat";
const EXPIRES_AT: &str = "exp";

/// The keys of signed tokens on disk, each a P-256 key in PKCS #8 and PEM. Their public halves are not stored: they
/// come from them and are published by [`JwsTokens::jwks`].
pub type SigningKeys = KeyDirectory<SigningKey>;

/// One key of [`SigningKeys`].
pub struct SigningKey {
    pair: EcdsaKeyPair,
    jwk: Value,
    /// The first part of every token that this key signs.
    header: String,
}

impl KeyKind for SigningKey {
    const NAME: &'static str = "signing key (P-256 in PKCS #8 and PEM)";
    /// A key has 241 bytes as we write it; other programs add attributes.
    const FILE_MAX: usize = 1024;
    const CRASH_POINTS: [&'static str; 3] = ["signing.promoted", "signing.staged", "signing.dropped"];

    /// The randomness is the operating system's, because the library takes none.
    fn make(_cx: &Cx) -> Result<Secret<Vec<u8>>> {
        let key = rcgen::KeyPair::generate().context("cannot make a key for signed tokens")?;
        Ok(Secret::new(key.serialize_pem().into_bytes()))
    }

    fn parse(content: &[u8]) -> Option<SigningKey> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(content).ok()?;
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, der.secret_pkcs8_der(), &random).ok()?;
        // An uncompressed point: 4, then both coordinates.
        let (x, y) = pair.public_key().as_ref().get(1..)?.split_at_checked(32)?;
        let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        // RFC 7638; eight bytes of it tell our few keys apart and keep tokens short.
        let thumbprint = Sha256::digest(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#));
        let id = URL_SAFE_NO_PAD.encode(&thumbprint[..8]);
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"ES256","kid":"{id}","typ":"JWT"}}"#));
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "x": x, "y": y, "alg": "ES256", "use": "sig", "kid": id,
        });
        Some(SigningKey { pair, jwk, header })
    }
}

/// What a signed token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<C> {
    /// In whole seconds, as `iat` is.
    pub issued_at: Timestamp,
    /// In whole seconds, as `exp` is. It may have passed.
    pub expires_at: Timestamp,
    pub claims: C,
}

/// Signs and verifies tokens with the keys of a [`SigningKeys`] directory, held in memory.
pub struct JwsTokens(KeyRing<SigningKey>);

impl JwsTokens {
    /// Reads the keys.
    ///
    /// # Errors
    /// Internal if there is no primary key, others may read the keys, or a file is not a key.
    pub fn load(keys: SigningKeys) -> Result<JwsTokens> {
        KeyRing::load(keys).map(JwsTokens)
    }

    /// Reads the keys again, after a rotation by this or another process. On error the present ones stay in use.
    ///
    /// # Errors
    /// As for [`JwsTokens::load`].
    pub fn reload(&self) -> Result<()> {
        self.0.reload()
    }

    /// For a periodic task: [`KeyDirectory::rotate_if_due`], then [`JwsTokens::reload`]. Tells whether this call
    /// rotated. See [`KeyDirectory`] for how often to call it and what `every` has to be.
    ///
    /// # Errors
    /// As for both. If only the rotation failed, what another process has rotated is in use all the same.
    pub fn keep_fresh(&self, cx: &Cx, every: Duration) -> Result<bool> {
        self.0.keep_fresh(cx, every)
    }

    /// A token with these claims, which are a JSON object, and with `iat` and `exp` in whole seconds
    /// rounded down. With the claims that Keystone makes it has 360 characters without scope, 440 for a project, and
    /// 1,160 for a federated user in ten groups. The nonce of the signature comes from the operating system, because
    /// the library takes none.
    ///
    /// # Errors
    /// Internal if the claims are no object, contain `iat` or `exp` themselves, or make a token longer than
    /// [`TOKEN_MAX`] (claims of about 2,900 bytes).
    pub fn sign<C: Serialize>(
        &self,
        issued_at: Timestamp,
        expires_at: Timestamp,
        claims: &C,
    ) -> Result<String> {
        let mut object = match serde_json::to_value(claims).context("the claims of a token are not JSON")? {
            Value::Object(object) => object,
            _ => return Err(Error::internal("the claims of a token are not a JSON object")),
        };
        for (name, time) in [(ISSUED_AT, issued_at), (EXPIRES_AT, expires_at)] {
            if object.insert(name.to_owned(), time.seconds().into()).is_some() {
                return Err(Error::internal(format!("the claims of a token set {name} themselves")));
            }
        }
        let payload = Value::Object(object).to_string();
        let keys = self.0.keys();
        let primary = keys.first().ok_or_else(|| Error::internal("there is no primary signing key"))?;
        let mut token = format!("{}.{}", primary.header, URL_SAFE_NO_PAD.encode(&payload));
        let signature = primary
            .pair
            .sign(&SystemRandom::new(), token.as_bytes())
            .map_err(|_| Error::internal("cannot sign a token"))?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        if token.len() > TOKEN_MAX {
            return Err(Error::internal(format!(
                "claims of {} bytes are too long for a token",
                payload.len()
            )));
        }
        Ok(token)
    }

    /// What a token claims. Whether it has expired is for the caller to judge.
    ///
    /// The header is compared with those that our keys write and never interpreted, so a token cannot choose how it
    /// is verified. ECDSA lets anybody turn one valid signature into a second one: know a token by an id among its
    /// claims, never by its text.
    ///
    /// # Errors
    /// 401 if it is longer than [`TOKEN_MAX`], is no token of ours, was changed, was signed with a key that is gone, or
    /// claims something else than `C`.
    pub fn verify<C: DeserializeOwned>(&self, token: &str) -> Result<Signed<C>> {
        if token.len() > TOKEN_MAX {
            return Err(refused());
        }
        let payload = self.verified(token).ok_or_else(refused)?;
        read(&payload).ok_or_else(refused)
    }

    /// The public keys as a JWK set (RFC 7517) for those who verify tokens themselves, the primary one first. Fetch it
    /// again when a token names a key that is not in it; the staged key is in it before it signs.
    pub fn jwks(&self) -> Value {
        let keys: Vec<Value> = self.0.keys().iter().map(|key| key.jwk.clone()).collect();
        json!({ "keys": keys })
    }

    /// The payload, if the signature is right.
    fn verified(&self, token: &str) -> Option<Vec<u8>> {
        let (text, signature) = token.rsplit_once('.')?;
        let (header, payload) = text.split_once('.')?;
        let keys = self.0.keys();
        let key = keys.iter().find(|key| key.header == header)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.pair.public_key())
            .verify(text.as_bytes(), &signature)
            .ok()?;
        URL_SAFE_NO_PAD.decode(payload).ok()
    }
}

fn read<C: DeserializeOwned>(payload: &[u8]) -> Option<Signed<C>> {
    let mut object: Map<String, Value> = serde_json::from_slice(payload).ok()?;
    let mut time = |name| object.remove(name)?.as_i64().map(Timestamp::from_seconds);
    let (issued_at, expires_at) = (time(ISSUED_AT)?, time(EXPIRES_AT)?);
    let claims = serde_json::from_value(Value::Object(object)).ok()?;
    Some(Signed { issued_at, expires_at, claims })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::sync::Arc;

    use hanse_core::{Kind, ManualClock, OsRandom};
    use proptest::prelude::*;

    use super::*;
    use crate::secret_file;

    const NOW: Timestamp = Timestamp(1_800_000_000_999_999);
    const LATER: Timestamp = Timestamp(1_800_003_600_500_000);

    fn cx() -> Cx {
        Cx::new(Arc::new(ManualClock::at(NOW)), Arc::new(OsRandom))
    }

    fn keys() -> (tempfile::TempDir, SigningKeys) {
        let dir = tempfile::tempdir().unwrap();
        let keys = SigningKeys::new(dir.path().join("signing"));
        keys.create(&cx()).unwrap();
        (dir, keys)
    }

    fn tokens() -> JwsTokens {
        let (_dir, keys) = keys();
        JwsTokens::load(keys).unwrap()
    }

    /// What Keystone claims of a token for a project.
    fn claims() -> Value {
        json!({
            "sub": "9f3a1c5f0d2b4e1f8c7a6b5d4e3f2a1b",
            "openstack_methods": ["password"],
            "openstack_audit_ids": ["3T2dc1CGQxyJsHdDu1xkcw"],
            "openstack_project_id": "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        })
    }

    fn decoded(part: &str) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    fn is_refused(tokens: &JwsTokens, token: &str) -> bool {
        matches!(tokens.verify::<Value>(token), Err(error) if error.kind() == Kind::Unauthorized)
    }

    #[test]
    fn what_was_signed_is_verified_with_its_times_in_whole_seconds() {
        let tokens = tokens();
        let token = tokens.sign(NOW, LATER, &claims()).unwrap();
        let signed: Signed<Value> = tokens.verify(&token).unwrap();
        assert_eq!(signed.claims, claims());
        assert_eq!(signed.issued_at, Timestamp::from_seconds(1_800_000_000));
        assert_eq!(signed.expires_at, Timestamp::from_seconds(1_800_003_600));
        assert!(token.len() < 500, "{} characters", token.len());
    }

    #[test]
    fn a_token_is_a_compact_jws_that_others_verify_with_the_published_keys() {
        let tokens = tokens();
        let token = tokens.sign(NOW, LATER, &claims()).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let jwk = &tokens.jwks()["keys"][0];
        assert_eq!(decoded(parts[0]), json!({"alg": "ES256", "kid": jwk["kid"], "typ": "JWT"}));
        assert_eq!(decoded(parts[1])["iat"], 1_800_000_000);
        assert_eq!(decoded(parts[1])["exp"], 1_800_003_600);
        let mut point = vec![4];
        for coordinate in ["x", "y"] {
            point.extend(URL_SAFE_NO_PAD.decode(jwk[coordinate].as_str().unwrap()).unwrap());
        }
        let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
        assert_eq!(signature.len(), 64);
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(format!("{}.{}", parts[0], parts[1]).as_bytes(), &signature)
            .unwrap();
        assert_eq!(tokens.jwks()["keys"].as_array().unwrap().len(), 2, "the staged key is published");
        assert!(jwk.get("d").is_none(), "the private half is not");
    }

    #[test]
    fn a_key_that_another_program_made_signs() {
        let (dir, keys) = keys();
        // By `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`, for this test alone.
        let body = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgPSx7mrrC1Ep61Jh+\n\
                    10fLz4MPCv+u5IAvnw+EQBZs+XKhRANCAAQu3RdisX1gg4xDnyOO6sJd7nI3t1O6\n\
                    wYZSmlcouGfzPuWBLHfdjoI6RSEdEYvdqaSuIe9s61cp4ONIYuVhetXe";
        let kind = "PRIVATE KEY";
        let pem = format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n");
        secret_file::write(&dir.path().join("signing/2"), secret_file::PRIVATE, pem.as_bytes()).unwrap();
        let tokens = JwsTokens::load(keys).unwrap();
        assert_eq!(tokens.jwks()["keys"][0]["x"], "Lt0XYrF9YIOMQ58jjurCXe5yN7dTusGGUppXKLhn8z4");
        let token = tokens.sign(NOW, LATER, &claims()).unwrap();
        tokens.verify::<Value>(&token).unwrap();
    }

    #[test]
    fn new_keys_are_readable_by_their_owner_alone_and_no_other_file_is_taken_for_one() {
        let (dir, keys) = keys();
        let path = dir.path().join("signing/1");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        for content in ["", "secret", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            secret_file::write(&path, secret_file::PRIVATE, content.as_bytes()).unwrap();
            let detail = JwsTokens::load(keys.clone()).err().unwrap().detail();
            assert!(detail.contains("is not a signing key"), "{detail}");
        }
    }

    #[test]
    fn the_time_of_a_token_is_not_judged() {
        let tokens = tokens();
        let token = tokens.sign(NOW, Timestamp(0), &claims()).unwrap();
        assert_eq!(tokens.verify::<Value>(&token).unwrap().expires_at, Timestamp(0));
    }

    #[test]
    fn claims_of_another_kind_are_refused() {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Narrow {
            #[expect(dead_code, reason = "only what is beside it matters")]
            sub: String,
        }
        let tokens = tokens();
        let wide = tokens.sign(NOW, LATER, &claims()).unwrap();
        assert_eq!(tokens.verify::<Narrow>(&wide).err().unwrap().kind(), Kind::Unauthorized);
        let narrow = tokens.sign(NOW, LATER, &json!({"sub": "x"})).unwrap();
        tokens.verify::<Narrow>(&narrow).unwrap();
    }

    #[test]
    fn what_cannot_be_a_token_is_not_signed() {
        let tokens = tokens();
        for claims in [json!([1]), json!("text"), json!({"iat": 1}), json!({"exp": 1}), json!(null)] {
            assert_eq!(tokens.sign(NOW, LATER, &claims).unwrap_err().kind(), Kind::Internal, "{claims}");
        }
        let longest = tokens.sign(NOW, LATER, &json!({"sub": "x".repeat(2850)})).unwrap();
        tokens.verify::<Value>(&longest).unwrap();
        assert!(tokens.sign(NOW, LATER, &json!({"sub": "x".repeat(3000)})).is_err());
        assert!(is_refused(&tokens, &"e".repeat(TOKEN_MAX + 1)));
    }

    #[test]
    fn another_clouds_token_is_refused_even_under_the_header_of_our_key() {
        let (ours, theirs) = (tokens(), tokens());
        let token = theirs.sign(NOW, LATER, &claims()).unwrap();
        assert!(is_refused(&ours, &token));
        let (_, rest) = token.split_once('.').unwrap();
        let header = &ours.0.keys()[0].header;
        assert!(is_refused(&ours, &format!("{header}.{rest}")));
    }

    #[test]
    fn no_other_algorithm_is_taken_from_the_header() {
        let tokens = tokens();
        let token = tokens.sign(NOW, LATER, &claims()).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let keys = tokens.0.keys();
        let public = keys[0].pair.public_key().as_ref();
        for alg in ["none", "None", "HS256", "ES256K", "ES384", "es256"] {
            let header = decoded(parts[0]).to_string().replace("ES256", alg);
            let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), parts[1]);
            assert!(is_refused(&tokens, &format!("{text}.")), "{alg} without signature");
            assert!(
                is_refused(&tokens, &format!("{text}.{}", parts[2])),
                "{alg} with the signature of ES256"
            );
            // The public key taken for the secret of an HMAC.
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, public);
            let tag = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, text.as_bytes()));
            assert!(is_refused(&tokens, &format!("{text}.{tag}")), "{alg} with an HMAC");
        }
        assert!(is_refused(&tokens, &format!("{}.{}.", parts[0], parts[1])));
        assert!(is_refused(&tokens, &format!("{}.{}.{}", parts[0], parts[1], "A".repeat(86))), "r = s = 0");
    }

    #[test]
    fn a_rotation_keeps_tokens_valid_and_the_oldest_key_is_dropped() {
        let (_dir, keys) = keys();
        let tokens = JwsTokens::load(keys.clone()).unwrap();
        let lagging = JwsTokens::load(keys.clone()).unwrap();
        let old = tokens.sign(NOW, LATER, &claims()).unwrap();
        keys.rotate(&cx()).unwrap();
        tokens.reload().unwrap();
        tokens.verify::<Value>(&old).unwrap();
        let new = tokens.sign(NOW, LATER, &claims()).unwrap();
        lagging.verify::<Value>(&new).unwrap();
        keys.rotate(&cx()).unwrap();
        tokens.reload().unwrap();
        assert!(is_refused(&tokens, &old), "its key is gone");
        tokens.verify::<Value>(&new).unwrap();
    }

    #[test]
    fn no_text_is_verified_or_panics() {
        let tokens = tokens();
        let header = tokens.0.keys()[0].header.clone();
        proptest!(|(text in any::<String>(), parts in any::<[Vec<u8>; 3]>())| {
            let [one, two, three] = parts.map(|part| URL_SAFE_NO_PAD.encode(part));
            let known = [&header, &two, &three].map(String::as_str).join(".");
            for token in [&text, &[&one, &two, &three].map(String::as_str).join("."), &known, &[&header, &text].map(String::as_str).join(".")] {
                prop_assert!(is_refused(&tokens, token), "{}", token);
            }
        });
    }

    #[test]
    fn a_token_with_one_character_changed_added_or_taken_away_is_refused() {
        let tokens = tokens();
        let token = tokens.sign(NOW, LATER, &claims()).unwrap();
        for at in 0..token.len() {
            let (before, after) = (&token[..at], &token[at + 1..]);
            for other in ['A', 'B', '_', '.', '=', 'é'] {
                if !token[at..].starts_with(other) {
                    assert!(is_refused(&tokens, &format!("{before}{other}{after}")), "{other} at {at}");
                }
                assert!(is_refused(&tokens, &format!("{before}{other}{}", &token[at..])), "{other} at {at}");
            }
            assert!(is_refused(&tokens, &format!("{before}{after}")), "without {at}");
            assert!(is_refused(&tokens, before), "cut at {at}");
        }
    }

    #[test]
    fn every_claim_comes_back_as_it_was() {
        let tokens = tokens();
        proptest!(|(sub in ".{0,100}", numbers in any::<[i64; 3]>())| {
            let claims = json!({"sub": sub, "n": numbers});
            let token = tokens.sign(NOW, LATER, &claims).unwrap();
            prop_assert_eq!(tokens.verify::<Value>(&token).unwrap().claims, claims);
        });
    }
}
