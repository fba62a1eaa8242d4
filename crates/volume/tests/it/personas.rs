//! Every route as everybody, with the project in the path and without.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::agent::Mood;
use crate::world::{ADMIN, World};

/// A member of another project, and a reader, a member and an admin where the volume is.
const PERSONAS: [&str; 5] = ["", "member@p2", "reader@p1", "member@p1", "admin@p1"];

const OWN: [u16; 5] = [401, 404, 200, 200, 200];
const CHANGE: [u16; 5] = [401, 404, 403, 200, 200];
const ACCEPTED: [u16; 5] = [401, 404, 403, 202, 202];
const ANYBODY: [u16; 5] = [401, 200, 200, 200, 200];
const ADMINS: [u16; 5] = [401, 403, 403, 403, 200];
const ABSENT: [u16; 5] = [401, 501, 501, 501, 501];

fn routes() -> Vec<(&'static str, &'static str, Value, [u16; 5])> {
    let none = || Value::Null;
    let quota = json!({ "quota_set": { "volumes": 1000 } });
    vec![
        ("POST", "/volumes", json!({ "volume": { "size": 1 } }), [401, 202, 403, 202, 202]),
        ("GET", "/volumes", none(), ANYBODY),
        ("GET", "/volumes/detail", none(), ANYBODY),
        ("GET", "/volumes/{id}", none(), OWN),
        ("PUT", "/volumes/{id}", json!({ "volume": { "name": "n" } }), CHANGE),
        ("DELETE", "/volumes/{id}", none(), ACCEPTED),
        ("GET", "/volumes/{id}/metadata", none(), OWN),
        ("POST", "/volumes/{id}/metadata", json!({ "metadata": { "k": "v" } }), CHANGE),
        ("PUT", "/volumes/{id}/metadata", json!({ "metadata": { "k": "v" } }), CHANGE),
        ("GET", "/volumes/{id}/metadata/key", none(), OWN),
        ("PUT", "/volumes/{id}/metadata/key", json!({ "meta": { "key": "v" } }), CHANGE),
        ("DELETE", "/volumes/{id}/metadata/key", none(), CHANGE),
        ("POST", "/volumes/{id}/action", json!({ "os-extend": { "new_size": 2 } }), ACCEPTED),
        ("POST", "/volumes/{id}/action", json!({ "os-set_bootable": { "bootable": true } }), CHANGE),
        (
            "POST",
            "/volumes/{id}/action",
            json!({ "os-reset_status": { "status": "error" } }),
            [401, 404, 403, 403, 202],
        ),
        ("POST", "/volumes/{id}/action", json!({ "os-force_delete": null }), [401, 404, 403, 403, 202]),
        ("POST", "/volumes/{id}/action", json!({ "os-detach": {} }), [401, 404, 501, 501, 501]),
        ("GET", "/types", none(), ANYBODY),
        ("POST", "/types", json!({ "volume_type": { "name": "fast" } }), [401, 403, 403, 403, 501]),
        ("GET", "/types/default", none(), ANYBODY),
        ("GET", "/types/default/extra_specs", none(), ANYBODY),
        ("GET", "/limits", none(), ANYBODY),
        ("GET", "/os-quota-sets/p1", none(), [401, 403, 200, 200, 200]),
        ("GET", "/os-quota-sets/p1/defaults", none(), [401, 403, 200, 200, 200]),
        ("PUT", "/os-quota-sets/p1", quota, ADMINS),
        ("DELETE", "/os-quota-sets/p1", none(), ADMINS),
        ("GET", "/os-availability-zone", none(), ANYBODY),
        ("GET", "/os-services", none(), ADMINS),
        ("GET", "/extensions", none(), ANYBODY),
        ("GET", "/snapshots", none(), ABSENT),
        ("POST", "/snapshots", none(), ABSENT),
        ("GET", "/snapshots/detail", none(), ABSENT),
        ("GET", "/backups", none(), ABSENT),
        ("POST", "/backups", none(), ABSENT),
        ("GET", "/backups/detail", none(), ABSENT),
        ("GET", "/groups", none(), ABSENT),
        ("POST", "/groups", none(), ABSENT),
        ("GET", "/groups/detail", none(), ABSENT),
        ("GET", "/os-volume-transfer", none(), ABSENT),
        ("POST", "/os-volume-transfer", none(), ABSENT),
        ("GET", "/os-volume-transfer/detail", none(), ABSENT),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_every_persona_as_it_should() {
    for world in World::all().await {
        world.agent.feel(Mood::Silent);
        let unlimited = json!({ "quota_set": { "volumes": -1 } });
        for project in ["p1", "p2"] {
            let path = format!("/os-quota-sets/{project}");
            world.call(Method::PUT, ADMIN, &path, unlimited.clone()).await.expect(200);
        }
        for (method, pattern, body, expected) in routes() {
            for with_project in [true, false] {
                let mut seen = Vec::new();
                for token in PERSONAS {
                    let mut path = pattern.to_owned();
                    if pattern.contains("{id}") {
                        let id = world.available("member@p1", json!({ "metadata": { "key": "v" } })).await;
                        path = path.replace("{id}", &id);
                    }
                    let project = token.split_once('@').map_or("p1", |(_, project)| project);
                    let prefix =
                        if with_project { format!("/volume/v3/{project}") } else { "/volume/v3".to_owned() };
                    let method = Method::from_bytes(method.as_bytes()).unwrap();
                    let answer =
                        world.client.call(method, &format!("{prefix}{path}"), token, body.clone()).await;
                    seen.push(answer.status.as_u16());
                }
                assert_eq!(seen, expected, "{method} {pattern} {body} on {}", world.test.engine);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_a_project_has_no_volumes() {
    for world in World::all().await {
        for path in ["/volumes", "/volumes/detail", "/types", "/limits"] {
            world.client.get(&format!("/volume/v3{path}"), "member@none").await.expect(403);
            world.client.get(&format!("/volume/v3/p1{path}"), "member@none").await.expect(400);
        }
        let body = json!({ "volume": { "size": 1 } });
        world.client.post("/volume/v3/volumes", "admin@none", body).await.expect(403);
    }
}

fn pattern(path: &str) -> String {
    let named = |part: &str| part.starts_with('{') || matches!(part, "key" | "default" | "p1");
    path.split('/').map(|part| if named(part) { "{}" } else { part }).collect::<Vec<_>>().join("/")
}

#[test]
fn every_route_is_in_the_table() {
    let source: String = include_str!("../../src/api.rs").split_whitespace().collect();
    let source = source.split("fnresources").nth(1).unwrap().to_owned();
    let tried: BTreeSet<_> =
        routes().iter().map(|(method, path, ..)| (method.to_string(), pattern(path))).collect();
    let mut served = BTreeSet::new();
    for route in source.split(".route(").skip(1) {
        let mut parts = route.split('"');
        let (path, handlers) = (parts.nth(1).unwrap(), parts.next().unwrap());
        for method in ["get", "post", "put", "delete"] {
            if handlers.contains(&format!(",{method}(")) || handlers.contains(&format!(").{method}(")) {
                served.insert((method.to_uppercase(), pattern(path)));
            }
        }
    }
    assert!(served.len() > 30, "{served:?}");
    let forgotten: Vec<_> = served.difference(&tried).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}
