use std::time::Duration;

use hanse_store::query;
use serde_json::{Value, json};

use crate::cloud::{Answer, PASSWORD, by_password, clouds, in_project};

#[tokio::test]
async fn who_does_not_exist_is_told_what_a_wrong_password_is_told() {
    for cloud in clouds().await {
        let user = cloud.id("users", "demo").await;
        cloud.ensure("demo", "gone", "member").await;
        let gone = cloud.id("users", "gone").await;
        let disable = json!({ "user": { "enabled": false } });
        cloud.call("PATCH", &format!("/v3/users/{gone}"), &cloud.admin().await, disable).await.expect(200);
        let by_id = |id: &str| {
            let user = json!({ "id": id, "password": "wrong" });
            json!({ "methods": ["password"], "password": { "user": user } })
        };
        let in_domain = |domain: Value| {
            let user = json!({ "name": "demo", "domain": domain, "password": PASSWORD });
            json!({ "methods": ["password"], "password": { "user": user } })
        };
        let shape = |answer: Answer| {
            let mut names: Vec<String> = answer.headers.keys().map(|name| name.to_string()).collect();
            names.sort();
            (answer.status, answer.body, names)
        };
        let wrong = shape(cloud.issue(by_password("demo", "wrong"), Value::Null).await);
        assert_eq!(wrong.0, 401);
        for identity in [
            by_password("nobody", "wrong"),
            by_password("gone", PASSWORD),
            by_password("demo", &"x".repeat(5000)),
            by_id(&user),
            by_id(&"0".repeat(32)),
            in_domain(json!({ "id": "nowhere" })),
            in_domain(json!({ "name": "nowhere" })),
        ] {
            assert_eq!(shape(cloud.issue(identity.clone(), Value::Null).await), wrong, "{identity}");
        }
    }
}

#[tokio::test]
async fn a_request_that_is_no_login_is_refused_with_the_reason() {
    for cloud in clouds().await {
        let good = by_password("demo", PASSWORD);
        for (status, identity, scope) in [
            (401, json!({ "methods": ["voodoo"], "voodoo": {} }), Value::Null),
            (400, json!({ "methods": ["password", "totp"], "password": good["password"] }), Value::Null),
            (401, json!({ "methods": [] }), Value::Null),
            (400, json!({ "methods": ["password"] }), Value::Null),
            (400, json!({ "methods": "password" }), Value::Null),
            (400, json!({ "methods": ["token"], "token": {} }), Value::Null),
            (
                400,
                json!({ "methods": ["password"], "password": { "user": { "password": "x" } } }),
                Value::Null,
            ),
            (
                400,
                json!({ "methods": ["password"], "password": { "user": { "name": "demo", "password": "x" } } }),
                Value::Null,
            ),
            (400, by_password(&"x".repeat(256), "x"), Value::Null),
            (400, by_password("a\u{0}b", "x"), Value::Null),
            (400, good.clone(), json!("everything")),
            (400, good.clone(), json!({})),
            (400, good.clone(), json!({ "galaxy": {} })),
            (400, good.clone(), json!({ "system": { "all": false } })),
            (400, good.clone(), json!({ "project": {} })),
            (400, good.clone(), json!({ "project": { "name": "demo" } })),
            (400, good.clone(), json!({ "project": { "id": "a" }, "domain": { "id": "default" } })),
        ] {
            let answer = cloud.issue(identity.clone(), scope.clone()).await;
            assert_eq!(answer.status, status, "{identity} {scope}: {}", answer.body);
            assert_eq!(answer.body["error"]["code"], status);
        }
        for body in ["", "{", "[]", "{\"auth\": 1}", &"[".repeat(100_000)] {
            cloud.send("POST", "/v3/auth/tokens", &[], body.to_owned()).await.expect(400);
        }
        let huge = " ".repeat(2 << 20);
        cloud.send("POST", "/v3/auth/tokens", &[], huge).await.expect(413);
    }
}

#[tokio::test]
async fn two_methods_must_prove_the_same_user() {
    for cloud in clouds().await {
        let both = |token: String| {
            let mut identity = by_password("demo", PASSWORD);
            identity["methods"] = json!(["password", "token"]);
            identity["token"] = json!({ "id": token });
            identity
        };
        cloud.issue(both(cloud.demo().await), in_project("demo")).await.expect(201);
        for scope in [in_project("demo"), in_project("admin"), json!("unscoped")] {
            cloud.issue(both(cloud.admin().await), scope).await.expect(401);
        }
    }
}

#[tokio::test]
async fn guessing_is_slowed_down_and_forgiven_after_a_minute() {
    for cloud in clouds().await {
        for name in ["demo", "nobody"] {
            for _ in 0..10 {
                cloud.login(name, "wrong", Value::Null).await.expect(401);
            }
            let refused = cloud.login(name, PASSWORD, Value::Null).await;
            assert_eq!(refused.status, 429, "{name}");
            assert_eq!(refused.headers["retry-after"], "61");
        }
        cloud.login("admin", PASSWORD, Value::Null).await.expect(201);
        cloud.clock.advance(Duration::from_secs(61));
        cloud.login("demo", PASSWORD, Value::Null).await.expect(201);
        for _ in 0..20 {
            cloud.login("demo", PASSWORD, Value::Null).await.expect(201);
        }
    }
}

#[tokio::test]
async fn every_login_is_in_the_audit_trail_whether_it_succeeds_or_not() {
    for cloud in clouds().await {
        let user = cloud.id("users", "demo").await;
        let issued = cloud.login("demo", PASSWORD, in_project("demo")).await.expect(201);
        cloud.login("demo", "wrong", Value::Null).await.expect(401);
        cloud.login("nobody", "wrong", Value::Null).await.expect(401);
        cloud.login("demo", PASSWORD, in_project("admin")).await.expect(401);
        let events: Vec<(String, String, String, Option<String>)> = query(
            "SELECT initiator, target, outcome, audit_id FROM audit_events
             WHERE action = 'identity:authenticate' AND (target = $1 OR outcome = 'failure') ORDER BY outcome, target",
        )
        .bind(&user)
        .all(&mut cloud.db.read().await.unwrap())
        .await
        .unwrap();
        let audit_id = issued["token"]["audit_ids"][0].as_str().map(str::to_owned);
        let mut expected = vec![
            ("unknown".to_owned(), user.clone(), "failure".to_owned(), None),
            ("unknown".to_owned(), user.clone(), "failure".to_owned(), None),
            ("unknown".to_owned(), "name nobody in id default".to_owned(), "failure".to_owned(), None),
            (user.clone(), user.clone(), "success".to_owned(), audit_id),
        ];
        expected[..3].sort();
        assert_eq!(events, expected);
    }
}
