//! A large cloud. Figures are not part of the suite: `cargo nextest run --release -p hanse-identity --run-ignored all
//! -E 'test(size::)' --no-capture` prints them.

use std::fmt::Debug;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use hanse_policy::{Caller, DomainRef, Role, Target, TokenScope, Verb};
use hanse_store::{Engine, STATEMENT, query};
use serde_json::{Value, json};
use tracing::field::Field;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::cloud::{Cloud, PASSWORD, clouds, in_project};

const SEED: Verb = Verb::new("identity:create_user", hanse_policy::Rule::Admin);

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Users who hold ten times as many roles, each on another project, put straight into the database.
async fn seed(cloud: &Cloud, users: usize) {
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
    let (reader, projects) = (reader.as_str(), users / 10);
    cloud
        .db
        .write(&cloud.cx, &grant, |tx| {
            Box::pin(async move {
                for number in 0..users {
                    query("INSERT INTO users (id, domain_id, name, enabled, token_epoch, options, extra, created_at) VALUES ($1, 'default', $2, 1, 0, '{}', '{}', 1)")
                        .bind(format!("{number:032x}")).bind(format!("user-{number}")).execute(tx).await?;
                }
                for number in 0..projects {
                    query("INSERT INTO projects (id, domain_id, parent_id, is_domain, name, description, enabled, tags, options, extra, token_epoch, created_at) VALUES ($1, 'default', 'default', 0, $2, '', 1, '[]', '{}', '{}', 0, 1)")
                        .bind(format!("{:032x}", number + 1_000_000)).bind(format!("project-{number}")).execute(tx).await?;
                }
                for number in 0..users * 10 {
                    let (user, project) = (number % users, 1_000_000 + (number / users * 97 + number) % projects);
                    query("INSERT INTO role_assignments (id, actor_kind, actor_id, scope_kind, scope_id, role_id, inherited, created_at) VALUES ($1, 'user', $2, 'project', $3, $4, 0, 1)")
                        .bind(format!("a{number}")).bind(format!("{user:032x}")).bind(format!("{project:032x}")).bind(reader).execute(tx).await?;
                }
                query("UPDATE identity_revision SET revision = revision + 100000").execute(tx).await?;
                Ok(())
            })
        })
        .await
        .unwrap();
}

/// Counts what is read from the database, as the store tells of it. In the whole process: nextest gives each test its
/// own.
struct Reads;

static READS: AtomicUsize = AtomicUsize::new(0);

impl Subscriber for Reads {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == STATEMENT
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut |field: &Field, value: &dyn Debug| {
            let is_read = field.name() == "sql" && format!("{value:?}").contains("SELECT");
            READS.fetch_add(usize::from(is_read), SeqCst);
        });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// How often a call reads; something else may read once meanwhile.
async fn reads(cloud: &Cloud, path: &str, token: &str) -> usize {
    let before = READS.load(SeqCst);
    for _ in 0..10 {
        cloud.get(path, token).await.expect(200);
    }
    (READS.load(SeqCst) - before + 5) / 10
}

#[tokio::test]
async fn a_page_asks_the_database_as_often_however_many_there_are() {
    tracing::subscriber::set_global_default(Reads).unwrap();
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let middle = format!("/v3/users?limit=10&marker={:032x}", 15);
        let paths = [
            "/v3/users?limit=10",
            &middle,
            "/v3/users?limit=10&name__contains=user-1&enabled=true",
            "/v3/role_assignments?effective&limit=10",
            "/v3/role_assignments?effective&include_names&user.id=00000000000000000000000000000007",
            "/v3/role_assignments?effective&scope.project.id=000000000000000000000000000f4241",
        ];
        let mut seen = Vec::new();
        for users in [20, 1_000] {
            if users > 20 {
                for table in [
                    "role_assignments WHERE id LIKE 'a%'",
                    "users WHERE created_at = 1",
                    "projects WHERE created_at = 1",
                ] {
                    let grant = hanse_policy::Grant::operator(&cloud.cx, SEED, "none");
                    let sql = &format!("DELETE FROM {table}");
                    cloud
                        .db
                        .write(&cloud.cx, &grant, |tx| Box::pin(async move { query(sql).execute(tx).await }))
                        .await
                        .unwrap();
                }
            }
            seed(&cloud, users).await;
            let mut counts = Vec::new();
            for path in paths {
                counts.push(reads(&cloud, path, &admin).await);
            }
            seen.push(counts);
        }
        assert_eq!(seen[0], seen[1], "{paths:?}");
        assert!(seen[0].iter().all(|count| (1..=3).contains(count)), "{seen:?}");
    }
}

#[tokio::test]
async fn what_is_looked_up_is_found_without_reading_the_rest() {
    let clouds = clouds().await;
    // PostgreSQL would choose by its statistics, of which an empty table has none.
    let cloud = clouds.iter().find(|cloud| cloud.db.engine() == Engine::Sqlite).unwrap();
    let mut conn = cloud.db.read().await.unwrap();
    for (sql, index) in [
        // What `GET /v3/users?name=` asks, and `GET /v3/role_assignments?effective&scope.project.id=`.
        ("SELECT id FROM users WHERE name = 'demo' ORDER BY id LIMIT 2", "users_by_name"),
        (
            "SELECT DISTINCT actor_kind, actor_id FROM role_assignments WHERE scope_id IN ('a', 'b')",
            "role_assignments_place",
        ),
    ] {
        let plan: (i64, i64, i64, String) =
            query(format!("EXPLAIN QUERY PLAN {sql}")).one(&mut conn).await.unwrap();
        assert!(plan.3.starts_with("SEARCH") && plan.3.contains(index), "{sql}: {}", plan.3);
    }
}

#[tokio::test]
#[ignore = "prints figures"]
async fn ten_thousand_users_with_a_hundred_thousand_assignments() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        seed(&cloud, 10_000).await;
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
