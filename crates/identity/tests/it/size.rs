//! Figures for a large cloud. Not part of the suite: `cargo nextest run --release -p hanse-identity --run-ignored all
//! -E 'test(size::)' --no-capture` prints them.

use std::time::Instant;

use hanse_policy::{Caller, DomainRef, Role, Target, TokenScope, Verb};
use hanse_store::query;
use serde_json::{Value, json};

use crate::cloud::{PASSWORD, clouds, in_project};

const SEED: Verb = Verb::new("identity:create_user", hanse_policy::Rule::Admin);

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
#[ignore = "prints figures"]
async fn ten_thousand_users_with_a_hundred_thousand_assignments() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let reader = cloud.id("roles", "reader").await;
        let (role, home) = (
            Role { id: "r".to_owned(), name: "admin".to_owned() },
            DomainRef { id: "default".to_owned(), name: "Default".to_owned() },
        );
        let caller = Caller {
            user_id: "seed".to_owned(),
            user_name: "seed".to_owned(),
            user_domain: home,
            scope: TokenScope::System,
            roles: vec![role],
            expires_at: cloud.cx.now(),
            audit_ids: Vec::new(),
            delegation: None,
        };
        let grant = caller.authorize(&cloud.cx, SEED, Target::new("many")).unwrap();
        let reader = reader.as_str();
        cloud
            .db
            .write(&cloud.cx, &grant, |tx| {
                Box::pin(async move {
                    for number in 0..10_000 {
                        query("INSERT INTO users (id, domain_id, name, enabled, token_epoch, options, extra, created_at) VALUES ($1, 'default', $2, 1, 0, '{}', '{}', 1)")
                            .bind(format!("{number:032x}")).bind(format!("user-{number}")).execute(tx).await?;
                    }
                    for number in 0..1_000 {
                        query("INSERT INTO projects (id, domain_id, parent_id, is_domain, name, description, enabled, tags, options, extra, token_epoch, created_at) VALUES ($1, 'default', 'default', 0, $2, '', 1, '[]', '{}', '{}', 0, 1)")
                            .bind(format!("{:032x}", number + 1_000_000)).bind(format!("project-{number}")).execute(tx).await?;
                    }
                    for number in 0..100_000 {
                        let (user, project) = (number % 10_000, 1_000_000 + (number / 10_000 * 97 + number) % 1_000);
                        query("INSERT INTO role_assignments (id, actor_kind, actor_id, scope_kind, scope_id, role_id, inherited, created_at) VALUES ($1, 'user', $2, 'project', $3, $4, 0, 1)")
                            .bind(format!("a{number}")).bind(format!("{user:032x}")).bind(format!("{project:032x}")).bind(reader).execute(tx).await?;
                    }
                    query("UPDATE identity_revision SET revision = revision + 100000").execute(tx).await?;
                    Ok(())
                })
            })
            .await
            .unwrap();
        let second = cloud.second_process();
        let before = resident_kib();
        let started = Instant::now();
        let token = second.login("demo", PASSWORD, in_project("demo")).await.token();
        println!(
            "{:?}: whole snapshot and a login {:?}, +{} KiB",
            cloud.db.engine(),
            started.elapsed(),
            resident_kib() - before
        );
        let timed = async |what: &str, method: &str, path: &str, body: Value| {
            let started = Instant::now();
            let answer = second.call(method, path, &admin, body).await;
            println!("{:?}: {what} {} {:?}", cloud.db.engine(), answer.status, started.elapsed());
            answer.body
        };
        timed("first call", "GET", "/v3/auth/projects", Value::Null).await;
        timed("a write", "POST", "/v3/users", json!({ "user": { "name": "one" } })).await;
        timed("a write", "POST", "/v3/users", json!({ "user": { "name": "two" } })).await;
        timed("a page of users", "GET", "/v3/users?limit=100", Value::Null).await;
        let middle = format!("/v3/users?limit=100&marker={:032x}", 5_000);
        timed("a page of users in the middle", "GET", &middle, Value::Null).await;
        timed(
            "effective assignments, a page",
            "GET",
            "/v3/role_assignments?effective&limit=100",
            Value::Null,
        )
        .await;
        timed(
            "effective of a user",
            "GET",
            &format!("/v3/role_assignments?effective&user.id={:032x}", 7),
            Value::Null,
        )
        .await;
        timed(
            "effective of a project",
            "GET",
            &format!("/v3/role_assignments?effective&scope.project.id={:032x}", 1_000_007),
            Value::Null,
        )
        .await;
        timed("effective, all", "GET", "/v3/role_assignments?effective", Value::Null).await;
        let started = Instant::now();
        for _ in 0..1000 {
            second.on_token("HEAD", &token, &token).await.expect(200);
        }
        println!("{:?}: a validation {:?}", cloud.db.engine(), started.elapsed() / 1000);
    }
}
