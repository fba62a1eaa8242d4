//! `hanse admin`: what the operator of the machine does without an account.

use std::io::BufRead;

use hanse_core::{Context, Cx, Error, Result, Secret};
use hanse_crypto::{FernetKeys, SigningKeys, secret_file};
use hanse_identity::Question;
use hanse_policy::Verb;
use hanse_store::Db;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::cli::{AdminCommand, AuditCommand, OrphansCommand};
use crate::config::Config;
use crate::lifecycle::{confirm, write_credentials};
use crate::machine::{cloud, require_root};
use crate::process::{self, Errand, Role};
use crate::state::State;
use crate::user::Acting;
use crate::wiring::{self, Keys};
use crate::{orphans, runtime, serve, trail};

/// # Errors
/// With what is wrong and what to do.
pub fn run(cx: &Cx, config: &Config, command: &AdminCommand) -> Result<()> {
    require_root("`hanse admin`")?;
    let state = State::at(&config.state_dir.0);
    cloud(&state)?;
    match command {
        AdminCommand::Bootstrap => bootstrap(cx, config, &state),
        AdminCommand::ResetPassword { user, domain, stdin } => {
            reset_password(cx, config, &state, user, domain, *stdin)
        }
        AdminCommand::RotateKeys => rotate_keys(cx, config, &state),
        AdminCommand::Audit { command: AuditCommand::Export { since, until, follow } } => {
            let range = trail::range(since.as_deref(), until.as_deref())?;
            with_database(cx, config, &state, async |db| {
                trail::export(cx, db, &mut std::io::stdout(), range, *follow).await
            })
        }
        AdminCommand::Orphans { command: OrphansCommand::List { json } } => {
            list_orphans(cx, config, &state, *json)
        }
        AdminCommand::Orphans { command: OrphansCommand::Purge { project, yes } } => {
            purge_orphans(cx, config, &state, project.as_deref(), *yes)
        }
        AdminCommand::Explain { user, verb, target, json } => {
            explain(cx, config, &state, user, verb, target, *json)
        }
    }
}

/// Opens the database as the control plane's user, so that no file of root's is left beside it.
fn with_database<T>(
    cx: &Cx,
    config: &Config,
    state: &State,
    work: impl AsyncFnOnce(&Db) -> Result<T>,
) -> Result<T> {
    let _acting = Acting::start(&config.user.0)?;
    // Its threads have ended when the user changes back.
    runtime(1)?.block_on(async {
        let db = serve::database(cx, config, state).await?;
        let done = work(&db).await;
        db.close().await;
        done
    })
}

/// The same with the keys.
pub fn inside<T>(
    cx: &Cx,
    config: &Config,
    state: &State,
    work: impl AsyncFnOnce(&Db, &Keys) -> Result<T>,
) -> Result<T> {
    with_database(cx, config, state, async |db| work(db, &serve::keys(cx, config, state)?).await)
}

fn bootstrap(cx: &Cx, config: &Config, state: &State) -> Result<()> {
    let errand = Errand {
        admin_password: state.password(cx, &state.admin_password())?,
        demo_password: state.password(cx, &state.demo_password())?,
    };
    inside(cx, config, state, async |db, keys| wiring::bootstrap(cx, config, db, keys, errand).await)?;
    write_credentials(cx, config, state)?;
    tell!("Everything that a new cloud begins with is there. Users that were there keep their passwords.");
    Ok(())
}

fn reset_password(
    cx: &Cx,
    config: &Config,
    state: &State,
    user: &str,
    domain: &str,
    from_stdin: bool,
) -> Result<()> {
    let password = if from_stdin { read_password()? } else { Secret::new(cx.hex_id()) };
    let new = password.clone();
    inside(cx, config, state, async |db, keys| {
        hanse_identity::reset_password(db, cx, &keys.hasher, user, domain, new).await
    })?;
    let file = match (domain, user) {
        ("Default", "admin") => Some(state.admin_password()),
        ("Default", "demo") => Some(state.demo_password()),
        _ => None,
    };
    tell!("{user} has a new password, and all their tokens have ended.");
    match file {
        Some(file) => {
            secret_file::write(&file, 0o600, password.expose().as_bytes())?;
            write_credentials(cx, config, state)?;
            tell!("It is in {} and {}.", file.display(), state.clouds_yaml().display());
        }
        None if !from_stdin => tell!("It is: {}", password.expose()),
        None => {}
    }
    Ok(())
}

fn read_password() -> Result<Secret<String>> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("cannot read the password")?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Error::bad_request("standard input holds no password"));
    }
    Ok(Secret::new(password.to_owned()))
}

fn rotate_keys(cx: &Cx, config: &Config, state: &State) -> Result<()> {
    {
        let _acting = Acting::start(&config.user.0)?;
        FernetKeys::new(state.token_keys()).rotate(cx)?;
        let signing = SigningKeys::new(state.signing_keys());
        if signing.exists() {
            signing.rotate(cx)?;
        }
    }
    match process::running(state, Role::ControlPlane) {
        Some(known) => {
            kill(Pid::from_raw(known.pid), Signal::SIGHUP).context("cannot signal the control plane")?;
            tell!("New tokens are made with a new key.");
        }
        None => tell!("New tokens will be made with a new key."),
    }
    Ok(())
}

fn list_orphans(cx: &Cx, config: &Config, state: &State, as_json: bool) -> Result<()> {
    let left = inside(cx, config, state, async |db, keys| {
        wiring::services(cx, config, db, keys)?.owners.list(None).await
    })?;
    if as_json {
        tell!("{:#}", orphans::view(&left));
        return Ok(());
    }
    left.iter().for_each(|owned| tell!("{}", orphans::describe(owned)));
    if left.is_empty() {
        tell!("Everything belongs to a project or user that exists.");
    }
    Ok(())
}

fn purge_orphans(cx: &Cx, config: &Config, state: &State, project: Option<&str>, yes: bool) -> Result<()> {
    let left = inside(cx, config, state, async |db, keys| {
        wiring::services(cx, config, db, keys)?.owners.list(project).await
    })?;
    if left.is_empty() {
        tell!("There is nothing to delete.");
        return Ok(());
    }
    let summary = orphans::summary(&left);
    if !yes {
        left.iter().for_each(|owned| tell!("{}", orphans::describe(owned)));
        let otherwise = "nobody is there to ask: `hanse admin orphans purge --yes` deletes without asking";
        if !confirm(&format!("This deletes {summary}, with all data in them."), otherwise)? {
            return Ok(());
        }
    }
    let stayed = inside(cx, config, state, async |db, keys| {
        let running = || process::running(state, Role::ControlPlane).is_some();
        let owners = wiring::services(cx, config, db, keys)?.owners;
        let cx = cx.background("admin-orphans");
        owners.purge(&cx, project, running, |line| tell!("{line}")).await
    })?;
    stayed.iter().for_each(|(owned, reason)| tell!("stays: {}: {reason}", orphans::describe(owned)));
    match stayed.is_empty() {
        true => Ok(()),
        false => Err(Error::conflict("not everything is gone; run it again")),
    }
}

fn explain(
    cx: &Cx,
    config: &Config,
    state: &State,
    user: &str,
    verb: &str,
    target: &str,
    as_json: bool,
) -> Result<()> {
    let found = inside(cx, config, state, async |db, keys| {
        let services = wiring::services(cx, config, db, keys)?;
        let verbs = services.verbs();
        if verb == "list" {
            let mut names: Vec<&str> = verbs.iter().map(|verb| verb.name).collect();
            names.sort_unstable();
            names.dedup();
            names.iter().for_each(|name| tell!("{name}"));
            return Ok(None);
        }
        // One name may have several rules, of which each caller meets the one that is theirs.
        let named: Vec<Verb> = verbs.into_iter().filter(|known| known.name == verb).collect();
        if named.is_empty() {
            return Err(Error::bad_request(format!("there is no verb {verb}: --verb list shows them all")));
        }
        let mut ways = Vec::new();
        for verb in named {
            ways.extend(
                hanse_identity::explain(&services.identity, cx, &Question { user, verb, target }).await?,
            );
        }
        ways.dedup();
        Ok(Some(ways))
    })?;
    let Some(ways) = found else { return Ok(()) };
    if as_json {
        let lines: Vec<_> = ways
            .iter()
            .map(|way| json!({ "scope": way.scope, "roles": way.roles, "through": way.through }))
            .collect();
        tell!("{:#}", json!({ "allowed": !ways.is_empty(), "ways": lines }));
        return Ok(());
    }
    if ways.is_empty() {
        tell!("No: nothing that {user} holds lets them do {verb} to {target}.");
    }
    for way in ways {
        tell!("Yes, with a token for {}: {}, from {}.", way.scope, way.roles.join(", "), way.through);
    }
    Ok(())
}
