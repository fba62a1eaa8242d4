//! The verbs on key pairs, which belong to users.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanse_core::{Context, Cx, Error, Kind, Result, Secret};
use hanse_policy::{Caller, Target};
use md5::{Digest, Md5};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{Algorithm, LineEnding, PrivateKey, PublicKey};

use crate::Deps;
use crate::db;
use crate::model::Keypair;
use crate::verbs;

/// No public key in OpenSSH's format is longer (RSA with 16384 bits).
const MAX_KEY: usize = 8192;

fn not_found(caller: &Caller, name: &str) -> Error {
    Error::new(Kind::NotFound, format!("Keypair {name} not found for user {}", caller.user_id))
}

pub async fn list(deps: &Deps, caller: &Caller) -> Result<Vec<Keypair>> {
    caller.own_scope(verbs::KEYPAIRS_LIST)?;
    db::keypairs::list(&mut deps.db.read().await?, &caller.user_id).await
}

pub async fn show(deps: &Deps, caller: &Caller, name: &str) -> Result<Keypair> {
    caller.own_scope(verbs::KEYPAIRS_SHOW)?;
    let mut conn = deps.db.read().await?;
    db::keypairs::show(&mut conn, &caller.user_id, name).await?.ok_or_else(|| not_found(caller, name))
}

/// Keeps a public key. Without one, makes a pair and returns the private key, which is kept nowhere.
pub async fn create(
    deps: &Deps,
    cx: &Cx,
    caller: &Caller,
    name: &str,
    public_key: Option<&str>,
) -> Result<(Keypair, Option<Secret<String>>)> {
    check_name(name)?;
    let target = Target::new(name).of_user(&caller.user_id);
    let grant = &caller.authorize(cx, verbs::KEYPAIRS_CREATE, target)?;
    let (public_key, private_key) = match public_key {
        Some(text) => (text.trim().to_owned(), None),
        None => generate(cx, name).map(|(public, private)| (public, Some(private)))?,
    };
    let keypair = &Keypair {
        user_id: caller.user_id.clone(),
        name: name.to_owned(),
        created_at: cx.now(),
        fingerprint: fingerprint(&public_key)?,
        public_key,
    };
    let quota = deps.config.key_pairs;
    deps.db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let count = db::keypairs::list(tx, &keypair.user_id).await?.len();
                if u32::try_from(count).unwrap_or(u32::MAX) >= quota {
                    return Err(Error::over_quota(format!(
                        "Quota exceeded, too many key pairs: {quota} is the limit."
                    )));
                }
                db::keypairs::insert(tx, keypair).await
            })
        })
        .await?;
    Ok((keypair.clone(), private_key))
}

pub async fn delete(deps: &Deps, cx: &Cx, caller: &Caller, name: &str) -> Result<()> {
    delete_of(deps, cx, caller, &caller.user_id, name).await
}

/// The same of another user.
pub async fn delete_of(deps: &Deps, cx: &Cx, caller: &Caller, user: &str, name: &str) -> Result<()> {
    let grant = &caller.authorize(cx, verbs::KEYPAIRS_DELETE, Target::new(name).of_user(user))?;
    let deleted = deps.db.write(cx, grant, |tx| Box::pin(db::keypairs::delete(tx, user, name))).await?;
    if deleted { Ok(()) } else { Err(not_found(caller, name)) }
}

/// Nova's rule before microversion 2.92.
fn check_name(name: &str) -> Result<()> {
    hanse_core::check_name("name", name)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '_');
    if name.chars().all(fits) && name.trim() == name {
        return Ok(());
    }
    Err(Error::bad_request(
        "Keypair data is invalid: a name may have letters, digits, spaces, dashes and underscores.",
    ))
}

/// Checks that the text is an OpenSSH public key that guests understand, and returns its MD5 fingerprint.
fn fingerprint(text: &str) -> Result<String> {
    let invalid = |why: &str| Error::bad_request(format!("Keypair data is invalid: {why}"));
    if text.len() > MAX_KEY || text.contains(['\n', '\r']) {
        return Err(invalid("a public key is one line in the format of OpenSSH"));
    }
    let key = PublicKey::from_openssh(text).map_err(|error| invalid(&error.to_string()))?;
    if !matches!(key.algorithm(), Algorithm::Ed25519 | Algorithm::Rsa { .. } | Algorithm::Ecdsa { .. }) {
        return Err(invalid("use a key of the type ssh-ed25519, ecdsa or ssh-rsa"));
    }
    let blob = text.split_whitespace().nth(1).unwrap_or_default();
    let blob = STANDARD.decode(blob).map_err(|_| invalid("the key is not base64"))?;
    let pairs: Vec<String> = Md5::digest(&blob).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(pairs.join(":"))
}

fn generate(cx: &Cx, name: &str) -> Result<(String, Secret<String>)> {
    let pair = KeypairData::from(Ed25519Keypair::from_seed(&cx.bytes()));
    let key = PrivateKey::new(pair, name).context("cannot make a key pair")?;
    let private = key.to_openssh(LineEnding::LF).context("cannot write a private key")?;
    let public = key.public_key().to_openssh().context("cannot write a public key")?;
    Ok((public, Secret::new(private.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE2H0FHGCUAtLIrk8qj+Jcym/EdbmOmt58qq64e1qwMG ada@example";

    #[test]
    fn public_keys_are_checked() {
        assert_eq!(fingerprint(ED25519).unwrap().len(), 47);
        for wrong in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIE2H0FHGCUAtLIrk8qj+Jcym/EdbmOmt58qq64e1qwMG",
            "command=\"rm\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE2H0FHGCUAtLIrk8qj+Jcym/EdbmOmt58qq64e1qwMG",
            &format!("{ED25519}\n{ED25519}"),
            &"x".repeat(10_000),
        ] {
            assert_eq!(fingerprint(wrong).unwrap_err().kind(), Kind::BadRequest, "{wrong}");
        }
    }

    #[test]
    fn a_generated_pair_belongs_together() {
        let (public, private) = generate(&Cx::system(), "laptop").unwrap();
        let key = PrivateKey::from_openssh(private.expose()).unwrap();
        assert_eq!(key.public_key().to_openssh().unwrap(), public);
        fingerprint(&public).unwrap();
    }

    #[test]
    fn names_follow_novas_rule() {
        check_name("my key_1-a").unwrap();
        for wrong in ["", " ", "a/b", "ü", " a", &"x".repeat(256)] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }
}
