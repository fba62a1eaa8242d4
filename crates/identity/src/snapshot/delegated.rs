//! What delegated tokens are worth: never more than what they were made from is worth now.

use std::collections::BTreeSet;
use std::sync::Arc;

use hanse_core::Timestamp;
use hanse_policy::{AccessRule, Delegation, Role};

use super::{Id, Snapshot};
use crate::model::Site;
use crate::token::{Delegated, Payload};
use crate::trusts::Trust;

#[derive(Clone, Debug)]
pub(crate) struct ApplicationCredential {
    pub(crate) user_id: Id,
    pub(crate) project_id: Id,
    pub(crate) name: String,
    pub(crate) roles: Box<[Id]>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) unrestricted: bool,
    pub(crate) access_rules: Option<Arc<[AccessRule]>>,
}

/// How a token came to its power, and the roles that this leaves it.
pub(super) struct Worth {
    pub(super) delegation: Option<Delegation>,
    pub(super) roles: Vec<Role>,
    /// The epochs of all users whose power the token uses, added up: they only grow.
    pub(super) epoch: u32,
}

/// An EC2 credential. Its secret stays sealed until somebody signs with it.
#[derive(Debug)]
pub(crate) struct Ec2Credential {
    /// What the blob is sealed for.
    pub(crate) id: Id,
    pub(crate) user_id: Id,
    pub(crate) project_id: Option<Id>,
    pub(crate) blob: Box<[u8]>,
}

impl Snapshot {
    pub(crate) fn application_credential(&self, id: &str) -> Option<&ApplicationCredential> {
        self.application_credentials.get(id).map(Arc::as_ref)
    }

    pub(crate) fn ec2_credential(&self, access_hash: &str) -> Option<&Ec2Credential> {
        self.ec2_credentials.get(access_hash).map(Arc::as_ref)
    }

    pub(crate) fn trust(&self, id: &str) -> Option<&Trust> {
        self.trusts.get(id).map(Arc::as_ref)
    }

    /// `None` if what the token was made from is gone.
    pub(super) fn worth(&self, now: Timestamp, payload: &Payload) -> Option<Worth> {
        let person = self.live_person(&payload.user_id)?;
        let epoch = person.epoch;
        let held = || payload.site.as_ref().map(|site| self.roles(person, site)).unwrap_or_default();
        match &payload.delegated {
            Delegated::No => Some(Worth { delegation: None, roles: held(), epoch }),
            Delegated::Ec2Credential(id) => {
                // Another user may have made one with the same key since.
                self.ec2_credential(id).filter(|known| *known.user_id == *payload.user_id)?;
                let delegation = Some(Delegation::Ec2Credential { id: id.clone() });
                Some(Worth { delegation, roles: held(), epoch })
            }
            Delegated::ApplicationCredential(id) => {
                let credential = self.application_credential(id)?;
                let site = Site::Project(credential.project_id.to_string());
                let is_good = *credential.user_id == *payload.user_id
                    && payload.site.as_ref() == Some(&site)
                    && credential.expires_at.is_none_or(|at| now < at);
                let roles = self.all_of(&credential.roles, &self.role_ids(person, &site))?;
                let delegation = Some(Delegation::ApplicationCredential {
                    id: id.clone(),
                    name: credential.name.clone(),
                    unrestricted: credential.unrestricted,
                    access_rules: credential.access_rules.as_ref().map(|rules| rules.to_vec()),
                });
                is_good.then_some(Worth { delegation, roles, epoch })
            }
            Delegated::Trust(id) => self.worth_of_trust(now, payload, id),
        }
    }

    fn worth_of_trust(&self, now: Timestamp, payload: &Payload, id: &str) -> Option<Worth> {
        let trust = self.trust(id)?;
        let user = if trust.impersonation { &trust.trustor_user_id } else { &trust.trustee_user_id };
        let site = trust.project_id.clone().map(Site::Project);
        if *user != payload.user_id || site != payload.site {
            return None;
        }
        // All trusts that this one hands on must be alive, and all users in them.
        let (mut epoch, mut first, mut links) = (0_u32, trust, 0);
        loop {
            links += 1;
            if links > 8 || first.expires_at.is_some_and(|at| now >= at) {
                return None;
            }
            for user in [&first.trustor_user_id, &first.trustee_user_id] {
                epoch = epoch.wrapping_add(self.live_person(user)?.epoch);
            }
            match &first.redelegated_id {
                None => break,
                Some(id) => first = self.trust(id)?,
            }
        }
        let roles = match &site {
            None => Vec::new(),
            Some(site) => {
                let held = self.role_ids(self.live_person(&first.trustor_user_id)?, site);
                let roles: Vec<Id> = trust.roles.iter().map(|role| role.as_str().into()).collect();
                self.all_of(&roles, &held)?
            }
        };
        let delegation = Some(Delegation::Trust {
            id: id.to_owned(),
            trustor_user_id: trust.trustor_user_id.clone(),
            trustee_user_id: trust.trustee_user_id.clone(),
            impersonation: trust.impersonation,
        });
        Some(Worth { delegation, roles, epoch })
    }

    /// The roles, with what they imply, if all of them are held; one that was taken ends the delegation.
    fn all_of(&self, roles: &[Id], held: &BTreeSet<&Id>) -> Option<Vec<Role>> {
        if roles.is_empty() || !roles.iter().all(|role| held.contains(role)) {
            return None;
        }
        let ids: BTreeSet<&Id> = roles.iter().flat_map(|role| self.implied_by(role)).collect();
        Some(self.named(ids))
    }
}
