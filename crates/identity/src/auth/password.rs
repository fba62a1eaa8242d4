//! Logging in by password: whether it is the right one, whether that is enough, and what it changes of its user.

use std::net::IpAddr;

use hanse_core::{Cx, Error, Kind, Result, Secret, Timestamp};
use hanse_crypto::Verdict;
use hanse_policy::Grant;
use hanse_store::Tx;

use super::{Named, account};
use crate::Identity;
use crate::brake::Key;
use crate::compliance::{Compliance, Failures};
use crate::db;
use crate::db::users::Login;
use crate::model::unauthorized;
use crate::snapshot::Snapshot;
use crate::verbs::AUTHENTICATE;

/// A password that was right.
pub(crate) struct Password {
    pub(crate) login: Login,
    /// What shall take the place of a hash that is weaker than today's.
    fresh_hash: Option<String>,
}

impl Identity {
    /// Whether this is the user's password and the account is open. Nobody learns from the answer, or from the time it
    /// takes, whether there is such a user and whether the account is locked. The password may have expired.
    ///
    /// # Errors
    /// 401 if not; 429 if there were too many failures.
    pub(crate) async fn check_password(
        &self,
        cx: &Cx,
        snapshot: &Snapshot,
        source: Option<IpAddr>,
        user: &Named,
        password: Secret<String>,
    ) -> Result<Password> {
        let account = account(user);
        let key = Key::new(account.clone(), source);
        self.0.brake.begin(cx.now(), &key)?;
        let mut conn = self.0.db.read().await?;
        let login = db::users::login(&mut conn, user).await?;
        drop(conn);
        let hash = login.as_ref().and_then(|login| login.password_hash.clone());
        let verdict = match self.verify(password.clone(), hash).await {
            Ok(verdict) => verdict,
            Err(error) => {
                self.0.brake.forgive(&key);
                return Err(error);
            }
        };
        match login {
            Some(login) if verdict.is_match() && self.is_open(cx, snapshot, &login) => {
                self.0.brake.forgive(&key);
                let fresh_hash = match verdict {
                    // That the threads are busy is no reason to keep anybody out: the next login tries again.
                    Verdict::Match { outdated: true } => self.0.hasher.hash(cx, password).await.ok(),
                    _ => None,
                };
                Ok(Password { login, fresh_hash })
            }
            // A right password for an account that is not open is answered, and braked, as a wrong one is.
            login => {
                let account = login.map_or(account, |login| login.user.id);
                self.note_failure(cx, &account, !verdict.is_match()).await?;
                Err(unauthorized())
            }
        }
    }

    async fn verify(&self, password: Secret<String>, hash: Option<String>) -> Result<Verdict> {
        match self.0.hasher.verify(password, hash).await {
            // Too long to be hashed is too long to be right.
            Err(error) if error.kind() == Kind::BadRequest => Ok(Verdict::Mismatch),
            other => other,
        }
    }

    fn is_open(&self, cx: &Cx, snapshot: &Snapshot, login: &Login) -> bool {
        let (rules, user) = (&self.0.settings.compliance, &login.user);
        snapshot.live_person(&user.id).is_some()
            && !rules.is_locked(cx.now(), &user.options, login.failures)
            && !rules.is_inactive(cx.now(), user)
    }

    /// # Errors
    /// 401 in Keystone's words if the password, which was right, has expired: its user can still change it.
    pub(super) async fn check_expiry(&self, cx: &Cx, password: &Password) -> Result<()> {
        let user = &password.login.user;
        if !self.0.settings.compliance.is_expired(cx.now(), user) {
            return Ok(());
        }
        self.note_refused(cx, &user.id).await?;
        Err(Error::unauthorized(format!(
            "The password is expired and needs to be changed for user: {}.",
            user.id
        )))
    }

    /// Puts a refused login into the audit trail and, if it was the password that was wrong, counts it in the same
    /// transaction. Where failures count, the same is done for accounts that are not there.
    async fn note_failure(&self, cx: &Cx, account: &str, is_wrong: bool) -> Result<()> {
        let rules = &self.0.settings.compliance;
        if rules.lockout_failure_attempts == 0 {
            return self.note_refused(cx, account).await;
        }
        let (refused, now) = (&Grant::refused(cx, AUTHENTICATE, account), cx.now());
        self.0
            .db
            .write(cx, refused, |tx| {
                Box::pin(async move {
                    let failures = match db::users::standing(tx, refused.target()).await? {
                        Some(Login { user, failures, .. }) => {
                            // What comes while the account is locked does not lock it for longer.
                            let counts = is_wrong
                                && rules.counts_failures(&user.options)
                                && !rules.is_locked(now, &user.options, failures);
                            if counts { rules.failed_again(now, failures) } else { failures }
                        }
                        None => Failures::NONE,
                    };
                    db::users::set_failures(tx, refused.target(), failures).await
                })
            })
            .await
    }
}

/// In the transaction of a login: whether the user may still come in, and what their password, if they gave one,
/// changes of them. Of many guesses at once none gets past the lock that the others have closed. Returns the user as
/// they were found.
///
/// # Errors
/// 401 if not.
pub(super) async fn settle(
    tx: &mut Tx<'_>,
    rules: &Compliance,
    now: Timestamp,
    user_id: &str,
    password: Option<&Password>,
) -> Result<Login> {
    let login = db::users::standing(tx, user_id).await?.ok_or_else(unauthorized)?;
    if rules.is_inactive(now, &login.user) {
        return Err(unauthorized());
    }
    let Some(password) = password else { return Ok(login) };
    if rules.is_locked(now, &login.user.options, login.failures) {
        return Err(unauthorized());
    }
    if login.failures != Failures::NONE {
        db::users::set_failures(tx, user_id, Failures::NONE).await?;
    }
    if let (Some(old), Some(new)) = (&password.login.password_hash, &password.fresh_hash) {
        db::users::replace_hash(tx, user_id, old, new).await?;
    }
    Ok(login)
}
