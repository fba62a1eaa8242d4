//! `hanse serve`: the control plane.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hanse_audit::Retention;
use hanse_core::{Context, Cx, Error, Result};
use hanse_crypto::{
    CertificateAuthority, FernetKeys, MasterKey, PasswordConfig, PasswordHasher, ReloadableCert, ServerCert,
    SigningKeys, Tokens, secret_file,
};
use hanse_store::Db;
use hanse_web::{Limits, Listener, Metrics};

use crate::config::{Config, Engine};
use crate::objects::{self, Objects};
use crate::process::{Errand, Role, Word, say};
use crate::state::{self, State};
use crate::upkeep::{self, Chore, Run};
use crate::wiring::{self, ControlPlane, Keys};
use crate::{logging, machine, stop_on_signal, take_role, user};

/// The name of the server's certificate, beside the addresses that clients use.
pub const SERVER_NAME: &str = "localhost";

/// Reads what `hanse up` hands over on standard input; nothing if a person started us.
///
/// # Errors
/// If it does not read.
pub fn read_errand() -> Result<Option<Errand>> {
    let mut stdin = std::io::stdin().lock();
    if stdin.is_terminal() {
        return Ok(None);
    }
    let mut text = String::new();
    stdin.by_ref().take(1 << 16).read_to_string(&mut text).context("cannot read standard input")?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|_| Error::bad_request("standard input holds no errand of `hanse up`"))
}

/// Makes the directories that a control plane needs, where an operator has put down a cloud's `cloud.json` and keys to
/// run another control plane of it. To be called as root.
///
/// # Errors
/// If there is no cloud, or the user or the file system is not as it must be.
pub fn prepare(cx: &Cx, config: &Config) -> Result<()> {
    let state = State::at(&config.state_dir.0);
    machine::cloud(&state)?;
    let owner = user::find(&config.user.0)?.ok_or_else(|| {
        Error::bad_request(format!("there is no user {}: `hanse up` makes it", config.user.0))
    })?;
    state.prepare(cx, &objects::directory(config, &state), owner, false).map(drop)
}

/// Runs the control plane until it is told to stop. `path` is where the configuration came from, to be read again.
///
/// # Errors
/// If it cannot start; the message says what to do.
pub async fn run(cx: &Cx, config: &Config, path: Option<PathBuf>, errand: Option<Errand>) -> Result<()> {
    let state = State::at(&config.state_dir.0);
    machine::cloud(&state)?;
    let level = logging::start(&config.log, &state.logs(), Role::ControlPlane.name())?;
    let _held = take_role(&state, Role::ControlPlane)?;
    let _alone = hold_sqlite(config, &state)?;
    let stop = stop_on_signal()?;
    let metrics = Metrics::default();
    let server = server_certificate(cx, config, &state)?;
    let certificate = Arc::new(ReloadableCert::new(&server.chain_pem, &server.key_pem)?);
    let tls = certificate.clone().server_config(cx)?;
    // Before the database is opened, since this is what most often cannot be had.
    let limits = Limits { connections: config.api.connections, ..Limits::default() };
    let listener =
        Listener::bind(config.api.listen, "api.listen", tls.clone(), limits, metrics.clone()).await?;
    let objects = match config.objectstore.engine {
        Engine::Embedded => Some(Objects::begin(cx, config, &state, tls, &metrics).await?),
        Engine::Radosgw => None,
    };
    let db = database(cx, config, &state).await?;
    let keys = keys(cx, config, &state)?;
    if let Some(errand) = errand {
        wiring::bootstrap(cx, config, &db, &keys, errand).await?;
    }
    let ControlPlane { hub, runner, router, object_store } =
        wiring::control_plane(cx, config, &db, &keys, &metrics)?;
    // Before the first answer: `hanse up` waits for an agent that is connected, not for one that was.
    if let Err(error) = hub.forget_sessions().await {
        tracing::error!(%error, "cannot note that no agent is connected yet");
    }
    if config.objectstore.engine == Engine::Radosgw {
        hanse_objectstore::radosgw::begin(&db, cx).await?;
    }
    let objects = async {
        if let Some(objects) = objects {
            objects.run(object_store, stop.clone()).await;
        }
    };
    let retention = Retention { db: db.clone(), cx: cx.clone(), keep: config.audit.keep() };
    let socket = state::private_socket(&state.agent_socket())?;
    let chores = vec![
        upkeep::log_level(path, config, level),
        Chore {
            name: "certificate",
            run: renew_certificate(cx, config, &state, server.chain_pem, certificate),
        },
        Chore { name: "token keys", run: rotate_token_keys(cx, config, keys.tokens.clone()) },
    ];
    upkeep::start(chores, stop.clone())?;
    tracing::info!(listen = %config.api.listen, release = env!("CARGO_PKG_VERSION"), "control plane is ready");
    say(&Word::Ready);
    tokio::join!(
        listener.run(router, stop.clone()),
        hub.run(socket, stop.clone()),
        objects,
        runner.run(4, stop.clone()),
        retention.run(stop.clone())
    );
    db.close().await;
    let _ = std::fs::remove_file(state.agent_socket());
    Ok(())
}

/// State directories may share their keys, and so the directory `control`, but not a database in it.
fn hold_sqlite(config: &Config, state: &State) -> Result<Option<state::Held>> {
    if config.database.url_file.is_some() {
        return Ok(None);
    }
    let path = state.control().join("state.lock");
    // A process that was killed holds its files until its last thread has ended.
    for _ in 0..20 {
        if let Ok(held) = state::hold(&path, Role::ControlPlane.title()) {
            return Ok(Some(held));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    state::hold(&path, Role::ControlPlane.title()).map(Some)
}

pub async fn database(cx: &Cx, config: &Config, state: &State) -> Result<Db> {
    match &config.database.url_file {
        None => Db::sqlite(cx, &state.database(), wiring::MIGRATIONS).await,
        Some(file) => {
            let url = secret_file::read_checked(file, 4096)?.ok_or_else(|| {
                Error::bad_request(format!("database.url_file: there is no {}", file.display()))
            })?;
            let url = std::str::from_utf8(url.expose()).context("database.url_file")?.trim().to_owned();
            Db::postgres(cx, &url, wiring::MIGRATIONS).await
        }
    }
}

pub fn keys(cx: &Cx, config: &Config, state: &State) -> Result<Keys> {
    let (fernet, signing) = (FernetKeys::new(state.token_keys()), SigningKeys::new(state.signing_keys()));
    Ok(Keys {
        master: Arc::new(MasterKey::load_or_create(&state.master_key(), cx)?),
        tokens: Arc::new(Tokens::load(cx, config.identity.token_provider.into(), fernet, signing)?),
        hasher: Arc::new(PasswordHasher::start(cx, &PasswordConfig::default())?),
    })
}

/// The operator's own certificate, or one of the cloud's CA.
fn server_certificate(cx: &Cx, config: &Config, state: &State) -> Result<ServerCert> {
    if let (Some(chain), Some(key)) = (&config.tls.certificate, &config.tls.key) {
        return ServerCert::read(chain, key);
    }
    secret_file::private_dir(&state.authority())?;
    let authority = CertificateAuthority::load_or_create(&state.authority(), cx)?;
    Ok(authority.renew_if_needed(cx, &state.authority(), &names(config))?.cert)
}

/// What clients may call the server: the public addresses, the addresses it listens on, and itself.
fn names(config: &Config) -> Vec<String> {
    let objects = &config.objectstore;
    let mut names = vec![host(&config.api.public_url), SERVER_NAME.to_owned(), "127.0.0.1".to_owned()];
    let mut listened = vec![config.api.listen.ip()];
    if objects.tls && objects.engine == Engine::Embedded {
        names.push(host(&objects.public_url));
        let domains = objects.domain.iter().chain(&objects.website_domain);
        names.extend(domains.flat_map(|domain| [domain.clone(), format!("*.{domain}")]));
        listened.push(objects.listen.ip());
    }
    names.extend(listened.iter().filter(|ip| !ip.is_unspecified()).map(ToString::to_string));
    names.sort();
    names.dedup();
    names
}

fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split(']').next(),
        None => authority.split(':').next(),
    };
    host.unwrap_or(authority).to_owned()
}

/// Our own certificate before it ends, or the operator's when its file has been replaced. No connection is dropped.
fn renew_certificate(
    cx: &Cx,
    config: &Config,
    state: &State,
    mut shown: String,
    certificate: Arc<ReloadableCert>,
) -> Run {
    let (cx, config, state) = (cx.clone(), config.clone(), state.clone());
    Box::new(move || {
        let server = server_certificate(&cx, &config, &state)?;
        if server.chain_pem == shown {
            return Ok(false);
        }
        certificate.replace(&server.chain_pem, &server.key_pem)?;
        shown = server.chain_pem;
        Ok(true)
    })
}

/// Token keys change daily, or as rarely as lets each token live its whole life: three are kept, and who looks only
/// every now and then is late.
fn rotate_token_keys(cx: &Cx, config: &Config, tokens: Arc<Tokens>) -> Run {
    let life = Duration::from_secs(u64::from(config.identity.token_minutes) * 60);
    let every = (life + upkeep::PERIOD).max(Duration::from_secs(24 * 3600));
    let cx = cx.clone();
    Box::new(move || tokens.keep_fresh(&cx, every))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_is_for_every_name_that_clients_are_told() {
        let config = |text: &str| Config::parse(text).unwrap();
        assert_eq!(names(&Config::default()), ["127.0.0.1", "localhost"]);
        let text = "[api]\npublic_url = \"https://[2001:db8::1]:8443\"\n[objectstore]\nlisten = \"10.0.0.1:443\"\n\
                    public_url = \"https://s3.example.org\"\ndomain = \"b.example.org\"\nwebsite_domain = \"web.example.org\"";
        let expected = [
            "*.b.example.org",
            "*.web.example.org",
            "10.0.0.1",
            "127.0.0.1",
            "2001:db8::1",
            "b.example.org",
            "localhost",
            "s3.example.org",
            "web.example.org",
        ];
        assert_eq!(names(&config(text)), expected);
        let behind = "[objectstore]\npublic_url = \"https://s3.example.org\"\ntls = false";
        assert_eq!(
            names(&config(behind)),
            ["127.0.0.1", "localhost"],
            "the proxy has a certificate of its own"
        );
    }
}
