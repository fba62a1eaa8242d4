//! Identity with many users: what a page of a list costs, and the memory of the snapshot.
//!
//! Two clouds take turns, one with a hundred times the users of the other.

use anyhow::{Context, Result, bail};
use hanse_core::Cx;
use hanse_e2e::{Cloud, crowd};
use hanse_policy::{Grant, Rule, Verb};
use hanse_store::{Db, MIGRATIONS, query};
use serde_json::Value;

use crate::client::{Api, Call, Cost};
use crate::figures::{Amount, Line};
use crate::process::settled_pss;
use crate::{ROUNDS, start};

const SEED: Verb = Verb::new("bench:seed", Rule::Admin);

/// How many users the clouds have beside those that come with them.
const SMALL: usize = 100;
const LARGE: usize = 10_000;

/// How often a page is fetched in each round.
const FETCHES: usize = 40;

const USERS: &str = "/identity/v3/users?limit=100";
const EFFECTIVE: &str = "/identity/v3/role_assignments?effective&limit=100";

/// A cloud with so many users.
struct Crowd {
    api: Api,
    token: String,
    /// The memory of the control plane with a snapshot, but before there were users and with them.
    memory: (u64, u64),
    _cloud: Cloud,
}

impl Crowd {
    async fn of(name: &str, users: usize) -> Result<Crowd> {
        let cloud = Cloud::new(name, start::SIM);
        cloud.hanse_ok(&["up"]);
        // Started again and logged in to, once without the users and once with them.
        let before = Crowd::restarted(&cloud).await?.0;
        cloud.hanse_ok(&["down"]);
        seed(&cloud, users).await?;
        let (after, api, token) = Crowd::restarted(&cloud).await?;
        Ok(Crowd { api, token, memory: (before, after), _cloud: cloud })
    }

    async fn restarted(cloud: &Cloud) -> Result<(u64, Api, String)> {
        cloud.hanse_ok(&["down"]);
        cloud.hanse_ok(&["up"]);
        let api = Api::of(cloud).await?;
        let token = api.session("hanse-admin").await?.token;
        Ok((settled_pss(api.pid).await?, api, token))
    }

    fn get(&self, path: &str) -> Call {
        Call::get(path).token(&self.token)
    }

    /// The last page of a list with 100 to a page, and how many rows there are in all.
    async fn last(&self, path: &str, noun: &str) -> Result<(Call, usize)> {
        let (mut at, mut rows) = (path.to_owned(), 0);
        // Nearly all the way in great steps.
        for limit in [1000, 100] {
            at = at.replace("limit=1000", "limit=100").replace("limit=100", &format!("limit={limit}"));
            loop {
                let page = self.api.json(&self.get(&at)).await?;
                let here = page[noun].as_array().context("no list")?.len();
                let Value::String(next) = &page["links"]["next"] else {
                    rows += if limit == 100 { here } else { 0 };
                    break;
                };
                let (_, path) = next.split_once("/identity").context("no link of ours")?;
                at = format!("/identity{path}");
                rows += here;
            }
        }
        Ok((self.get(&at), rows))
    }
}

/// Puts them into the database while the cloud does not run.
async fn seed(cloud: &Cloud, users: usize) -> Result<()> {
    let cx = Cx::system();
    let db = Db::sqlite(&cx, &cloud.state().join("control/state.db"), &[MIGRATIONS]).await?;
    let statements = &crowd::hanse(users);
    let made = db
        .write(&cx, &Grant::operator(&cx, SEED, "users"), |tx| {
            Box::pin(async move {
                let mut made = 0;
                for statement in statements {
                    made += query(statement).execute(tx).await?;
                }
                Ok(made)
            })
        })
        .await?;
    db.close().await;
    // One more: the revision.
    if made != crowd::rows(users) as u64 + 1 {
        bail!("{made} rows were written");
    }
    Ok(())
}

pub async fn measure() -> Result<Vec<Line>> {
    let small = Crowd::of("few", SMALL).await?;
    let large = Crowd::of("many", LARGE).await?;
    let (last_users, users) = large.last(USERS, "users").await?;
    let (last_roles, roles) = large.last(EFFECTIVE, "role_assignments").await?;
    if users < LARGE || roles < LARGE * crowd::ROLES {
        bail!("the lists have {users} users and {roles} assignments");
    }
    let first = "the first page";
    let here = format!("of {users} users");
    let mut lines = Vec::new();
    for (what, path, last) in [
        ("Users, 100 a page", USERS, Some(last_users)),
        ("Effective assignments, 100 a page", EFFECTIVE, Some(last_roles)),
        (
            "Effective assignments of one user",
            "/identity/v3/role_assignments?effective&user.id=00000000000000000000000000000007",
            None,
        ),
        (
            "Effective assignments on one project",
            "/identity/v3/role_assignments?effective&scope.project.id=000000000000000000000000000f4244",
            None,
        ),
        ("One user by name", "/identity/v3/users?name=user-7", None),
        ("One user by a part of the name", "/identity/v3/users?name__contains=user-77&limit=10", None),
    ] {
        let [mut few, mut many, mut end] = <[Cost; 3]>::default();
        let call = (small.get(path), large.get(path));
        for round in 0..=ROUNDS {
            // What is only slow the first time is not counted.
            let mut cold = <[Cost; 3]>::default();
            let [few, many, end] = if round == 0 { cold.each_mut() } else { [&mut few, &mut many, &mut end] };
            small.api.load(&call.0, FETCHES, 1, few).await?;
            large.api.load(&call.1, FETCHES, 1, many).await?;
            if let Some(last) = &last {
                large.api.load(last, FETCHES, 1, end).await?;
            }
        }
        let line = |what: String, here: &Cost, beside: &str, other: &Cost| {
            Line::new(what, Amount::micros(here.p50()), beside, Amount::micros(other.p50()))
        };
        let beside = format!("of {SMALL} users");
        lines.push(line(format!("{what}, {here}: p50"), &many, &beside, &few));
        if last.is_some() {
            lines.push(line(format!("{what}, {here}: the last page, p50"), &end, first, &many));
        }
    }
    let (before, after) = large.memory;
    let title =
        format!("Memory (PSS) of the control plane with {users} users and {roles} effective assignments");
    lines.push(Line::new(title, Amount::mebibytes(after), "without them", Amount::mebibytes(before)));
    Ok(lines)
}
