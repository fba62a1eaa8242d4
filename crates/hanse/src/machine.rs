//! `hanse agent`: the drivers of this machine, and the process around them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hanse_core::{CrashPoints, Error, Result};
use hanse_hypervisor::{Hypervisor, qemu, sim};
use hanse_node::reports::{Hello, PROTOCOL};
use hanse_sdn::PublicRange;
use hanse_sdn::linux::{self, ExternalConfig};
use hanse_storage::Storage;
use ipnet::IpNet;

use crate::agent::{Drivers, Machine, metadata};
use crate::config::{Accelerator, Config, Driver};
use crate::process::{Role, Word, say};
use crate::state::{Cloud, Owner, State};
use crate::{logging, stop_on_signal, take_role, upkeep, user};

/// Runs the agent until it is told to stop. Guests run on. `path` is where the configuration came from, to be read again.
///
/// # Errors
/// If this is not root, there is no cloud here, or another agent runs.
pub async fn run(config: &Config, path: Option<PathBuf>) -> Result<()> {
    require_root("the agent")?;
    let state = State::at(&config.state_dir.0);
    let cloud = cloud(&state)?;
    let level = logging::start(&config.log, &state.logs(), Role::Agent.name())?;
    let _held = take_role(&state, Role::Agent)?;
    let stop = stop_on_signal()?;
    upkeep::start(vec![upkeep::log_level(path, config, level)], stop.clone())?;
    let drivers = drivers(config, &state, &cloud, CrashPoints::from_environment()).await?;
    let hello = hello(config, drivers.storage.as_ref()).await?;
    tracing::info!(node = hello.node, vcpus = hello.vcpus, memory_mib = hello.memory_mib, "agent starts");
    let machine = Machine::new(hello, drivers.clone(), &state.agent(), CrashPoints::from_environment());
    let probed = machine.clone();
    // Trying KVM may take ten seconds; nothing waits for it but the first guest.
    tokio::spawn(async move {
        match drivers.hypervisor.probe().await {
            Ok(found) => probed.accelerator(found.as_str()),
            Err(error) => tracing::error!(%error, "cannot find out what guests run on"),
        }
    });
    say(&Word::Ready);
    machine.run(&state.agent_socket(), stop).await
}

/// # Errors
/// 403 if this is not root.
pub fn require_root(what: &str) -> Result<()> {
    if nix::unistd::Uid::effective().is_root() {
        return Ok(());
    }
    Err(Error::forbidden(format!(
        "{what} needs root (it makes namespaces, taps and processes of another user): run it with sudo"
    )))
}

/// # Errors
/// 404 if there is none.
pub fn cloud(state: &State) -> Result<Cloud> {
    state.cloud()?.ok_or_else(|| {
        Error::new(
            hanse_core::Kind::NotFound,
            format!("there is no cloud in {}: `hanse up` makes one", state.path().display()),
        )
    })
}

/// The drivers that the configuration names.
///
/// # Errors
/// If one of them cannot work here.
pub async fn drivers(config: &Config, state: &State, cloud: &Cloud, crash: CrashPoints) -> Result<Drivers> {
    let owner = user::find(&config.user.0)?.ok_or_else(|| {
        Error::bad_request(format!("there is no user {}: `hanse up` makes it", config.user.0))
    })?;
    let directory = state.agent();
    match config.hypervisor.driver {
        Driver::Sim => Ok(Drivers {
            hypervisor: Arc::new(sim::Sim::new(
                sim::World::journaled(directory.join("sim/guests"))?,
                crash.clone(),
            )),
            // Keeps nothing: it is told everything with every connection.
            network: Arc::new(hanse_sdn::Sim::new(&cloud.id, public_range(config)?)?),
            storage: Arc::new(hanse_storage::Sim::journaled(&directory.join("sim/storage"), 1 << 50, crash)?),
        }),
        Driver::Qemu => Ok(Drivers {
            hypervisor: Arc::new(qemu(config, &directory, owner, crash.clone())?),
            network: Arc::new(network(config, cloud, owner, crash.clone())?),
            storage: Arc::new(files(&directory, owner, crash).await?),
        }),
    }
}

fn qemu(config: &Config, directory: &Path, owner: Owner, crash: CrashPoints) -> Result<qemu::Qemu> {
    let mut settings = qemu::Settings::new(directory.join("guests"));
    settings.owner = Some(hanse_hypervisor::Owner { uid: owner.uid, gid: owner.gid });
    settings.accelerator = match config.hypervisor.accelerator {
        Accelerator::Auto => qemu::Choice::Auto,
        Accelerator::Kvm => qemu::Choice::Kvm,
        Accelerator::Tcg => qemu::Choice::Tcg,
    };
    qemu::Qemu::new(settings, crash)
}

fn network(config: &Config, cloud: &Cloud, owner: Owner, crash: CrashPoints) -> Result<linux::Linux> {
    linux::Linux::new(linux::Config {
        cloud: cloud.id.clone(),
        external: ExternalConfig { range: public_range(config)?, uplink: config.external.uplink.clone() },
        tap_owner: linux::TapOwner { uid: owner.uid, gid: owner.gid },
        domain: "hanse.internal".to_owned(),
        metadata: Arc::new(metadata::page),
        crash,
    })
}

async fn files(directory: &Path, owner: Owner, crash: CrashPoints) -> Result<hanse_storage::Files> {
    let mut options = hanse_storage::Options::new(directory.join("storage"));
    options.owner = Some(hanse_storage::Owner { uid: owner.uid, gid: owner.gid });
    options.crash = crash;
    hanse_storage::Files::open(options).await
}

fn public_range(config: &Config) -> Result<PublicRange> {
    match (config.network.public_cidr, config.host_address()) {
        (IpNet::V4(cidr), std::net::IpAddr::V4(host_address)) => Ok(PublicRange { cidr, host_address }),
        _ => Err(Error::bad_request("network.public_cidr must be an IPv4 network")),
    }
}

/// What this machine offers. A share of its memory is left to the host.
async fn hello(config: &Config, storage: &dyn Storage) -> Result<Hello> {
    let usage = storage.usage().await?;
    let vcpus = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Hello {
        node: node_name(config)?,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL,
        vcpus: u32::try_from(vcpus).unwrap_or(u32::MAX),
        memory_mib: memory_mib()?.saturating_sub(512),
        disk_gib: usage.total_bytes >> 30,
        accelerator: Hello::UNTRIED.to_owned(),
    })
}

fn node_name(config: &Config) -> Result<String> {
    if let Some(name) = &config.node.name {
        return Ok(name.clone());
    }
    let name =
        nix::unistd::gethostname().map_err(|error| Error::internal(format!("no host name: {error}")))?;
    Ok(name.to_string_lossy().into_owned())
}

fn memory_mib() -> Result<u64> {
    let text =
        std::fs::read_to_string("/proc/meminfo").map_err(|error| Error::internal(error.to_string()))?;
    text.lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok())
        .map(|kib| kib >> 10)
        .ok_or_else(|| Error::internal("/proc/meminfo does not tell the memory"))
}

/// Shuts every guest of this machine down, or removes it with all that it has here.
///
/// # Errors
/// If one of them cannot be stopped.
pub async fn end_guests(hypervisor: &dyn Hypervisor, remove: bool) -> Result<usize> {
    let guests = hypervisor.list().await?;
    for id in &guests {
        if remove {
            hypervisor.remove(*id).await?;
        } else {
            hypervisor.stop(*id, Duration::from_secs(60)).await?;
        }
    }
    Ok(guests.len())
}
