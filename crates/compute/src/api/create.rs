//! `POST /servers`, in all its shapes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanse_core::{Error, Result, Secret, Uuid, check_name};
use hanse_web::{Body, Call, Reply};
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{href, links, metadata};
use crate::Deps;
use crate::ports::NicRequest;
use crate::servers::create::{self, MAX_COUNT, NewServer};

/// Nova's limit, of the encoded text.
const MAX_USER_DATA: usize = 65_535;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    server: New,
    #[serde(rename = "os:scheduler_hints", alias = "OS-SCH-HNT:scheduler_hints", default)]
    hints: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    name: String,
    #[serde(rename = "flavorRef")]
    flavor: Reference,
    #[serde(rename = "imageRef", default)]
    image: Option<String>,
    #[serde(default)]
    networks: Option<Vec<Network>>,
    #[serde(default)]
    security_groups: Vec<Group>,
    #[serde(default)]
    key_name: Option<String>,
    #[serde(default)]
    user_data: Option<String>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    #[serde(default)]
    config_drive: Option<Flag>,
    #[serde(default)]
    availability_zone: Option<String>,
    #[serde(default)]
    min_count: Option<Count>,
    #[serde(default)]
    max_count: Option<Count>,
    #[serde(default)]
    return_reservation_id: Option<Flag>,
    #[serde(default)]
    personality: Vec<Value>,
    #[serde(default)]
    block_device_mapping: Vec<Value>,
    #[serde(default)]
    block_device_mapping_v2: Vec<Device>,
    #[serde(rename = "OS-DCF:diskConfig", default)]
    disk_config: Option<String>,
    #[serde(rename = "accessIPv4", default)]
    access_ipv4: Option<String>,
    #[serde(rename = "accessIPv6", default)]
    access_ipv6: Option<String>,
    /// There is no password: keys and user data are the ways in.
    #[serde(rename = "adminPass", default)]
    admin_pass: Option<String>,
    #[serde(rename = "os:scheduler_hints", alias = "OS-SCH-HNT:scheduler_hints", default)]
    hints: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Reference {
    Text(String),
    Number(u64),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Network {
    #[serde(default)]
    uuid: Option<Uuid>,
    #[serde(default)]
    port: Option<Uuid>,
    #[serde(default)]
    fixed_ip: Option<IpAddr>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
}

/// A truth value, written as clients do.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Flag {
    Bool(bool),
    Text(String),
}

/// A count, also as text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Count {
    Number(u32),
    Text(String),
}

/// The one mapping that is offered says what `imageRef` says: boot from this image, on a local disk.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Device {
    #[serde(default)]
    uuid: Option<String>,
    #[serde(default)]
    source_type: Option<String>,
    #[serde(default)]
    destination_type: Option<String>,
    #[serde(default)]
    boot_index: Option<Value>,
    #[serde(default)]
    delete_on_termination: Option<Flag>,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

impl Device {
    fn repeats(&self, image: Option<&str>) -> bool {
        let is = |field: &Option<String>, text: &str| field.as_deref() == Some(text);
        is(&self.source_type, "image")
            && is(&self.destination_type, "local")
            && self.uuid.as_deref() == image
            && self.boot_index.as_ref().is_some_and(|index| *index == json!(0) || *index == json!("0"))
            && self
                .delete_on_termination
                .as_ref()
                .is_none_or(|flag| truth("delete_on_termination", flag).unwrap_or(false))
            && self.other.is_empty()
    }
}

fn truth(field: &str, flag: &Flag) -> Result<bool> {
    match flag {
        Flag::Bool(value) => Ok(*value),
        Flag::Text(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "t" | "yes" | "y" | "on" => Ok(true),
            "false" | "0" | "f" | "no" | "n" | "off" | "" => Ok(false),
            _ => Err(Error::bad_request(format!(
                "Invalid input for field/attribute {field}: true or false expected"
            ))),
        },
    }
}

fn count(field: &str, count: Option<&Count>) -> Result<Option<u32>> {
    let number = match count {
        None => return Ok(None),
        Some(Count::Number(number)) => Some(*number),
        Some(Count::Text(text)) => text.parse().ok(),
    };
    match number {
        Some(number @ 1..=MAX_COUNT) => Ok(Some(number)),
        _ => Err(Error::bad_request(format!(
            "Invalid input for field/attribute {field}: a number from 1 to {MAX_COUNT} expected"
        ))),
    }
}

pub fn access_ipv4(text: &str) -> Result<String> {
    let valid = text.is_empty() || text.parse::<Ipv4Addr>().is_ok();
    valid.then(|| text.to_owned()).ok_or_else(|| Error::bad_request("accessIPv4 is not proper IPv4 format"))
}

pub fn access_ipv6(text: &str) -> Result<String> {
    let valid = text.is_empty() || text.parse::<Ipv6Addr>().is_ok();
    valid.then(|| text.to_owned()).ok_or_else(|| Error::bad_request("accessIPv6 is not proper IPv6 format"))
}

pub fn disk_config(text: &str) -> Result<String> {
    let valid = matches!(text, "AUTO" | "MANUAL");
    valid
        .then(|| text.to_owned())
        .ok_or_else(|| Error::bad_request("OS-DCF:diskConfig must be AUTO or MANUAL"))
}

fn user_data(text: &str) -> Result<Secret<Vec<u8>>> {
    if text.len() > MAX_USER_DATA {
        return Err(Error::bad_request(format!(
            "User data too large. User data must be no larger than {MAX_USER_DATA} bytes once base64 encoded."
        )));
    }
    // Clients break the lines of base64.
    let compact: String = text.split_ascii_whitespace().collect();
    let bytes =
        STANDARD.decode(compact).map_err(|_| Error::bad_request("User data needs to be valid base 64."))?;
    Ok(Secret::new(bytes))
}

fn nic(network: &Network) -> Result<NicRequest> {
    if network.uuid.is_none() && network.port.is_none() {
        return Err(Error::bad_request("Bad network format: missing 'uuid'"));
    }
    if network.port.is_some() && network.fixed_ip.is_some() {
        return Err(Error::bad_request(
            "Specified Fixed IP cannot be used with a port: the port has its own.",
        ));
    }
    Ok(NicRequest { network_id: network.uuid, port_id: network.port, fixed_ip: network.fixed_ip })
}

/// Refuses what is not offered, rather than leaving it out.
fn check_offered(new: &New, hints: &BTreeMap<String, Value>) -> Result<()> {
    if !new.personality.is_empty() {
        return Err(Error::bad_request("File injection (personality) is not offered; use user_data."));
    }
    if new.admin_pass.is_some() {
        return Err(Error::bad_request("Passwords (adminPass) are not offered; use key_name or user_data."));
    }
    if let Some(hint) = new.hints.keys().chain(hints.keys()).next() {
        return Err(Error::bad_request(format!("The scheduler hint '{hint}' is not offered.")));
    }
    let repeats = |device: &Device| device.repeats(new.image.as_deref());
    if !new.block_device_mapping.is_empty() || !new.block_device_mapping_v2.iter().all(repeats) {
        return Err(Error::bad_request(
            "Block Device Mapping is Invalid: servers boot from an image on a local disk; attach volumes afterwards.",
        ));
    }
    Ok(())
}

fn parse(deps: &Deps, body: Create) -> Result<(NewServer, bool)> {
    check_offered(&body.server, &body.hints)?;
    let new = body.server;
    let name = new.name.trim();
    check_name("server.name", name)?;
    metadata::check(deps, &new.metadata)?;
    let image = new.image.as_deref().unwrap_or_default();
    // Nova also takes an image's address.
    let image = image.rsplit('/').next().unwrap_or_default();
    let image_id = image.parse().map_err(|_| Error::bad_request("Invalid imageRef provided."))?;
    let min_count = count("min_count", new.min_count.as_ref())?;
    let max_count = count("max_count", new.max_count.as_ref())?;
    let min = min_count.unwrap_or(1);
    let max = max_count.unwrap_or(min);
    if min > max {
        return Err(Error::bad_request("min_count must be <= max_count"));
    }
    let reservation = new.return_reservation_id.as_ref().map(|flag| truth("return_reservation_id", flag));
    let config_drive = new.config_drive.as_ref().map(|flag| truth("config_drive", flag));
    let server = NewServer {
        name: name.to_owned(),
        image_id,
        flavor_id: match new.flavor {
            Reference::Text(text) => text.rsplit('/').next().unwrap_or_default().to_owned(),
            Reference::Number(number) => number.to_string(),
        },
        nics: new.networks.unwrap_or_default().iter().map(nic).collect::<Result<_>>()?,
        security_groups: new.security_groups.into_iter().map(|group| group.name).collect(),
        key_name: new.key_name,
        user_data: new.user_data.as_deref().filter(|text| !text.is_empty()).map(user_data).transpose()?,
        metadata: new.metadata,
        config_drive: config_drive.transpose()?.unwrap_or(false),
        zone: new.availability_zone.filter(|zone| !zone.is_empty()),
        disk_config: new.disk_config.map_or(Ok("MANUAL".to_owned()), |text| disk_config(&text))?,
        access_ipv4: access_ipv4(&new.access_ipv4.unwrap_or_default())?,
        access_ipv6: access_ipv6(&new.access_ipv6.unwrap_or_default())?,
        min_count: min,
        max_count: max,
    };
    Ok((server, reservation.transpose()?.unwrap_or(false)))
}

pub async fn create(State(deps): State<Deps>, call: Call, Body(body): Body<Create>) -> Reply<Response> {
    let (new, reservation) = parse(&deps, body)?;
    let created = create::create(&deps, &call.cx, &call.caller, &new).await?;
    let Some(server) = created.first() else { return Err(Error::internal("no server was created").into()) };
    let path = format!("servers/{}", server.id);
    let body = if reservation {
        json!({"reservation_id": server.reservation_id})
    } else {
        let mut groups = new.security_groups;
        if groups.is_empty() {
            groups.push("default".to_owned());
        }
        let groups: Vec<Value> = groups.iter().map(|name| json!({ "name": name })).collect();
        json!({"server": {
            "id": server.id,
            "links": links(&deps, &path),
            "OS-DCF:diskConfig": server.disk_config,
            "security_groups": groups,
        }})
    };
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, href(&deps, &path))], Json(body)).into_response())
}
