//! Checking, copying and putting back what object storage keeps.

use std::path::Path;

use hanse_core::{Context, Cx, Error, Kind, Result};
use hanse_logstore::{Copied, Options, Repair, Report, Store, check};
use serde_json::json;

use crate::config::Config;
use crate::objects::{self, socket};
use crate::process::{self, Role};
use crate::runtime;
use crate::state::{Owner, State, make};
use crate::user::{self, Acting};

/// Reads everything and says what is wrong with it.
///
/// # Errors
/// 409 if something is wrong, so that programs see it; 503 while a process has the objects open.
pub fn fsck(config: &Config, state: &State, repair: Repair, as_json: bool) -> Result<()> {
    refuse_running(state, "hanse s3 fsck")?;
    let directory = objects::directory(config, state);
    let _acting = Acting::start(&config.user.0)?;
    let report = check(&directory, &Options::default(), repair)?;
    tell_report(&report, as_json);
    match report.is_sound() {
        true => Ok(()),
        false => Err(Error::conflict(format!("the objects in {} are not sound", directory.display()))),
    }
}

/// Writes a copy of everything, while the cloud runs or while it does not.
///
/// # Errors
/// 409 if the directory is not empty; 503 if it cannot be written.
pub fn backup(cx: &Cx, config: &Config, state: &State, target: &Path) -> Result<()> {
    let target = std::path::absolute(target).context("cannot find the directory")?;
    let owner = owner(config)?;
    if std::fs::read_dir(&target).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::conflict(format!("{} is not empty: name another", target.display())));
    }
    // The process that copies is another user.
    make(&target, 0o700, Some(owner))?;
    let copied = runtime(1)?.block_on(socket::backup(&state.objects_socket(), &target))?;
    let copied = match copied {
        Some(copied) => copied,
        None => {
            let _acting = Acting::start(&config.user.0)?;
            runtime(1)?.block_on(copy_closed(cx, &objects::directory(config, state), &target))?
        }
    };
    let Copied { segments, extents, bytes } = copied;
    tell!("Copied {bytes} bytes in {} files to {}.", segments + extents, target.display());
    Ok(())
}

async fn copy_closed(cx: &Cx, directory: &Path, target: &Path) -> Result<Copied> {
    let store = Store::open(cx, directory, Options::default())?;
    let copied = store.backup(target).await;
    store.close().await;
    copied
}

/// Puts a copy in the place of the objects, which must be empty.
///
/// # Errors
/// 409 if it is not, if the copy is not whole, or while the cloud runs.
pub fn restore(config: &Config, state: &State, from: &Path, as_json: bool) -> Result<()> {
    refuse_running(state, "hanse s3 restore")?;
    let directory = objects::directory(config, state);
    let from = std::path::absolute(from).context("cannot find the copy")?;
    let owner = owner(config)?;
    if std::fs::read_dir(&directory).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::conflict(format!(
            "{} holds objects already: move them away first",
            directory.display()
        )));
    }
    make(&directory, 0o700, Some(owner))?;
    let _acting = Acting::start(&config.user.0)?;
    let report = hanse_logstore::restore(&from, &directory, &Options::default())?;
    tell_report(&report, as_json);
    match report.is_sound() {
        true => Ok(()),
        false => Err(Error::conflict("the copy was put back, and it is not sound")),
    }
}

fn owner(config: &Config) -> Result<Owner> {
    let name = &config.user.0;
    user::find(name)?
        .ok_or_else(|| Error::bad_request(format!("there is no user {name}: `hanse up` makes it")))
}

fn refuse_running(state: &State, what: &str) -> Result<()> {
    match process::running(state, Role::ControlPlane) {
        None => Ok(()),
        Some(known) => Err(Error::new(
            Kind::Conflict,
            format!(
                "the control plane (process {}) has the objects open: `hanse down`, then `{what}`",
                known.pid
            ),
        )),
    }
}

fn tell_report(report: &Report, as_json: bool) {
    if as_json {
        let damages: Vec<_> = report
            .damages
            .iter()
            .map(|damage| json!({ "what": damage.what, "payload": damage.payload.map(|id| id.to_string()) }))
            .collect();
        let orphans: Vec<String> = report.orphans.iter().map(ToString::to_string).collect();
        let text = json!({
            "sound": report.is_sound(), "records": report.records, "payloads": report.payloads,
            "payload_bytes": report.payload_bytes, "segments": report.segments, "damages": damages,
            "differences": report.differences, "orphans": orphans,
        });
        tell!("{text:#}");
        return;
    }
    let Report { records, payloads, payload_bytes, segments, .. } = report;
    tell!("{records} records, {payloads} payloads of {payload_bytes} bytes, {segments} segments of the log");
    for damage in &report.damages {
        match damage.payload {
            Some(id) => tell!("damaged: {} (payload {id})", damage.what),
            None => tell!("damaged: {}", damage.what),
        }
    }
    report.differences.iter().for_each(|difference| tell!("differs: {difference}"));
    report.orphans.iter().for_each(|id| tell!("a file that no record leads to: payload {id}"));
    if report.is_sound() {
        tell!("All of it is sound.");
    }
}
