//! Several processes of one cloud, and a database that does not answer.

use std::time::Duration;

use futures_util::future::join_all;
use hanse_policy::{Grant, Rule, Verb};
use hanse_store::{Engine, query};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::cloud::{Cloud, PASSWORD, clouds, clouds_of_each_provider, in_project};

const HOLD: Verb = Verb::new("test:hold", Rule::Admin);

/// A user that is made now, with a role in the project `demo`. Returns the id.
async fn make_user(cloud: &Cloud, admin: &str, name: &str) -> String {
    let body = json!({ "user": { "name": name, "domain_id": "default", "password": PASSWORD } });
    let user = cloud.call("POST", "/v3/users", admin, body).await.expect(201);
    let user = user["user"]["id"].as_str().unwrap().to_owned();
    let (project, role) = (cloud.id("projects", "demo").await, cloud.id("roles", "member").await);
    let held = format!("/v3/projects/{project}/users/{user}/roles/{role}");
    cloud.call("PUT", &held, admin, Value::Null).await.expect(204);
    user
}

#[tokio::test]
async fn who_was_made_here_a_moment_ago_is_known_to_every_process() {
    for here in clouds_of_each_provider().await {
        let there = here.second_process();
        let (admin, demo) = (here.admin().await, here.demo().await);
        // The clock stands still, so what this process knows is fresh all the time.
        there.get("/v3/auth/projects", &demo).await.expect(200);

        let ada = make_user(&here, &admin, "ada").await;
        let token = here.login("ada", PASSWORD, in_project("demo")).await.token();
        there.get("/v3/auth/projects", &token).await.expect(200);
        there.on_token("GET", &demo, &token).await.expect(403);
        there.on_token("GET", &admin, &token).await.expect(200);
        there.login("ada", PASSWORD, in_project("demo")).await.expect(201);

        // A changed password, a new role, and being let in again count at once for tokens that were issued since.
        let path = format!("/v3/users/{ada}");
        here.call("PATCH", &path, &admin, json!({ "user": { "password": "another" } })).await.expect(200);
        let token = here.login("ada", "another", in_project("demo")).await.token();
        there.get("/v3/auth/projects", &token).await.expect(200);
        here.call("PATCH", &path, &admin, json!({ "user": { "enabled": false } })).await.expect(200);
        there.login("ada", "another", in_project("demo")).await.expect(401);
        here.call("PATCH", &path, &admin, json!({ "user": { "enabled": true } })).await.expect(200);
        let token = here.login("ada", "another", in_project("demo")).await.token();
        there.get("/v3/auth/projects", &token).await.expect(200);
        let project =
            here.call("POST", "/v3/projects", &admin, json!({ "project": { "name": "new" } })).await;
        let project = project.expect(201)["project"]["id"].as_str().unwrap().to_owned();
        let held = format!("/v3/projects/{project}/users/{ada}/roles/{}", here.id("roles", "reader").await);
        here.call("PUT", &held, &admin, Value::Null).await.expect(204);
        let token = here.login("ada", "another", in_project("new")).await.token();
        there.get("/v3/auth/projects", &token).await.expect(200);
        let body = json!({ "application_credential": { "name": "ci", "secret": "long enough to be one" } });
        let made =
            here.call("POST", &format!("{path}/application_credentials"), &token, body).await.expect(201);
        let credential = json!({
            "id": made["application_credential"]["id"], "secret": "long enough to be one",
        });
        let proof = json!({ "methods": ["application_credential"], "application_credential": credential });
        let token = here.issue(proof, Value::Null).await.token();
        there.get("/v3/auth/projects", &token).await.expect(200);
    }
}

#[tokio::test]
async fn only_a_token_of_ours_that_may_still_be_good_leads_to_a_question() {
    for cloud in clouds().await {
        let (admin, good) = (cloud.admin().await, cloud.demo().await);
        let (revoked, changed) = (cloud.demo().await, make_user(&cloud, &admin, "ada").await);
        let old = cloud.login("ada", PASSWORD, in_project("demo")).await.token();
        let path = format!("/v3/users/{changed}");
        cloud.call("PATCH", &path, &admin, json!({ "user": { "password": "another" } })).await.expect(200);
        cloud.on_token("DELETE", &revoked, &revoked).await.expect(204);
        make_user(&cloud, &admin, "eve").await;
        let gone = cloud.login("eve", PASSWORD, in_project("demo")).await.token();
        let eve = cloud.id("users", "eve").await;
        cloud.delete(&format!("/v3/users/{eve}"), &admin).await.expect(204);

        // Never the same letter again: the last one of a token is often one of four.
        let (head, tail) = good.split_at(good.len() / 2);
        let forged = format!("{head}{}{}", if tail.starts_with('A') { 'B' } else { 'A' }, &tail[1..]);

        // Whoever asks now gets no answer.
        cloud.db.close().await;
        cloud.get("/v3/auth/catalog", &good).await.expect(200);
        for dead in [&revoked, &old, &forged, "gAAAAA", "a.b.c"] {
            cloud.get("/v3/auth/catalog", dead).await.expect(401);
        }
        cloud.get("/v3/auth/catalog", &gone).await.expect(503);
        cloud.clock.advance(Duration::from_secs(1));
        cloud.get("/v3/auth/catalog", &good).await.expect(503);
        cloud.get("/v3/auth/catalog", "gAAAAA").await.expect(401);
    }
}

/// Whoever waited for the database, or behind fifty others who do, would get 408 from the limit of requests.
#[tokio::test]
async fn a_silent_database_is_an_error_within_seconds_and_no_queue() {
    for cloud in clouds().await {
        if cloud.db.engine() != Engine::Postgres {
            continue;
        }
        let demo = cloud.demo().await;
        cloud.clock.advance(Duration::from_secs(1));
        // Another transaction holds the table, so that reading it takes until that one ends.
        let (held, is_held) = oneshot::channel();
        let (release, released) = oneshot::channel::<()>();
        let once = std::sync::Mutex::new(Some((held, released)));
        let (grant, holder) = (Grant::operator(&cloud.cx, HOLD, "x"), cloud.db.clone());
        let hold = holder.write(&cloud.cx, &grant, |tx| {
            let (held, released) = once.lock().unwrap().take().unwrap();
            Box::pin(async move {
                query("LOCK TABLE identity_revision IN ACCESS EXCLUSIVE MODE").execute(tx).await?;
                held.send(()).unwrap();
                let _ = released.await;
                Ok(())
            })
        });
        let ask = async {
            is_held.await.unwrap();
            for answer in join_all((0..50).map(|_| cloud.get("/v3/auth/catalog", &demo))).await {
                answer.expect(503);
            }
            cloud.login("demo", PASSWORD, Value::Null).await.expect(503);
            release.send(()).unwrap();
        };
        let (held, ()) = tokio::join!(hold, ask);
        held.unwrap();
        cloud.get("/v3/auth/catalog", &demo).await.expect(200);
    }
}
