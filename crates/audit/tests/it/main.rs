//! The real router, store and policy, on both engines.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hanse_audit::{Range, Retention, page, service};
use hanse_core::{Cx, ManualClock};
use hanse_policy::{Grant, Rule, Target, Verb};
use hanse_store::query;
use hanse_testkit::{Client, TestDb, context, databases, persona};
use http::Method;
use serde_json::{Value, json};

const CREATE: Verb = Verb::new("os_compute_api:servers:create", Rule::ProjectMember);
const LOGIN: Verb = Verb::new("identity:authenticate", Rule::Authenticated);
const ADMIN: &str = "admin@office";

struct World {
    test: TestDb,
    cx: Cx,
    clock: Arc<ManualClock>,
    client: Client,
}

impl World {
    async fn all() -> Vec<World> {
        let tests = databases(&context().0, &[hanse_store::MIGRATIONS]).await;
        tests
            .into_iter()
            .map(|test| {
                let (cx, clock) = context();
                let client = Client::new(&cx, &service(test.db.clone(), "https://cloud.example/"));
                World { test, cx, clock, client }
            })
            .collect()
    }

    /// A second later somebody (a token, or nobody) does something; returns the id of the request.
    async fn done(&self, who: Option<&str>, target: &str, from: &str) -> String {
        self.clock.advance(Duration::from_secs(1));
        let cx = self.cx.request(Duration::from_secs(60)).from_source(from.parse().ok());
        let grant = match who {
            None => Grant::refused(&cx, LOGIN, target),
            Some(token) => {
                let caller = persona(token).unwrap();
                let project = caller.project_id().unwrap().to_owned();
                caller.authorize(&cx, CREATE, Target::new(target).in_project(project)).unwrap()
            }
        };
        self.test.db.write(&cx, &grant, |_| Box::pin(async { Ok(()) })).await.unwrap();
        cx.request_id().to_owned()
    }

    async fn list(&self, query: &str) -> Vec<Value> {
        let path = format!("/audit/v1/events{query}");
        let body = self.client.get(&path, ADMIN).await.expect(200).json();
        body["events"].as_array().unwrap().clone()
    }

    async fn targets(&self, query: &str) -> Vec<String> {
        self.list(query)
            .await
            .iter()
            .map(|event| event["target"]["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_says_who_did_what_to_what_from_where_and_in_which_request() {
    for world in World::all().await {
        let request = world.done(Some("member@p1"), "s1", "192.0.2.7").await;
        let listed = world.list("").await;
        let id = listed[0]["id"].as_str().unwrap();
        assert_eq!(
            listed,
            [json!({
                "typeURI": "http://schemas.dmtf.org/cloud/audit/1.0/event",
                "id": id,
                "eventType": "activity",
                "eventTime": "2026-11-18T11:06:41.000000Z",
                "action": "create",
                "outcome": "success",
                "initiator": {
                    "typeURI": "service/security/account/user", "id": "user-member@p1", "project_id": "p1",
                    "audit_id": "audit", "host": { "address": "192.0.2.7" },
                },
                "target": { "typeURI": "service/compute/servers", "id": "s1" },
                "observer": { "typeURI": "service/compute", "id": "hanse-compute" },
                "requestId": request,
                "attachments": [{
                    "name": "verb", "typeURI": "mime:text/plain", "content": "os_compute_api:servers:create",
                }],
            })],
            "{}",
            world.test.engine
        );
        let shown = world.client.get(&format!("/audit/v1/events/{id}"), ADMIN).await.expect(200).json();
        assert_eq!(shown["event"], listed[0]);
        world.client.get("/audit/v1/events/nothing", ADMIN).await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_out_of_strangers_is_counted_in_one_event() {
    for world in World::all().await {
        // Into one minute.
        world.clock.advance(Duration::from_secs(20));
        for _ in 0..23 {
            world.done(None, "name eve in name Default", "192.0.2.66").await;
        }
        let listed = world.list("?outcome=failure&limit=1").await;
        assert_eq!(listed[0]["target"]["id"], "(left out)", "{listed:?}");
        let times = &listed[0]["attachments"][1];
        assert_eq!((&times["name"], &times["content"]["count"]), (&json!("times"), &json!(3)));
        assert_eq!(times["content"]["last"], "2026-11-18T11:07:23.000000Z");
        assert_eq!(listed[0]["initiator"], json!({ "typeURI": "unknown", "id": "unknown" }));
        assert_eq!(world.list("").await.len(), 21, "{}", world.test.engine);
        let of_eve = world.list("?target=name+eve+in+name+Default&limit=1").await;
        assert_eq!(of_eve[0]["initiator"]["host"]["address"], "192.0.2.66");
        assert_eq!(of_eve[0]["action"], "authenticate");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_by_each_field() {
    for world in World::all().await {
        let first = world.done(Some("member@p1"), "a", "192.0.2.1").await;
        world.done(Some("member@p2"), "b", "192.0.2.1").await;
        world.done(None, "c", "192.0.2.1").await;
        world.done(Some("member@p1"), "d", "192.0.2.1").await;
        for (filter, expected) in [
            ("", "dcba"),
            ("?initiator=user-member@p1", "da"),
            ("?initiator=unknown", "c"),
            ("?action=identity:authenticate", "c"),
            ("?target=b", "b"),
            ("?project_id=p2", "b"),
            ("?outcome=success&project_id=p1", "da"),
            ("?outcome=failure", "c"),
            (&format!("?request_id={first}"), "a"),
            ("?since=2026-11-18T11:06:43Z", "dc"),
            ("?until=2026-11-18T11:06:43Z", "ba"),
            ("?since=2026-11-18T11:06:42&until=2026-11-18T11:06:44", "cb"),
            ("?target=nothing", ""),
        ] {
            assert_eq!(world.targets(filter).await.concat(), expected, "{filter} on {}", world.test.engine);
        }
        for wrong in [
            "?colour=red",
            "?outcome=maybe",
            "?since=yesterday",
            "?limit=many",
            "?marker=nothing",
            "?since=2026-11-18T12:00:00Z&until=2026-11-18T11:00:00Z",
        ] {
            let answer = world.client.get(&format!("/audit/v1/events{wrong}"), ADMIN).await.expect(400);
            assert_eq!(answer.json()["error"]["title"], "Bad Request", "{wrong}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_their_links_to_the_end_and_keep_the_filter() {
    for world in World::all().await {
        for number in 0..5 {
            world.done(Some("member@p1"), &number.to_string(), "192.0.2.1").await;
            world.done(Some("member@p2"), "other", "192.0.2.1").await;
        }
        let mut path = "/audit/v1/events?project_id=p1&limit=2".to_owned();
        let mut seen = String::new();
        for _ in 0..3 {
            let body = world.client.get(&path, ADMIN).await.expect(200).json();
            for event in body["events"].as_array().unwrap() {
                seen.push_str(event["target"]["id"].as_str().unwrap());
            }
            let Some(href) = body["events_links"][0]["href"].as_str() else { break };
            path = href.strip_prefix("https://cloud.example").unwrap().to_owned();
        }
        assert_eq!(seen, "43210", "{}", world.test.engine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_every_persona_as_it_should() {
    // Nobody, a stranger, those of a project, of a domain, and of the system; then the admin.
    let personas = [
        "",
        "nonsense",
        "member@none",
        "reader@p1",
        "manager@p1",
        "manager@domain",
        "member@system",
        "reader@system",
        "admin@p1",
    ];
    const ALL: [u16; 9] = [200; 9];
    const SEEN: [u16; 9] = [401, 401, 403, 403, 403, 403, 200, 200, 200];
    let routes = [("/", ALL), ("/v1", ALL), ("/v1/", ALL), ("/v1/events", SEEN), ("/v1/events/{id}", SEEN)];
    for world in World::all().await {
        world.done(Some("member@p1"), "s1", "192.0.2.1").await;
        let id = world.list("").await[0]["id"].as_str().unwrap().to_owned();
        for (route, expected) in &routes {
            let path = format!("/audit{}", route.replace("{id}", &id));
            let mut seen = Vec::new();
            for token in personas {
                seen.push(world.client.get(&path, token).await.status.as_u16());
            }
            assert_eq!(seen, expected, "GET {route} on {}", world.test.engine);
        }
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            for path in ["/audit/v1/events".to_owned(), format!("/audit/v1/events/{id}")] {
                world.client.call(method.clone(), &path, ADMIN, Value::Null).await.expect(405);
            }
        }
        assert_eq!(world.list("").await.len(), 1, "looking leaves no event");
    }
    let source: String = include_str!("../../src/api.rs").split_whitespace().collect();
    let served: BTreeSet<&str> =
        source.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(served, routes.iter().map(|(route, _)| *route).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_on_where_it_was_also_when_what_it_saw_last_is_gone() {
    for world in World::all().await {
        for number in 0..7 {
            world.done(Some("member@p1"), &number.to_string(), "192.0.2.1").await;
        }
        let mut position = None;
        let mut seen = Vec::new();
        loop {
            let (events, next) = page(&world.test.db, Range::default(), position, 3).await.unwrap();
            if events.is_empty() {
                break;
            }
            seen.extend(events.iter().map(|event| event["target"]["id"].as_str().unwrap().to_owned()));
            position = next;
            let (at, id) = position.clone().unwrap();
            let cx = &world.cx;
            let grant = hanse_work::system_grant(cx, "test", "test");
            let gone = query("DELETE FROM audit_events WHERE at = $1 AND id = $2").bind(at).bind(id);
            world.test.db.write(cx, &grant, |tx| Box::pin(gone.clone().execute(tx))).await.unwrap();
        }
        assert_eq!(seen, ["0", "1", "2", "3", "4", "5", "6"], "{}", world.test.engine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_in_batches_when_they_have_been_kept_long_enough() {
    for world in World::all().await {
        let day = Duration::from_secs(24 * 3600);
        let keep = |days: u32| Retention {
            db: world.test.db.clone(),
            cx: world.cx.clone(),
            keep: (days > 0).then_some(day * days),
        };
        let grant = hanse_work::system_grant(&world.cx, "test", "test");
        let (cx, now) = (&world.cx, world.cx.now());
        world
            .test
            .db
            .write(cx, &grant, |tx| {
                Box::pin(async move {
                    for number in 0..1200 {
                        query(
                            "INSERT INTO audit_events (id, at, request_id, initiator, action, target, outcome)
                             VALUES ($1, $2, 'r', 'u', 'a', 't', 'success')",
                        )
                        .bind(format!("old-{number}"))
                        .bind(now)
                        .execute(tx)
                        .await?;
                    }
                    Ok(())
                })
            })
            .await
            .unwrap();
        world.clock.advance(day * 2);
        world.done(Some("member@p1"), "new", "192.0.2.1").await;
        assert_eq!(keep(0).once().await.unwrap(), 0, "0 keeps them for ever");
        assert_eq!(keep(3).once().await.unwrap(), 0);
        let mut gone = Vec::new();
        for _ in 0..4 {
            gone.push(keep(1).once().await.unwrap());
        }
        assert_eq!(gone, [500, 500, 200, 0], "{}", world.test.engine);
        assert_eq!(world.targets("").await, ["new"]);
    }
}
