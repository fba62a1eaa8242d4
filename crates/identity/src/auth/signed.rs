//! Requests that were signed with an EC2 credential: who signed them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hanse_core::{Cx, Error, Kind, Result, Secret};
use hanse_crypto::{Ec2Credentials, S3Credentials};
use hanse_policy::Caller;

use super::Opened;
use crate::Identity;
use crate::brake::Key;
use crate::credentials::{self, Credential, access_hash, ec2_key};
use crate::db;
use crate::model::{Site, missing, unauthorized};
use crate::token::{AuditId, Delegated, Methods, Payload};
use crate::verbs::VALIDATE_SIGNATURE;

/// How old a signature may be (Keystone's `auth_ttl`).
const SIGNED_FOR: Duration = Duration::from_secs(15 * 60);

/// A signed request as a service saw it.
pub(crate) enum Signed {
    Ec2(Box<Ec2Credentials>),
    S3(S3Credentials),
}

impl Signed {
    fn access(&self) -> &str {
        match self {
            Signed::Ec2(signed) => &signed.access,
            Signed::S3(signed) => &signed.access,
        }
    }
}

/// The secret of an access key, and what its user may do with it.
#[derive(Debug)]
pub struct AccessKey {
    pub secret: Secret<String>,
    /// In the project of the key. Who it is and what they may do is true of now; when it expires and its audit ids are of the first
    /// request since the last change.
    pub caller: Arc<Caller>,
}

impl Identity {
    /// The EC2 credential with this access key and what it is worth at this moment; `None` if there is none, or if it is
    /// good for nothing: its user or project is disabled or gone, or the user has no role there any more. For services of
    /// this process, which check signatures themselves; nothing is asked of the database but once a second.
    ///
    /// # Errors
    /// 503 if the database does not answer.
    pub async fn access_key(&self, cx: &Cx, access: &str) -> Result<Option<Arc<AccessKey>>> {
        let mut snapshot = self.0.snapshots.current(cx).await?;
        if let Some(known) = snapshot.known_keys().get(access) {
            return Ok(Some(known));
        }
        let hash = access_hash(access);
        if snapshot.ec2_credential(&hash).is_none() {
            // Another process may have made it a moment ago.
            snapshot = self.0.snapshots.confirmed(cx).await?;
        }
        let Some(credential) = snapshot.ec2_credential(&hash) else { return Ok(None) };
        let Some(project_id) = &credential.project_id else { return Ok(None) };
        let payload = self.signed_payload(cx, &credential.user_id, Some(project_id), hash);
        let Ok(opened) = self.finish(cx, &snapshot, payload) else { return Ok(None) };
        let secret = credentials::secret(self, credential)?;
        let key = Arc::new(AccessKey { secret, caller: Arc::new(opened.caller) });
        snapshot.known_keys().note(access, key.clone());
        Ok(Some(key))
    }

    /// What a signature is worth, but for the epochs.
    fn signed_payload(
        &self,
        cx: &Cx,
        user_id: &str,
        project_id: Option<&str>,
        access_hash: String,
    ) -> Payload {
        Payload {
            methods: Methods::EC2_CREDENTIAL,
            user_id: user_id.to_owned(),
            user_epoch: 0,
            site: project_id.map(|id| Site::Project(id.to_owned())),
            site_epoch: 0,
            issued_at: cx.now(),
            expires_at: cx.now().plus(self.0.settings.token_life),
            audit_id: AuditId(cx.bytes()),
            first_audit_id: None,
            delegated: Delegated::Ec2Credential(access_hash),
        }
    }

    /// Says who signed a request, and with what power. A service asks on behalf of whoever sent the request to it: a
    /// caller who is none learns nothing.
    pub(crate) async fn identify(
        &self,
        cx: &Cx,
        caller: &Caller,
        source: Option<IpAddr>,
        signed: Signed,
    ) -> Result<Opened> {
        caller.scope(VALIDATE_SIGNATURE)?;
        crate::delegation::require_primary(caller, "identifying others")?;
        let snapshot = self.0.snapshots.confirmed(cx).await?;
        let mut conn = self.0.db.read().await?;
        let access = access_hash(signed.access());
        let found = db::credentials::of_access(&mut conn, &access).await?;
        drop(conn);
        // Only wrong ones are slowed down: the source is the gateway, and a right one must get through it.
        let is_gateway = crate::gateway::asks(self, caller);
        let refused = || async {
            let slowed = self.0.brake.begin(cx.now(), &Key::new(format!("signature {access}"), source));
            match slowed {
                Ok(()) => self.note_refused(cx, &access).await?,
                // Its client would be told of an error of the server, and try again.
                Err(_) if is_gateway => {}
                Err(error) => return Err(error),
            }
            Err(unauthorized())
        };
        let Some(found) = found else {
            return match refused().await {
                // S3 tells an unknown key from a wrong signature.
                Err(error) if is_gateway && error.kind() == Kind::Unauthorized => {
                    Err(missing("credential", signed.access()))
                }
                other => other,
            };
        };
        let opened = credentials::open(self, found)?;
        let secret = ec2_key(&opened)?.secret;
        let (is_right, signed_at) = match &signed {
            // What was signed without a time would be good for ever.
            Signed::Ec2(request) => {
                let at =
                    request.signed_at()?.ok_or_else(|| Error::unauthorized("The signature has no time."))?;
                (request.verify(&secret)?, Some(at))
            }
            Signed::S3(request) => (request.verify(&secret)?, None),
        };
        if !is_right {
            return refused().await;
        }
        if signed_at.is_some_and(|at| cx.now() > at.plus(SIGNED_FOR) || at > cx.now().plus(SIGNED_FOR)) {
            return Err(Error::unauthorized("Credential is expired"));
        }
        let Credential { user_id, project_id, .. } = opened.credential;
        let payload = self.signed_payload(cx, &user_id, project_id.as_deref(), access);
        let opened = self.finish(cx, &snapshot, payload)?;
        self.note_issued(cx, &opened, &opened.payload.user_id, None).await?;
        Ok(opened)
    }
}
