use async_trait::async_trait;
use hanse_core::{Cx, Error, Result, check_text};
use hanse_policy::{Caller, Grant};
use hanse_store::{Select, Tx};
use hanse_web::Params;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Endpoint, Region, Service};
use crate::Identity;
use crate::db;
use crate::db::associations::Kind;
use crate::db::revision::Touched;
use crate::filters::by_text;
use crate::model::{Attributes, checked_extra, nullable};
use crate::resource::{Resource, Verbs};
use crate::verbs::{CREATE_ENDPOINT, DELETE_ENDPOINT, LIST_ENDPOINTS, SHOW_ENDPOINT, UPDATE_ENDPOINT};

/// Keystone's limit.
const URL_MAX: usize = 225;

#[derive(Debug, Deserialize)]
pub(crate) struct Create {
    service_id: String,
    interface: String,
    url: String,
    region_id: Option<String>,
    /// The old name of `region_id`; a region that is not there is made.
    region: Option<String>,
    enabled: Option<bool>,
    #[serde(flatten)]
    extra: Attributes,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Update {
    service_id: Option<String>,
    interface: Option<String>,
    url: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    region_id: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    region: Option<Option<String>>,
    enabled: Option<bool>,
    #[serde(flatten)]
    extra: Attributes,
}

/// Marks an endpoint whose region is made with it, until [`Resource::check`] has done so. Never stored.
const MAKES_REGION: &str = "\u{0}region";

/// What may stand in an address in the place of something else.
const KNOWN: [&str; 4] = ["project_id", "tenant_id", "user_id", "public_bind_host"];

impl Endpoint {
    fn checked(self) -> Result<Endpoint> {
        if !super::INTERFACES.contains(&self.interface.as_str()) {
            return Err(Error::bad_request(format!(
                "Invalid input for field 'interface': '{}' is not one of admin, internal and public.",
                self.interface
            )));
        }
        check_text("url", &self.url, URL_MAX)?;
        let scheme = self.url.split_once(':').filter(|(scheme, rest)| {
            let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-');
            !scheme.is_empty() && scheme.chars().all(known) && !rest.is_empty()
        });
        if scheme.is_none() {
            return Err(Error::bad_request("Invalid input for field 'url': it is no address."));
        }
        for (begin, _) in self.url.match_indices("$(").chain(self.url.match_indices("%(")) {
            let inner = self.url[begin + 2..].split_once(")s").map(|(name, _)| name);
            if !inner.is_some_and(|name| KNOWN.contains(&name)) {
                return Err(Error::bad_request(format!(
                    "Malformed endpoint URL ({}): it may name project_id, tenant_id and user_id alone.",
                    self.url
                )));
            }
        }
        Ok(self)
    }
}

#[async_trait]
impl Resource for Endpoint {
    const NOUN: &'static str = "endpoint";
    const PLURAL: &'static str = "endpoints";
    const VERBS: Verbs = Verbs {
        create: CREATE_ENDPOINT,
        show: SHOW_ENDPOINT,
        list: LIST_ENDPOINTS,
        update: UPDATE_ENDPOINT,
        delete: DELETE_ENDPOINT,
    };
    type Create = Create;
    type Update = Update;

    fn new(cx: &Cx, _: &Caller, id: String, body: Create) -> Result<Endpoint> {
        let mut extra = checked_extra(body.extra)?;
        if body.region_id.is_none() && body.region.is_some() {
            extra.insert(MAKES_REGION.to_owned(), true.into());
        }
        Endpoint {
            id,
            service_id: body.service_id,
            interface: body.interface,
            region_id: body.region_id.or(body.region),
            url: body.url,
            enabled: body.enabled.unwrap_or(true),
            extra,
            created_at: cx.now(),
        }
        .checked()
    }

    fn change(&mut self, change: &Update) -> Result<()> {
        let mut next = self.clone();
        if let Some(service) = &change.service_id {
            next.service_id.clone_from(service);
        }
        if let Some(interface) = &change.interface {
            next.interface.clone_from(interface);
        }
        if let Some(url) = &change.url {
            next.url.clone_from(url);
        }
        next.enabled = change.enabled.unwrap_or(next.enabled);
        next.extra.extend(change.extra.clone());
        next.extra = checked_extra(next.extra)?;
        match (&change.region_id, &change.region) {
            (Some(region), _) => next.region_id.clone_from(region),
            (None, Some(region)) => {
                next.region_id.clone_from(region);
                next.extra.insert(MAKES_REGION.to_owned(), region.is_some().into());
            }
            (None, None) => {}
        }
        *self = next.checked()?;
        Ok(())
    }

    fn view(&self) -> Value {
        json!({
            "id": self.id, "interface": self.interface, "region": self.region_id, "region_id": self.region_id,
            "service_id": self.service_id, "url": self.url, "enabled": self.enabled,
        })
    }

    fn filter(params: &Params, select: Select) -> Result<Select> {
        Ok(by_text(select, params, &["interface", "service_id", "region_id"]))
    }

    fn built_in(identity: &Identity) -> Vec<Endpoint> {
        identity.0.catalog.endpoints().to_vec()
    }

    fn touched(&self) -> Vec<Touched> {
        vec![Touched::Catalog]
    }

    fn extra(&self) -> Option<&Attributes> {
        Some(&self.extra)
    }

    async fn check(&mut self, identity: &Identity, tx: &mut Tx<'_>, _: Option<&Endpoint>) -> Result<()> {
        let bad = |what: &str, id: &str| Error::bad_request(format!("Expecting to find {what} {id}."));
        let of_build = identity.0.catalog.services();
        if !of_build.iter().any(|known| known.id == self.service_id) {
            let found: Option<Service> = db::rows::find(tx, &self.service_id).await?;
            found.ok_or_else(|| bad("service", &self.service_id))?;
        }
        let makes_region = self.extra.remove(MAKES_REGION) == Some(true.into());
        let Some(region) = &self.region_id else { return Ok(()) };
        let known = identity.0.catalog.regions().iter().any(|known| known.id == *region)
            || db::rows::find::<Region>(tx, region).await?.is_some();
        if !known && makes_region {
            let made = Region {
                id: region.clone(),
                parent_region_id: None,
                description: String::new(),
                extra: Attributes::new(),
                created_at: self.created_at,
            };
            check_text("region", region, 255)?;
            db::rows::insert_as(tx, region, &made, &made.conflict()).await?;
        } else if !known {
            return Err(bad("region", region));
        }
        Ok(())
    }

    async fn clear(&self, tx: &mut Tx<'_>, grant: &Grant) -> Result<Vec<Touched>> {
        db::associations::clear(tx, Kind::ProjectEndpoint, grant.target()).await?;
        db::associations::clear(tx, Kind::Policy, &format!("endpoint:{}", grant.target())).await?;
        Ok(Vec::new())
    }
}
