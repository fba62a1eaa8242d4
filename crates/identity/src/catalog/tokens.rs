//! The catalog as a token shows it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{BuiltIn, Endpoint, EndpointGroup, Service};

/// What of the stored catalog stands in tokens; part of the snapshot.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) services: Vec<Service>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) groups: Vec<EndpointGroup>,
    /// Project and endpoint, project and endpoint group.
    pub(crate) project_endpoints: BTreeSet<(String, String)>,
    pub(crate) project_groups: BTreeSet<(String, String)>,
}

impl Listing {
    /// Those of the build and those that were added.
    pub(crate) fn endpoints(&self, built_in: &BuiltIn) -> Vec<Endpoint> {
        let mut all = built_in.endpoints();
        all.extend(self.endpoints.iter().cloned());
        all
    }

    /// The endpoints that a project was given; `None` if it was given none, and sees them all.
    pub(crate) fn given(&self, built_in: &BuiltIn, project_id: &str) -> Option<Vec<Endpoint>> {
        let of_project = |pairs: &BTreeSet<(String, String)>| -> Vec<String> {
            let from = (project_id.to_owned(), String::new());
            let own = pairs.range(from..).take_while(|pair| pair.0 == project_id);
            own.map(|pair| pair.1.clone()).collect()
        };
        let (ids, groups) = (of_project(&self.project_endpoints), of_project(&self.project_groups));
        if ids.is_empty() && groups.is_empty() {
            return None;
        }
        let groups: Vec<&EndpointGroup> =
            self.groups.iter().filter(|group| groups.contains(&group.id)).collect();
        let given = |endpoint: &Endpoint| {
            ids.contains(&endpoint.id) || groups.iter().any(|group| group.contains(endpoint))
        };
        Some(self.endpoints(built_in).into_iter().filter(given).collect())
    }

    /// As tokens carry it. Endpoints with a project in their path need a token for one.
    pub(crate) fn for_token(&self, built_in: &BuiltIn, project_id: Option<&str>, user_id: &str) -> Value {
        let given = project_id.and_then(|project| self.given(built_in, project));
        // Who was given endpoints sees no service of which it has none.
        let shows_empty = given.is_none();
        let endpoints = given.unwrap_or_else(|| self.endpoints(built_in));
        let mut services = built_in.services();
        services.extend(self.services.iter().cloned());
        let shown = |endpoint: &Endpoint| {
            let url = address(&endpoint.url, project_id, user_id)?;
            Some(json!({
                "id": endpoint.id, "interface": endpoint.interface, "region": endpoint.region_id,
                "region_id": endpoint.region_id, "url": url,
            }))
        };
        services
            .iter()
            .filter(|service| service.enabled)
            .filter_map(|service| {
                let own = endpoints.iter().filter(|each| each.enabled && each.service_id == service.id);
                let own: Vec<Value> = own.filter_map(shown).collect();
                (shows_empty || !own.is_empty()).then(|| {
                    json!({ "id": service.id, "type": service.kind, "name": service.name, "endpoints": own })
                })
            })
            .collect()
    }
}

/// The address with what it names; `None` if the token has no such thing.
fn address(url: &str, project_id: Option<&str>, user_id: &str) -> Option<String> {
    let mut url = url.to_owned();
    for (name, value) in [("project_id", project_id), ("tenant_id", project_id), ("user_id", Some(user_id))] {
        for place in [format!("$({name})s"), format!("%({name})s")] {
            if url.contains(&place) {
                url = url.replace(&place, value?);
            }
        }
    }
    // A name that we do not know.
    (!url.contains("$(") && !url.contains("%(")).then_some(url)
}
