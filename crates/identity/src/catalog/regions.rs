use async_trait::async_trait;
use hanse_core::{Cx, Error, Result, check_text};
use hanse_policy::{Caller, Grant};
use hanse_store::{Select, Tx};
use hanse_web::Params;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Region;
use crate::Identity;
use crate::db;
use crate::db::revision::Touched;
use crate::filters::by_text;
use crate::model::{Attributes, checked_extra, missing, nullable};
use crate::resource::{Resource, Verbs};
use crate::verbs::{CREATE_REGION, DELETE_REGION, LIST_REGIONS, SHOW_REGION, UPDATE_REGION};

#[derive(Debug, Deserialize)]
pub(crate) struct Create {
    id: Option<String>,
    #[serde(default)]
    parent_region_id: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(flatten)]
    extra: Attributes,
}

impl Create {
    /// The id stands in the path, too.
    pub(crate) fn under(mut self, id: &str) -> Result<Create> {
        if self.id.as_deref().is_some_and(|inside| !inside.is_empty() && inside != id) {
            return Err(Error::bad_request("Conflicting region IDs specified."));
        }
        self.id = Some(id.to_owned());
        Ok(self)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Update {
    #[serde(default, deserialize_with = "nullable")]
    parent_region_id: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    description: Option<Option<String>>,
    #[serde(flatten)]
    extra: Attributes,
}

#[async_trait]
impl Resource for Region {
    const NOUN: &'static str = "region";
    const PLURAL: &'static str = "regions";
    const VERBS: Verbs = Verbs {
        create: CREATE_REGION,
        show: SHOW_REGION,
        list: LIST_REGIONS,
        update: UPDATE_REGION,
        delete: DELETE_REGION,
    };
    type Create = Create;
    type Update = Update;

    fn new(cx: &Cx, _: &Caller, id: String, body: Create) -> Result<Region> {
        let region = Region {
            id: body.id.filter(|id| !id.is_empty()).unwrap_or(id),
            parent_region_id: body.parent_region_id,
            description: body.description.unwrap_or_default(),
            extra: checked_extra(body.extra)?,
            created_at: cx.now(),
        };
        check_text("id", &region.id, 255)?;
        check_text("description", &region.description, 4096)?;
        Ok(region)
    }

    fn change(&mut self, change: &Update) -> Result<()> {
        if let Some(parent) = &change.parent_region_id {
            self.parent_region_id.clone_from(parent);
        }
        if let Some(description) = &change.description {
            self.description = description.clone().unwrap_or_default();
            check_text("description", &self.description, 4096)?;
        }
        self.extra.extend(change.extra.clone());
        self.extra = checked_extra(std::mem::take(&mut self.extra))?;
        Ok(())
    }

    fn view(&self) -> Value {
        json!({
            "id": self.id, "description": self.description, "parent_region_id": self.parent_region_id,
        })
    }

    fn filter(params: &Params, select: Select) -> Result<Select> {
        Ok(by_text(select, params, &["parent_region_id"]))
    }

    fn built_in(identity: &Identity) -> Vec<Region> {
        identity.0.catalog.regions()
    }

    fn touched(&self) -> Vec<Touched> {
        vec![Touched::Catalog]
    }

    fn conflict(&self) -> String {
        format!("Conflict occurred attempting to store region - Duplicate ID, {}.", self.id)
    }

    fn extra(&self) -> Option<&Attributes> {
        Some(&self.extra)
    }

    /// What is above it must be there, and nothing is above itself.
    async fn check(&mut self, identity: &Identity, tx: &mut Tx<'_>, _: Option<&Region>) -> Result<()> {
        let own = identity.0.catalog.regions();
        if own.iter().any(|known| known.id == self.id) {
            return Err(Error::conflict(self.conflict()));
        }
        let (mut above, mut steps) = (self.parent_region_id.clone(), 0);
        while let Some(id) = above {
            steps += 1;
            if id == self.id || steps > 32 {
                return Err(Error::bad_request(format!(
                    "The specified parent region {id} would create a circular region hierarchy."
                )));
            }
            if own.iter().any(|known| known.id == id) {
                break;
            }
            let parent: Region = db::rows::find(tx, &id).await?.ok_or_else(|| missing("region", &id))?;
            above = parent.parent_region_id;
        }
        Ok(())
    }

    /// Those below go with it; what has endpoints stays.
    async fn clear(&self, tx: &mut Tx<'_>, _: &Grant) -> Result<Vec<Touched>> {
        let mut gone = vec![self.id.clone()];
        let mut at = 0;
        while let Some(id) = gone.get(at).cloned() {
            at += 1;
            if db::catalog::has_endpoints(tx, &id).await? {
                return Err(Error::forbidden(format!(
                    "Unable to delete region {} because it or its child regions have associated endpoints.",
                    self.id
                )));
            }
            gone.extend(db::catalog::regions_below(tx, &id).await?);
        }
        for id in gone.iter().skip(1) {
            db::catalog::delete_region(tx, id).await?;
        }
        Ok(Vec::new())
    }
}
