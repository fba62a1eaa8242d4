//! Which roles somebody holds somewhere: given to them or to one of their groups, there or inherited from above, with
//! all that these imply.

use std::collections::BTreeSet;
use std::sync::Arc;

use hanse_policy::Role;

use super::{Assigned, Id, Person, SiteKind, Snapshot};
use crate::model::Site;

impl Snapshot {
    /// What was given to the user and to the groups that they are in.
    pub(super) fn given<'s>(&'s self, person: &'s Person) -> impl Iterator<Item = &'s Assigned> {
        let groups = person.groups.iter().filter_map(|id| self.groups.get(id));
        person.assigned.iter().chain(groups.flat_map(|group| group.assigned.iter()))
    }

    /// Whether what was given there counts here.
    fn reaches(&self, given: &Assigned, site: &Site) -> bool {
        match (given.kind, site) {
            (SiteKind::System, Site::System) => !given.inherited,
            (SiteKind::Domain, Site::Domain(id)) => !given.inherited && *given.place == **id,
            (SiteKind::Project, Site::Project(id)) if !given.inherited => *given.place == **id,
            (kind, Site::Project(id)) if given.inherited => {
                let is_domain = kind == SiteKind::Domain;
                self.project(id).is_some_and(|project| {
                    self.above(project).any(|above| above.is_domain == is_domain && above.id == given.place)
                })
            }
            _ => false,
        }
    }

    /// The ids of the roles that a user has there. Roles of one domain are left out: they only imply others.
    pub(crate) fn role_ids(&self, person: &Person, site: &Site) -> BTreeSet<&Id> {
        let reached = self.given(person).filter(|given| self.reaches(given, site));
        reached.flat_map(|given| self.implied_by(&given.role)).collect()
    }

    /// The roles that a user has there, ordered by name.
    pub(crate) fn roles(&self, person: &Person, site: &Site) -> Vec<Role> {
        self.named(self.role_ids(person, site))
    }

    /// The roles of these ids, ordered by name.
    pub(super) fn named(&self, ids: BTreeSet<&Id>) -> Vec<Role> {
        let known = ids.into_iter().filter_map(|id| self.roles.get(id));
        let mut roles: Vec<Role> =
            known.map(|role| Role { id: role.id.to_string(), name: role.name.clone() }).collect();
        roles.sort_by(|a, b| a.name.cmp(&b.name));
        roles
    }

    /// The role itself and all that it implies, as far as they are good in every domain.
    pub(crate) fn implied_by<'s>(&'s self, role_id: &str) -> impl Iterator<Item = &'s Id> {
        let implied = self.roles.get(role_id).map(|role| role.implies.as_slice()).unwrap_or_default();
        implied.iter().filter(|id| self.roles.get(*id).is_some_and(|role| role.domain_id.is_empty()))
    }

    /// Where the user has any role.
    pub(crate) fn sites(&self, person: &Person) -> BTreeSet<Site> {
        let mut sites = BTreeSet::new();
        let mut inherited = BTreeSet::new();
        for given in self.given(person).filter(|given| self.implied_by(&given.role).next().is_some()) {
            if given.inherited {
                inherited.insert((given.kind == SiteKind::Domain, given.place.clone()));
            } else {
                sites.insert(given.site());
            }
        }
        if !inherited.is_empty() {
            let below = self.places.values().filter(|place| {
                !place.is_domain
                    && self.above(place).any(|above| inherited.contains(&(above.is_domain, above.id.clone())))
            });
            sites.extend(below.map(|place| Site::Project(place.id.to_string())));
        }
        sites
    }

    /// All projects below a place.
    pub(crate) fn below<'s>(&'s self, id: &'s str) -> impl Iterator<Item = &'s Arc<super::Place>> {
        let is_below = move |place: &&Arc<super::Place>| self.above(place).any(|above| *above.id == *id);
        self.places.values().filter(|place| !place.is_domain).filter(is_below)
    }
}
