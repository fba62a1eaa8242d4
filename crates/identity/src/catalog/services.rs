use async_trait::async_trait;
use hanse_core::{Cx, Error, Result, check_text};
use hanse_policy::{Caller, Grant};
use hanse_store::{Select, Tx};
use hanse_web::Params;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Service;
use crate::Identity;
use crate::db;
use crate::db::revision::Touched;
use crate::filters::by_text;
use crate::model::{Attributes, checked_extra};
use crate::resource::{Resource, Verbs};
use crate::verbs::{CREATE_SERVICE, DELETE_SERVICE, LIST_SERVICES, SHOW_SERVICE, UPDATE_SERVICE};

#[derive(Debug, Deserialize)]
pub(crate) struct Create {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    name: Option<String>,
    enabled: Option<bool>,
    #[serde(flatten)]
    extra: Attributes,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Update {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
    enabled: Option<bool>,
    #[serde(flatten)]
    extra: Attributes,
}

impl Service {
    fn checked(self) -> Result<Service> {
        if self.kind.is_empty() {
            return Err(Error::bad_request("Invalid input for field 'type': it must not be empty."));
        }
        check_text("type", &self.kind, 255)?;
        check_text("name", &self.name, 255)?;
        Ok(self)
    }
}

#[async_trait]
impl Resource for Service {
    const NOUN: &'static str = "service";
    const PLURAL: &'static str = "services";
    const VERBS: Verbs = Verbs {
        create: CREATE_SERVICE,
        show: SHOW_SERVICE,
        list: LIST_SERVICES,
        update: UPDATE_SERVICE,
        delete: DELETE_SERVICE,
    };
    type Create = Create;
    type Update = Update;

    fn new(cx: &Cx, _: &Caller, id: String, body: Create) -> Result<Service> {
        if body.name.as_deref() == Some("") {
            return Err(Error::bad_request("Invalid input for field 'name': it must not be empty."));
        }
        Service {
            id,
            kind: body.kind,
            name: body.name.unwrap_or_default(),
            enabled: body.enabled.unwrap_or(true),
            extra: checked_extra(body.extra)?,
            created_at: cx.now(),
        }
        .checked()
    }

    fn change(&mut self, change: &Update) -> Result<()> {
        let mut next = self.clone();
        if let Some(kind) = &change.kind {
            next.kind.clone_from(kind);
        }
        if let Some(name) = &change.name {
            next.name.clone_from(name);
        }
        next.enabled = change.enabled.unwrap_or(next.enabled);
        next.extra.extend(change.extra.clone());
        next.extra = checked_extra(next.extra)?;
        *self = next.checked()?;
        Ok(())
    }

    fn view(&self) -> Value {
        json!({ "id": self.id, "type": self.kind, "name": self.name, "enabled": self.enabled })
    }

    fn filter(params: &Params, select: Select) -> Result<Select> {
        let select = by_text(select, params, &["name"]);
        Ok(select.eq_some("kind", params.get("type")))
    }

    fn built_in(identity: &Identity) -> Vec<Service> {
        identity.0.catalog.services().to_vec()
    }

    fn touched(&self) -> Vec<Touched> {
        vec![Touched::Catalog]
    }

    fn extra(&self) -> Option<&Attributes> {
        Some(&self.extra)
    }

    async fn clear(&self, tx: &mut Tx<'_>, grant: &Grant) -> Result<Vec<Touched>> {
        db::catalog::delete_endpoints(tx, grant).await?;
        Ok(Vec::new())
    }
}
