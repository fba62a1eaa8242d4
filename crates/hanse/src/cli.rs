//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "hanse",
    version,
    about = "A sovereign cloud in one program: identity, machines, networks and disks behind OpenStack's APIs.",
    after_help = "Begin with `hanse up`. It needs root, QEMU and nftables, and no network.",
    max_term_width = 100
)]
pub struct Cli {
    /// Configuration file [default: /etc/hanse/hanse.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE", env = "HANSE_CONFIG")]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Start the cloud on this machine; make it first if there is none
    ///
    /// Makes the state directory, the keys and the system user if they are missing, starts the control plane and the
    /// agent, and shows where everything is. Run again, it starts what does not run and changes nothing else.
    Up {
        /// Stay attached: end both processes with Ctrl-C, and when one of them ends
        #[arg(long)]
        foreground: bool,
    },
    /// Show what runs, the endpoints and the paths
    Status {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Stop the control plane and the agent; guests keep running
    Down {
        /// Shut the guests down as well
        #[arg(long)]
        guests: bool,
    },
    /// Stop the cloud and remove everything that it made: guests, disks, images, networks, keys, state
    Reset {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Check the configuration, or list every key with its default
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Run the control plane in this process (`up` does this)
    Serve,
    /// Run the agent in this process (`up` does this)
    Agent,
    /// Show the version
    Version,
}

#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Say whether the configuration is right, and what is wrong with it
    Check,
    /// Print every key with its meaning and its default
    Reference,
}
