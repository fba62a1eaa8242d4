//! A fresh database for each test, on each engine.

use std::process::Command;

use hanse_core::Cx;
use hanse_store::{Db, Migrations};
use tempfile::TempDir;

/// A database of the test's own. It is gone when this is dropped (the PostgreSQL cluster, when the run ends).
pub struct TestDb {
    pub db: Db,
    pub engine: &'static str,
    _directory: TempDir,
}

/// One empty, migrated database for each engine: SQLite always, PostgreSQL if `HANSE_TEST_POSTGRES` names a server
/// (`cargo xtask with-postgres` starts one).
///
/// # Panics
/// If a database cannot be made, or PostgreSQL is required and missing.
pub async fn databases(cx: &Cx, migrations: &[Migrations]) -> Vec<TestDb> {
    let mut all = vec![sqlite(cx, migrations).await];
    match std::env::var("HANSE_TEST_POSTGRES") {
        Ok(server) => all.push(postgres(cx, &server, migrations).await),
        Err(_) => assert!(
            !required("postgres"),
            "HANSE_REQUIRED_TESTS demands PostgreSQL, but HANSE_TEST_POSTGRES names none"
        ),
    }
    all
}

/// Whether `HANSE_REQUIRED_TESTS` (names separated by commas) forbids to skip the tests of this area. Says that they
/// are skipped if not.
pub fn required(area: &str) -> bool {
    let required =
        std::env::var("HANSE_REQUIRED_TESTS").unwrap_or_default().split(',').any(|name| name.trim() == area);
    if !required {
        eprintln!("SKIPPED: {area} is not available here");
    }
    required
}

async fn sqlite(cx: &Cx, migrations: &[Migrations]) -> TestDb {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let db =
        Db::sqlite(cx, &directory.path().join("state.db"), migrations).await.expect("an SQLite database");
    TestDb { db, engine: "sqlite", _directory: directory }
}

async fn postgres(cx: &Cx, server: &str, migrations: &[Migrations]) -> TestDb {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // Unique in the whole run, whatever the seed of the test: the name of the temporary directory is.
    let unique: String =
        directory.path().to_string_lossy().chars().filter(char::is_ascii_alphanumeric).collect();
    let name = format!("t{}_{}", std::process::id(), unique.to_lowercase());
    let done = Command::new("psql")
        .args(["--quiet", "--no-psqlrc", "--dbname", &server.replace("{database}", "postgres")])
        .args([
            "--command",
            &format!("CREATE DATABASE {name} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"),
        ])
        .status()
        .expect("psql starts");
    assert!(done.success(), "psql cannot create the database {name}");
    let db = Db::postgres(cx, &server.replace("{database}", &name), migrations)
        .await
        .expect("a PostgreSQL database");
    TestDb { db, engine: "postgres", _directory: directory }
}
