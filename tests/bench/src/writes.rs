//! Transactions as the services make them, beside the least that a durable commit can cost.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use hanse_core::Cx;
use hanse_policy::{Grant, Rule, Verb};
use hanse_store::{Db, MIGRATIONS, Migration, Migrations, query};
use tempfile::TempDir;

use crate::figures::{Amount, Line};
use crate::{Options, ROUNDS};

const ROWS: Migrations = Migrations {
    service: "bench",
    steps: &[Migration {
        version: 1,
        name: "bench",
        sql: "CREATE TABLE bench_rows (id TEXT PRIMARY KEY, at BIGINT NOT NULL)",
    }],
};
const ALL: &[Migrations] = &[MIGRATIONS, ROWS];
const WRITE: Verb = Verb::new("bench:write", Rule::Admin);

/// The statements of [`write`] for pgbench, to which a colon with a name behind it is a variable.
const SCRIPT: &str = "\
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO bench_rows (id, at) VALUES (gen_random_uuid()::text, 1);
INSERT INTO audit_events (id, at, request_id, initiator, project_id, audit_id, action, target, outcome)
  VALUES (gen_random_uuid()::text, 1, 'req-0', 'operator', NULL, NULL, 'bench-write', 'row', 'success');
COMMIT;
";

/// How many write at once.
const WRITERS: [usize; 2] = [1, 4];

pub async fn measure(options: &Options) -> Result<Vec<Line>> {
    let times = options.each_round(50);
    let directory = tempfile::Builder::new().prefix("hanse-bench-").tempdir()?;
    let mut lines = sqlite(&directory, times).await?;
    lines.extend(match std::env::var("HANSE_TEST_POSTGRES") {
        Ok(server) => postgres(&directory, &server, times).await?,
        Err(_) => vec![Line::missing("Writes on PostgreSQL", "`HANSE_TEST_POSTGRES` names no server")],
    });
    Ok(lines)
}

async fn sqlite(directory: &TempDir, times: usize) -> Result<Vec<Line>> {
    let db = Db::sqlite(&Cx::system(), &directory.path().join("state.db"), ALL).await?;
    let mut lines = Vec::new();
    for writers in WRITERS {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(rate(&db, times, writers).await?);
            bare.push(synced_appends(&directory.path().join("appended"), times)?);
        }
        lines.push(Line::new(
            format!("Writes on SQLite, {}", at_once(writers)),
            Amount::median_rate(ours),
            "append 4 KiB and fdatasync, one at a time",
            Amount::median_rate(bare),
        ));
    }
    db.close().await;
    Ok(lines)
}

async fn postgres(directory: &TempDir, server: &str, times: usize) -> Result<Vec<Line>> {
    let maintenance = server.replace("{database}", "postgres");
    let name = format!("bench_{}", std::process::id());
    psql(&maintenance, &format!("CREATE DATABASE {name} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"))?;
    let measured = on_postgres(directory, &server.replace("{database}", &name), times).await;
    psql(&maintenance, &format!("DROP DATABASE {name} WITH (FORCE)"))?;
    measured
}

async fn on_postgres(directory: &TempDir, url: &str, times: usize) -> Result<Vec<Line>> {
    let fsync = psql(url, "SHOW fsync")?;
    let script = directory.path().join("script.sql");
    std::fs::write(&script, SCRIPT)?;
    let db = Db::postgres(&Cx::system(), url, ALL).await?;
    let mut lines = Vec::new();
    for writers in WRITERS {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(rate(&db, times, writers).await?);
            bare.push(pgbench(url, &script, times, writers)?);
        }
        lines.push(Line::new(
            format!("Writes on PostgreSQL (fsync {fsync}), {}", at_once(writers)),
            Amount::median_rate(ours),
            format!("pgbench with the same statements, {}", at_once(writers)),
            Amount::median_rate(bare),
        ));
    }
    db.close().await;
    Ok(lines)
}

fn at_once(writers: usize) -> String {
    if writers == 1 { "one at a time".to_owned() } else { format!("{writers} at once") }
}

/// Writes in a second.
async fn rate(db: &Db, times: usize, writers: usize) -> Result<f64> {
    let each = times.div_ceil(writers);
    let start = Instant::now();
    try_join_all((0..writers).map(async |_| {
        for _ in 0..each {
            write(db).await?;
        }
        anyhow::Ok(())
    }))
    .await?;
    Ok((each * writers) as f64 / start.elapsed().as_secs_f64())
}

/// The smallest write that a service can make: one row, and the audit event that comes with it.
async fn write(db: &Db) -> Result<()> {
    let cx = Cx::system();
    let (id, at) = (cx.uuid(), cx.now());
    db.write(&cx, &Grant::operator(&cx, WRITE, "row"), |tx| {
        Box::pin(async move {
            query("INSERT INTO bench_rows (id, at) VALUES ($1, $2)").bind(id).bind(at).execute(tx).await
        })
    })
    .await?;
    Ok(())
}

/// Appends to a file that reach the disk one by one, in a second.
fn synced_appends(path: &Path, times: usize) -> Result<f64> {
    let mut file = File::options().create(true).append(true).open(path)?;
    let start = Instant::now();
    for _ in 0..times {
        file.write_all(&[0x5a; 4096])?;
        file.sync_data()?;
    }
    Ok(times as f64 / start.elapsed().as_secs_f64())
}

/// Transactions in a second, as pgbench counts them.
fn pgbench(url: &str, script: &Path, times: usize, clients: usize) -> Result<f64> {
    let mut command = Command::new("pgbench");
    command.args(["--no-vacuum", "--protocol=prepared", "--max-tries=20", "--file"]).arg(script);
    command.args(["--client", &clients.to_string(), "--transactions", &times.div_ceil(clients).to_string()]);
    let text = said(command.arg(url))?;
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next());
    Ok(rate.with_context(|| format!("pgbench does not say how fast it was:\n{text}"))?.parse()?)
}

fn psql(url: &str, statement: &str) -> Result<String> {
    said(
        Command::new("psql")
            .args(["--quiet", "--no-psqlrc", "--tuples-only", "--no-align", "--dbname", url])
            .args(["--command", statement]),
    )
}

fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
