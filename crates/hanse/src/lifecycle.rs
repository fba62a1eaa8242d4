//! `hanse up`, `status`, `down` and `reset`.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use hanse_core::{Context, CrashPoints, Cx, Error, Result};
use hanse_crypto::secret_file;
use serde_json::json;

use crate::config::{Config, Driver};
use crate::health::{self, Health, RadosgwHealth};
use crate::machine::{self, require_root};
use crate::process::{self, Errand, Role};
use crate::state::{Cloud, State};
use crate::{objects, serve, user};

/// How long the agent may take to find the control plane.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// How long the processes may take to end what they are doing.
const END_LIMIT: Duration = Duration::from_secs(20);

/// One line for each step of something long.
struct Progress {
    started: hanse_core::Timestamp,
}

impl Progress {
    fn start(cx: &Cx) -> Progress {
        Progress { started: cx.now() }
    }

    /// Says what is done, and how long it took since the beginning.
    fn done(&self, cx: &Cx, what: &str) {
        tell!("  {:>5.1} s  {what}", cx.now().since(self.started).as_secs_f64());
    }
}

/// # Errors
/// With what is missing and what to do.
pub fn up(cx: &Cx, config: &Config, path: Option<&Path>, foreground: bool) -> Result<()> {
    require_root("`hanse up`")?;
    check_programs(config)?;
    let progress = Progress::start(cx);
    let state = State::at(&config.state_dir.0);
    state.check_space()?;
    let known = state.cloud()?;
    let (owner, made) = user::find_or_make(&config.user.0)?;
    let cloud = state.prepare(cx, &objects::directory(config, &state), owner, made)?;
    if known.is_none() {
        progress.done(cx, &format!("made the cloud {} in {}", cloud.id, state.path().display()));
    }
    let mut children = Vec::new();
    for role in Role::BOTH {
        if process::running(&state, role).is_some() {
            progress.done(cx, &format!("the {} runs already", role.title()));
            continue;
        }
        let errand = match role {
            Role::ControlPlane => Some(Errand {
                admin_password: state.password(cx, &state.admin_password())?,
                demo_password: state.password(cx, &state.demo_password())?,
            }),
            Role::Agent => None,
        };
        children.push((role, process::start(&state, role, path, errand.as_ref())?));
        progress.done(cx, &format!("started the {}", role.title()));
    }
    write_credentials(cx, config, &state)?;
    let health = wait_for_agent(cx, config, &state)?;
    for node in health.nodes.iter().filter(|node| node.connected) {
        progress.done(cx, &format!("machine {} is part of the cloud", node.name));
    }
    tell!("\n{}", table(config, &state));
    if foreground { attend(&state, children) } else { Ok(()) }
}

/// What the drivers need of the machine.
fn check_programs(config: &Config) -> Result<()> {
    if config.hypervisor.driver == Driver::Sim {
        return Ok(());
    }
    let needed = [("qemu-system-x86_64", "qemu-system-x86"), ("qemu-img", "qemu-utils"), ("nft", "nftables")];
    let missing: Vec<&str> =
        needed.iter().filter(|(program, _)| !is_on_path(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::unavailable(format!(
        "this machine lacks what guests need: apt-get install --no-install-recommends {}",
        missing.join(" ")
    )))
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|at| at.join(program).is_file())
}

/// Writes what the operator's tools need: the CA's certificate and `clouds.yaml`.
pub fn write_credentials(cx: &Cx, config: &Config, state: &State) -> Result<()> {
    let ca = secret_file::read_public(&state.authority().join("ca.crt"), 1 << 16)?;
    if let Some(ca) = &ca {
        secret_file::write(&state.ca_certificate(), 0o644, ca)?;
    }
    let cloud = |user: &str, project: &str, password: &str| {
        let mut cloud = json!({
            "auth_type": "password",
            "auth": {
                "auth_url": format!("{}/identity/v3", config.api.public_url),
                "username": user,
                "password": password,
                "project_name": project,
                "user_domain_id": "default",
                "project_domain_id": "default",
            },
            "region_name": config.api.region,
            "identity_api_version": 3,
        });
        if config.tls.certificate.is_none() {
            cloud["cacert"] = json!(state.ca_certificate());
        }
        cloud
    };
    let admin = state.password(cx, &state.admin_password())?;
    let demo = state.password(cx, &state.demo_password())?;
    let clouds = json!({ "clouds": {
        "hanse-admin": cloud("admin", "admin", admin.expose()),
        "hanse": cloud("demo", "demo", demo.expose()),
    }});
    // JSON is YAML, and needs no rules for quoting.
    let text = serde_json::to_vec_pretty(&clouds).context("cannot write clouds.yaml")?;
    secret_file::write(&state.clouds_yaml(), 0o600, &text)
}

fn wait_for_agent(cx: &Cx, config: &Config, state: &State) -> Result<Health> {
    let step = Duration::from_millis(50);
    let mut left = CONNECT_LIMIT;
    loop {
        match ask(cx, config, state) {
            Ok(health) if health.nodes.iter().any(|node| node.connected) => return Ok(health),
            Err(error) if left.is_zero() => return Err(error),
            Ok(_) if left.is_zero() => {
                return Err(Error::unavailable(format!(
                    "the agent does not reach the control plane: see {}",
                    state.logs().join("agent.log").display()
                )));
            }
            _ => {
                std::thread::sleep(step);
                left = left.saturating_sub(step);
            }
        }
    }
}

fn ask(cx: &Cx, config: &Config, state: &State) -> Result<Health> {
    let (certificate, name) = match &config.tls.certificate {
        None => (state.ca_certificate(), serve::SERVER_NAME.to_owned()),
        Some(own) => (own.clone(), config.api.listen.ip().to_string()),
    };
    let ca =
        std::fs::read_to_string(&certificate).context(format!("cannot read {}", certificate.display()))?;
    let mut address = config.api.listen;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    crate::runtime(1)?.block_on(health::ask(cx, address, &ca, &name))
}

fn table(config: &Config, state: &State) -> String {
    format!(
        "Identity API    {}/identity/v3\n\
         S3              {} (keys: `hanse s3 keys create --user demo --project demo`)\n\
         Credentials     {} (clouds `hanse-admin` and `hanse`)\n\
         Admin password  {}\n\
         CA certificate  {}\n\
         Logs            {}\n\n\
         Next: export OS_CLIENT_CONFIG_FILE={} OS_CLOUD=hanse\n      openstack token issue",
        config.api.public_url,
        config.objectstore.public_url,
        state.clouds_yaml().display(),
        state.admin_password().display(),
        state.ca_certificate().display(),
        state.logs().display(),
        state.clouds_yaml().display(),
    )
}

/// Stays until Ctrl-C or until a process ends, then ends the other.
fn attend(state: &State, mut children: Vec<(Role, std::process::Child)>) -> Result<()> {
    tell!("\nAttached: Ctrl-C ends the cloud's processes; guests keep running.");
    let ended = crate::runtime(1)?.block_on(async {
        let stop = crate::stop_on_signal()?;
        loop {
            if stop.is_cancelled() {
                return Ok::<_, Error>(None);
            }
            for (role, child) in &mut children {
                if child.try_wait().context("cannot watch a process")?.is_some() {
                    return Ok(Some(*role));
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })?;
    for role in Role::BOTH {
        process::end(state, role, END_LIMIT)?;
    }
    match ended {
        None => Ok(()),
        Some(role) => {
            Err(Error::unavailable(format!("the {} has ended: see {}", role.title(), state.logs().display())))
        }
    }
}

/// # Errors
/// If there is no cloud.
pub fn status(cx: &Cx, config: &Config, as_json: bool) -> Result<()> {
    let state = State::at(&config.state_dir.0);
    let cloud = machine::cloud(&state)?;
    let runs = |role| process::running(&state, role).map(|known| known.pid);
    let health = ask(cx, config, &state);
    if as_json {
        let text = json!({
            "cloud": cloud.id,
            "control_plane": { "pid": runs(Role::ControlPlane), "healthy": health.is_ok() },
            "agent": { "pid": runs(Role::Agent) },
            "radosgw": health.as_ref().ok().and_then(|health| health.radosgw.as_ref()),
            "nodes": health.map(|health| health.nodes).unwrap_or_default(),
            "endpoints": {
                "identity": format!("{}/identity/v3", config.api.public_url),
                "s3": config.objectstore.public_url,
            },
            "paths": {
                "state_dir": state.path(), "clouds_yaml": state.clouds_yaml(), "ca_certificate": state.ca_certificate(),
                "admin_password": state.admin_password(), "logs": state.logs(),
                "objects": objects::directory(config, &state),
            },
        });
        tell!("{text:#}");
        return Ok(());
    }
    tell!("Cloud           {}", cloud.id);
    for role in Role::BOTH {
        let says = match runs(role) {
            Some(pid) => format!("running (process {pid})"),
            None => "not running: `hanse up` starts it".to_owned(),
        };
        let mut title = role.title().to_owned();
        title[..1].make_ascii_uppercase();
        tell!("{title:<15} {says}");
    }
    match &health {
        Err(error) => tell!("Health          {}", error.message()),
        Ok(health) => {
            for node in &health.nodes {
                let says = if node.connected { "connected" } else { "not connected" };
                tell!("Machine         {}: {says}, guests run on {}", node.name, node.accelerator);
            }
            match &health.radosgw {
                Some(RadosgwHealth { answers: true, .. }) => tell!("radosgw         answers"),
                Some(RadosgwHealth { message, .. }) => {
                    tell!("radosgw         {}", message.as_deref().unwrap_or("does not answer"));
                }
                None => {}
            }
        }
    }
    tell!("{}", table(config, &state));
    Ok(())
}

/// # Errors
/// If there is no cloud, or a process does not end.
pub fn down(cx: &Cx, config: &Config, guests: bool) -> Result<()> {
    require_root("`hanse down`")?;
    let state = State::at(&config.state_dir.0);
    let cloud = machine::cloud(&state)?;
    let progress = Progress::start(cx);
    end_processes(cx, &state, &progress)?;
    if guests {
        let ended = with_drivers(config, &state, &cloud, async |drivers| {
            machine::end_guests(drivers.hypervisor.as_ref(), false).await
        })?;
        progress.done(cx, &format!("shut down {ended} guests"));
    } else {
        progress.done(cx, "guests keep running; `hanse up` finds them again");
    }
    Ok(())
}

/// The agent last: it may still have to report.
fn end_processes(cx: &Cx, state: &State, progress: &Progress) -> Result<()> {
    for role in Role::BOTH {
        let says = if process::end(state, role, END_LIMIT)? { "stopped the" } else { "there was no" };
        progress.done(cx, &format!("{says} {}", role.title()));
    }
    Ok(())
}

fn with_drivers<T>(
    config: &Config,
    state: &State,
    cloud: &Cloud,
    work: impl AsyncFnOnce(&crate::agent::Drivers) -> Result<T>,
) -> Result<T> {
    crate::runtime(1)?.block_on(async {
        let drivers = machine::drivers(config, state, cloud, CrashPoints::none()).await?;
        work(&drivers).await
    })
}

/// # Errors
/// If something cannot be removed; run it again then.
pub fn reset(cx: &Cx, config: &Config, yes: bool) -> Result<()> {
    require_root("`hanse reset`")?;
    let state = State::at(&config.state_dir.0);
    let Some(cloud) = state.cloud()? else {
        tell!("There is no cloud in {}: nothing to remove.", state.path().display());
        return Ok(());
    };
    if !yes {
        let path = state.path().display();
        let question =
            format!("This removes every guest, disk, image, object and network of the cloud in {path}.");
        let otherwise = "nobody is there to ask: `hanse reset --yes` removes everything without asking";
        if !confirm(&question, otherwise)? {
            tell!("Nothing was removed.");
            return Ok(());
        }
    }
    let progress = Progress::start(cx);
    end_processes(cx, &state, &progress)?;
    // Without the user there is nothing that ran as it.
    if user::find(&config.user.0)?.is_some() {
        let ended = with_drivers(config, &state, &cloud, async |drivers| {
            let ended = machine::end_guests(drivers.hypervisor.as_ref(), true).await?;
            drivers.network.teardown().await?;
            Ok(ended)
        })?;
        progress.done(cx, &format!("removed {ended} guests and the network"));
    }
    objects::remove(config, &state)?;
    // The file that makes the directory a cloud goes last, so that a reset that was cut off can be run again.
    for entry in std::fs::read_dir(state.path()).context("cannot read the state directory")? {
        let path = entry.context("cannot read the state directory")?.path();
        if path == state.cloud_file() {
            continue;
        }
        let removed =
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.context(format!("cannot remove {}", path.display()))?;
    }
    if cloud.made_user {
        user::remove(&config.user.0)?;
    }
    std::fs::remove_file(state.cloud_file()).context("cannot remove cloud.json")?;
    std::fs::remove_dir(state.path()).context("cannot remove the state directory")?;
    progress.done(cx, &format!("removed {}", state.path().display()));
    Ok(())
}

/// Asks whether to do what `question` says. `otherwise` is what to say if nobody is there to answer.
///
/// # Errors
/// If there is no terminal.
pub fn confirm(question: &str, otherwise: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::bad_request(otherwise.to_owned()));
    }
    print!("{question} Type `yes`: ");
    std::io::stdout().flush().context("cannot ask")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    Ok(answer.trim() == "yes")
}
