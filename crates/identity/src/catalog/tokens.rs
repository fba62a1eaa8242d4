//! The catalog as a token shows it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Serialize;

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
    pub(crate) fn endpoints<'l>(&'l self, built_in: &'l BuiltIn) -> impl Iterator<Item = &'l Endpoint> {
        built_in.endpoints().iter().chain(&self.endpoints)
    }

    /// The endpoints that a project was given; `None` if it was given none, and sees them all.
    pub(crate) fn given<'l>(&'l self, built_in: &'l BuiltIn, project_id: &str) -> Option<Vec<&'l Endpoint>> {
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
        let given = |endpoint: &&Endpoint| {
            ids.contains(&endpoint.id) || groups.iter().any(|group| group.contains(endpoint))
        };
        Some(self.endpoints(built_in).filter(given).collect())
    }

    /// As tokens carry it. Endpoints with a project in their path need a token for one.
    pub(crate) fn for_token<'l>(
        &'l self,
        built_in: &'l BuiltIn,
        project_id: Option<&str>,
        user_id: &str,
    ) -> Vec<ListedService<'l>> {
        let given = project_id.and_then(|project| self.given(built_in, project));
        // Who was given endpoints sees no service of which it has none.
        let shows_empty = given.is_none();
        let endpoints = given.unwrap_or_else(|| self.endpoints(built_in).collect());
        let listed = |endpoint: &'l Endpoint| {
            Some(ListedEndpoint {
                id: &endpoint.id,
                interface: &endpoint.interface,
                region: endpoint.region_id.as_deref(),
                region_id: endpoint.region_id.as_deref(),
                url: address(&endpoint.url, project_id, user_id)?,
            })
        };
        let services = built_in.services().iter().chain(&self.services);
        services
            .filter(|service| service.enabled)
            .filter_map(|service| {
                let own = endpoints.iter().filter(|each| each.enabled && each.service_id == service.id);
                let endpoints: Vec<_> = own.copied().filter_map(listed).collect();
                (shows_empty || !endpoints.is_empty()).then_some(ListedService {
                    id: &service.id,
                    kind: &service.kind,
                    name: &service.name,
                    endpoints,
                })
            })
            .collect()
    }
}

/// A service as the catalog of a token shows it.
#[derive(Serialize)]
pub(crate) struct ListedService<'l> {
    id: &'l str,
    #[serde(rename = "type")]
    kind: &'l str,
    name: &'l str,
    endpoints: Vec<ListedEndpoint<'l>>,
}

#[derive(Serialize)]
struct ListedEndpoint<'l> {
    id: &'l str,
    interface: &'l str,
    region: Option<&'l str>,
    region_id: Option<&'l str>,
    url: Cow<'l, str>,
}

/// The address with what it names, `$(project_id)s` or `%(user_id)s`; `None` if the token has no such thing.
fn address<'u>(url: &'u str, project_id: Option<&str>, user_id: &str) -> Option<Cow<'u, str>> {
    if !url.contains("$(") && !url.contains("%(") {
        return Some(Cow::Borrowed(url));
    }
    let mut url = url.to_owned();
    for (name, value) in [("project_id", project_id), ("tenant_id", project_id), ("user_id", Some(user_id))] {
        for place in [format!("$({name})s"), format!("%({name})s")] {
            if url.contains(&place) {
                url = url.replace(&place, value?);
            }
        }
    }
    // A name that we do not know.
    (!url.contains("$(") && !url.contains("%(")).then_some(Cow::Owned(url))
}
