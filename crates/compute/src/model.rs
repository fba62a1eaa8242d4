//! A server: what the user wants, what was observed, and where it is in its life.

use std::collections::BTreeMap;
use std::time::Duration;

use hanse_core::{Error, Result, Timestamp, Uuid};
use hanse_node::documents::{DiskFormat, ImageRef, Power, Reboots};

use crate::ports::{PlannedNic, VolumeUse};

/// The one availability zone.
pub const ZONE: &str = "nova";

/// How long a guest has to shut itself down.
pub const GRACE_SECONDS: u32 = 60;

#[derive(Clone, Debug, PartialEq)]
pub struct Flavor {
    pub id: String,
    pub created_at: Timestamp,
    pub name: String,
    pub vcpus: u32,
    /// MiB
    pub ram: u64,
    /// GiB of the root disk; 0 for as large as the image.
    pub disk: u32,
    pub extra_specs: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keypair {
    pub user_id: String,
    pub name: String,
    pub created_at: Timestamp,
    /// One line in OpenSSH's format.
    pub public_key: String,
    /// MD5, as Nova has it.
    pub fingerprint: String,
}

/// Where a server is in its life. The second row are transitions: each has a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Active,
    /// Switched off, by its user or by itself.
    Stopped,
    Error,

    Building,
    Starting,
    Stopping,
    /// Through the guest's own shutdown.
    Rebooting,
    /// By the reset button.
    HardRebooting,
    Deleting,
}

impl State {
    pub const EACH: [State; 9] = [
        State::Active,
        State::Stopped,
        State::Error,
        State::Building,
        State::Starting,
        State::Stopping,
        State::Rebooting,
        State::HardRebooting,
        State::Deleting,
    ];

    /// As it stands in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Stopped => "stopped",
            State::Error => "error",
            State::Building => "building",
            State::Starting => "starting",
            State::Stopping => "stopping",
            State::Rebooting => "rebooting",
            State::HardRebooting => "hard_rebooting",
            State::Deleting => "deleting",
        }
    }

    pub fn parse(text: &str) -> Result<State> {
        let known = State::EACH.into_iter().find(|state| state.as_str() == text);
        known.ok_or_else(|| Error::internal(format!("a server in the unknown state '{text}'")))
    }

    /// What clients poll.
    pub fn status(self) -> &'static str {
        match self {
            State::Active | State::Stopping | State::Deleting => "ACTIVE",
            State::Stopped | State::Starting => "SHUTOFF",
            State::Error => "ERROR",
            State::Building => "BUILD",
            State::Rebooting => "REBOOT",
            State::HardRebooting => "HARD_REBOOT",
        }
    }

    pub fn vm_state(self) -> &'static str {
        match self {
            State::Active | State::Stopping | State::Rebooting | State::HardRebooting | State::Deleting => {
                "active"
            }
            State::Stopped | State::Starting => "stopped",
            State::Error => "error",
            State::Building => "building",
        }
    }

    pub fn task_state(self) -> Option<&'static str> {
        match self {
            State::Active | State::Stopped | State::Error => None,
            State::Building => Some("spawning"),
            State::Starting => Some("powering-on"),
            State::Stopping => Some("powering-off"),
            State::Rebooting => Some("rebooting"),
            State::HardRebooting => Some("rebooting_hard"),
            State::Deleting => Some("deleting"),
        }
    }

    /// libvirt's numbers: 0 unknown, 1 running, 4 off.
    pub fn power_state(self) -> u8 {
        match self {
            State::Active | State::Stopping | State::Rebooting | State::HardRebooting => 1,
            State::Stopped | State::Starting => 4,
            State::Error | State::Building | State::Deleting => 0,
        }
    }

    /// How long a transition may take before the server is in error. A deletion goes on for as long as it takes: its node
    /// may be away.
    pub fn deadline(self) -> Option<Duration> {
        match self {
            State::Active | State::Stopped | State::Error | State::Deleting => None,
            State::Building => Some(Duration::from_secs(3600)),
            State::Starting | State::Stopping | State::Rebooting | State::HardRebooting => {
                Some(Duration::from_secs(600))
            }
        }
    }
}

/// Whether the guest shall run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Running,
    Stopped,
}

impl Wanted {
    pub fn as_str(self) -> &'static str {
        match self {
            Wanted::Running => "running",
            Wanted::Stopped => "stopped",
        }
    }

    pub fn parse(text: &str) -> Result<Wanted> {
        match text {
            "running" => Ok(Wanted::Running),
            "stopped" => Ok(Wanted::Stopped),
            _ => Err(Error::internal(format!("a server with the unknown power '{text}'"))),
        }
    }

    pub fn power(self) -> Power {
        match self {
            Wanted::Running => Power::Running,
            Wanted::Stopped => Power::Stopped { grace_seconds: GRACE_SECONDS },
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    pub id: Uuid,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub project_id: String,
    pub user_id: String,
    pub name: String,
    pub hostname: String,
    pub state: State,
    pub state_since: Timestamp,
    /// Why it is in error.
    pub state_reason: Option<String>,
    pub wanted: Wanted,
    pub reboots: Reboots,
    pub launched_at: Option<Timestamp>,
    /// None if no node had room.
    pub node: Option<String>,
    pub flavor_id: String,
    pub flavor_name: String,
    pub vcpus: u32,
    pub memory_mib: u64,
    pub root_bytes: u64,
    pub image_id: Uuid,
    pub image: ImageRef,
    pub key_name: Option<String>,
    pub public_key: Option<String>,
    /// Encrypted.
    pub user_data: Option<Vec<u8>>,
    pub metadata: BTreeMap<String, String>,
    pub nics: Vec<PlannedNic>,
    pub config_drive: bool,
    pub disk_config: String,
    pub access_ipv4: String,
    pub access_ipv6: String,
    pub reservation_id: String,
    pub launch_index: u32,
}

pub fn parse_format(text: &str) -> Result<DiskFormat> {
    match text {
        "raw" => Ok(DiskFormat::Raw),
        "qcow2" => Ok(DiskFormat::Qcow2),
        _ => Err(Error::internal(format!("a server whose image has the unknown format '{text}'"))),
    }
}

/// A volume of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// What the volume is promised under; used once.
    pub id: Uuid,
    pub volume_id: Uuid,
    pub server_id: Uuid,
    pub device: String,
    pub state: AttachmentState,
}

impl Attachment {
    /// What is asked of the volume's keeper.
    pub fn of(&self, server: &Server, node: &str) -> VolumeUse {
        VolumeUse {
            attachment_id: self.id,
            volume_id: self.volume_id,
            server_id: server.id,
            project_id: server.project_id.clone(),
            node: node.to_owned(),
            device: self.device.clone(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachmentState {
    /// The volume is being asked for, and may be refused.
    Reserving,
    /// It is ours, and on its way into the guest.
    Attaching,
    Attached,
    Detaching,
}

impl AttachmentState {
    pub fn as_str(self) -> &'static str {
        match self {
            AttachmentState::Reserving => "reserving",
            AttachmentState::Attaching => "attaching",
            AttachmentState::Attached => "attached",
            AttachmentState::Detaching => "detaching",
        }
    }

    pub fn parse(text: &str) -> Result<AttachmentState> {
        use AttachmentState::{Attached, Attaching, Detaching, Reserving};
        [Reserving, Attaching, Attached, Detaching]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Error::internal(format!("an attachment in the unknown state '{text}'")))
    }
}
