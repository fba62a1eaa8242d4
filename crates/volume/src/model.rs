//! The rows of the tables.

use std::collections::BTreeMap;

use hanse_core::{Error, Kind, Result, Timestamp, Uuid};
use hanse_node::documents::{Disk, Spec};

/// The only availability zone.
pub const ZONE: &str = "nova";

/// What a volume is up to, as clients read it (`status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The node makes the disk.
    Creating,
    Available,
    /// Promised to a server.
    Attaching,
    InUse,
    /// The node makes the disk larger.
    Extending,
    /// The node removes the disk.
    Deleting,
    Error,
    ErrorExtending,
    ErrorDeleting,
    /// An admin keeps users away from it.
    Maintenance,
}

const STATES: &[(State, &str)] = &[
    (State::Creating, "creating"),
    (State::Available, "available"),
    (State::Attaching, "attaching"),
    (State::InUse, "in-use"),
    (State::Extending, "extending"),
    (State::Deleting, "deleting"),
    (State::Error, "error"),
    (State::ErrorExtending, "error_extending"),
    (State::ErrorDeleting, "error_deleting"),
    (State::Maintenance, "maintenance"),
];

impl State {
    pub fn as_str(self) -> &'static str {
        STATES.iter().find(|(state, _)| *state == self).map_or("error", |(_, name)| name)
    }

    pub(crate) fn parse(text: &str) -> Option<State> {
        STATES.iter().find(|(_, name)| *name == text).map(|(state, _)| *state)
    }

    /// Whether the node has something to do.
    pub(crate) fn is_moving(self) -> bool {
        matches!(self, State::Creating | State::Extending | State::Deleting)
    }
}

pub(crate) type Metadata = BTreeMap<String, String>;

#[derive(Clone, Debug)]
pub(crate) struct VolumeRow {
    pub(crate) id: Uuid,
    pub(crate) project_id: String,
    pub(crate) user_id: String,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    /// GiB that the disk has.
    pub(crate) size: u32,
    /// GiB that it shall have.
    pub(crate) wanted_size: u32,
    pub(crate) state: State,
    /// For the operator: why it is in error.
    pub(crate) state_reason: Option<String>,
    /// None if no node had room for it.
    pub(crate) node: Option<String>,
    pub(crate) availability_zone: String,
    pub(crate) metadata: Metadata,
    pub(crate) bootable: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Option<Timestamp>,
}

impl VolumeRow {
    /// The disk as the node shall have it.
    pub(crate) fn spec(&self) -> Spec {
        Spec::Disk(Disk { size_bytes: u64::from(self.wanted_size) << 30, image: None })
    }
}

/// A volume and a server. There is none without the other being told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub id: Uuid,
    pub volume_id: Uuid,
    pub server_id: Uuid,
    /// `/dev/vdb`
    pub device: Option<String>,
    /// None while the volume is only reserved for the server.
    pub attached_at: Option<Timestamp>,
}

/// 404 in Cinder's words.
pub(crate) fn missing(id: impl std::fmt::Display) -> Error {
    Error::not_found("Volume", id)
}

/// 400 in Cinder's words.
pub(crate) fn invalid(reason: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("Invalid volume: {reason}"))
}

pub(crate) fn parse_id(text: &str) -> Result<Uuid> {
    text.parse().map_err(|_| missing(text))
}

/// 413, as Cinder says that a quota is used up.
pub(crate) fn over_quota(message: String) -> Error {
    Error::new(Kind::TooLarge, message)
}
