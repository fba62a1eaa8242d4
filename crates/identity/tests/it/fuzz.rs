//! Whatever is sent to any route: no answer is 5xx, every refusal has Keystone's form and changes nothing, and no answer
//! is longer than it should be.
//!
//! The cases are the same in each run. `HANSE_FUZZ_SEED=7 HANSE_FUZZ_TIMES=100` makes others, and more of them.

mod cases;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use hanse_store::query;
use hanse_web::{Api, Metrics, mount};
use http::{HeaderValue, Request};
use http_body_util::BodyExt;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::ServiceExt;

use self::cases::{Damage, Edit, Forgery, parameter};
use crate::cloud::{Cloud, clouds};
use crate::personas::{ROUTES, body, objects};

/// No answer is longer, in bytes: nothing here makes so many objects.
const ANSWER_MAX: usize = 4 << 20;

/// One cloud, with an admin who calls it.
struct World<'r> {
    runtime: &'r Runtime,
    cloud: Cloud,
    router: Router,
    admin: String,
    /// The admin's own user, for what nobody may do for others.
    own: String,
    objects: Vec<(&'static str, String)>,
    /// How often each status was the answer.
    seen: RefCell<BTreeMap<u16, usize>>,
    calls: Cell<usize>,
}

fn worlds(runtime: &Runtime) -> Vec<World<'_>> {
    let started = runtime.block_on(async {
        let mut worlds = Vec::new();
        for cloud in clouds().await {
            let admin = cloud.admin().await;
            let mut objects = objects(&cloud, &admin).await;
            let own = cloud.id("users", "admin").await;
            let project = objects.iter().find(|(name, _)| *name == "{project}").unwrap().1.clone();
            let key = json!({ "tenant_id": project });
            let key = cloud.call("POST", &format!("/v3/users/{own}/credentials/OS-EC2"), &admin, key).await;
            if key.status == 201 {
                objects.push(("{access}", key.body["credential"]["access"].as_str().unwrap().to_owned()));
            }
            worlds.push((cloud, admin, own, objects));
        }
        worlds
    });
    let world = |(cloud, admin, own, objects): (Cloud, String, String, Vec<(&'static str, String)>)| {
        let api = Api {
            cx: cloud.cx.clone(),
            authenticator: cloud.identity.authenticator(),
            metrics: Metrics::default(),
            identity_url: "https://cloud.test/identity".into(),
        };
        let router = mount(Router::new(), &cloud.identity.service(), &api);
        let (seen, calls) = (RefCell::default(), Cell::new(0));
        World { runtime, cloud, router, admin, own, objects, seen, calls }
    };
    started.into_iter().map(world).collect()
}

/// What came back, before anybody made sense of it.
struct Raw {
    status: u16,
    bytes: Vec<u8>,
}

impl World<'_> {
    /// The path of a pattern of the table; what is a user's own is the admin's.
    fn path(&self, pattern: &str) -> String {
        let own = ["application_credentials", "access_rules", "OS-EC2"].iter().any(|of| pattern.contains(of));
        let pattern = if own { pattern.replace("{user}", &self.own) } else { pattern.to_owned() };
        self.objects.iter().fold(pattern, |path, (name, id)| path.replace(name, id))
    }

    /// A body that the route takes. Names differ from call to call.
    fn body(&self, method: &str, pattern: &str) -> Value {
        self.calls.set(self.calls.get() + 1);
        let id = |wanted: &str| self.objects.iter().find(|(name, _)| *name == wanted).unwrap().1.as_str();
        let user = if pattern.contains("OS-TRUST") { self.own.as_str() } else { id("{user}") };
        let body = body(method, pattern, self.calls.get(), [id("{service}"), id("{project}"), user]);
        serde_json::from_str(&body).unwrap_or(Value::Null)
    }

    /// Strings that mean something here, beside those that mean something anywhere.
    fn words(&self) -> Vec<String> {
        let ids = self.objects.iter().map(|(_, id)| id.clone());
        let known = [
            "",
            "default",
            "Default",
            "admin",
            "all",
            "null",
            "projects",
            "public",
            "sql",
            "totp",
            "ec2",
            "cert",
            "2026-11-20T00:00:00Z",
            "2999-01-01T00:00:00.000000Z",
            "9999999-01-01",
            "-1",
            "0",
            "1e9",
            "\u{0}",
            "a\u{0}b",
            "%00",
            "%ff",
            "'; DROP TABLE users; --",
            "\\",
            "../../etc/passwd",
            "{user}",
            "$1",
            "?",
            "{}",
            "[]",
            "{\"access\": 1}",
            "{\"access\": \"a\", \"secret\": \"b\"}",
            "\u{202e}\u{feff}",
            "\u{10ffff}",
            "🦀",
            "https://$(tenant_id)s/%(nothing)s",
            "$(",
            "%(",
            "0123456789abcdef0123456789abcdef",
            "GET",
            "/**",
            "/{a}",
        ];
        let long = [255, 256, 65, 70_000].map(|length| "x".repeat(length));
        ids.chain(known.map(str::to_owned)).chain(long).collect()
    }

    async fn send(
        &self,
        method: &str,
        uri: &str,
        token: &[u8],
        subject: &[u8],
        body: Vec<u8>,
    ) -> Option<Raw> {
        let token = HeaderValue::from_bytes(token).ok()?;
        let subject = HeaderValue::from_bytes(subject).ok()?;
        let request = Request::builder().method(method).uri(format!("/identity{uri}"));
        let request = request.header("x-auth-token", token).header("x-subject-token", subject);
        // What is no request at all never reaches us.
        let request = request.body(Body::from(body)).ok()?;
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        Some(Raw { status: parts.status.as_u16(), bytes })
    }

    /// Every write raises this, in its transaction: it leaves an audit event, whether a snapshot cares or not.
    async fn writes(&self) -> (i64, i64) {
        query(
            "SELECT (SELECT revision FROM identity_revision),
                    (SELECT COUNT(*) FROM audit_events WHERE outcome = 'success')",
        )
        .one(&mut self.cloud.db.read().await.unwrap())
        .await
        .unwrap()
    }

    /// Makes the call as the admin and judges the answer.
    fn judge(&self, method: &str, uri: &str, body: Vec<u8>) -> Result<Option<Raw>, TestCaseError> {
        self.judge_as(method, uri, self.admin.as_bytes(), self.admin.as_bytes(), body)
    }

    fn judge_as(
        &self,
        method: &str,
        uri: &str,
        token: &[u8],
        subject: &[u8],
        body: Vec<u8>,
    ) -> Result<Option<Raw>, TestCaseError> {
        let sent = uri.len() + token.len() + body.len();
        let (before, answer, after) = self.runtime.block_on(async {
            let before = self.writes().await;
            let answer = self.send(method, uri, token, subject, body).await;
            (before, answer, self.writes().await)
        });
        let Some(answer) = answer else { return Ok(None) };
        *self.seen.borrow_mut().entry(answer.status).or_default() += 1;
        let text = || String::from_utf8_lossy(&answer.bytes).chars().take(400).collect::<String>();
        prop_assert!(answer.status < 500, "{method} {uri}: {} {}", answer.status, text());
        prop_assert!(answer.bytes.len() <= ANSWER_MAX, "{method} {uri}: {} bytes", answer.bytes.len());
        if answer.status >= 400 {
            prop_assert_eq!(before, after, "{} {} was refused and wrote: {}", method, uri, text());
            prop_assert!(is_fault(&answer), "{method} {uri} is no fault: {} {}", answer.status, text());
            // A refusal says what is wrong, if need be in the words of the client (each byte of which may take six).
            prop_assert!(
                answer.bytes.len() <= 1024 + 6 * sent,
                "{method} {uri}: {} bytes",
                answer.bytes.len()
            );
        }
        Ok(Some(answer))
    }

    fn count(&self, statuses: std::ops::Range<u16>) -> usize {
        self.seen.borrow().range(statuses).map(|(_, count)| count).sum()
    }
}

/// Whether it is `{"error": {"code", "message", "title"}}`, and nothing else.
fn is_fault(answer: &Raw) -> bool {
    let Ok(Value::Object(body)) = serde_json::from_slice(&answer.bytes) else { return false };
    let Some(error) = body.get("error").filter(|_| body.len() == 1) else { return false };
    error["code"] == answer.status
        && error.as_object().is_some_and(|error| error.len() == 3)
        && error["message"].as_str().is_some_and(|message| !message.is_empty())
        && error["title"].as_str().is_some_and(|title| !title.is_empty())
}

/// Tries `times` values, always the same ones, and reports the simplest that fails.
fn explore<S: Strategy>(
    name: &str,
    times: u32,
    of: &S,
    check: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&number("HANSE_FUZZ_SEED").unwrap_or(3).to_be_bytes());
    for (place, byte) in seed[4..].iter_mut().zip(name.bytes()) {
        *place = byte;
    }
    let config = ProptestConfig {
        cases: times * number("HANSE_FUZZ_TIMES").unwrap_or(1),
        failure_persistence: None,
        max_shrink_iters: 500,
        ..ProptestConfig::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    assert_eq!(runner.run(of, check).map_err(|error| format!("{name}: {error}")), Ok(()));
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn no_body_breaks_a_route_that_takes_one() {
    let runtime = runtime();
    for world in worlds(&runtime) {
        let cases = (proptest::collection::vec(Edit::any(&world.words()), 1..4), Damage::any());
        for (method, pattern, _) in ROUTES {
            if !matches!(*method, "POST" | "PUT" | "PATCH") {
                continue;
            }
            let path = world.path(pattern);
            let unharmed = world.body(method, pattern).to_string();
            let answer = world.judge(method, &path, unharmed.into_bytes());
            assert!(answer.is_ok(), "{answer:?}", answer = answer.err());
            explore(&format!("{method} {pattern}"), 16, &cases, |(edits, damage)| {
                let mut body = world.body(method, pattern);
                edits.iter().for_each(|edit| edit.apply(&mut body));
                world.judge(method, &path, damage.apply(body.to_string().into_bytes())).map(|_| ())
            });
        }
        // Else it would say nothing: some bodies must be taken, and others be refused for what they are.
        assert!(world.count(200..300) > 100 && world.count(400..401) > 100, "{:?}", world.seen);
    }
}

#[test]
fn no_query_breaks_a_route_that_is_read() {
    let runtime = runtime();
    for world in worlds(&runtime) {
        let cases = (
            proptest::collection::vec(parameter(&world.words()), 1..7),
            proptest::option::weighted(0.1, 1_usize..300),
        );
        for (method, pattern, _) in ROUTES.iter().filter(|(method, ..)| *method == "GET") {
            let path = world.path(pattern);
            explore(&format!("{method} {pattern}"), 22, &cases, |(mut parameters, repeated)| {
                if let Some(times) = repeated {
                    // As often as fits, and it may be the same key with different values.
                    parameters = parameters.into_iter().cycle().take(times).collect();
                }
                let uri = format!("{path}?{}", parameters.join("&"));
                if uri.len() > 60_000 {
                    return Ok(());
                }
                let Some(answer) = world.judge(method, &uri, Vec::new())? else { return Ok(()) };
                let limit = parameters.iter().rev().find_map(|part| part.strip_prefix("limit="));
                if let (200, Some(Ok(limit))) = (answer.status, limit.map(str::parse::<usize>)) {
                    let body: Value = serde_json::from_slice(&answer.bytes).unwrap();
                    let lists = body.as_object().unwrap().values().filter_map(Value::as_array);
                    if body["links"].get("next").is_some() {
                        for list in lists {
                            prop_assert!(list.len() <= limit, "{uri}: {} rows", list.len());
                        }
                    }
                }
                Ok(())
            });
        }
        assert!(world.count(200..300) > 100 && world.count(400..401) > 10, "{:?}", world.seen);
    }
}

/// Axum answered the first in a form of its own. PostgreSQL takes no NUL, and 500 was the answer.
#[test]
fn what_is_no_text_is_refused_in_the_form_of_the_api() {
    let runtime = runtime();
    for world in worlds(&runtime) {
        let limit = json!({ "service_id": "a\0", "resource_name": "cores", "default_limit": 1 });
        for (method, uri, body) in [
            ("PATCH", "/v3/users/%ff", json!({ "user": {} })),
            ("GET", "/v3/users/%00", Value::Null),
            ("GET", "/v3/users?name=%00", Value::Null),
            ("POST", "/v3/registered_limits", json!({ "registered_limits": [limit] })),
        ] {
            let answer = world.judge(method, uri, body.to_string().into_bytes()).unwrap().unwrap();
            assert_eq!(answer.status, 400, "{method} {uri}");
        }
    }
}

#[test]
fn no_id_in_a_path_breaks_a_route() {
    let runtime = runtime();
    for world in worlds(&runtime) {
        let encode = |text: String| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let parts = prop_oneof![
            select(world.words()).prop_filter("a path", |word| word.len() < 10_000).prop_map(encode),
            any::<String>().prop_map(encode),
            select(vec!["%ff", "%", "%zz", "..", "%2e%2e", "%2f", "%00", "", "*", "{", "default", "admin"])
                .prop_map(str::to_owned),
        ];
        let cases = proptest::collection::vec(parts, 5);
        for (method, pattern, _) in ROUTES.iter().filter(|(_, pattern, _)| pattern.contains('{')) {
            explore(&format!("{method} {pattern}"), 6, &cases, |parts| {
                let mut parts = parts.iter();
                let segment = |segment: &str| match segment.starts_with('{') {
                    true => parts.next().cloned().unwrap_or_default(),
                    false => segment.to_owned(),
                };
                let uri: Vec<String> = pattern.split('/').map(segment).collect();
                let body = world.body(method, pattern);
                let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
                if *method == "HEAD" {
                    // Its answers have no body to judge.
                    return Ok(());
                }
                world.judge(method, &uri.join("/"), body).map(|_| ())
            });
        }
        assert!(world.count(404..405) > 100, "{:?}", world.seen);
    }
}

#[test]
fn no_forged_token_opens_anything() {
    let runtime = runtime();
    for world in worlds(&runtime) {
        explore("forged", 500, &Forgery::any(), |forgery| {
            let forged = forgery.apply(&world.admin);
            // Whether there are `=` at the end of a token is not what it is.
            if forged
                .strip_prefix(world.admin.as_bytes())
                .is_some_and(|rest| rest.iter().all(|byte| *byte == b'='))
            {
                return Ok(());
            }
            let admin = world.admin.as_bytes();
            let (list, tokens) = ("/v3/users?limit=1", "/v3/auth/tokens");
            if let Some(answer) = world.judge_as("GET", list, &forged, admin, Vec::new())? {
                prop_assert_eq!(answer.status, 401);
            }
            for method in ["GET", "DELETE"] {
                if let Some(answer) = world.judge_as(method, tokens, admin, &forged, Vec::new())? {
                    prop_assert_eq!(answer.status, 404, "{}", method);
                }
            }
            let text = String::from_utf8_lossy(&forged);
            let identity = json!({ "methods": ["token"], "token": { "id": text } });
            let body = json!({ "auth": { "identity": identity } }).to_string();
            if let Some(answer) = world.judge("POST", tokens, body.into_bytes())? {
                prop_assert!(matches!(answer.status, 400 | 401 | 404 | 429), "{}", answer.status);
            }
            Ok(())
        });
        assert!(world.count(401..402) > 250 && world.count(404..405) > 1000, "{:?}", world.seen);
    }
}
