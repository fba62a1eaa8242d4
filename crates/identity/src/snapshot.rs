//! Identity as this process knows it: all that deciding about a token takes, in memory.
//!
//! A snapshot never changes. The next one shares with it whatever was not touched in between: the maps are behind
//! [`Arc`]s, and so is what they hold, so that a write costs what it touches and not what there is.

mod assigned;
mod delegated;
mod known_keys;
mod latest;
mod load;
mod rights;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use hanse_core::Timestamp;
use hanse_policy::{Caller, DomainRef, ProjectRef, TokenScope};

pub(crate) use assigned::{Filter, Held, place};
pub(crate) use delegated::{ApplicationCredential, Ec2Credential};
pub(crate) use latest::Snapshots;

use self::known_keys::KnownKeys;
use crate::catalog::Listing;
use crate::model::Site;
use crate::token::{AuditId, Payload};
use crate::trusts::Trust;

/// An id, shared by all that name it.
pub(crate) type Id = Arc<str>;

/// Things by their ids, in the order in which lists show them: a page begins where the last one ended.
type ById<T> = BTreeMap<Id, Arc<T>>;

#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) id: Id,
    pub(crate) domain_id: Id,
    pub(crate) name: String,
    pub(crate) enabled: bool,
    pub(crate) default_project_id: Option<String>,
    pub(crate) epoch: u32,
    pub(crate) password_expires_at: Option<Timestamp>,
    /// Sets of methods, of which one must be proved; none is enough if there are none.
    pub(crate) mfa_rules: Box<[Vec<String>]>,
    pub(crate) groups: Box<[Id]>,
    pub(crate) assigned: Box<[Assigned]>,
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: Id,
    pub(crate) domain_id: Id,
    pub(crate) name: String,
    pub(crate) assigned: Box<[Assigned]>,
}

/// A project or a domain.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) id: Id,
    pub(crate) domain_id: Id,
    pub(crate) parent_id: Id,
    pub(crate) is_domain: bool,
    pub(crate) name: String,
    pub(crate) enabled: bool,
    pub(crate) epoch: u32,
}

/// One role that somebody was given: 40 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assigned {
    pub(crate) kind: SiteKind,
    pub(crate) inherited: bool,
    /// Empty for the system.
    pub(crate) place: Id,
    pub(crate) role: Id,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SiteKind {
    Project,
    Domain,
    System,
}

impl Assigned {
    pub(crate) fn site(&self) -> Site {
        match self.kind {
            SiteKind::Project => Site::Project(self.place.to_string()),
            SiteKind::Domain => Site::Domain(self.place.to_string()),
            SiteKind::System => Site::System,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct KnownRole {
    pub(crate) id: Id,
    pub(crate) name: String,
    /// Empty for roles that are good in every domain. Others are good for nothing but what they imply.
    pub(crate) domain_id: String,
    /// All that it implies over any number of steps, itself first.
    pub(crate) implies: Vec<Id>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    revision: i64,
    people: Arc<ById<Person>>,
    groups: Arc<ById<Group>>,
    places: Arc<ById<Place>>,
    roles: Arc<HashMap<Id, KnownRole>>,
    catalog: Arc<Listing>,
    application_credentials: Arc<ById<ApplicationCredential>>,
    trusts: Arc<ById<Trust>>,
    /// By the hash of the access key.
    ec2_credentials: Arc<HashMap<Id, Arc<Ec2Credential>>>,
    revoked: Arc<HashSet<AuditId>>,
    known_keys: KnownKeys,
}

impl Snapshot {
    pub(crate) fn known_keys(&self) -> &KnownKeys {
        &self.known_keys
    }

    pub(crate) fn catalog(&self) -> &Listing {
        &self.catalog
    }

    pub(crate) fn person(&self, id: &str) -> Option<&Person> {
        self.people.get(id).map(Arc::as_ref)
    }

    pub(crate) fn people(&self) -> impl Iterator<Item = &Person> {
        self.people.values().map(Arc::as_ref)
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = &Place> {
        self.places.values().map(Arc::as_ref)
    }

    pub(crate) fn group(&self, id: &str) -> Option<&Group> {
        self.groups.get(id).map(Arc::as_ref)
    }

    pub(crate) fn role(&self, id: &str) -> Option<&KnownRole> {
        self.roles.get(id)
    }

    pub(crate) fn place(&self, id: &str) -> Option<&Place> {
        self.places.get(id).map(Arc::as_ref)
    }

    pub(crate) fn domain(&self, id: &str) -> Option<&Place> {
        self.place(id).filter(|place| place.is_domain)
    }

    pub(crate) fn project(&self, id: &str) -> Option<&Place> {
        self.place(id).filter(|place| !place.is_domain)
    }

    pub(crate) fn domain_ref(&self, id: &str) -> Option<DomainRef> {
        self.domain(id).map(|domain| DomainRef { id: id.to_owned(), name: domain.name.clone() })
    }

    /// The user, if neither they nor their domain are disabled.
    pub(crate) fn live_person(&self, id: &str) -> Option<&Person> {
        self.person(id).filter(|person| person.enabled && self.is_live_domain(&person.domain_id))
    }

    fn is_live_domain(&self, id: &str) -> bool {
        self.domain(id).is_some_and(|domain| domain.enabled)
    }

    /// What stands above a project, nearest first and its domain last.
    pub(crate) fn above<'s>(&'s self, project: &Place) -> impl Iterator<Item = &'s Place> {
        let next = |place: &Place| if place.is_domain { None } else { self.place(&place.parent_id) };
        // Hierarchies are a few projects deep; a circle, which no write makes, must not hang a request.
        std::iter::successors(next(project), move |place| next(place)).take(64)
    }

    /// The scope and its epoch, if neither it nor anything above it is disabled.
    pub(crate) fn live_site(&self, site: &Site) -> Option<(TokenScope, u32)> {
        match site {
            Site::System => Some((TokenScope::System, 0)),
            Site::Domain(id) => {
                let domain = self.domain(id).filter(|domain| domain.enabled)?;
                Some((TokenScope::Domain(self.domain_ref(id)?), domain.epoch))
            }
            Site::Project(id) => {
                let project = self.project(id).filter(|project| project.enabled)?;
                let is_live =
                    self.is_live_domain(&project.domain_id) && self.above(project).all(|place| place.enabled);
                if !is_live {
                    return None;
                }
                let domain = self.domain_ref(&project.domain_id)?;
                let scope = ProjectRef { id: id.clone(), name: project.name.clone(), domain };
                Some((TokenScope::Project(scope), project.epoch))
            }
        }
    }

    /// What a token is worth now; `None` if it is dead.
    pub(crate) fn caller(&self, now: Timestamp, payload: &Payload) -> Option<Caller> {
        if now >= payload.expires_at || self.revoked.contains(&payload.audit_id) {
            return None;
        }
        let person = self.live_person(&payload.user_id)?;
        let worth = self.worth(now, payload)?;
        if worth.epoch != payload.user_epoch {
            return None;
        }
        let scope = match &payload.site {
            None => TokenScope::Unscoped,
            Some(site) => {
                let (scope, epoch) = self.live_site(site)?;
                if worth.roles.is_empty() || epoch != payload.site_epoch {
                    return None;
                }
                scope
            }
        };
        Some(Caller {
            user_id: person.id.to_string(),
            user_name: person.name.clone(),
            user_domain: self.domain_ref(&person.domain_id)?,
            scope,
            roles: worth.roles,
            expires_at: payload.expires_at,
            audit_ids: payload.audit_ids(),
            delegation: worth.delegation,
        })
    }

    /// What the epoch of a token must be that is issued now.
    pub(crate) fn epoch(&self, now: Timestamp, payload: &Payload) -> Option<u32> {
        self.worth(now, payload).map(|worth| worth.epoch)
    }
}
