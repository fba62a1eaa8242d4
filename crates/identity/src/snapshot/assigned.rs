//! Lists of who holds what where, as given or as it works out.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{Assigned, Id, KnownRole, Person, Snapshot};
use crate::model::{Assignment, Holder, Site};

#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) user_id: Option<String>,
    pub(crate) group_id: Option<String>,
    pub(crate) role_id: Option<String>,
    pub(crate) site: Option<Site>,
    /// Only these can hold any of it, in the order of lists; `None` if that is not known.
    pub(crate) holders: Option<Vec<Holder>>,
    /// With the project of `site`, those below it.
    pub(crate) subtree: bool,
    pub(crate) inherited: Option<bool>,
    /// What it works out to: groups are their members, inheritance is at its projects, implied roles count as held.
    pub(crate) effective: bool,
    /// Only what is in this domain.
    pub(crate) domain_id: Option<String>,
}

/// One line of a list: what is held, and the assignment that it comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    pub(crate) held: Assignment,
    pub(crate) through: Assignment,
}

impl Held {
    /// Its place in lists.
    pub(crate) fn key(&self) -> String {
        format!("{} {}", self.held.id(), self.through.id())
    }
}

/// Works out the lines for one filter.
struct Lines<'s> {
    snapshot: &'s Snapshot,
    filter: &'s Filter,
    /// The sites that the filter names; `None` for all.
    wanted: Option<BTreeSet<Site>>,
    /// Projects below a place, as they were asked for.
    below: HashMap<Id, Arc<[Id]>>,
}

impl Snapshot {
    /// The lines after `marker` (a [`Held::key`]), at most `limit` of them and one more if there are more.
    pub(crate) fn assignments(&self, filter: &Filter, marker: Option<&str>, limit: usize) -> Vec<Held> {
        let mut lines = Lines { snapshot: self, filter, wanted: self.wanted(filter), below: HashMap::new() };
        let mut found: Vec<Held> = Vec::new();
        for holder in self.holders(filter, marker) {
            let mut own: BTreeSet<Held> = match &holder {
                Holder::User(id) => self.person(id).map(|person| lines.of_person(person)),
                Holder::Group(id) => self.group(id).map(|group| lines.plain(&holder, group.assigned.iter())),
            }
            .unwrap_or_default();
            if let Some(marker) = marker {
                own.retain(|line| line.key().as_str() > marker);
            }
            let mut own: Vec<Held> = own.into_iter().collect();
            own.sort_by_cached_key(Held::key);
            found.extend(own);
            if found.len() > limit {
                found.truncate(limit.saturating_add(1));
                break;
            }
        }
        found
    }

    /// Who may be in the list, in its order, from the holder of the marker on. Nobody behind the end of a page is
    /// looked at.
    fn holders<'s>(
        &'s self,
        filter: &'s Filter,
        marker: Option<&'s str>,
    ) -> Box<dyn Iterator<Item = Holder> + 's> {
        let first = marker.and_then(|marker| marker.split_inclusive('/').next());
        let is_due = move |holder: &Holder| first.is_none_or(|first| place(holder).as_str() >= first);
        match (&filter.user_id, &filter.group_id, &filter.holders) {
            (Some(user), _, _) => Box::new(Some(Holder::User(user.clone())).into_iter().filter(is_due)),
            (None, Some(group), _) => Box::new(Some(Holder::Group(group.clone())).into_iter().filter(is_due)),
            (None, None, Some(holders)) => {
                let before = holders.partition_point(|holder| !is_due(holder));
                Box::new(holders.iter().skip(before).cloned())
            }
            (None, None, None) => {
                let from = |kind: &str| {
                    let id = first.and_then(|first| first.strip_prefix(kind)?.strip_suffix('/'));
                    Id::from(id.unwrap_or_default())
                };
                let is_past_groups = first.is_some_and(|first| first.starts_with("user:"));
                let groups = self.groups.range(from("group:")..).map(|(id, _)| Holder::Group(id.to_string()));
                let people = self.people.range(from("user:")..).map(|(id, _)| Holder::User(id.to_string()));
                Box::new(groups.filter(move |_| !filter.effective && !is_past_groups).chain(people))
            }
        }
    }

    /// Where it must be held to count on the sites of a filter, and which roles count as the one of the filter, by their
    /// ids; each `None` if it may be any.
    pub(crate) fn sources(&self, filter: &Filter) -> (Option<Vec<String>>, Option<Vec<String>>) {
        let places = self.wanted(filter).map(|wanted| {
            let mut places = BTreeSet::new();
            for site in &wanted {
                places.insert(site.columns().1.to_owned());
                if let (true, Site::Project(id)) = (filter.effective, site)
                    && let Some(project) = self.project(id)
                {
                    places.extend(self.above(project).map(|place| place.id.to_string()));
                }
            }
            places.into_iter().collect()
        });
        let roles = filter.role_id.as_ref().map(|wanted| {
            let counts = |role: &&KnownRole| {
                *role.id == **wanted || filter.effective && role.implies.iter().any(|id| **id == **wanted)
            };
            self.roles.values().filter(counts).map(|role| role.id.to_string()).collect()
        });
        (places, roles)
    }

    fn wanted(&self, filter: &Filter) -> Option<BTreeSet<Site>> {
        let site = filter.site.clone()?;
        let mut wanted = BTreeSet::new();
        if let (true, Site::Project(id)) = (filter.subtree, &site) {
            wanted.extend(self.below(id).map(|place| Site::Project(place.id.to_string())));
        }
        wanted.insert(site);
        Some(wanted)
    }

    pub(crate) fn domain_of(&self, site: &Site) -> Option<&str> {
        match site {
            Site::System => None,
            Site::Domain(id) => self.domain(id).map(|domain| &*domain.id),
            Site::Project(id) => self.project(id).map(|project| &*project.domain_id),
        }
    }
}

impl<'s> Lines<'s> {
    fn of_person(&mut self, person: &'s Person) -> BTreeSet<Held> {
        let holder = Holder::User(person.id.to_string());
        if !self.filter.effective {
            return self.plain(&holder, person.assigned.iter());
        }
        let mut found = BTreeSet::new();
        for assigned in &person.assigned {
            self.expand(&holder, &holder, assigned, &mut found);
        }
        for group in person.groups.iter().filter_map(|id| self.snapshot.group(id)) {
            let through = Holder::Group(group.id.to_string());
            for assigned in &group.assigned {
                self.expand(&holder, &through, assigned, &mut found);
            }
        }
        found
    }

    fn plain(&self, holder: &Holder, assigned: impl Iterator<Item = &'s Assigned>) -> BTreeSet<Held> {
        assigned
            .filter(|assigned| self.filter.inherited.is_none_or(|wanted| wanted == assigned.inherited))
            .map(|assigned| line(holder, assigned))
            .filter(|line| self.wants(&line.site, &line.role_id))
            .map(|line| Held { held: line.clone(), through: line })
            .collect()
    }

    fn wants_site(&self, site: &Site) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.contains(site))
    }

    fn wants(&self, site: &Site, role_id: &str) -> bool {
        self.wants_site(site)
            && self.filter.role_id.as_ref().is_none_or(|wanted| wanted == role_id)
            && self
                .filter
                .domain_id
                .as_deref()
                .is_none_or(|domain| self.snapshot.domain_of(site) == Some(domain))
    }

    fn expand(&mut self, holder: &Holder, giver: &Holder, assigned: &Assigned, found: &mut BTreeSet<Held>) {
        if self.filter.inherited.is_some_and(|wanted| wanted != assigned.inherited) {
            return;
        }
        if !assigned.inherited && !self.wants_site(&assigned.site()) {
            return;
        }
        let through = line(giver, assigned);
        let sites: Vec<Site> = if assigned.inherited {
            let below = self.below(&assigned.place);
            below.iter().map(|id| Site::Project(id.to_string())).collect()
        } else {
            vec![assigned.site()]
        };
        for site in sites {
            for role in self.snapshot.implied_by(&assigned.role) {
                if self.wants(&site, role) {
                    let held = Assignment {
                        holder: holder.clone(),
                        site: site.clone(),
                        role_id: role.to_string(),
                        inherited: false,
                    };
                    found.insert(Held { held, through: through.clone() });
                }
            }
        }
    }

    /// The projects below a place that the filter wants.
    fn below(&mut self, place: &Id) -> Arc<[Id]> {
        if let Some(known) = self.below.get(place) {
            return known.clone();
        }
        let below: Arc<[Id]> = match &self.wanted {
            // A few projects are asked for what is above them sooner than all for what is below.
            Some(wanted) => wanted
                .iter()
                .filter_map(|site| match site {
                    Site::Project(id) => self.snapshot.project(id),
                    _ => None,
                })
                .filter(|project| self.snapshot.above(project).any(|above| above.id == *place))
                .map(|project| project.id.clone())
                .collect(),
            None => self.snapshot.below(place).map(|place| place.id.clone()).collect(),
        };
        self.below.insert(place.clone(), below.clone());
        below
    }
}

/// The place of a holder in lists. As keys sort: the first character that differs decides, and '/' ends an id.
pub(crate) fn place(holder: &Holder) -> String {
    let (kind, id) = holder.columns();
    format!("{kind}:{id}/")
}

fn line(holder: &Holder, assigned: &Assigned) -> Assignment {
    Assignment {
        holder: holder.clone(),
        site: assigned.site(),
        role_id: assigned.role.to_string(),
        inherited: assigned.inherited,
    }
}
