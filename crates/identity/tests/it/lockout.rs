//! Wrong passwords in a row lock an account.

use std::time::Duration;

use hanse_core::Secret;
use hanse_identity::{Compliance, Settings, reset_password};
use hanse_store::query;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::cloud::{Answer, Cloud, PASSWORD, clouds, clouds_with, in_project};

const DURATION: u64 = 1800;

fn settings(attempts: u32, seconds: u64) -> Settings {
    Settings {
        compliance: Compliance {
            lockout_failure_attempts: attempts,
            lockout_duration: Duration::from_secs(seconds),
            ..Compliance::default()
        },
        // So that it is not the brake which is seen at work.
        failures_per_minute: 1000,
        ..Settings::default()
    }
}

/// Everything that a client sees of an answer, but for what is another one each time.
fn shape(answer: Answer) -> (u16, Value, Vec<String>) {
    let mut names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
    names.sort();
    (answer.status, answer.body, names)
}

async fn fail(cloud: &Cloud, user: &str, times: u32) {
    for _ in 0..times {
        cloud.login(user, "wrong", Value::Null).await.expect(401);
    }
}

async fn status(cloud: &Cloud) -> u16 {
    cloud.login("demo", PASSWORD, Value::Null).await.status
}

#[tokio::test]
async fn a_locked_account_answers_the_right_password_as_a_wrong_one_until_the_time_is_over() {
    for cloud in clouds_with(&settings(3, DURATION)).await {
        let token = cloud.demo().await;
        fail(&cloud, "demo", 2).await;
        let wrong = shape(cloud.login("demo", "wrong", Value::Null).await);
        assert_eq!(shape(cloud.login("demo", PASSWORD, Value::Null).await), wrong);
        let unknown = shape(cloud.login("nobody", PASSWORD, Value::Null).await);
        assert_eq!(unknown, wrong);
        // What was issued before is worth what it was.
        cloud.get("/v3/auth/projects", &token).await.expect(200);
        cloud.rescope(&token, in_project("demo")).await.expect(201);

        cloud.clock.advance(Duration::from_secs(DURATION - 1));
        assert_eq!(status(&cloud).await, 401);
        // What came meanwhile has made it no longer.
        cloud.clock.advance(Duration::from_secs(1));
        assert_eq!(status(&cloud).await, 201);
    }
}

#[tokio::test]
async fn a_right_password_forgives_the_wrong_ones_before() {
    for cloud in clouds_with(&settings(3, DURATION)).await {
        for _ in 0..3 {
            fail(&cloud, "demo", 2).await;
            assert_eq!(status(&cloud).await, 201);
        }
        // Not so a token that is there already.
        let token = cloud.demo().await;
        fail(&cloud, "demo", 2).await;
        cloud.rescope(&token, Value::Null).await.expect(201);
        fail(&cloud, "demo", 1).await;
        assert_eq!(status(&cloud).await, 401);
    }
}

#[tokio::test]
async fn failures_count_over_processes_and_restarts() {
    for cloud in clouds_with(&settings(3, DURATION)).await {
        let other = cloud.second_process();
        fail(&cloud, "demo", 1).await;
        fail(&other, "demo", 1).await;
        fail(&cloud.second_process(), "demo", 1).await;
        for process in [&cloud, &other, &cloud.second_process()] {
            assert_eq!(status(process).await, 401);
        }
        cloud.clock.advance(Duration::from_secs(DURATION));
        assert_eq!(status(&other).await, 201);
        fail(&cloud, "demo", 2).await;
        assert_eq!(status(&other).await, 201);
        fail(&cloud, "demo", 2).await;
        assert_eq!(status(&other).await, 201);
    }
}

#[tokio::test]
async fn of_many_guesses_at_once_as_many_count_as_are_allowed() {
    for cloud in clouds_with(&settings(3, DURATION)).await {
        let others = [cloud.second_process(), cloud.second_process()];
        let guesses = (0..12).map(|n| others[n % 2].login("demo", "wrong", Value::Null));
        for answer in futures_util::future::join_all(guesses).await {
            answer.expect(401);
        }
        let (count,): (i64,) = query("SELECT failed_logins FROM users WHERE name = 'demo'")
            .one(&mut cloud.db.read().await.unwrap())
            .await
            .unwrap();
        assert_eq!(count, 3);
        assert_eq!(status(&cloud).await, 401);
    }
}

#[tokio::test]
async fn an_administrator_unlocks_by_enabling_or_by_another_password() {
    // Zero: for ever.
    for cloud in clouds_with(&settings(2, 0)).await {
        let admin = cloud.admin().await;
        let path = format!("/v3/users/{}", cloud.id("users", "demo").await);
        let change = |user: Value| cloud.call("PATCH", &path, &admin, json!({ "user": user }));
        fail(&cloud, "demo", 2).await;
        cloud.clock.advance(Duration::from_secs(3600));
        assert_eq!(status(&cloud).await, 401);
        change(json!({ "email": "demo@example.org" })).await.expect(200);
        assert_eq!(status(&cloud).await, 401);
        change(json!({ "enabled": true })).await.expect(200);
        assert_eq!(status(&cloud).await, 201);

        fail(&cloud, "demo", 2).await;
        assert_eq!(status(&cloud).await, 401);
        let another = Secret::new("another".to_owned());
        reset_password(&cloud.db, &cloud.cx, &cloud.hasher, "demo", "Default", another).await.unwrap();
        cloud.login("demo", "another", Value::Null).await.expect(201);
        fail(&cloud, "demo", 2).await;
        change(json!({ "password": PASSWORD })).await.expect(200);
        assert_eq!(status(&cloud).await, 201);
    }
}

#[tokio::test]
async fn who_is_exempt_is_not_locked_and_by_default_nobody_is() {
    for cloud in clouds_with(&settings(2, DURATION)).await {
        let path = format!("/v3/users/{}", cloud.id("users", "demo").await);
        let exempt =
            |flag: bool| json!({ "user": { "options": { "ignore_lockout_failure_attempts": flag } } });
        cloud.call("PATCH", &path, &cloud.admin().await, exempt(true)).await.expect(200);
        fail(&cloud, "demo", 5).await;
        assert_eq!(status(&cloud).await, 201);
        cloud.call("PATCH", &path, &cloud.admin().await, exempt(false)).await.expect(200);
        fail(&cloud, "demo", 2).await;
        assert_eq!(status(&cloud).await, 401);
        cloud.call("PATCH", &path, &cloud.admin().await, exempt(true)).await.expect(200);
        assert_eq!(status(&cloud).await, 201);
    }
    for cloud in clouds().await {
        fail(&cloud, "demo", 9).await;
        assert_eq!(status(&cloud).await, 201);
    }
}

#[tokio::test]
async fn a_locked_account_does_not_change_its_password() {
    for cloud in clouds_with(&settings(2, DURATION)).await {
        let path = format!("/v3/users/{}/password", cloud.id("users", "demo").await);
        let body =
            |old: &str| json!({ "user": { "original_password": old, "password": "another" } }).to_string();
        for old in ["wrong", "wrong", PASSWORD] {
            cloud.send("POST", &path, &[], body(old)).await.expect(401);
        }
        assert_eq!(status(&cloud).await, 401);
        cloud.clock.advance(Duration::from_secs(DURATION));
        cloud.send("POST", &path, &[], body(PASSWORD)).await.expect(204);
    }
}

#[tokio::test]
async fn the_brake_slows_down_locked_and_unknown_accounts_alike() {
    let braked = Settings { failures_per_minute: 4, ..settings(2, DURATION) };
    for cloud in clouds_with(&braked).await {
        let mut seen = Vec::new();
        for name in ["demo", "nobody"] {
            let mut answers = Vec::new();
            // The right password of an account that is locked costs an attempt, too.
            for password in ["wrong", "wrong", PASSWORD, PASSWORD, PASSWORD, "wrong"] {
                let answer = cloud.login(name, password, Value::Null).await;
                let wait = answer.headers.get("retry-after").cloned();
                answers.push((wait, shape(answer)));
            }
            seen.push(answers);
        }
        assert_eq!(seen[0], seen[1]);
        let statuses: Vec<u16> = seen[0].iter().map(|(_, (status, ..))| *status).collect();
        assert_eq!(statuses, [401, 401, 401, 401, 429, 429]);
    }
}

/// A login or the passing of time.
#[derive(Clone, Copy, Debug)]
enum Step {
    Right,
    Wrong,
    Wait(u64),
}

#[test]
fn any_sequence_of_logins_is_answered_as_the_rule_says() {
    let steps =
        prop_oneof![1 => Just(Step::Right), 3 => Just(Step::Wrong), 1 => (1..20_u64).prop_map(Step::Wait)];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let clouds = runtime.block_on(clouds_with(&settings(3, 10)));
    let config = ProptestConfig { cases: 12, ..ProptestConfig::default() };
    proptest!(config, |(steps in prop::collection::vec(steps, 1..20))| {
        for cloud in &clouds {
            runtime.block_on(async {
                // A lock of the last run is over, and a right password forgives the rest.
                cloud.clock.advance(Duration::from_secs(10));
                assert_eq!(status(cloud).await, 201);
                let (mut failures, mut since) = (0, 0);
                for step in &steps {
                    let is_locked = failures >= 3 && since < 10;
                    match step {
                        Step::Wait(seconds) => {
                            cloud.clock.advance(Duration::from_secs(*seconds));
                            since += seconds;
                        }
                        Step::Right => {
                            assert_eq!(status(cloud).await == 201, !is_locked, "{steps:?}");
                            failures = if is_locked { failures } else { 0 };
                        }
                        Step::Wrong => {
                            fail(cloud, "demo", 1).await;
                            if !is_locked {
                                failures = if failures >= 3 { 1 } else { failures + 1 };
                                since = 0;
                            }
                        }
                    }
                }
            });
        }
    });
}
