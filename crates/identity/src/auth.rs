//! Logging in, and what a token is worth afterwards.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hanse_core::{Cx, Error, Kind, Result, Secret, Timestamp};
use hanse_policy::{Caller, Grant, Role, Target, TokenScope};
use hanse_web::Authenticator;

use crate::Identity;
use crate::brake::Key;
use crate::db;
use crate::db::revision::Touched;
use crate::model::{Site, missing, unauthorized};
use crate::snapshot::{Person, Snapshot};
use crate::token::{AuditId, Methods, Payload};
use crate::verbs::{AUTHENTICATE, REVOKE_TOKEN, VALIDATE_TOKEN};

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
    Password { user: Named, password: Secret<String> },
    Token(Secret<String>),
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
}

/// A token that is alive, opened.
pub(crate) struct Opened {
    pub(crate) payload: Payload,
    pub(crate) caller: Caller,
}

/// What has been proved so far.
#[derive(Default)]
struct Proved {
    user_id: Option<String>,
    methods: Methods,
    /// From the token that is rescoped: the new one lives no longer and belongs to the same chain.
    expires_at: Option<Timestamp>,
    first_audit_id: Option<AuditId>,
}

impl Proved {
    /// Several methods must all prove the same user.
    fn add(&mut self, user_id: &str, methods: Methods) -> Result<()> {
        if self.user_id.as_deref().is_some_and(|known| known != user_id) {
            return Err(unauthorized());
        }
        self.user_id = Some(user_id.to_owned());
        self.methods = self.methods.with(methods);
        Ok(())
    }
}

#[async_trait]
impl Authenticator for Identity {
    async fn authenticate(&self, cx: &Cx, token: &str) -> Result<Arc<Caller>> {
        let snapshot = self.0.snapshots.current(cx).await?;
        let opened = self.open(cx, &snapshot, token).ok_or_else(unauthorized)?;
        Ok(Arc::new(opened.caller))
    }
}

impl Identity {
    /// Issues a token, and puts that into the audit trail.
    pub(crate) async fn issue(
        &self,
        cx: &Cx,
        source: Option<IpAddr>,
        proofs: Vec<Proof>,
        want: Want,
    ) -> Result<(String, Opened)> {
        // Always asks the database: a process that is a second behind must not give a dying token a successor.
        let snapshot = self.0.snapshots.confirmed(cx).await?;
        let mut proved = Proved::default();
        for proof in proofs {
            match proof {
                Proof::Password { user, password } => {
                    let person = self.check_password(cx, &snapshot, source, &user, password).await?;
                    proved.add(&person.id, Methods::PASSWORD)?;
                }
                Proof::Token(token) => {
                    let old = self.open(cx, &snapshot, token.expose()).ok_or_else(unauthorized)?.payload;
                    proved.add(&old.user_id, old.methods.with(Methods::TOKEN))?;
                    proved.expires_at = Some(old.expires_at);
                    proved.first_audit_id = Some(old.first_audit_id.unwrap_or(old.audit_id));
                }
            }
        }
        let opened = match self.shape(cx, &snapshot, &proved, &want).await {
            Ok(opened) => opened,
            Err(error) => {
                if let Some(user_id) = &proved.user_id {
                    self.note_refused(cx, user_id).await?;
                }
                return Err(error);
            }
        };
        let token = self.0.tokens.seal(cx, &opened.payload.encode())?;
        let grant = opened.caller.authorize(cx, AUTHENTICATE, Target::new(&opened.payload.user_id))?;
        self.0.db.write(cx, &grant, |_| Box::pin(async { Ok(()) })).await?;
        Ok((token, opened))
    }

    async fn shape(&self, cx: &Cx, snapshot: &Snapshot, proved: &Proved, want: &Want) -> Result<Opened> {
        let user_id = proved.user_id.as_deref().ok_or_else(unauthorized)?;
        let person = snapshot.live_person(user_id).ok_or_else(unauthorized)?;
        let site = match want {
            Want::Unscoped => None,
            Want::Default => default_site(snapshot, person),
            Want::System => Some(Site::System),
            Want::Domain(domain) => {
                let mut conn = self.0.db.read().await?;
                let id = db::projects::domain_id(&mut conn, domain).await?;
                Some(Site::Domain(id.ok_or_else(unauthorized)?))
            }
            Want::Project(project) => Some(self.project_site(project).await?),
        };
        let site_epoch = match &site {
            Some(site) => snapshot.live_site(site).ok_or_else(unauthorized)?.1,
            None => 0,
        };
        let issued_at = cx.now();
        let payload = Payload {
            methods: proved.methods,
            user_id: person.id.to_string(),
            user_epoch: person.epoch,
            site,
            site_epoch,
            issued_at,
            expires_at: proved.expires_at.unwrap_or_else(|| issued_at.plus(self.0.settings.token_life)),
            audit_id: AuditId(cx.bytes()),
            first_audit_id: proved.first_audit_id,
        };
        // The same judgement that the token will meet wherever it is shown.
        let caller = snapshot.caller(issued_at, &payload).ok_or_else(unauthorized)?;
        Ok(Opened { payload, caller })
    }

    async fn project_site(&self, project: &Named) -> Result<Site> {
        let (name, domain) = match project {
            Named::Id(id) => return Ok(Site::Project(id.clone())),
            Named::Name { name, domain } => (name, domain),
        };
        let mut conn = self.0.db.read().await?;
        let domain = db::projects::domain_id(&mut conn, domain).await?.ok_or_else(unauthorized)?;
        let id = db::projects::named(&mut conn, &domain, name).await?;
        Ok(Site::Project(id.ok_or_else(unauthorized)?))
    }

    /// Whether this is the user's password. Nobody learns from the answer, or from the time it takes, whether there
    /// is such a user.
    pub(crate) async fn check_password<'s>(
        &self,
        cx: &Cx,
        snapshot: &'s Snapshot,
        source: Option<IpAddr>,
        user: &Named,
        password: Secret<String>,
    ) -> Result<&'s Person> {
        let account = account(user);
        let key = Key::new(account.clone(), source);
        self.0.brake.begin(cx.now(), &key)?;
        let mut conn = self.0.db.read().await?;
        let login = db::users::login(&mut conn, user).await?;
        drop(conn);
        let (id, hash) = login.map(|login| (login.id, login.password_hash)).unzip();
        let right = self.is_password(hash.flatten(), password).await;
        match (right, id.as_deref().and_then(|id| snapshot.live_person(id))) {
            (Ok(true), Some(person)) => {
                self.0.brake.forgive(&key);
                Ok(person)
            }
            (Ok(_), _) => {
                let target = id.unwrap_or(account);
                self.note_refused(cx, &target).await?;
                Err(unauthorized())
            }
            (Err(error), _) => {
                self.0.brake.forgive(&key);
                Err(error)
            }
        }
    }

    async fn note_refused(&self, cx: &Cx, account: &str) -> Result<()> {
        let refused = Grant::refused(cx, AUTHENTICATE, account);
        self.0.db.write(cx, &refused, |_| Box::pin(async { Ok(()) })).await
    }

    async fn is_password(&self, hash: Option<String>, password: Secret<String>) -> Result<bool> {
        match self.0.hasher.verify(password, hash).await {
            // Too long to be hashed is too long to be right.
            Err(error) if error.kind() == Kind::BadRequest => Ok(false),
            verdict => Ok(verdict?.is_match()),
        }
    }

    fn open(&self, cx: &Cx, snapshot: &Snapshot, token: &str) -> Option<Opened> {
        self.open_late(cx.now(), snapshot, token, Duration::ZERO)
    }

    /// The same for a token that may have expired so long ago.
    fn open_late(&self, now: Timestamp, snapshot: &Snapshot, token: &str, late: Duration) -> Option<Opened> {
        let payload = Payload::decode(&self.0.tokens.open(token).ok()?)?;
        let is_late = now >= payload.expires_at && now < payload.expires_at.plus(late);
        let at = if is_late { Timestamp(payload.expires_at.0 - 1) } else { now };
        let caller = snapshot.caller(at, &payload)?;
        Some(Opened { payload, caller })
    }

    /// Looks into a token for somebody who shows another: an admin, a service, or its own user.
    ///
    /// A service that began a long task for a user may finish it after the user's token has expired.
    pub(crate) async fn show_token(
        &self,
        cx: &Cx,
        caller: &Caller,
        subject: Option<&str>,
        allow_expired: bool,
    ) -> Result<Opened> {
        let late = if allow_expired { EXPIRED_WINDOW } else { Duration::ZERO };
        let opened = self.subject(cx, subject, late).await?;
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
                db::revocations::insert(tx, grant, expires_at, now).await?;
                let touched = [Touched::Revocation(grant.target().to_owned())];
                Ok(((), db::revision::bump(tx, touched).await?))
            })
        })
        .await
    }

    /// # Errors
    /// 404 if the token is not valid: the caller's own is.
    async fn subject(&self, cx: &Cx, subject: Option<&str>, late: Duration) -> Result<Opened> {
        let snapshot = self.0.snapshots.current(cx).await?;
        subject
            .and_then(|token| self.open_late(cx.now(), &snapshot, token, late))
            .ok_or_else(|| missing("token", "it is unknown, expired or revoked"))
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
    })
}

fn default_site(snapshot: &Snapshot, person: &Person) -> Option<Site> {
    let site = Site::Project(person.default_project_id.clone()?);
    let is_good = snapshot.live_site(&site).is_some() && !snapshot.role_ids(person, &site).is_empty();
    is_good.then_some(site)
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
