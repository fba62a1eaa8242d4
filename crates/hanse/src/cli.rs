//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "hanse",
    version,
    about = "A sovereign cloud in one program: identity, machines, networks and disks behind OpenStack's APIs, objects behind S3.",
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
    /// Stop the cloud and remove everything that it made: guests, disks, images, objects, networks, keys, state
    Reset {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// What takes no account: passwords, keys, and who may do what
    ///
    /// For the operator at the machine itself, as root; the cloud may run or not.
    Admin {
        #[command(subcommand)]
        command: AdminCommand,
    },
    /// Object storage: access keys, checks, copies
    ///
    /// For the operator at the machine itself, as root; the cloud may run or not.
    S3 {
        #[command(subcommand)]
        command: S3Command,
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
pub enum AdminCommand {
    /// Make what a new cloud begins with, where it is missing: domain, roles, the user `admin`, the network `public`
    Bootstrap,
    /// Give a user a new password; all tokens of the user end
    ///
    /// Without --stdin a password is made. That of `admin` or `demo` goes into its file beside clouds.yaml, and into
    /// clouds.yaml; any other is shown once.
    ResetPassword {
        /// Name or id
        #[arg(long, default_value = "admin")]
        user: String,
        /// Name of the user's domain
        #[arg(long, default_value = "Default")]
        domain: String,
        /// Read the password from standard input, the first line of it
        #[arg(long)]
        stdin: bool,
    },
    /// Change the key that makes new tokens; tokens that are out stay good
    ///
    /// The cloud does so every day by itself. Three keys are kept: twice in short time, and older tokens end.
    RotateKeys,
    /// Read the audit trail: who did what, to what, from where, in which request
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// What is left of projects and users that are no more: servers, disks, networks, images, key pairs
    ///
    /// Deleting a project deletes nothing that is in it, as in Keystone.
    Orphans {
        #[command(subcommand)]
        command: OrphansCommand,
    },
    /// Say whether a user may do something, and through which assignments
    ///
    /// The verbs are named as OpenStack's policies name them: os_compute_api:servers:create. --verb list shows them all.
    Explain {
        /// Name or id
        #[arg(long)]
        user: String,
        /// What they want to do
        #[arg(long)]
        verb: String,
        /// Name or id of the project, domain or user it is done to or in, or `system`
        #[arg(long, default_value = "system")]
        target: String,
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
pub enum OrphansCommand {
    /// Show everything whose project or user does not exist
    List {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Delete it, in the ways of the APIs, and tell of each; asks before
    ///
    /// Kind by kind: servers, ports, floating IPs, routers, subnets, networks, security groups, volumes, images, key pairs.
    /// Servers and volumes go when their node has taken them away, for which the cloud must run. What a project that
    /// exists still needs, stays, and is told at the end. It may be ended at any time, and run again.
    Purge {
        /// Of this project only; key pairs, which are users', stay
        #[arg(long, value_name = "ID")]
        project: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Subcommand)]
pub enum AuditCommand {
    /// Print the events, oldest first, each as one line of JSON (CADF, DMTF DSP0262)
    ///
    /// The cloud may run or not. Times are ISO 8601 in UTC: 2026-11-22T17:30:00Z. The same events are served by the API,
    /// at /audit/v1/events.
    Export {
        /// From this time on [default: the oldest event]
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Before this time [default: now or, with --follow, never]
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Go on with the events that come, each about five seconds after it happened; end with Ctrl-C
        #[arg(long)]
        follow: bool,
    },
}

#[derive(Subcommand)]
pub enum S3Command {
    /// Make, list and delete access keys
    ///
    /// They are the EC2 credentials of identity: `openstack ec2 credentials create` makes the same. A key is its user's, for one
    /// project, and worth what the user may do there at the moment. Without a role there it is good for nothing.
    Keys {
        #[command(subcommand)]
        command: S3KeysCommand,
    },
    /// With Ceph's radosgw as the engine: how to configure it, and what projects use
    Radosgw {
        #[command(subcommand)]
        command: RadosgwCommand,
    },
    /// Read everything that object storage keeps and say what is damaged; the cloud must be down
    ///
    /// Ends with an error if something is. Whatever is damaged is refused to clients as damaged in any case.
    Fsck {
        /// Put an index made from the log alone in the place of the present one
        #[arg(long)]
        rebuild_index: bool,
        /// Go on without the part of the log that is lost: without this a store that has lost some takes no writes
        #[arg(long)]
        accept_loss: bool,
        /// Remove files that no record leads to; opening the store does that, too
        #[arg(long)]
        remove_orphans: bool,
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Write a consistent copy of all buckets and objects; the cloud may run or not
    ///
    /// The copy is of one moment, while everything goes on, and as sealed as the objects are: without `control/master.key` it
    /// cannot be read. Keep it with a copy of the database and the keys. One without the file `complete` is not whole.
    Backup {
        /// Where to: a directory that is empty or not there, which the user of the cloud can reach
        directory: PathBuf,
    },
    /// Put a copy in the place of the objects and check all of it; the cloud must be down
    ///
    /// What is there now has to be moved away before.
    Restore {
        /// Where `hanse s3 backup` has written it
        directory: PathBuf,
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
pub enum RadosgwCommand {
    /// Write what radosgw must be configured with, and make the user as which it asks who its clients are
    ///
    /// Three files: settings for ceph.conf, a password (mode 0600), and the certificate of the cloud's own CA. The user is
    /// `radosgw` in the project `service` with the role `service`. Run again, it has a new password.
    Config {
        /// Where to write
        directory: PathBuf,
        /// Where these files will lie on the machine of radosgw
        #[arg(long, value_name = "DIRECTORY", default_value = "/etc/ceph/hanse")]
        installed: PathBuf,
    },
    /// Show what projects use of radosgw, and what they may
    Usage {
        /// Of this project only: name or id
        #[arg(long)]
        project: Option<String>,
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
pub enum S3KeysCommand {
    /// Make a key of a user for a project, and show it with its secret, once
    Create {
        /// Name or id of the user
        #[arg(long)]
        user: String,
        /// Name or id of the project
        #[arg(long)]
        project: String,
        /// Take this access key, with the secret key from the first line of standard input [default: both are made]
        #[arg(long, value_name = "KEY")]
        access_key: Option<String>,
        /// Make what is missing: the user and the project, in the domain Default, and the role member of one on the other
        ///
        /// A user made so has a password that nobody knows; `hanse admin reset-password` sets another.
        #[arg(long)]
        new: bool,
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Show the keys there are, without their secrets
    List {
        /// Of this user only: name or id
        #[arg(long)]
        user: Option<String>,
        /// For this project only: name or id
        #[arg(long)]
        project: Option<String>,
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// End a key; it is refused within a second
    Delete {
        /// The access key
        access: String,
    },
}

#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Say whether the configuration is right, and what is wrong with it
    Check,
    /// Print every key with its meaning and its default
    Reference,
}

/// The help of every command, one after the other.
#[cfg(test)]
fn reference() -> String {
    use clap::CommandFactory;
    fn add(command: &mut clap::Command, name: &str, text: &mut String) {
        text.push_str(&format!("$ {name} --help\n{}\n", command.render_long_help()));
        let inner: Vec<String> = command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
        for inner in inner.iter().filter(|inner| *inner != "help") {
            if let Some(command) = command.find_subcommand_mut(inner) {
                add(command, &format!("{name} {inner}"), text);
            }
        }
    }
    let mut text = String::new();
    let mut command = Cli::command().term_width(100);
    command.build();
    add(&mut command, "hanse", &mut text);
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// `make docs` writes them anew.
    #[test]
    fn the_derived_documents_are_those_of_the_code() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        for (name, text) in [("hanse.toml", crate::config::reference()), ("cli.txt", super::reference())] {
            if std::env::var_os("HANSE_WRITE_DOCS").is_some() {
                std::fs::write(docs.join(name), &text).unwrap();
            }
            let kept = std::fs::read_to_string(docs.join(name)).unwrap_or_default();
            assert!(kept == text, "docs/{name} is out of date: run `make docs`");
        }
    }
}
