//! Measures the release binary on an empty cloud of its own and prints a Markdown table. `make bench` runs it.
//!
//! Each figure stands beside a comparison from the same run: on a shared machine the ratio says more than the time.
//! Nothing is asserted, and nothing is left behind.

mod client;
mod crush;
mod figures;
mod guests;
mod logins;
mod people;
mod process;
mod s3;
mod servers;
mod start;
mod tokens;
mod writes;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use hanse_e2e::Cloud;
use tokio::signal::unix::{SignalKind, signal};

use client::Api;
use figures::Line;

/// What is compared is done in turns, so that a noisy neighbour disturbs both alike.
const ROUNDS: usize = 5;

#[derive(Parser)]
#[command(
    name = "hanse-bench",
    about = "Measures a Hanse binary and prints a Markdown table",
    long_about = "Measures a Hanse binary (HANSE_BINARY, or the one beside this program) on empty clouds in network \
                  namespaces of their own and prints a Markdown table. Guests are measured with the real drivers, \
                  everything else with the simulated ones. Needs root; guests need QEMU and the image that \
                  `cargo xtask guest-image` builds (HANSE_GUEST_IMAGE names another). Writes on PostgreSQL are \
                  measured if HANSE_TEST_POSTGRES names a server: run it below \
                  `cargo xtask with-postgres --durable`.",
    max_term_width = 100
)]
struct Options {
    /// Measure only this; may be given more than once [default: all but rgw]
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// Leave this out; may be given more than once
    #[arg(long, value_enum, value_name = "PART")]
    skip: Vec<Part>,
    /// Of object storage, beside radosgw or alone, measure only this; may be given more than once [default: all]
    #[arg(long, value_enum, value_name = "WHAT")]
    s3: Vec<s3::Kind>,
    /// How many of the cheapest requests; of dearer things a fixed part of it is done: rescopes, logins
    /// with an application credential and validations beside a crush of logins 1/10, writes 1/50, password
    /// logins 1/500
    #[arg(long, default_value_t = 50_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: u64,
    /// How long a cloud is left alone before its memory is looked at again: once without a guest, once with one
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    idle_seconds: u64,
    /// The longest list of servers
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    servers: usize,
    /// Objects in the largest bucket that is listed, a power of ten from a thousand on
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    objects: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Time until a cloud answers, and its memory
    Start,
    /// From nothing to a guest that answers ssh, beside the same disk under QEMU alone, and the memory with a guest
    Guests,
    /// Validating and rescoping tokens, and logging in with an application credential
    Tokens,
    /// Logging in with a password
    Logins,
    /// Validating tokens while 50 clients log in with passwords
    Crush,
    /// Lists of identity with 10,000 users who hold 100,000 roles, and the memory of all these
    People,
    /// Transactions on SQLite and PostgreSQL
    Writes,
    /// Creating and listing servers
    Servers,
    /// Object storage: PUT, GET and lists, beside a bare log on the same disk
    S3,
    /// The same beside radosgw; only if it is asked for, because it fetches Ceph
    Rgw,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        let is_usual = self.only.is_empty() && part != Part::Rgw;
        (is_usual || self.only.contains(&part)) && !self.skip.contains(&part)
    }

    /// One `part`th of the requests, in each of the rounds; at least one.
    fn each_round(&self, part: u64) -> usize {
        usize::try_from(self.requests / part).unwrap_or(usize::MAX).div_ceil(ROUNDS).max(1)
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(lines) => {
            println!("{}\n\n{}", figures::circumstances(), figures::table(&lines));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// On one thread: it enters a network namespace, which other threads would not follow.
fn run(options: &Options) -> Result<Vec<Line>> {
    if !nix::unistd::geteuid().is_root() {
        bail!("hanse-bench needs root: it makes network namespaces");
    }
    if !hanse_e2e::binary().exists() {
        bail!("{} is missing: build it, or let HANSE_BINARY name another", hanse_e2e::binary().display());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Being interrupted must not leave a cloud behind; dropping the work removes it.
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            lines = measure(options) => lines,
            _ = interrupt.recv() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
        }
    })
}

async fn measure(options: &Options) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    if options.wants(Part::Start) {
        eprintln!("start and memory");
        lines.extend(start::measure(options.idle_seconds).await?);
    }
    if options.wants(Part::Guests) {
        eprintln!("guests");
        lines.extend(guests::measure(options.idle_seconds).await?);
    }
    if [Part::Tokens, Part::Logins, Part::Crush, Part::Servers].iter().any(|part| options.wants(*part)) {
        let cloud = Cloud::new("bench", start::SIM);
        cloud.hanse_ok(&["up"]);
        let api = Api::of(&cloud).await?;
        if options.wants(Part::Tokens) {
            eprintln!("tokens");
            lines.extend(tokens::measure(&api, options).await?);
        }
        if options.wants(Part::Logins) {
            eprintln!("logins");
            lines.extend(logins::measure(&api, options).await?);
        }
        if options.wants(Part::Crush) {
            eprintln!("crush");
            lines.extend(crush::measure(&api, options).await?);
        }
        if options.wants(Part::Servers) {
            eprintln!("servers");
            lines.extend(servers::measure(&api, options.servers).await?);
        }
    }
    if options.wants(Part::People) {
        eprintln!("people");
        lines.extend(people::measure().await?);
    }
    if options.wants(Part::S3) {
        eprintln!("s3");
        lines.extend(s3::measure(options).await?);
    }
    if options.wants(Part::Rgw) {
        eprintln!("s3 beside radosgw");
        lines.extend(s3::rgw::measure(options).await?);
    }
    if options.wants(Part::Writes) {
        eprintln!("writes");
        lines.extend(writes::measure(options).await?);
    }
    Ok(lines)
}
