use async_trait::async_trait;
use hanse_core::{Cx, Error, Result, check_text};
use hanse_policy::{Caller, Grant};
use hanse_store::{Select, Tx};
use hanse_web::Params;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Endpoint;
use crate::Identity;
use crate::db;
use crate::db::associations::Kind;
use crate::db::revision::Touched;
use crate::filters::by_text;
use crate::model::{checked_name, nullable};
use crate::resource::{Resource, Verbs, show};
use crate::row::row;
use crate::verbs::{
    CREATE_ENDPOINT_GROUP, DELETE_ENDPOINT_GROUP, LIST_ENDPOINT_GROUPS, LIST_ENDPOINTS_OF_GROUP,
    SHOW_ENDPOINT_GROUP, UPDATE_ENDPOINT_GROUP,
};

row! {
    /// Endpoints that have something in common, which projects are given together.
    EndpointGroup in "endpoint_groups" {
        name: String,
        description: Option<String>,
        /// Attributes of endpoints with the values that they must have.
        filters: Map<String, Value> as Json,
    }
}

const FILTERS: [&str; 3] = ["service_id", "region_id", "interface"];

impl EndpointGroup {
    pub(crate) fn contains(&self, endpoint: &Endpoint) -> bool {
        let shown = endpoint.view();
        self.filters.iter().all(|(key, value)| shown.get(key) == Some(value))
    }

    fn checked(self) -> Result<EndpointGroup> {
        if self.filters.is_empty() {
            return Err(Error::bad_request("filters field is required and cannot be empty."));
        }
        if let Some(key) = self.filters.keys().find(|key| !FILTERS.contains(&key.as_str())) {
            return Err(Error::bad_request(format!(
                "Expecting to find service_id, region_id or interface in filters, not {key}."
            )));
        }
        for value in self.filters.values() {
            check_text("filters", value.as_str().unwrap_or_default(), 255)?;
        }
        let interface = self.filters.get("interface");
        if interface.is_some_and(|interface| !super::INTERFACES.iter().any(|known| interface == known)) {
            return Err(Error::bad_request("filters.interface is one of admin, internal and public."));
        }
        check_text("description", self.description.as_deref().unwrap_or_default(), 4096)?;
        Ok(self)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Create {
    name: String,
    description: Option<String>,
    #[serde(default)]
    filters: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Update {
    name: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    description: Option<Option<String>>,
    filters: Option<Map<String, Value>>,
}

#[async_trait]
impl Resource for EndpointGroup {
    const NOUN: &'static str = "endpoint_group";
    const PLURAL: &'static str = "OS-EP-FILTER/endpoint_groups";
    const VERBS: Verbs = Verbs {
        create: CREATE_ENDPOINT_GROUP,
        show: SHOW_ENDPOINT_GROUP,
        list: LIST_ENDPOINT_GROUPS,
        update: UPDATE_ENDPOINT_GROUP,
        delete: DELETE_ENDPOINT_GROUP,
    };
    type Create = Create;
    type Update = Update;

    fn new(cx: &Cx, _: &Caller, id: String, body: Create) -> Result<EndpointGroup> {
        EndpointGroup {
            id,
            name: checked_name(&body.name)?,
            description: body.description,
            filters: body.filters,
            created_at: cx.now(),
        }
        .checked()
    }

    fn change(&mut self, change: &Update) -> Result<()> {
        let mut next = self.clone();
        if let Some(name) = &change.name {
            next.name = checked_name(name)?;
        }
        if let Some(description) = &change.description {
            next.description.clone_from(description);
        }
        if let Some(filters) = &change.filters {
            next.filters.clone_from(filters);
        }
        *self = next.checked()?;
        Ok(())
    }

    fn view(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "description": self.description, "filters": self.filters,
        })
    }

    fn filter(params: &Params, select: Select) -> Result<Select> {
        Ok(by_text(select, params, &["name"]))
    }

    fn touched(&self) -> Vec<Touched> {
        vec![Touched::Catalog]
    }

    async fn clear(&self, tx: &mut Tx<'_>, grant: &Grant) -> Result<Vec<Touched>> {
        db::associations::clear(tx, Kind::ProjectEndpointGroup, grant.target()).await?;
        Ok(Vec::new())
    }
}

/// The endpoints that the group has.
pub(crate) async fn endpoints_of_group(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    id: &str,
) -> Result<Vec<Endpoint>> {
    caller.scope(LIST_ENDPOINTS_OF_GROUP)?;
    let group: EndpointGroup = show(identity, caller, id).await?;
    let listing = identity.0.snapshots.confirmed(cx).await?;
    let all = listing.catalog().endpoints(&identity.0.catalog);
    Ok(all.filter(|endpoint| group.contains(endpoint)).cloned().collect())
}
