//! Policies: documents that identity keeps for others and never reads, and what they are for.

use async_trait::async_trait;
use hanse_core::{Cx, Error, Result};
use hanse_policy::{Caller, Grant, Target, Verb};
use hanse_store::{Select, Tx};
use hanse_web::Params;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Identity;
use crate::catalog::{Endpoint, Region, Service};
use crate::db;
use crate::db::associations::Kind;
use crate::db::revision::Touched;
use crate::model::{Attributes, checked_extra, missing};
use crate::resource::{Resource, Verbs, show};
use crate::row::row;
use crate::verbs::{
    CHECK_POLICY_ASSOCIATION, CREATE_POLICY, CREATE_POLICY_ASSOCIATION, DELETE_POLICY,
    DELETE_POLICY_ASSOCIATION, LIST_ENDPOINTS_FOR_POLICY, LIST_POLICIES, SHOW_POLICY,
    SHOW_POLICY_FOR_ENDPOINT, UPDATE_POLICY,
};

row! {
    Policy in "policies" {
        /// `type` in the API.
        kind: String,
        blob: String,
        extra: Attributes as Json,
    }
}

const BLOB_MAX: usize = 256 * 1024;

#[derive(Debug, Deserialize)]
pub(crate) struct Create {
    blob: Value,
    #[serde(rename = "type")]
    kind: String,
    #[serde(flatten)]
    extra: Attributes,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Update {
    blob: Option<Value>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(flatten)]
    extra: Attributes,
}

/// A document is a text; one that came as an object is kept as that object's text.
fn document(blob: &Value) -> Result<String> {
    let text = match blob {
        Value::String(text) => text.clone(),
        Value::Object(_) => blob.to_string(),
        _ => {
            return Err(Error::bad_request("Invalid input for field 'blob': it is neither text nor object."));
        }
    };
    if text.len() > BLOB_MAX {
        return Err(Error::bad_request(format!("The policy is longer than {BLOB_MAX} bytes.")));
    }
    Ok(text)
}

fn checked_kind(kind: &str) -> Result<String> {
    hanse_core::check_name("type", kind)?;
    Ok(kind.to_owned())
}

#[async_trait]
impl Resource for Policy {
    const NOUN: &'static str = "policy";
    const PLURAL: &'static str = "policies";
    const VERBS: Verbs = Verbs {
        create: CREATE_POLICY,
        show: SHOW_POLICY,
        list: LIST_POLICIES,
        update: UPDATE_POLICY,
        delete: DELETE_POLICY,
    };
    type Create = Create;
    type Update = Update;

    fn new(cx: &Cx, _: &Caller, id: String, body: Create) -> Result<Policy> {
        let (kind, blob) = (checked_kind(&body.kind)?, document(&body.blob)?);
        Ok(Policy { id, kind, blob, extra: checked_extra(body.extra)?, created_at: cx.now() })
    }

    fn change(&mut self, change: &Update) -> Result<()> {
        if let Some(blob) = &change.blob {
            self.blob = document(blob)?;
        }
        if let Some(kind) = &change.kind {
            self.kind = checked_kind(kind)?;
        }
        self.extra.extend(change.extra.clone());
        self.extra = checked_extra(std::mem::take(&mut self.extra))?;
        Ok(())
    }

    fn view(&self) -> Value {
        json!({ "id": self.id, "type": self.kind, "blob": self.blob })
    }

    fn filter(params: &Params, select: Select) -> Result<Select> {
        Ok(select.eq_some("kind", params.get("type")))
    }

    fn extra(&self) -> Option<&Attributes> {
        Some(&self.extra)
    }

    async fn clear(&self, tx: &mut Tx<'_>, grant: &Grant) -> Result<Vec<Touched>> {
        db::associations::clear(tx, Kind::Policy, grant.target()).await?;
        Ok(Vec::new())
    }
}

/// What a policy can be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum For {
    Endpoint(String),
    Service(String),
    ServiceInRegion(String, String),
}

impl For {
    fn object(&self) -> String {
        match self {
            For::Endpoint(id) => format!("endpoint:{id}"),
            For::Service(id) => format!("service:{id}"),
            For::ServiceInRegion(service, region) => format!("service:{service}/region:{region}"),
        }
    }

    async fn require(&self, identity: &Identity, caller: &Caller) -> Result<()> {
        match self {
            For::Endpoint(id) => show::<Endpoint>(identity, caller, id).await.map(|_| ()),
            For::Service(id) => show::<Service>(identity, caller, id).await.map(|_| ()),
            For::ServiceInRegion(service, region) => {
                show::<Service>(identity, caller, service).await?;
                show::<Region>(identity, caller, region).await.map(|_| ())
            }
        }
    }
}

async fn require_both(identity: &Identity, caller: &Caller, verb: Verb, id: &str, what: &For) -> Result<()> {
    caller.scope(verb)?;
    show::<Policy>(identity, caller, id).await?;
    what.require(identity, caller).await
}

/// # Errors
/// 404 if the policy is not for that.
pub(crate) async fn check(identity: &Identity, caller: &Caller, id: &str, what: &For) -> Result<()> {
    require_both(identity, caller, CHECK_POLICY_ASSOCIATION, id, what).await?;
    let mut conn = identity.0.db.read().await?;
    if db::associations::exists(&mut conn, Kind::Policy, id, &what.object()).await? {
        return Ok(());
    }
    Err(missing("policy association", what.object()))
}

/// There is one policy for each: another takes its place.
pub(crate) async fn associate(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    id: &str,
    what: &For,
) -> Result<()> {
    let grant = caller.authorize(cx, CREATE_POLICY_ASSOCIATION, Target::new(id))?;
    require_both(identity, caller, CREATE_POLICY_ASSOCIATION, id, what).await?;
    let object = &what.object();
    identity
        .write(cx, &grant, |tx| {
            Box::pin(async move {
                db::associations::clear(tx, Kind::Policy, object).await?;
                db::associations::insert(tx, Kind::Policy, id, object).await?;
                Ok(((), db::revision::bump(tx, []).await?))
            })
        })
        .await
}

pub(crate) async fn dissociate(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    id: &str,
    what: &For,
) -> Result<()> {
    let grant = caller.authorize(cx, DELETE_POLICY_ASSOCIATION, Target::new(id))?;
    require_both(identity, caller, DELETE_POLICY_ASSOCIATION, id, what).await?;
    let object = &what.object();
    identity
        .write(cx, &grant, |tx| {
            Box::pin(async move {
                if db::associations::delete(tx, Kind::Policy, id, object).await? == 0 {
                    return Err(missing("policy association", object));
                }
                Ok(((), db::revision::bump(tx, []).await?))
            })
        })
        .await
}

/// What an endpoint's policy may be found under, the closest first: itself, its service in its region or one above,
/// its service.
fn places(endpoint: &Endpoint, regions: &[Region]) -> Vec<String> {
    let mut places = vec![For::Endpoint(endpoint.id.clone()).object()];
    let mut region = endpoint.region_id.clone();
    while let Some(id) = region.filter(|_| places.len() < 64) {
        places.push(For::ServiceInRegion(endpoint.service_id.clone(), id.clone()).object());
        region = regions.iter().find(|known| known.id == id).and_then(|known| known.parent_region_id.clone());
    }
    places.push(For::Service(endpoint.service_id.clone()).object());
    places
}

/// Each endpoint's policy, by the rules of [`places`].
async fn resolved(identity: &Identity, cx: &Cx) -> Result<Vec<(Endpoint, Option<String>)>> {
    let snapshot = identity.0.snapshots.confirmed(cx).await?;
    let endpoints = snapshot.catalog().endpoints(&identity.0.catalog);
    let mut conn = identity.0.db.read().await?;
    let pairs = db::associations::all(&mut conn, Kind::Policy).await?;
    let regions: Vec<Region> = db::rows::select::<Region>().all(&mut conn).await?;
    let policy_of = |endpoint: &Endpoint| {
        let places = places(endpoint, &regions);
        let found = places.iter().find_map(|place| pairs.iter().find(|pair| pair.1 == *place));
        found.map(|pair| pair.0.clone())
    };
    Ok(endpoints.map(|endpoint| (endpoint.clone(), policy_of(endpoint))).collect())
}

pub(crate) async fn endpoints_of(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    id: &str,
) -> Result<Vec<Endpoint>> {
    caller.scope(LIST_ENDPOINTS_FOR_POLICY)?;
    show::<Policy>(identity, caller, id).await?;
    let all = resolved(identity, cx).await?;
    Ok(all
        .into_iter()
        .filter(|(_, policy)| policy.as_deref() == Some(id))
        .map(|(endpoint, _)| endpoint)
        .collect())
}

pub(crate) async fn of_endpoint(
    identity: &Identity,
    cx: &Cx,
    caller: &Caller,
    endpoint_id: &str,
) -> Result<Policy> {
    caller.scope(SHOW_POLICY_FOR_ENDPOINT)?;
    show::<Endpoint>(identity, caller, endpoint_id).await?;
    let all = resolved(identity, cx).await?;
    let policy = all.into_iter().find(|(endpoint, _)| endpoint.id == endpoint_id).and_then(|found| found.1);
    let none = || missing("policy", format!("of endpoint {endpoint_id}"));
    let mut conn = identity.0.db.read().await?;
    db::rows::find(&mut conn, &policy.ok_or_else(none)?).await?.ok_or_else(none)
}
