//! The catalog: what the cloud offers and where. What comes with the build is not stored and cannot be changed; what
//! operators add lies in the tables.

mod endpoints;
mod filters;
mod groups;
mod regions;
mod services;
mod tokens;

pub(crate) use filters::{Given, add, check, endpoints_of_project, list, projects_of, remove};
pub(crate) use groups::{EndpointGroup, endpoints_of_group};
pub(crate) use tokens::{ListedService, Listing};

use hanse_core::{Error, Timestamp, hex};
use hanse_web::CatalogEntry;
use sha2::{Digest, Sha256};

use crate::model::Attributes;
use crate::row::row;

row! {
    Region in "catalog_regions" {
        parent_region_id: Option<String>,
        description: String,
        extra: Attributes as Json,
    }
}

row! {
    Service in "catalog_services" {
        /// `type` in the API.
        kind: String,
        name: String,
        enabled: bool,
        extra: Attributes as Json,
    }
}

row! {
    Endpoint in "catalog_endpoints" {
        service_id: String,
        interface: String,
        region_id: Option<String>,
        url: String,
        enabled: bool,
        extra: Attributes as Json,
    }
}

/// All three lead to the same address: there is one listener.
const INTERFACES: [&str; 3] = ["admin", "internal", "public"];

/// What comes with the build.
pub(crate) struct BuiltIn {
    services: Vec<Service>,
    endpoints: Vec<Endpoint>,
    region: String,
    public_url: String,
}

/// A stable id for what has a name only.
fn id(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\n").as_bytes());
    hex(&digest[..16])
}

impl BuiltIn {
    /// `elsewhere` are services with a listener of their own.
    pub(crate) fn new(
        here: Vec<CatalogEntry>,
        elsewhere: Vec<(CatalogEntry, String)>,
        region: String,
        public_url: &str,
    ) -> BuiltIn {
        let public_url = public_url.trim_end_matches('/').to_owned();
        let here = here.into_iter().map(|entry| (entry, public_url.clone()));
        let elsewhere =
            elsewhere.into_iter().map(|(entry, url)| (entry, url.trim_end_matches('/').to_owned()));
        // Each with the address that it stands below.
        let entries: Vec<(CatalogEntry, String)> = here.chain(elsewhere).collect();
        let services = entries.iter().map(|(entry, _)| service(entry)).collect();
        let each = |(entry, base): &(CatalogEntry, String)| {
            INTERFACES.map(|interface| endpoint(entry, base, interface, &region))
        };
        let endpoints = entries.iter().flat_map(each).collect();
        BuiltIn { services, endpoints, region, public_url }
    }

    /// The address of an object of this API.
    pub(crate) fn link(&self, path: &str) -> String {
        format!("{}/identity/v3/{path}", self.public_url)
    }

    pub(crate) fn regions(&self) -> Vec<Region> {
        vec![Region {
            id: self.region.clone(),
            parent_region_id: None,
            description: String::new(),
            extra: Attributes::new(),
            created_at: Timestamp(0),
        }]
    }

    pub(crate) fn services(&self) -> &[Service] {
        &self.services
    }

    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }
}

fn service(entry: &CatalogEntry) -> Service {
    Service {
        id: id(&[entry.kind]),
        kind: entry.kind.to_owned(),
        name: entry.name.to_owned(),
        enabled: true,
        extra: Attributes::from_iter([("description".to_owned(), "".into())]),
        created_at: Timestamp(0),
    }
}

fn endpoint(entry: &CatalogEntry, base: &str, interface: &str, region: &str) -> Endpoint {
    Endpoint {
        id: id(&[entry.kind, interface]),
        service_id: id(&[entry.kind]),
        interface: interface.to_owned(),
        region_id: Some(region.to_owned()),
        // Keystone's spelling of the project's place.
        url: format!("{base}{}", entry.path).replace("{project_id}", "$(project_id)s"),
        enabled: true,
        extra: Attributes::new(),
        created_at: Timestamp(0),
    }
}

/// 403 for what comes with the build.
pub(crate) fn built_in(noun: &str, id: &str) -> Error {
    Error::forbidden(format!("The {noun} {id} comes with the cloud and cannot be changed or deleted."))
}
