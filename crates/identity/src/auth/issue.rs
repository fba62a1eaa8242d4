//! Issuing tokens: every proof must be of the same user, and together they must be enough.

use std::net::IpAddr;

use hanse_core::{Cx, Error, Result, Secret, Timestamp};
use hanse_policy::{Delegation, Grant, Target};

use super::password::{Password, settle};
use super::{Named, Opened, Proof, Want, account, no_token, unscoped};
use crate::Identity;
use crate::application_credentials::verify_secret;
use crate::auth::receipts::Receipt;
use crate::brake::Key;
use crate::compliance::day;
use crate::credentials::{TOTP, open};
use crate::db;
use crate::model::{Site, unauthorized};
use crate::snapshot::{Person, Snapshot};
use crate::token::{AuditId, Delegated, Methods, Payload};
use crate::verbs::{AUTHENTICATE, ISSUE_RECEIPT};

/// What a login gets.
pub(crate) enum Issued {
    Token(String, Box<Opened>),
    /// The proofs are good and not enough: what was proved, and the sets of methods of which one is.
    Receipt {
        text: String,
        receipt: Receipt,
        rules: Vec<Vec<String>>,
    },
}

/// What has been proved so far.
#[derive(Default)]
struct Proved {
    user_id: Option<String>,
    methods: Methods,
    /// From the token that is rescoped: the new one lives no longer and belongs to the same chain.
    expires_at: Option<Timestamp>,
    first_audit_id: Option<AuditId>,
    /// The application credential that it was, with its project.
    credential: Option<(String, String)>,
    /// The password that was given.
    password: Option<Password>,
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

impl Identity {
    /// Issues a token, and puts that into the audit trail.
    pub(crate) async fn issue(
        &self,
        cx: &Cx,
        source: Option<IpAddr>,
        proofs: Vec<Proof>,
        receipt: Option<&str>,
        want: Want,
    ) -> Result<Issued> {
        // Always asks the database: a process that is a second behind must not give a dying token a successor.
        let snapshot = self.0.snapshots.confirmed(cx).await?;
        let mut proved = Proved::default();
        for proof in proofs {
            self.prove(cx, &snapshot, source, proof, &mut proved).await?;
        }
        if let Some(text) = receipt {
            let receipt = self.open_receipt(cx, &snapshot, text)?;
            proved.add(&receipt.user_id, receipt.methods)?;
        }
        let issued = self.conclude(cx, &snapshot, &proved, &want).await;
        if let (Err(_), Some(user_id)) = (&issued, &proved.user_id) {
            self.note_refused(cx, user_id).await?;
        }
        issued
    }

    async fn conclude(&self, cx: &Cx, snapshot: &Snapshot, proved: &Proved, want: &Want) -> Result<Issued> {
        if let Some(issued) = self.demand_more(cx, snapshot, proved).await? {
            return Ok(issued);
        }
        let opened = self.shape(cx, snapshot, proved, want).await?;
        let token = self.seal_token(cx, &opened.payload)?;
        let user_id = proved.user_id.as_deref().unwrap_or(&opened.payload.user_id);
        self.note_issued(cx, &opened, user_id, proved.password.as_ref()).await?;
        Ok(Issued::Token(token, Box::new(opened)))
    }

    /// The audit event of a token, in one transaction with the use of the trust that it comes from and with what a
    /// login changes of its user.
    pub(super) async fn note_issued(
        &self,
        cx: &Cx,
        opened: &Opened,
        user_id: &str,
        password: Option<&Password>,
    ) -> Result<()> {
        let grant = opened.caller.authorize(cx, AUTHENTICATE, Target::new(&opened.payload.user_id))?;
        let trust = match &opened.caller.delegation {
            Some(Delegation::Trust { id, trustor_user_id, .. }) => Some((id, trustor_user_id)),
            _ => None,
        };
        let (rules, now) = (&self.0.settings.compliance, cx.now());
        self.0
            .db
            .write(cx, &grant, |tx| {
                Box::pin(async move {
                    let login = settle(tx, rules, now, user_id, password).await?;
                    if login.user.last_active_at.is_none_or(|last| last < day(now)) {
                        db::users::note_active(tx, user_id, day(now)).await?;
                    }
                    let Some((id, trustor)) = trust else { return Ok(()) };
                    // Who has left lends nothing any more.
                    settle(tx, rules, now, trustor, None).await?;
                    // One that is used up is as one that ended.
                    if db::trusts::consume(tx, id).await? { Ok(()) } else { Err(unauthorized()) }
                })
            })
            .await
    }

    async fn prove(
        &self,
        cx: &Cx,
        snapshot: &Snapshot,
        source: Option<IpAddr>,
        proof: Proof,
        proved: &mut Proved,
    ) -> Result<()> {
        match proof {
            Proof::Password { user, password } => {
                let password = self.check_password(cx, snapshot, source, &user, password).await?;
                self.check_expiry(cx, &password).await?;
                proved.add(&password.login.user.id, Methods::PASSWORD)?;
                proved.password = Some(password);
                Ok(())
            }
            Proof::Totp { user, passcode } => {
                let id = self.check_passcode(cx, snapshot, source, &user, &passcode).await?;
                proved.add(&id, Methods::TOTP)
            }
            Proof::ApplicationCredential { credential, user, secret } => {
                let found =
                    self.check_secret(cx, snapshot, source, &credential, user.as_ref(), secret).await?;
                proved.add(&found.user_id, Methods::APPLICATION_CREDENTIAL)?;
                proved.credential = Some((found.id, found.project_id));
                Ok(())
            }
            Proof::Token(token) => {
                let old = self.open(cx, snapshot, token.expose()).ok_or_else(no_token)?.payload;
                if old.delegated != Delegated::No {
                    return Err(Error::forbidden("A delegated token cannot be used to get another token."));
                }
                proved.add(&old.user_id, old.methods.with(Methods::TOKEN))?;
                proved.expires_at = Some(old.expires_at);
                proved.first_audit_id = Some(old.first_audit_id.unwrap_or(old.audit_id));
                Ok(())
            }
        }
    }

    /// A receipt, if the user's rules want more than was proved.
    async fn demand_more(&self, cx: &Cx, snapshot: &Snapshot, proved: &Proved) -> Result<Option<Issued>> {
        let Some(person) = proved.user_id.as_deref().and_then(|id| snapshot.live_person(id)) else {
            return Ok(None);
        };
        let names = proved.methods.names();
        let is_met = |rule: &Vec<String>| rule.iter().all(|method| names.contains(&method.as_str()));
        if person.mfa_rules.is_empty() || person.mfa_rules.iter().any(is_met) {
            return Ok(None);
        }
        // A receipt knows neither whose power was used nor until when: what has limits must be enough by itself.
        if proved.credential.is_some() || proved.expires_at.is_some() {
            return Err(unauthorized());
        }
        let receipt = Receipt::new(cx.now(), person, proved.methods);
        let text = self.0.tokens.fernet().seal(cx, &receipt.encode())?;
        let caller = unscoped(snapshot, person, cx.now())?;
        let grant = caller.authorize(cx, ISSUE_RECEIPT, Target::new(&*person.id))?;
        let (rules, now, password) = (&self.0.settings.compliance, cx.now(), proved.password.as_ref());
        let user_id = &*person.id;
        self.0
            .db
            .write(cx, &grant, |tx| {
                Box::pin(async move { settle(tx, rules, now, user_id, password).await.map(drop) })
            })
            .await?;
        Ok(Some(Issued::Receipt { text, receipt, rules: person.mfa_rules.to_vec() }))
    }

    async fn shape(&self, cx: &Cx, snapshot: &Snapshot, proved: &Proved, want: &Want) -> Result<Opened> {
        let user_id = proved.user_id.as_deref().ok_or_else(unauthorized)?;
        let person = snapshot.live_person(user_id).ok_or_else(unauthorized)?;
        let mut payload = Payload {
            methods: proved.methods,
            user_id: person.id.to_string(),
            user_epoch: person.epoch,
            site: None,
            site_epoch: 0,
            issued_at: cx.now(),
            expires_at: proved.expires_at.unwrap_or_else(|| cx.now().plus(self.0.settings.token_life)),
            audit_id: AuditId(cx.bytes()),
            first_audit_id: proved.first_audit_id,
            delegated: Delegated::No,
        };
        if let Some((id, project)) = &proved.credential {
            if *want != Want::Default {
                return Err(Error::unauthorized("Application credentials cannot request a scope."));
            }
            payload.site = Some(Site::Project(project.clone()));
            payload.delegated = Delegated::ApplicationCredential(id.clone());
            let ends = snapshot.application_credential(id).and_then(|credential| credential.expires_at);
            payload.expires_at = ends.map_or(payload.expires_at, |at| at.min(payload.expires_at));
        } else if let Want::Trust(id) = want {
            self.shape_trust(snapshot, &mut payload, id)?;
        } else {
            payload.site = self.site(snapshot, person, want).await?;
        }
        self.finish(cx, snapshot, payload)
    }

    /// Completes the payload and asks what the token will be worth wherever it is shown.
    pub(super) fn finish(&self, cx: &Cx, snapshot: &Snapshot, mut payload: Payload) -> Result<Opened> {
        if let Some(site) = &payload.site {
            payload.site_epoch = snapshot.live_site(site).ok_or_else(unauthorized)?.1;
        }
        payload.user_epoch = snapshot.epoch(cx.now(), &payload).ok_or_else(unauthorized)?;
        let caller = snapshot.caller(cx.now(), &payload).ok_or_else(unauthorized)?;
        Ok(Opened::new(snapshot, payload, caller))
    }

    /// A token for a trust is its trustee's to get.
    fn shape_trust(&self, snapshot: &Snapshot, payload: &mut Payload, id: &str) -> Result<()> {
        let trust = snapshot.trust(id).ok_or_else(unauthorized)?;
        if trust.trustee_user_id != payload.user_id {
            return Err(Error::forbidden("You are not authorized to use this trust."));
        }
        if trust.impersonation {
            payload.user_id.clone_from(&trust.trustor_user_id);
        }
        payload.site = trust.project_id.clone().map(Site::Project);
        payload.delegated = Delegated::Trust(id.to_owned());
        payload.expires_at = trust.expires_at.map_or(payload.expires_at, |at| at.min(payload.expires_at));
        Ok(())
    }

    async fn site(&self, snapshot: &Snapshot, person: &Person, want: &Want) -> Result<Option<Site>> {
        Ok(match want {
            Want::Unscoped | Want::Trust(_) => None,
            Want::Default => default_site(snapshot, person),
            Want::System => Some(Site::System),
            Want::Domain(domain) => {
                let mut conn = self.0.db.read().await?;
                let id = db::projects::domain_id(&mut conn, domain).await?;
                Some(Site::Domain(id.ok_or_else(unauthorized)?))
            }
            Want::Project(project) => Some(self.project_site(project).await?),
        })
    }

    async fn project_site(&self, project: &Named) -> Result<Site> {
        let (name, domain) = match project {
            Named::Id(id) => return Ok(Site::Project(id.clone())),
            Named::Name { name, domain } => (name, domain),
        };
        let mut conn = self.0.db.read().await?;
        let id = db::projects::named(&mut conn, domain, name).await?;
        Ok(Site::Project(id.ok_or_else(unauthorized)?))
    }

    pub(super) async fn note_refused(&self, cx: &Cx, account: &str) -> Result<()> {
        let refused = Grant::refused(cx, AUTHENTICATE, account);
        self.0.db.write(cx, &refused, |_| Box::pin(async { Ok(()) })).await
    }

    /// Whether this is a one-time password of the user that was not used before. Says who the user is.
    async fn check_passcode(
        &self,
        cx: &Cx,
        snapshot: &Snapshot,
        source: Option<IpAddr>,
        user: &Named,
        passcode: &Secret<String>,
    ) -> Result<String> {
        let account = account(user);
        let mut conn = self.0.db.read().await?;
        let id = db::users::login(&mut conn, user).await?.map(|login| login.user.id);
        // Six digits are soon guessed from many places and under many names, so it is the user who is guessed at.
        let (whom, source) = match &id {
            Some(id) => (id, None),
            None => (&account, source),
        };
        let key = Key::new(format!("totp {whom}"), source);
        self.0.brake.begin(cx.now(), &key)?;
        let seeds = match &id {
            Some(id) => db::credentials::of_user(&mut conn, id, TOTP).await?,
            None => Vec::new(),
        };
        drop(conn);
        let mut step = None;
        for seed in seeds {
            let seed = hanse_crypto::TotpKey::parse(&open(self, seed)?.blob)?;
            step = step.or(seed.verify(passcode, cx.now(), hanse_crypto::totp::PREVIOUS_WINDOWS));
        }
        if let (Some(step), Some(id)) = (step, id.as_deref().filter(|id| snapshot.live_person(id).is_some()))
        {
            let step = i64::try_from(step).unwrap_or(i64::MAX);
            let (grant, used) = (&Grant::refused(cx, AUTHENTICATE, id), step);
            // Whether the login succeeds or not, this passcode is spent.
            let fresh = self
                .0
                .db
                .write(cx, grant, |tx| {
                    Box::pin(async move { db::credentials::use_step(tx, grant, used).await })
                })
                .await?;
            if fresh {
                self.0.brake.forgive(&key);
                return Ok(id.to_owned());
            }
            return Err(unauthorized());
        }
        self.note_refused(cx, &id.unwrap_or(account)).await?;
        Err(unauthorized())
    }

    async fn check_secret(
        &self,
        cx: &Cx,
        snapshot: &Snapshot,
        source: Option<IpAddr>,
        credential: &str,
        user: Option<&Named>,
        secret: Secret<String>,
    ) -> Result<crate::application_credentials::ApplicationCredential> {
        let spelled = user.map(account).unwrap_or_default();
        let account = format!("application credential {credential} {spelled}");
        let key = Key::new(account.clone(), source);
        self.0.brake.begin(cx.now(), &key)?;
        let mut conn = self.0.db.read().await?;
        let found = match user {
            None => db::rows::find(&mut conn, credential).await?,
            Some(user) => match db::users::login(&mut conn, user).await? {
                Some(login) => {
                    db::application_credentials::named(&mut conn, &login.user.id, credential).await?
                }
                None => None,
            },
        };
        drop(conn);
        let good = match &found {
            Some(found) => verify_secret(self, found, secret).await?,
            None => false,
        };
        match found {
            Some(found) if good && snapshot.application_credential(&found.id).is_some() => {
                self.0.brake.forgive(&key);
                Ok(found)
            }
            _ => {
                self.note_refused(cx, &account).await?;
                Err(unauthorized())
            }
        }
    }
}

fn default_site(snapshot: &Snapshot, person: &Person) -> Option<Site> {
    let site = Site::Project(person.default_project_id.clone()?);
    let is_good = snapshot.live_site(&site).is_some() && !snapshot.role_ids(person, &site).is_empty();
    is_good.then_some(site)
}
