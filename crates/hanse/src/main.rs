//! Hanse: a sovereign cloud in one program.

/// Prints a line; nobody may be reading on (`hanse status | head`).
macro_rules! tell {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

mod admin;
mod agent;
mod cli;
mod config;
mod health;
mod lifecycle;
mod logging;
mod machine;
mod objects;
mod orphans;
mod ports;
mod process;
mod s3;
mod serve;
mod state;
mod trail;
mod upkeep;
mod user;
mod webhooks;
mod wiring;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use hanse_core::{Cx, Error, Result};

use cli::{Cli, Command, ConfigCommand};
use config::Config;
use process::{Role, Word};

fn main() -> ExitCode {
    give_memory_back();
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match cli.command {
                // Whoever started them waits for their word.
                Command::Serve | Command::Agent if !std::io::stdout().is_terminal() => {
                    process::say(&Word::Failed(error.detail()));
                }
                _ => {}
            }
            eprintln!("hanse: {}", error.detail());
            ExitCode::FAILURE
        }
    }
}

/// Lets what a password hash has used (19 MiB) go back to the system.
///
/// glibc maps large blocks one by one, but when one of them is freed it takes blocks up to that size (at most 32 MiB)
/// from its arenas from then on, which keep them: three of 19 MiB in each of two arenas. Naming the size ends that.
/// What an arena has free at its end it gives back from 128 KiB on, which a large list or object takes and frees each
/// time anew: a little more may stay. It would make eight arenas for each processor, and each keeps something; two for each do as well.
/// Source: `mallopt(3)`, `M_MMAP_THRESHOLD`, `M_TRIM_THRESHOLD`, `M_ARENA_MAX`.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let arenas = libc::c_int::try_from(2 * processors).unwrap_or(libc::c_int::MAX);
        // SAFETY: they take two numbers each, and no thread exists yet.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
            libc::mallopt(libc::M_TRIM_THRESHOLD, 2 << 20);
            libc::mallopt(libc::M_ARENA_MAX, arenas);
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let path = cli.config.as_deref();
    match &cli.command {
        Command::Version => {
            tell!("hanse {}", env!("CARGO_PKG_VERSION"));
            return Ok(());
        }
        Command::Config { command: ConfigCommand::Reference } => {
            tell!("{}", config::reference().trim_end());
            return Ok(());
        }
        _ => {}
    }
    let config = Config::load(path)?;
    let cx = Cx::system();
    match &cli.command {
        Command::Version | Command::Config { command: ConfigCommand::Reference } => Ok(()),
        Command::Config { command: ConfigCommand::Check } => {
            tell!("The configuration is fine.");
            Ok(())
        }
        Command::Up { foreground } => lifecycle::up(&cx, &config, path, *foreground),
        Command::Status { json } => lifecycle::status(&cx, &config, *json),
        Command::Down { guests } => lifecycle::down(&cx, &config, *guests),
        Command::Reset { yes } => lifecycle::reset(&cx, &config, *yes),
        Command::Admin { command } => admin::run(&cx, &config, command),
        Command::S3 { command } => s3::run(&cx, &config, command),
        Command::Serve => {
            let errand = serve::read_errand()?;
            // Before any thread exists: the control plane needs no rights of root.
            if nix::unistd::Uid::effective().is_root() {
                serve::prepare(&cx, &config)?;
                user::become_user(&config.user.0)?;
            }
            runtime(processors())?.block_on(serve::run(&cx, &config, cli.config.clone(), errand))
        }
        Command::Agent => runtime(2)?.block_on(machine::run(&config, cli.config.clone())),
    }
}

/// Whoever serves all others uses the machine: two at least, so that one long step does not hold up everything.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 16)
}

fn runtime(workers: usize) -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .map_err(|error| Error::internal(format!("cannot start: {error}")))
}

/// Ends with SIGTERM or SIGINT.
fn stop_on_signal() -> Result<tokio_util::sync::CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let what = |error: std::io::Error| Error::internal(format!("cannot wait for signals: {error}"));
    let (mut term, mut int) =
        (signal(SignalKind::terminate()).map_err(what)?, signal(SignalKind::interrupt()).map_err(what)?);
    let stop = tokio_util::sync::CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("asked to stop");
        token.cancel();
    });
    Ok(stop)
}

/// The role's lock on the state directory, for the life of the process.
fn take_role(state: &state::State, role: Role) -> Result<state::Held> {
    let mut patience = 100;
    let held = loop {
        match state::hold(&role.lock_file(state), role.title()) {
            Ok(held) => break held,
            // A process that was killed holds its files until its last thread has ended.
            Err(_) if patience > 0 && process::running(state, role).is_none() => {
                patience -= 1;
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            Err(error) => return Err(error),
        }
    };
    process::note_self(state, role)?;
    Ok(held)
}
