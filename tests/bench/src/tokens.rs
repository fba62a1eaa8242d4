//! Tokens: what every request to the cloud pays.

use anyhow::Result;
use http::StatusCode;
use serde_json::json;

use crate::client::{Api, CONNECTIONS, Call, Cost, Session, credential, rescope};
use crate::figures::{Amount, Line};
use crate::process::settled_pss;
use crate::{Options, ROUNDS};

pub async fn measure(api: &Api, options: &Options) -> Result<Vec<Line>> {
    let session = api.session("hanse").await?;
    let health = Call::get("/healthz");
    let validate =
        Call::get("/identity/v3/auth/tokens").token(&session.token).header("x-subject-token", &session.token);
    let rescope = rescope(&session.token, &session.project_id);
    let by_credential = application_credential(api, &session).await?;
    let memory = settled_pss(api.pid).await?;

    let [mut healths, mut validations, mut rescopes, mut logins] = <[Cost; 4]>::default();
    for call in [&health, &validate, &rescope, &by_credential] {
        // Caches and connections are warm in what is measured.
        api.load(call, options.each_round(100), CONNECTIONS, &mut Cost::default()).await?;
    }
    for _ in 0..ROUNDS {
        api.load(&health, options.each_round(1), CONNECTIONS, &mut healths).await?;
        api.load(&validate, options.each_round(1), CONNECTIONS, &mut validations).await?;
        api.load(&rescope, options.each_round(10), CONNECTIONS, &mut rescopes).await?;
        api.load(&by_credential, options.each_round(10), CONNECTIONS, &mut logins).await?;
    }

    let mut lines = Vec::new();
    for (name, cost) in [
        ("Validate a token", &validations),
        ("Rescope a token", &rescopes),
        ("Log in with an application credential", &logins),
    ] {
        lines.extend(beside(name, cost, "`GET /healthz`", &healths));
    }
    lines.push(Line::new(
        "Memory (PSS) of the control plane after these requests",
        Amount::mebibytes(settled_pss(api.pid).await?),
        "before them",
        Amount::mebibytes(memory),
    ));
    Ok(lines)
}

/// The login with an application credential that is made here.
async fn application_credential(api: &Api, session: &Session) -> Result<Call> {
    let path = format!("/identity/v3/users/{}/application_credentials", session.user_id);
    let body = json!({ "application_credential": { "name": "bench" } });
    let made = api.json(&Call::post(&path, &body, StatusCode::CREATED).token(&session.token)).await?;
    let made = &made["application_credential"];
    Ok(credential(&made["id"], &made["secret"]))
}

/// Processor time and latencies of one kind of request beside those of another.
fn beside(name: &str, cost: &Cost, other: &str, anchor: &Cost) -> [Line; 3] {
    let latency = |share: &str| format!("{name}: latency {share}, {CONNECTIONS} connections");
    [
        Line::new(
            format!("{name}: server CPU"),
            Amount::median_micros(&cost.cpu),
            other,
            Amount::median_micros(&anchor.cpu),
        ),
        Line::new(latency("p50"), Amount::micros(cost.p50()), other, Amount::micros(anchor.p50())),
        Line::new(latency("p99"), Amount::micros(cost.p99()), other, Amount::micros(anchor.p99())),
    ]
}
