use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use hanse_core::{Direction, Error, Kind, Result, check_name};
use hanse_store::{Select, SortKey};
use hanse_web::{Body, Call, Params, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{href, links};
use crate::Deps;
use crate::flavors;
use crate::model::Flavor;
use crate::verbs;

fn brief(deps: &Deps, flavor: &Flavor) -> Value {
    json!({"id": flavor.id, "name": flavor.name, "links": links(deps, &format!("flavors/{}", flavor.id))})
}

fn full(deps: &Deps, flavor: &Flavor) -> Value {
    let mut view = brief(deps, flavor);
    view["vcpus"] = flavor.vcpus.into();
    view["ram"] = flavor.ram.into();
    view["disk"] = flavor.disk.into();
    view["swap"] = "".into();
    view["rxtx_factor"] = 1.0.into();
    view["OS-FLV-EXT-DATA:ephemeral"] = 0.into();
    view["OS-FLV-DISABLED:disabled"] = false.into();
    view["os-flavor-access:is_public"] = true.into();
    view
}

pub async fn list(State(deps): State<Deps>, call: Call, params: Params) -> Reply<Json<Value>> {
    page(&deps, &call, &params, "flavors", brief).await
}

pub async fn detail(State(deps): State<Deps>, call: Call, params: Params) -> Reply<Json<Value>> {
    page(&deps, &call, &params, "flavors/detail", full).await
}

async fn page(
    deps: &Deps,
    call: &Call,
    params: &Params,
    path: &str,
    view: fn(&Deps, &Flavor) -> Value,
) -> Reply<Json<Value>> {
    let page = params.page(Direction::Ascending)?;
    let key = sort_key(params)?;
    let narrow = |select| filter(select, params);
    let (found, more) = flavors::list(deps, &call.caller, narrow, &[key], &page).await?;
    let views: Vec<Value> = found.iter().map(|flavor| view(deps, flavor)).collect();
    let mut body = json!({ "flavors": views });
    if let (true, Some(last)) = (more, found.last()) {
        let next = format!("{}?{}", href(deps, path), params.with_marker(&last.id));
        body["flavors_links"] = json!([{"rel": "next", "href": next}]);
    }
    Ok(Json(body))
}

fn sort_key(params: &Params) -> Result<SortKey> {
    let expression = match params.get("sort_key").unwrap_or("flavorid") {
        // The order of the seeds, which is that of the standard.
        "flavorid" if !params.has("sort_key") => "created_at",
        "flavorid" | "id" => "id",
        "name" => "name",
        "created_at" => "created_at",
        "vcpus" => "vcpus",
        "memory_mb" => "ram",
        "root_gb" => "disk",
        other => return Err(Error::bad_request(format!("Invalid sort key: {other}"))),
    };
    let direction = match params.get("sort_dir") {
        None | Some("asc") => Direction::Ascending,
        Some("desc") => Direction::Descending,
        Some(other) => return Err(Error::bad_request(format!("Invalid sort direction: {other}"))),
    };
    Ok(SortKey::new(expression, direction))
}

fn filter(select: Select, params: &Params) -> Result<Select> {
    let number = |name: &str| {
        let parse = |text: &str| {
            text.parse::<u32>().map_err(|_| Error::bad_request(format!("Invalid {name} filter [{text}]")))
        };
        params.get(name).map(parse).transpose()
    };
    let mut select = select;
    if let Some(ram) = number("minRam")? {
        select = select.compare("ram", ">=", ram);
    }
    if let Some(disk) = number("minDisk")? {
        select = select.compare("disk", ">=", disk);
    }
    // All flavors are public; "None" asks for both.
    match params.get("is_public").map(str::to_ascii_lowercase).as_deref() {
        None | Some("none") => Ok(select),
        Some(_) if params.flag("is_public")? == Some(true) => Ok(select),
        Some(_) => Ok(select.and("1 = 0")),
    }
}

pub async fn show(State(deps): State<Deps>, call: Call, Path(id): Path<String>) -> Reply<Json<Value>> {
    let flavor = flavors::show(&deps, &call.caller, verbs::FLAVORS_READ, &id).await?;
    Ok(Json(json!({"flavor": full(&deps, &flavor)})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    flavor: New,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    name: String,
    vcpus: u32,
    ram: u64,
    disk: u32,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    swap: u32,
    #[serde(default)]
    rxtx_factor: Option<f64>,
    #[serde(rename = "OS-FLV-EXT-DATA:ephemeral", default)]
    ephemeral: u32,
    #[serde(rename = "os-flavor-access:is_public", default)]
    is_public: Option<bool>,
}

pub async fn create(State(deps): State<Deps>, call: Call, Body(body): Body<Create>) -> Reply<Json<Value>> {
    let new = body.flavor;
    check_name("flavor.name", &new.name)?;
    if new.vcpus == 0 || new.ram == 0 || new.ram > 1 << 30 || new.vcpus > 4096 {
        return Err(Error::bad_request("A flavor has 1 to 4096 vcpus and from 1 MiB to 1 PiB of ram.").into());
    }
    if new.swap > 0
        || new.ephemeral > 0
        || new.is_public == Some(false)
        || new.rxtx_factor.is_some_and(|factor| factor != 1.0)
    {
        let message =
            "Flavors with swap, ephemeral disk or rxtx_factor, and private flavors, are not offered.";
        return Err(Error::bad_request(message).into());
    }
    let flavor = Flavor {
        id: own_id(new.id)?.unwrap_or_else(|| call.cx.uuid().to_string()),
        created_at: call.cx.now(),
        name: new.name,
        vcpus: new.vcpus,
        ram: new.ram,
        disk: new.disk,
        extra_specs: BTreeMap::new(),
    };
    flavors::create(&deps, &call.cx, &call.caller, &flavor).await?;
    Ok(Json(json!({"flavor": full(&deps, &flavor)})))
}

fn own_id(id: Option<String>) -> Result<Option<String>> {
    let Some(id) = id.filter(|id| id != "auto") else { return Ok(None) };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
    if id.is_empty() || id.len() > 255 || id.trim() != id || !id.chars().all(fits) {
        return Err(Error::bad_request(
            "flavor.id may have letters, digits, dots, dashes, underscores and spaces.",
        ));
    }
    Ok(Some(id))
}

pub async fn delete(State(deps): State<Deps>, call: Call, Path(id): Path<String>) -> Reply<StatusCode> {
    flavors::delete(&deps, &call.cx, &call.caller, &id).await?;
    Ok(StatusCode::ACCEPTED)
}

pub async fn specs(State(deps): State<Deps>, call: Call, Path(id): Path<String>) -> Reply<Json<Value>> {
    let flavor = flavors::show(&deps, &call.caller, verbs::SPECS_READ, &id).await?;
    Ok(Json(json!({"extra_specs": flavor.extra_specs})))
}

fn no_spec(id: &str, key: &str) -> Error {
    Error::new(Kind::NotFound, format!("Flavor {id} has no extra specs with key {key}."))
}

pub async fn spec(
    State(deps): State<Deps>,
    call: Call,
    Path((id, key)): Path<(String, String)>,
) -> Reply<Json<Value>> {
    let flavor = flavors::show(&deps, &call.caller, verbs::SPECS_READ, &id).await?;
    let value = flavor.extra_specs.get(&key).ok_or_else(|| no_spec(&id, &key))?;
    Ok(Json(json!({ key: value })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetSpecs {
    extra_specs: BTreeMap<String, String>,
}

fn check_specs(specs: &BTreeMap<String, String>) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ' | ':');
    for (key, value) in specs {
        if key.is_empty() || key.len() > 255 || !key.chars().all(fits) || value.chars().count() > 255 {
            return Err(Error::bad_request(format!(
                "The extra spec '{key}' has a wrong name, or is too long."
            )));
        }
    }
    if specs.len() > 128 { Err(Error::bad_request("A flavor has at most 128 extra specs.")) } else { Ok(()) }
}

pub async fn set_specs(
    State(deps): State<Deps>,
    call: Call,
    Path(id): Path<String>,
    Body(body): Body<SetSpecs>,
) -> Reply<Json<Value>> {
    let new = body.extra_specs;
    let change = |specs: &mut BTreeMap<String, String>| {
        specs.extend(new.clone());
        check_specs(specs)
    };
    flavors::update_specs(&deps, &call.cx, &call.caller, verbs::SPECS_CREATE, &id, change).await?;
    Ok(Json(json!({ "extra_specs": new })))
}

pub async fn set_spec(
    State(deps): State<Deps>,
    call: Call,
    Path((id, key)): Path<(String, String)>,
    Body(body): Body<BTreeMap<String, String>>,
) -> Reply<Json<Value>> {
    if body.len() != 1 || !body.contains_key(&key) {
        return Err(Error::bad_request("The body must have the key of the address, and no other.").into());
    }
    let change = |specs: &mut BTreeMap<String, String>| {
        specs.extend(body.clone());
        check_specs(specs)
    };
    flavors::update_specs(&deps, &call.cx, &call.caller, verbs::SPECS_CREATE, &id, change).await?;
    Ok(Json(json!(body)))
}

pub async fn remove_spec(
    State(deps): State<Deps>,
    call: Call,
    Path((id, key)): Path<(String, String)>,
) -> Reply<StatusCode> {
    let change =
        |specs: &mut BTreeMap<String, String>| specs.remove(&key).map(drop).ok_or_else(|| no_spec(&id, &key));
    flavors::update_specs(&deps, &call.cx, &call.caller, verbs::SPECS_DELETE, &id, change).await?;
    Ok(StatusCode::OK)
}
