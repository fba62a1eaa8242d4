//! Logging in, and what a token is worth afterwards.

mod issue;
mod password;
mod receipts;
mod signed;

pub(crate) use issue::Issued;
pub(crate) use password::Password;
pub(crate) use receipts::Receipt;
pub use signed::AccessKey;
pub(crate) use signed::Signed;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hanse_core::{Cx, Error, Result, Secret, Timestamp};
use hanse_policy::{Caller, Delegation, Role, Target, TokenScope};
use hanse_web::Authenticator;

use crate::Identity;
use crate::db;
use crate::db::revision::Touched;
use crate::model::{missing, unauthorized};
use crate::snapshot::{Person, Snapshot};
use crate::token::Payload;
use crate::verbs::{REVOKE_TOKEN, VALIDATE_TOKEN};

/// How long after its end a token may still be looked into by a service (Keystone's `allow_expired_window`).
const EXPIRED_WINDOW: Duration = Duration::from_secs(2 * 24 * 3600);

/// Something named by id, or by name within a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Id(String),
    Name { name: String, domain: DomainNamed },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DomainNamed {
    Id(String),
    Name(String),
}

pub(crate) enum Proof {
    Password {
        user: Named,
        password: Secret<String>,
    },
    Token(Secret<String>),
    Totp {
        user: Named,
        passcode: Secret<String>,
    },
    /// By its id or, with the user, by its name.
    ApplicationCredential {
        credential: String,
        user: Option<Named>,
        secret: Secret<String>,
    },
}

/// What the new token shall be good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// The user's default project, or nothing in particular.
    Default,
    Unscoped,
    Project(Named),
    Domain(DomainNamed),
    System,
    /// What another user handed over, by the id of the trust.
    Trust(String),
}

/// A token that is alive, opened.
pub(crate) struct Opened {
    pub(crate) payload: Payload,
    pub(crate) caller: Caller,
    /// When the password of its user expires.
    pub(crate) password_expires_at: Option<Timestamp>,
}

impl Opened {
    fn new(snapshot: &Snapshot, payload: Payload, caller: Caller) -> Opened {
        let password_expires_at =
            snapshot.person(&payload.user_id).and_then(|person| person.password_expires_at);
        Opened { payload, caller, password_expires_at }
    }
}

#[async_trait]
impl Authenticator for Identity {
    async fn authenticate(&self, cx: &Cx, token: &str) -> Result<Arc<Caller>> {
        let opened = self.open_now(cx, token, Duration::ZERO).await?.ok_or_else(unauthorized)?;
        Ok(Arc::new(opened.caller))
    }
}

impl Identity {
    pub(crate) fn seal_token(&self, cx: &Cx, payload: &Payload) -> Result<String> {
        self.0.tokens.seal(cx, payload)
    }

    fn unseal(&self, token: &str) -> Option<Payload> {
        self.0.tokens.open(token).ok()
    }

    fn open(&self, cx: &Cx, snapshot: &Snapshot, token: &str) -> Option<Opened> {
        let payload = self.unseal(token)?;
        let caller = snapshot.caller(cx.now(), &payload)?;
        Some(Opened::new(snapshot, payload, caller))
    }

    /// A token by what is known, or by asking: another process may have made the user a moment ago. Only a token of
    /// our own keys that may still be good leads to a question, and those who ask together ask once. `late` is how
    /// long ago the token may have expired.
    ///
    /// # Errors
    /// 503 if the database must be asked and does not answer.
    async fn open_now(&self, cx: &Cx, token: &str, late: Duration) -> Result<Option<Opened>> {
        let Some(payload) = self.unseal(token) else { return Ok(None) };
        let mut snapshot = self.0.snapshots.current(cx).await?;
        let now = cx.now();
        let is_late = now >= payload.expires_at && now < payload.expires_at.plus(late);
        let at = if is_late { Timestamp(payload.expires_at.0 - 1) } else { now };
        let mut caller = snapshot.caller(at, &payload);
        if caller.is_none() && !snapshot.has_ended(at, &payload) {
            snapshot = self.0.snapshots.confirmed(cx).await?;
            caller = snapshot.caller(at, &payload);
        }
        Ok(caller.map(|caller| Opened::new(&snapshot, payload, caller)))
    }

    /// Looks into a token for somebody who shows another: an admin, a service, or its own user.
    /// One with access rules is shown to none but who says that they will enforce these (`knows_access_rules`).
    ///
    /// A service that began a long task for a user may finish it after the user's token has expired.
    pub(crate) async fn show_token(
        &self,
        cx: &Cx,
        caller: &Caller,
        subject: Option<&str>,
        allow_expired: bool,
        knows_access_rules: bool,
    ) -> Result<Opened> {
        let late = if allow_expired { EXPIRED_WINDOW } else { Duration::ZERO };
        let opened = self.subject(cx, subject, late).await?;
        let is_confined = matches!(
            opened.caller.delegation,
            Some(Delegation::ApplicationCredential { access_rules: Some(_), .. })
        );
        if is_confined && !knows_access_rules {
            return Err(no_token());
        }
        if caller.has_role("service") {
            return Ok(opened);
        }
        let target = Target::new(opened.payload.audit_id.text()).of_user(&opened.payload.user_id);
        caller.authorize(cx, VALIDATE_TOKEN, target)?;
        Ok(opened)
    }

    pub(crate) async fn revoke_token(&self, cx: &Cx, caller: &Caller, subject: Option<&str>) -> Result<()> {
        let payload = self.subject(cx, subject, Duration::ZERO).await?.payload;
        let target = Target::new(payload.audit_id.text()).of_user(payload.user_id);
        let grant = caller.authorize(cx, REVOKE_TOKEN, target)?;
        let (expires_at, now, grant) = (payload.expires_at, cx.now(), &grant);
        self.write(cx, grant, |tx| {
            Box::pin(async move {
                // As long as a service may still look into it.
                db::revocations::insert(tx, grant, expires_at.plus(EXPIRED_WINDOW), now).await?;
                let touched = [Touched::Revocation(grant.target().to_owned())];
                Ok(((), db::revision::bump(tx, touched).await?))
            })
        })
        .await
    }

    /// # Errors
    /// 404 if the token is not valid: the caller's own is.
    async fn subject(&self, cx: &Cx, subject: Option<&str>, late: Duration) -> Result<Opened> {
        let opened = match subject {
            Some(token) => self.open_now(cx, token, late).await?,
            None => None,
        };
        opened.ok_or_else(no_token)
    }
}

/// The user as a caller without any scope, for what they may do by password alone.
pub(crate) fn unscoped(snapshot: &Snapshot, person: &Person, now: Timestamp) -> Result<Caller> {
    let user_domain = snapshot.domain_ref(&person.domain_id).ok_or_else(unauthorized)?;
    Ok(Caller {
        user_id: person.id.to_string(),
        user_name: person.name.clone(),
        user_domain,
        scope: TokenScope::Unscoped,
        roles: Vec::<Role>::new(),
        expires_at: now,
        audit_ids: Vec::new(),
        delegation: None,
    })
}

/// The answer to whoever asks about a token that is none, or wants to log in with it.
fn no_token() -> Error {
    missing("token", "it is unknown, expired or revoked")
}

/// The account as it was spelled, for the brake and the audit trail. Its parts were checked for their length.
fn account(user: &Named) -> String {
    match user {
        Named::Id(id) => format!("id {id}"),
        Named::Name { name, domain: DomainNamed::Id(domain) } => format!("name {name} in id {domain}"),
        Named::Name { name, domain: DomainNamed::Name(domain) } => format!("name {name} in name {domain}"),
    }
}

/// What a login request that is well-formed but asks for what we cannot do gets.
pub(crate) fn unsupported_method() -> Error {
    Error::unauthorized("Attempted to authenticate with an unsupported method.")
}
