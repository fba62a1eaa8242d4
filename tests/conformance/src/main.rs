//! Runs what others wrote against a cloud of its own, and prints what came out. `make conformance-identity` and
//! `make bench-keystone` call it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use hanse_conformance_tests::{CONFIG, bench, keystone, tempest};
use hanse_e2e::Cloud;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(
    name = "hanse-conformance",
    about = "Runs Tempest and compares with Keystone, on clouds of its own; needs root",
    max_term_width = 100
)]
struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Tempest's tests of a service; fails if something becomes of one of them that is not expected
    Tempest {
        #[arg(long, default_value = "identity")]
        suite: SuiteName,
        /// Only tests whose names match this regular expression
        #[arg(long, value_name = "REGEX")]
        only: Option<String>,
        /// Where the results go as JSON
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    /// The same calls of Keystone and of Hanse; fails if they answer differently without an intention
    Compare {
        /// Only this file of calls; may be given more than once
        #[arg(long, value_name = "AREA")]
        only: Vec<String>,
        /// Where all answers go as JSON
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    /// What tokens and logins cost Hanse (HANSE_BINARY) and Keystone, in turns
    Bench,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SuiteName {
    Identity,
    ObjectStorage,
}

fn main() -> ExitCode {
    match run(Options::parse().what) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(what: What) -> Result<()> {
    if !hanse_conformance_tests::possible() {
        bail!("something is missing: see above");
    }
    end_children_when_told_to_end()?;
    let config = if matches!(what, What::Tempest { .. }) { tempest::CONFIG } else { CONFIG };
    let cloud = Cloud::new("conformance", config);
    cloud.hanse_ok(&["up"]);
    match what {
        What::Tempest { suite, only, report } => {
            let is_identity = suite == SuiteName::Identity;
            let suite = if is_identity { tempest::IDENTITY } else { tempest::OBJECT_STORAGE };
            let run = tempest::run(&cloud, &suite, only.as_deref().unwrap_or(suite.pattern))?;
            println!("| tests | listed | executed | passed | failed | skipped | not offered |");
            println!("| --- | --- | --- | --- | --- | --- | --- |");
            println!("{}", run.row(suite.name));
            if is_identity {
                println!("{}", run.only(&tempest::scs_identity()?).row("of these in SCS-0128"));
            }
            println!("\n{}\n```ini\n{}\n```", run.remarks(), run.config);
            if let Some(report) = report {
                std::fs::write(report, serde_json::to_vec_pretty(&run.outcomes)?)?;
            }
            match run.surprises() {
                surprises if surprises.is_empty() => Ok(()),
                surprises => bail!("not as expected:\n{surprises}"),
            }
        }
        What::Compare { only, report } => {
            print!("{}", keystone::compare(&cloud, report.as_deref(), &only)?);
            Ok(())
        }
        What::Bench => {
            println!("{}", bench::run(&cloud)?);
            Ok(())
        }
    }
}

/// Being interrupted must not leave a cloud behind: what runs for us ends, so our work fails, and the cloud is dropped.
fn end_children_when_told_to_end() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                for child in children() {
                    let _ = kill(Pid::from_raw(child), Signal::SIGTERM);
                }
            }
        });
    });
    Ok(())
}

/// The processes that this one has started.
fn children() -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}
