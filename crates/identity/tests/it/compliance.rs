//! Rules for passwords and for accounts that nobody uses.

use std::time::Duration;

use hanse_core::{Kind, Secret, Timestamp};
use hanse_identity::{Compliance, Demands, Settings, reset_password};
use hanse_policy::Grant;
use hanse_store::query;
use serde_json::{Value, json};

use crate::cloud::{Answer, Cloud, PASSWORD, clouds, clouds_with, in_project};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn settings(compliance: Compliance) -> Settings {
    Settings { compliance, ..Settings::default() }
}

/// What the tests do to the user `demo`, over and over.
struct Demo<'c> {
    cloud: &'c Cloud,
    id: String,
}

impl<'c> Demo<'c> {
    async fn of(cloud: &'c Cloud) -> Demo<'c> {
        Demo { cloud, id: cloud.id("users", "demo").await }
    }

    async fn change(&self, old: &str, new: &str) -> Answer {
        let body = json!({ "user": { "original_password": old, "password": new } }).to_string();
        self.cloud.send("POST", &format!("/v3/users/{}/password", self.id), &[], body).await
    }

    async fn patch(&self, user: Value) -> Value {
        let (path, admin) = (format!("/v3/users/{}", self.id), self.cloud.admin().await);
        self.cloud.call("PATCH", &path, &admin, json!({ "user": user })).await.expect(200)["user"].clone()
    }

    async fn show(&self) -> Value {
        let path = format!("/v3/users/{}", self.id);
        self.cloud.get(&path, &self.cloud.admin().await).await.expect(200)["user"].clone()
    }

    async fn login(&self, password: &str) -> Answer {
        self.cloud.login("demo", password, in_project("demo")).await
    }

    fn expired(&self) -> String {
        format!("The password is expired and needs to be changed for user: {}.", self.id)
    }
}

fn message(answer: Answer, status: u16) -> String {
    answer.expect(status)["error"]["message"].as_str().unwrap().to_owned()
}

/// As users show it: whole seconds.
fn after(cloud: &Cloud, days: u32) -> String {
    Timestamp::from_seconds(cloud.cx.now().plus(DAY * days).seconds()).iso_naive()
}

#[tokio::test]
async fn a_password_expires_and_can_then_only_be_changed() {
    let rules = Compliance { password_expires_days: 30, ..Compliance::default() };
    for cloud in clouds_with(&settings(rules)).await {
        let demo = Demo::of(&cloud).await;
        // What was there before the rule, and what the operator sets, does not expire.
        assert_eq!(demo.show().await["password_expires_at"], Value::Null);
        let at = after(&cloud, 30);
        assert_eq!(demo.patch(json!({ "password": PASSWORD })).await["password_expires_at"], json!(at));
        assert_eq!(demo.show().await["password_expires_at"], json!(at));
        let token = demo.login(PASSWORD).await.expect(201);
        assert_eq!(token["token"]["user"]["password_expires_at"], json!(at));

        cloud.clock.advance(DAY * 30);
        assert_eq!(message(demo.login(PASSWORD).await, 401), demo.expired());
        let stranger = message(cloud.login("nobody", PASSWORD, Value::Null).await, 401);
        assert_eq!(message(demo.login("wrong").await, 401), stranger);
        demo.change("wrong", "another").await.expect(401);
        demo.change(PASSWORD, "another").await.expect(204);
        assert_eq!(demo.show().await["password_expires_at"], json!(after(&cloud, 30)));
        demo.login("another").await.expect(201);

        // Made so from the beginning, and exempt from it.
        let admin = cloud.admin().await;
        let body = json!({ "user": { "name": "ada", "password": PASSWORD } });
        let ada = cloud.call("POST", "/v3/users", &admin, body).await.expect(201);
        assert_eq!(ada["user"]["password_expires_at"], json!(after(&cloud, 30)));
        cloud.clock.advance(DAY * 30);
        demo.login("another").await.expect(401);
        let path = format!("/v3/users/{}", ada["user"]["id"].as_str().unwrap());
        let exempt = json!({ "user": { "options": { "ignore_password_expiry": true } } });
        cloud.call("PATCH", &path, &cloud.admin().await, exempt.clone()).await.expect(200);
        cloud.login("ada", PASSWORD, Value::Null).await.expect(201);
        let mut again = exempt;
        again["user"]["password"] = json!(PASSWORD);
        let ada = cloud.call("PATCH", &path, &cloud.admin().await, again).await.expect(200);
        assert_eq!(ada["user"]["password_expires_at"], Value::Null);
        let none = json!({ "user": { "password": null } });
        let ada = cloud.call("PATCH", &path, &cloud.admin().await, none).await.expect(200);
        assert_eq!(ada["user"]["password_expires_at"], Value::Null);
    }
}

#[tokio::test]
async fn users_are_listed_by_when_their_password_expires() {
    let rules = Compliance { password_expires_days: 1, ..Compliance::default() };
    for cloud in clouds_with(&settings(rules)).await {
        let admin = cloud.admin().await;
        for name in ["a", "b", "c"] {
            let body = json!({ "user": { "name": name, "password": PASSWORD } });
            cloud.call("POST", "/v3/users", &admin, body).await.expect(201);
            cloud.clock.advance(Duration::from_secs(60));
        }
        let b = cloud.cx.now().plus(DAY).seconds() - 2 * 60;
        let b = Timestamp::from_seconds(b).iso_seconds();
        let group = json!({ "group": { "name": "all" } });
        let group = cloud.call("POST", "/v3/groups", &admin, group).await.expect(201);
        let members = format!("/v3/groups/{}/users", group["group"]["id"].as_str().unwrap());
        for name in ["a", "b", "c", "demo"] {
            let member = format!("{members}/{}", cloud.id("users", name).await);
            cloud.call("PUT", &member, &admin, Value::Null).await.expect(204);
        }
        for (how, expected) in [
            ("lt:", "a"),
            ("lte:", "ab"),
            ("gt:", "c"),
            ("gte:", "bc"),
            ("eq:", "b"),
            ("neq:", "ac"),
            ("", "b"),
        ] {
            for path in ["/v3/users", &members] {
                let list =
                    cloud.get(&format!("{path}?password_expires_at={how}{b}"), &admin).await.expect(200);
                let users = list["users"].as_array().unwrap();
                let names: String = users.iter().map(|user| user["name"].as_str().unwrap()).collect();
                assert_eq!(names, expected, "{how} {path}");
            }
        }
        for bad in ["lt:nonsense", "nonsense:2020-01-01T00:00:00Z", "lt:", "", "nonsense"] {
            cloud.get(&format!("/v3/users?password_expires_at={bad}"), &admin).await.expect(400);
        }
    }
}

#[tokio::test]
async fn a_password_that_an_administrator_set_is_changed_before_it_lets_in() {
    let rules = Compliance { change_password_upon_first_use: true, ..Compliance::default() };
    for cloud in clouds_with(&settings(rules)).await {
        let demo = Demo::of(&cloud).await;
        demo.login(PASSWORD).await.expect(201);
        demo.patch(json!({ "password": "given" })).await;
        assert_eq!(message(demo.login("given").await, 401), demo.expired());
        demo.change("given", "chosen").await.expect(204);
        demo.login("chosen").await.expect(201);
        assert_eq!(demo.show().await["password_expires_at"], Value::Null);
        let exempt = json!({ "ignore_change_password_upon_first_use": true });
        demo.patch(json!({ "password": "given", "options": exempt })).await;
        demo.login("given").await.expect(201);

        let admin = cloud.admin().await;
        for (name, options, status) in
            [("ada", json!({}), 401), ("bot", json!({ "ignore_change_password_upon_first_use": true }), 201)]
        {
            let body = json!({ "user": { "name": name, "password": PASSWORD, "options": options } });
            cloud.call("POST", "/v3/users", &admin, body).await.expect(201);
            assert_eq!(cloud.login(name, PASSWORD, Value::Null).await.status, status, "{name}");
        }
        // The operator of the machine gets in.
        let another = Secret::new("another".to_owned());
        reset_password(&cloud.db, &cloud.cx, &cloud.hasher, "ada", "Default", another).await.unwrap();
        cloud.login("ada", "another", Value::Null).await.expect(201);
    }
}

#[tokio::test]
async fn a_password_does_not_come_again_so_soon() {
    let rules = Compliance { unique_last_password_count: 3, ..Compliance::default() };
    for cloud in clouds_with(&settings(rules)).await {
        let demo = Demo::of(&cloud).await;
        let refused = "The new password cannot be identical to a previous password. The total number which includes \
                       the new password must be unique is 3.";
        assert_eq!(message(demo.change(PASSWORD, PASSWORD).await, 400), refused);
        demo.change(PASSWORD, "one").await.expect(204);
        demo.change("one", "two").await.expect(204);
        for old in [PASSWORD, "one", "two"] {
            assert_eq!(message(demo.change("two", old).await, 400), refused, "{old}");
        }
        demo.login("two").await.expect(201);
        demo.change("two", "three").await.expect(204);
        demo.change("three", PASSWORD).await.expect(204);
        // What an administrator sets may be an old one, and is remembered as well.
        demo.patch(json!({ "password": PASSWORD })).await;
        demo.patch(json!({ "password": "given" })).await;
        demo.change("given", PASSWORD).await.expect(400);

        let kept = async || {
            let (count,): (i64,) = query("SELECT CAST(COUNT(*) AS BIGINT) FROM former_passwords")
                .one(&mut cloud.db.read().await.unwrap())
                .await
                .unwrap();
            count
        };
        assert_eq!(kept().await, 2);
        cloud.delete(&format!("/v3/users/{}", demo.id), &cloud.admin().await).await.expect(204);
        assert_eq!(kept().await, 0);
    }
}

#[tokio::test]
async fn without_a_rule_a_password_may_stay_the_same_and_no_former_one_is_kept() {
    for cloud in clouds().await {
        let demo = Demo::of(&cloud).await;
        demo.change(PASSWORD, PASSWORD).await.expect(204);
        demo.change(PASSWORD, "another").await.expect(204);
        let former: Option<(String,)> = query("SELECT password_hash FROM former_passwords")
            .optional(&mut cloud.db.read().await.unwrap())
            .await
            .unwrap();
        assert_eq!(former, None);
    }
}

#[tokio::test]
async fn of_two_changes_at_once_one_is_made() {
    let rules = Compliance { minimum_password_age: 1, ..Compliance::default() };
    for cloud in clouds_with(&settings(rules)).await {
        let demo = Demo::of(&cloud).await;
        let (one, two) =
            futures_util::future::join(demo.change(PASSWORD, "one"), demo.change(PASSWORD, "two")).await;
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses[0], 204);
        assert!([400, 401, 409].contains(&statuses[1]), "{statuses:?}");
    }
}

#[tokio::test]
async fn a_password_that_its_user_chose_stays_for_a_while() {
    let rules = Compliance { minimum_password_age: 2, ..Compliance::default() };
    for cloud in clouds_with(&settings(rules)).await {
        let demo = Demo::of(&cloud).await;
        // What was given may be changed at once.
        demo.change(PASSWORD, "one").await.expect(204);
        cloud.clock.advance(DAY / 2);
        let refused = message(demo.change("one", "two").await, 400);
        assert!(refused.contains("used for 2 day(s)") && refused.contains("again in 1 day(s)"), "{refused}");
        // An administrator is not bound, and what they gave may again be changed at once.
        demo.patch(json!({ "password": "given" })).await;
        demo.change("given", "two").await.expect(204);
        cloud.clock.advance(DAY * 2);
        demo.change("two", "three").await.expect(204);
    }
}

#[tokio::test]
async fn a_new_password_meets_the_demands() {
    let expressions = [r".*\d".to_owned(), ".*[a-z]".to_owned(), ".{7,}$".to_owned()];
    let demands = Demands::new(&expressions, "seven characters, a letter and a digit".to_owned()).unwrap();
    for cloud in clouds_with(&settings(Compliance { demands, ..Compliance::default() })).await {
        let demo = Demo::of(&cloud).await;
        let admin = cloud.admin().await;
        let refused = "The password does not match the requirements: seven characters, a letter and a digit.";
        let path = format!("/v3/users/{}", demo.id);
        for bad in ["abcdefg", "1234567", "abc123"] {
            assert_eq!(message(demo.change(PASSWORD, bad).await, 400), refused);
            let user = json!({ "user": { "password": bad, "name": "ada" } });
            assert_eq!(message(cloud.call("POST", "/v3/users", &admin, user.clone()).await, 400), refused);
            assert_eq!(message(cloud.call("PATCH", &path, &admin, user).await, 400), refused);
        }
        // Whoever does not know the old password does not learn what the new one must be.
        demo.change("wrong", "bad").await.expect(401);
        demo.change(PASSWORD, "abcdef7").await.expect(204);
        demo.patch(json!({ "password": "another 1" })).await;
        demo.login("another 1").await.expect(201);
    }
}

#[test]
fn a_demand_that_cannot_be_used_says_why() {
    for bad in ["(?=.*\\d)", "[a-z", "(a)\\1", &"(a{1000}){1000}".repeat(9)] {
        let error = Demands::new(&[bad.to_owned()], String::new()).unwrap_err();
        assert_eq!(error.kind(), Kind::BadRequest);
        assert!(error.message().contains("password_regex"), "{error}");
    }
}

#[tokio::test]
async fn a_locked_password_is_not_its_users_to_change() {
    for cloud in clouds().await {
        let demo = Demo::of(&cloud).await;
        demo.patch(json!({ "options": { "lock_password": true } })).await;
        let refused = message(demo.change(PASSWORD, "another").await, 400);
        assert!(refused.contains("policy disallowing password changes"), "{refused}");
        demo.change("wrong", "another").await.expect(401);
        demo.login(PASSWORD).await.expect(201);
        demo.patch(json!({ "password": "another" })).await;
        demo.login("another").await.expect(201);
        demo.patch(json!({ "options": { "lock_password": null } })).await;
        demo.change("another", PASSWORD).await.expect(204);
    }
}

#[tokio::test]
async fn an_account_that_nobody_used_for_long_counts_as_disabled() {
    let rules = Compliance { disable_user_account_days_inactive: 30, ..Compliance::default() };
    for cloud in clouds_with(&settings(rules)).await {
        // The clock is that of all engines: the tests of one have made the users of the next wait.
        for name in ["admin", "demo"] {
            let same = Secret::new(PASSWORD.to_owned());
            reset_password(&cloud.db, &cloud.cx, &cloud.hasher, name, "Default", same).await.unwrap();
        }
        let demo = Demo::of(&cloud).await;
        let credential = json!({ "application_credential": { "name": "ci", "secret": "s3cret" } });
        let token = cloud.demo().await;
        let path = format!("/v3/users/{}/application_credentials", demo.id);
        let made = cloud.call("POST", &path, &token, credential).await.expect(201);
        let by_credential = json!({
            "methods": ["application_credential"],
            "application_credential": { "id": made["application_credential"]["id"], "secret": "s3cret" },
        });
        cloud.clock.advance(DAY * 29);
        // The credential is used, so somebody is there.
        cloud.issue(by_credential.clone(), Value::Null).await.expect(201);
        cloud.clock.advance(DAY * 29);
        demo.login(PASSWORD).await.expect(201);
        // Only now the admin has been away for too long as well; the operator lets them in again.
        let admin = Secret::new(PASSWORD.to_owned());
        cloud.login("admin", PASSWORD, Value::Null).await.expect(401);
        reset_password(&cloud.db, &cloud.cx, &cloud.hasher, "admin", "Default", admin).await.unwrap();
        cloud.admin().await;

        cloud.clock.advance(DAY * 29);
        cloud.admin().await;
        cloud.clock.advance(DAY);
        assert_eq!(demo.show().await["enabled"], false);
        let wrong = message(demo.login("wrong").await, 401);
        assert_eq!(message(demo.login(PASSWORD).await, 401), wrong);
        cloud.issue(by_credential.clone(), Value::Null).await.expect(401);
        demo.change(PASSWORD, "another").await.expect(401);

        demo.patch(json!({ "email": "demo@example.org" })).await;
        assert_eq!(demo.show().await["enabled"], false);
        assert_eq!(demo.patch(json!({ "enabled": true })).await["enabled"], true);
        demo.login(PASSWORD).await.expect(201);
        cloud.issue(by_credential, Value::Null).await.expect(201);

        demo.patch(json!({ "options": { "ignore_user_inactivity": true } })).await;
        for _ in 0..3 {
            cloud.clock.advance(DAY * 20);
            cloud.admin().await;
        }
        demo.login(PASSWORD).await.expect(201);
    }
}

#[tokio::test]
async fn a_login_writes_its_day_once_and_touches_no_snapshot() {
    for cloud in clouds().await {
        let state = async || {
            let mut conn = cloud.db.read().await.unwrap();
            let (day,): (Option<i64>,) =
                query("SELECT last_active_at FROM users WHERE name = 'demo'").one(&mut conn).await.unwrap();
            let (revision,): (i64,) =
                query("SELECT revision FROM identity_revision").one(&mut conn).await.unwrap();
            (day, revision)
        };
        let (none, revision) = state().await;
        assert_eq!(none, None);
        cloud.demo().await;
        let (today, same) = state().await;
        assert_eq!(same, revision);
        let micros = i64::try_from(DAY.as_micros()).unwrap();
        assert_eq!(today, Some(cloud.cx.now().0 / micros * micros));
        cloud.clock.advance(DAY);
        cloud.demo().await;
        assert_eq!(state().await, (today.map(|day| day + micros), revision));
    }
}

/// Of `correct horse`, by Keystone 30 with few rounds; a bcrypt that cut a longer password stands aside.
const OF_KEYSTONE: [&str; 4] = [
    "$2b$04$6RZ8Ezbmxgcrq.FHPLg5rO3EXESQtXpccLzZZ8v0my3enlQL.0esC",
    "$bcrypt-sha256$v=2,t=2b,r=5$rrhSMUoZtqE7rvxtqnZELu$NP3LlA7m.IkJhhgM8CYEgqOKaQxVoRu",
    "$scrypt$ln=4,r=8,p=1$d8eNp/7UrWY1SO2tjq0gAw$p7VhJPBmr51bzBolWayLAAuuW+5OrS03GLSKEOHyVRQ",
    "$pbkdf2-sha512$1000$myKMhnpCCJ4317gqKqK40w$MmDaMbMC5y/a2GeYmvL8jFVCZRe7nxZzAycUpEfd6LfhLMTccB/7JxJCeG22uEu22uuhlDRrzWIEhEcZK3xpWQ",
];

#[derive(Debug, PartialEq, Eq)]
struct Row {
    hash: String,
    changed_at: i64,
    epoch: i64,
}

async fn row(cloud: &Cloud) -> Row {
    let sql = "SELECT password_hash, password_changed_at, token_epoch FROM users WHERE name = 'demo'";
    let (hash, changed_at, epoch): (String, i64, i64) =
        query(sql).one(&mut cloud.db.read().await.unwrap()).await.unwrap();
    Row { hash, changed_at, epoch }
}

async fn put(cloud: &Cloud, hash: &str) {
    // There is no call that takes a hash; whoever moves from Keystone copies its rows.
    let grant =
        Grant::refused(&cloud.cx, hanse_policy::Verb::new("test:import", hanse_policy::Rule::Admin), "demo");
    cloud
        .db
        .write(&cloud.cx, &grant, |tx| {
            let sql = query("UPDATE users SET password_hash = $1 WHERE name = 'demo'").bind(hash);
            Box::pin(async move { sql.execute(tx).await })
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_hash_of_keystone_is_replaced_at_the_first_login_and_no_token_ends() {
    for cloud in clouds().await {
        let token = cloud.demo().await;
        let before = row(&cloud).await;
        for hash in OF_KEYSTONE {
            put(&cloud, hash).await;
            cloud.login("demo", "wrong", Value::Null).await.expect(401);
            assert_eq!(row(&cloud).await.hash, hash);
            cloud.clock.advance(Duration::from_secs(61));
            cloud.login("demo", PASSWORD, in_project("demo")).await.expect(201);
            let after = row(&cloud).await;
            assert!(after.hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{after:?}");
            assert_eq!((after.changed_at, after.epoch), (before.changed_at, before.epoch));
            cloud.get("/v3/auth/projects", &token).await.expect(200);
            cloud.demo().await;
            assert_eq!(row(&cloud).await, after, "a hash of today is left alone");
        }
    }
}

#[tokio::test]
async fn a_hash_is_replaced_also_where_the_password_is_only_the_first_factor() {
    for cloud in clouds().await {
        let demo = Demo::of(&cloud).await;
        demo.patch(json!({ "options": { "multi_factor_auth_rules": [["password", "totp"]] } })).await;
        put(&cloud, OF_KEYSTONE[0]).await;
        let answer = cloud.login("demo", PASSWORD, Value::Null).await;
        assert!(answer.headers.contains_key("openstack-auth-receipt"));
        answer.expect(401);
        assert!(row(&cloud).await.hash.starts_with("$argon2id$"));
        let events: Vec<(String, String)> =
            query("SELECT initiator, outcome FROM audit_events WHERE action = 'identity:issue_receipt'")
                .all(&mut cloud.db.read().await.unwrap())
                .await
                .unwrap();
        assert_eq!(events, [(demo.id.clone(), "success".to_owned())]);
    }
}
