//! `hanse s3`: what the operator of the machine does about object storage, without an account.

mod copies;
mod radosgw;

use std::io::BufRead;

use hanse_core::{Context, Cx, Error, Result, Secret};
use hanse_identity::{
    GivenKey, MadeKey, ProjectUser, create_access_key, delete_access_key, ensure_project_user,
    existing_projects, existing_users, list_access_keys,
};
use hanse_logstore::Repair;
use hanse_store::Db;
use serde_json::json;

use crate::admin::inside;
use crate::cli::{RadosgwCommand, S3Command, S3KeysCommand};
use crate::config::{Config, Engine};
use crate::machine::{cloud, require_root};
use crate::state::State;
use crate::wiring::{self, Keys};

/// # Errors
/// With what is wrong and what to do.
pub fn run(cx: &Cx, config: &Config, command: &S3Command) -> Result<()> {
    require_root("`hanse s3`")?;
    let state = State::at(&config.state_dir.0);
    cloud(&state)?;
    let command = match command {
        S3Command::Keys { command } => command,
        S3Command::Radosgw { command: RadosgwCommand::Config { directory, installed } } => {
            return radosgw::configure(cx, config, &state, directory, installed);
        }
        S3Command::Radosgw { command: RadosgwCommand::Usage { project, json } } => {
            return radosgw::usage(cx, config, &state, project.as_deref(), *json);
        }
        _ if config.objectstore.engine == Engine::Radosgw => {
            return Err(Error::conflict(
                "the objects are in the hands of radosgw: check and copy them with Ceph",
            ));
        }
        S3Command::Fsck { rebuild_index, accept_loss, remove_orphans, json } => {
            let repair = Repair {
                rebuild_index: *rebuild_index,
                accept_loss: *accept_loss,
                remove_orphans: *remove_orphans,
            };
            return copies::fsck(config, &state, repair, *json);
        }
        S3Command::Backup { directory } => return copies::backup(cx, config, &state, directory),
        S3Command::Restore { directory, json } => {
            return copies::restore(config, &state, directory, *json);
        }
    };
    match command {
        S3KeysCommand::Create { user, project, access_key, new, json } => {
            let given = access_key.as_ref().map(|access| read_key(access)).transpose()?;
            let made = inside(cx, config, &state, async |db, keys| {
                let identity = wiring::services(cx, config, db, keys)?.identity;
                if *new {
                    make_missing(cx, db, keys, user, project).await?;
                }
                create_access_key(&identity, cx, user, project, given).await
            })?;
            tell_made(config, &made, *json);
            Ok(())
        }
        S3KeysCommand::List { user, project, json } => {
            list(cx, config, &state, user.as_deref(), project.as_deref(), *json)
        }
        S3KeysCommand::Delete { access } => {
            inside(cx, config, &state, async |db, keys| {
                delete_access_key(&wiring::services(cx, config, db, keys)?.identity, cx, access).await
            })?;
            tell!("{access} is no key any more.");
            Ok(())
        }
    }
}

/// The secret comes on standard input: what stands in arguments can be read by others.
fn read_key(access: &str) -> Result<GivenKey> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("cannot read the secret key")?;
    let secret = line.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(Error::bad_request(
            "standard input holds no secret key: --access-key takes it from the first line there",
        ));
    }
    Ok(GivenKey { access: access.to_owned(), secret: Secret::new(secret.to_owned()) })
}

/// Nobody learns the user's password: it is for keys only, until somebody sets another.
async fn make_missing(cx: &Cx, db: &Db, keys: &Keys, user: &str, project: &str) -> Result<()> {
    let is_id = !existing_users(db, &[user.to_owned()]).await?.is_empty()
        || !existing_projects(db, &[project.to_owned()]).await?.is_empty();
    if is_id {
        return Err(Error::bad_request("--new takes names, not ids: what has an id is there already"));
    }
    let wanted = ProjectUser {
        project: project.to_owned(),
        user: user.to_owned(),
        password: Secret::new(cx.hex_id()),
        role: "member".to_owned(),
    };
    ensure_project_user(db, cx, &keys.hasher, wanted).await
}

fn tell_made(config: &Config, made: &MadeKey, as_json: bool) {
    if as_json {
        let text = json!({
            "access": made.access, "secret": made.secret.expose(),
            "user_id": made.user_id, "project_id": made.project_id,
        });
        tell!("{text:#}");
        return;
    }
    tell!("Access key  {}", made.access);
    tell!("Secret key  {}", made.secret.expose());
    tell!("Endpoint    {}", config.objectstore.public_url);
    tell!("Region      {}", hanse_objectstore::region(&config.api.region));
    tell!("The secret key is not shown again.");
}

fn list(
    cx: &Cx,
    config: &Config,
    state: &State,
    user: Option<&str>,
    project: Option<&str>,
    as_json: bool,
) -> Result<()> {
    let shown = inside(cx, config, state, async |db, keys| {
        list_access_keys(&wiring::services(cx, config, db, keys)?.identity, cx, user, project).await
    })?;
    if as_json {
        let lines: Vec<_> = shown
            .iter()
            .map(|key| {
                json!({
                    "access": key.access, "user": key.user, "project": key.project, "live": key.is_live,
                    "created_at": key.created_at.iso_seconds(),
                })
            })
            .collect();
        tell!("{:#}", json!(lines));
        return Ok(());
    }
    for key in &shown {
        let note = if key.is_live { "" } else { ", good for nothing now" };
        let made = key.created_at.iso_seconds();
        tell!("{}  user {}, project {}, made {made}{note}", key.access, key.user, key.project);
    }
    if shown.is_empty() {
        tell!("There is no such key.");
    }
    Ok(())
}
