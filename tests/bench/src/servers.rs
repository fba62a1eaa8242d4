//! Servers on the sim driver: how soon one is accepted, and lists of many.

use anyhow::{Context, Result};
use hanse_core::Cx;
use http::StatusCode;
use serde_json::{Value, json};

use crate::ROUNDS;
use crate::client::{Api, CONNECTIONS, Call, Cost, Session, rescope};
use crate::figures::{Amount, Line};

/// How many servers there are when the list is fetched.
const SIZES: [usize; 3] = [10, 1_000, 10_000];

/// How often the list is fetched in each round.
const FETCHES: usize = 4;

/// What one project may have by default; each such number of servers gets a project of its own.
const QUOTA: usize = 100;

const DETAIL: &str = "/compute/v2.1/servers/detail?all_tenants=1";

pub async fn measure(api: &Api, most: usize) -> Result<Vec<Line>> {
    let admin = api.session("hanse-admin").await?;
    if !offers(&admin, "compute") || !offers(&admin, "image") {
        return Ok(vec![Line::missing("Create and list servers", "no compute API in this build")]);
    }
    let body = json!({ "server": {
        "name": "bench", "imageRef": image(api, &admin).await?, "flavorRef": flavor(api, &admin).await?,
    }});
    let create = Call::post("/compute/v2.1/servers", &body, StatusCode::ACCEPTED);
    let mut lines = Vec::new();
    let mut there = 0;
    for size in SIZES.into_iter().filter(|size| *size <= most) {
        let mut creates = Cost::default();
        while there < size {
            let batch = QUOTA.min(size - there);
            let create = create.clone().token(&project(api, &admin).await?);
            api.load(&create, batch, CONNECTIONS, &mut creates).await?;
            there += batch;
        }
        lines.extend(list(api, &admin, size, &creates).await?);
    }
    Ok(lines)
}

/// Makes a project and returns a token of the admin for it.
async fn project(api: &Api, admin: &Session) -> Result<String> {
    let name = format!("bench-{}", Cx::system().hex_id());
    let make =
        Call::post("/identity/v3/projects", &json!({ "project": { "name": name } }), StatusCode::CREATED);
    let made = api.json(&make.token(&admin.token)).await?;
    let id = made["project"]["id"].as_str().context("the project has no id")?;
    let path = format!("/identity/v3/projects/{id}/users/{}/roles/{}", admin.user_id, admin.role_id);
    let assign = Call::put(&path, "application/json", "", StatusCode::NO_CONTENT);
    api.send(&assign.token(&admin.token)).await?;
    Ok(api.issued(&rescope(&admin.token, id)).await?.token)
}

fn offers(session: &Session, kind: &str) -> bool {
    session.catalog.as_array().into_iter().flatten().any(|service| service["type"] == kind)
}

/// An image of zeros; the sim driver boots anything.
async fn image(api: &Api, session: &Session) -> Result<Value> {
    let body =
        json!({ "name": "bench", "disk_format": "raw", "container_format": "bare", "visibility": "public" });
    let made = Call::post("/image/v2/images", &body, StatusCode::CREATED).token(&session.token);
    let id = api.json(&made).await?["id"].clone();
    let path = format!("/image/v2/images/{}/file", id.as_str().context("the image has no id")?);
    let zeros = vec![0; 1 << 20];
    let upload = Call::put(&path, "application/octet-stream", zeros, StatusCode::NO_CONTENT);
    api.send(&upload.token(&session.token)).await?;
    Ok(id)
}

/// The flavor with the least memory.
async fn flavor(api: &Api, session: &Session) -> Result<Value> {
    let list = api.json(&Call::get("/compute/v2.1/flavors/detail").token(&session.token)).await?;
    let flavors = list["flavors"].as_array().into_iter().flatten();
    let least = flavors.min_by_key(|flavor| flavor["ram"].as_u64()).context("there is no flavor")?;
    Ok(least["id"].clone())
}

/// The list of `size` servers, with how long it took until the last of them were accepted.
async fn list(api: &Api, session: &Session, size: usize, creates: &Cost) -> Result<Vec<Line>> {
    let (health, detail) = (Call::get("/healthz"), Call::get(DETAIL).token(&session.token));
    let shown = api.json(&detail).await?["servers"].as_array().map_or(0, Vec::len);
    let (mut healths, mut details) = (Cost::default(), Cost::default());
    for _ in 0..ROUNDS {
        // One request is below what the kernel's clock tells.
        api.load(&health, 50 * FETCHES, 1, &mut healths).await?;
        api.load(&detail, FETCHES, 1, &mut details).await?;
    }
    let line = |what: String, here, other| Line::new(what, here, "`GET /healthz`", other);
    let (create, list) = (
        format!("Create a server, up to {size}: accepted"),
        format!("List {size} servers with details, first page of {shown}"),
    );
    Ok(vec![
        line(format!("{create}, p50"), Amount::millis(creates.p50()), Amount::millis(healths.p50())),
        line(format!("{create}, p99"), Amount::millis(creates.p99()), Amount::millis(healths.p99())),
        line(format!("{list}: p50"), Amount::millis(details.p50()), Amount::millis(healths.p50())),
        line(
            format!("{list}: server CPU"),
            Amount::median_millis(&details.cpu),
            Amount::median_millis(&healths.cpu),
        ),
    ])
}
