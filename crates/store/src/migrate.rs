//! Schema changes: numbered, checksummed, never edited once landed, expand before contract.

use std::path::Path;

use hanse_core::{Cx, Error, Result, hex};
use sha2::{Digest, Sha256};

use crate::db::{Db, Engine, Tx};
use crate::query::query;

/// One step of a service's schema.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// 1, 2, 3, … without gaps.
    pub version: u32,
    pub name: &'static str,
    /// Statements that both engines understand.
    pub sql: &'static str,
}

/// All steps of one service, in order.
#[derive(Clone, Copy, Debug)]
pub struct Migrations {
    pub service: &'static str,
    pub steps: &'static [Migration],
}

/// Brings every service's tables up to date, in one transaction; a copy of an SQLite file is taken before.
pub(crate) async fn run(db: &Db, cx: &Cx, services: &[Migrations], file: Option<&Path>) -> Result<()> {
    let mut tx = db.begin_long().await?;
    query(
        "CREATE TABLE IF NOT EXISTS schema_migrations (
             service TEXT NOT NULL, version BIGINT NOT NULL, name TEXT NOT NULL, checksum TEXT NOT NULL,
             applied_at BIGINT NOT NULL, PRIMARY KEY (service, version))",
    )
    .execute(&mut tx)
    .await?;
    if db.engine() == Engine::Postgres {
        // Two processes that start at once must not both migrate.
        query("LOCK TABLE schema_migrations IN ACCESS EXCLUSIVE MODE").execute(&mut tx).await?;
    }
    let applied: Vec<(String, i64, String)> =
        query("SELECT service, version, checksum FROM schema_migrations ORDER BY service, version")
            .all(&mut tx)
            .await?;
    let pending = pending(services, &applied)?;
    if pending.is_empty() {
        return db.commit(tx).await;
    }
    if let (Some(file), false) = (file, applied.is_empty()) {
        drop(tx);
        backup(db, file, cx).await?;
        tx = db.begin_long().await?;
    }
    for (service, step) in pending {
        apply(&mut tx, cx, service, step).await?;
    }
    db.commit(tx).await
}

/// What is still to be applied.
///
/// # Errors
/// If the database knows a step that this release does not, or knows it with other content.
fn pending(
    services: &[Migrations],
    applied: &[(String, i64, String)],
) -> Result<Vec<(&'static str, &'static Migration)>> {
    for (service, version, _) in applied {
        let known = services.iter().find(|known| known.service == service);
        let newest = known.map_or(0, |known| known.steps.len());
        if known.is_some() && i64::try_from(newest).unwrap_or(i64::MAX) < *version {
            return Err(Error::conflict(format!(
                "this state was written by a newer release (the tables of '{service}' are at version {version}, this \
                 release knows {newest}): start the newer release, or restore the copy that was taken before the upgrade"
            )));
        }
    }
    let mut pending = Vec::new();
    for service in services {
        for step in service.steps {
            let done = applied
                .iter()
                .find(|(name, version, _)| name == service.service && *version == i64::from(step.version));
            match done {
                None => pending.push((service.service, step)),
                Some((_, _, sum)) if *sum == checksum(step) => {}
                Some(_) => {
                    return Err(Error::conflict(format!(
                        "migration {} of '{}' has another content than the one that this state was made with; \
                         start the release that made it",
                        step.version, service.service
                    )));
                }
            }
        }
    }
    Ok(pending)
}

async fn apply(tx: &mut Tx<'_>, cx: &Cx, service: &str, step: &Migration) -> Result<()> {
    tracing::info!(service, version = step.version, name = step.name, "migrating");
    tx.batch(step.sql).await?;
    query("INSERT INTO schema_migrations (service, version, name, checksum, applied_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(service)
        .bind(step.version)
        .bind(step.name)
        .bind(checksum(step))
        .bind(cx.now())
        .execute(tx)
        .await?;
    Ok(())
}

fn checksum(step: &Migration) -> String {
    hex(Sha256::digest(step.sql.as_bytes()))
}

/// A consistent copy beside the file, named by the time it was taken.
async fn backup(db: &Db, file: &Path, cx: &Cx) -> Result<()> {
    let copy = file.with_extension(format!("before-{}.db", cx.now().seconds()));
    let copy = copy.to_str().ok_or_else(|| Error::bad_request("the path of the database is not UTF-8"))?;
    tracing::info!(copy, "copying the database before migrating");
    query("VACUUM INTO $1").bind(copy).execute(&mut db.outside_transaction().await?).await?;
    Ok(())
}
