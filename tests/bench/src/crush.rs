//! Validation of tokens while many log in.

use anyhow::{Context, Result};
use futures_util::future::{select, try_join_all};
use http::StatusCode;
use serde_json::json;

use crate::client::{Api, CONNECTIONS, Call, Cost, password};
use crate::figures::{Amount, Line};
use crate::{Options, ROUNDS};

/// How many log in again and again, each as a user of their own: one account would be taken for one that is guessed.
const CLIENTS: usize = 50;

const PASSWORD: &str = "0123456789abcdef";

pub async fn measure(api: &Api, options: &Options) -> Result<Vec<Line>> {
    let admin = api.session("hanse-admin").await?;
    let mut logins = Vec::new();
    for number in 0..CLIENTS {
        let name = format!("bench-{number}");
        let user = json!({ "user": { "name": name, "password": PASSWORD } });
        api.send(&Call::post("/identity/v3/users", &user, StatusCode::CREATED).token(&admin.token)).await?;
        logins.push(password(
            &json!({ "name": name, "domain": { "id": "default" }, "password": PASSWORD }),
            None,
        ));
    }
    let session = api.session("hanse").await?;
    let validate =
        Call::get("/identity/v3/auth/tokens").token(&session.token).header("x-subject-token", &session.token);
    let times = options.each_round(1);
    let mut lines = Vec::new();
    for connections in [1, CONNECTIONS] {
        let (mut idle, mut busy, mut done) = (Cost::default(), Cost::default(), 0);
        for _ in 0..ROUNDS {
            api.load(&validate, times, connections, &mut idle).await?;
            let mut pool = try_join_all((0..CLIENTS).map(|_| api.connect())).await?;
            let count = std::cell::Cell::new(0);
            let crowd = try_join_all(pool.iter_mut().zip(&logins).map(async |(connection, login)| {
                loop {
                    connection.timed(login).await?;
                    count.set(count.get() + 1);
                }
                #[expect(unreachable_code, reason = "it names the type of the error")]
                anyhow::Ok(())
            }));
            let load = api.load(&validate, times, connections, &mut busy);
            match select(std::pin::pin!(load), std::pin::pin!(crowd)).await {
                futures_util::future::Either::Left((loaded, _)) => loaded?,
                futures_util::future::Either::Right((crowd, _)) => {
                    crowd.context("a login")?;
                }
            }
            done += count.get();
        }
        let of = |share: &str| {
            format!(
                "Validate a token while {CLIENTS} clients log in ({done} did): {share}, {connections} connections"
            )
        };
        lines.push(Line::new(
            of("p50"),
            Amount::micros(busy.p50()),
            "while none do",
            Amount::micros(idle.p50()),
        ));
        lines.push(Line::new(
            of("p99"),
            Amount::micros(busy.p99()),
            "while none do",
            Amount::micros(idle.p99()),
        ));
    }
    Ok(lines)
}
