//! The catalog: what the cloud offers and where. It comes with the build, so nothing of it is stored.

use hanse_core::{Error, Result};
use hanse_policy::Caller;
use hanse_web::CatalogEntry;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::model::missing;
use crate::verbs::{LIST_ENDPOINTS, LIST_REGIONS, LIST_SERVICES, SHOW_ENDPOINT, SHOW_REGION, SHOW_SERVICE};

/// All three lead to the same address: there is one listener.
const INTERFACES: [&str; 3] = ["admin", "internal", "public"];

pub(crate) struct Catalog {
    entries: Vec<CatalogEntry>,
    region: String,
    public_url: String,
}

/// A stable id for what has a name only.
fn id(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\n").as_bytes());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

impl Catalog {
    pub(crate) fn new(entries: Vec<CatalogEntry>, region: String, public_url: &str) -> Catalog {
        Catalog { entries, region, public_url: public_url.trim_end_matches('/').to_owned() }
    }

    /// The address of an object of this API.
    pub(crate) fn link(&self, path: &str) -> String {
        format!("{}/identity/v3/{path}", self.public_url)
    }

    /// As tokens carry it. Endpoints with a project in their path need a token for one.
    pub(crate) fn for_token(&self, project_id: Option<&str>) -> Value {
        let endpoint = |entry: &CatalogEntry, interface: &str| {
            let url = self.url(entry);
            let url = match project_id {
                Some(project) => url.replace("{project_id}", project),
                None if url.contains("{project_id}") => return None,
                None => url,
            };
            Some(json!({
                "id": id(&[entry.kind, interface]), "interface": interface, "region": self.region,
                "region_id": self.region, "url": url,
            }))
        };
        self.entries
            .iter()
            .map(|entry| {
                let endpoints: Vec<Value> =
                    INTERFACES.iter().filter_map(|interface| endpoint(entry, interface)).collect();
                json!({
                    "id": id(&[entry.kind]), "type": entry.kind, "name": entry.name, "endpoints": endpoints,
                })
            })
            .collect()
    }

    fn url(&self, entry: &CatalogEntry) -> String {
        format!("{}{}", self.public_url, entry.path)
    }

    fn region(&self) -> Value {
        json!({
            "id": self.region, "description": "", "parent_region_id": null,
            "links": { "self": self.link(&format!("regions/{}", self.region)) },
        })
    }

    fn service(&self, entry: &CatalogEntry) -> Value {
        let id = id(&[entry.kind]);
        json!({
            "id": id, "type": entry.kind, "name": entry.name, "description": "", "enabled": true,
            "links": { "self": self.link(&format!("services/{id}")) },
        })
    }

    fn endpoint(&self, entry: &CatalogEntry, interface: &str) -> Value {
        let endpoint_id = id(&[entry.kind, interface]);
        json!({
            "id": endpoint_id, "interface": interface, "region": self.region, "region_id": self.region,
            "service_id": id(&[entry.kind]), "enabled": true,
            // Keystone's spelling of the project's place.
            "url": self.url(entry).replace("{project_id}", "$(project_id)s"),
            "links": { "self": self.link(&format!("endpoints/{endpoint_id}")) },
        })
    }
}

/// The three resources that the catalog consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Region,
    Service,
    Endpoint,
}

impl Part {
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Part::Region => "region",
            Part::Service => "service",
            Part::Endpoint => "endpoint",
        }
    }

    /// The attributes that a list can be filtered by.
    pub(crate) fn filters(self) -> &'static [&'static str] {
        match self {
            Part::Region => &["parent_region_id"],
            Part::Service => &["type", "name"],
            Part::Endpoint => &["interface", "service_id", "region_id"],
        }
    }
}

impl Catalog {
    pub(crate) fn list(&self, caller: &Caller, part: Part) -> Result<Vec<Value>> {
        caller.scope(match part {
            Part::Region => LIST_REGIONS,
            Part::Service => LIST_SERVICES,
            Part::Endpoint => LIST_ENDPOINTS,
        })?;
        Ok(self.all(part))
    }

    pub(crate) fn show(&self, caller: &Caller, part: Part, id: &str) -> Result<Value> {
        caller.scope(match part {
            Part::Region => SHOW_REGION,
            Part::Service => SHOW_SERVICE,
            Part::Endpoint => SHOW_ENDPOINT,
        })?;
        let unknown = || -> Error { missing(part.noun(), id) };
        self.all(part).into_iter().find(|value| value["id"] == id).ok_or_else(unknown)
    }

    fn all(&self, part: Part) -> Vec<Value> {
        match part {
            Part::Region => vec![self.region()],
            Part::Service => self.entries.iter().map(|entry| self.service(entry)).collect(),
            Part::Endpoint => {
                let each = |entry| INTERFACES.iter().map(move |interface| self.endpoint(entry, interface));
                self.entries.iter().flat_map(each).collect()
            }
        }
    }
}
