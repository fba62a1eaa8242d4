//! Neutron's own names for what goes wrong: clients read them in `NeutronError.type`.

use std::fmt;

use hanse_core::{Error, Kind, Uuid};

/// What can be asked for by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noun {
    Network,
    Subnet,
    Port,
    Router,
    FloatingIp,
    SecurityGroup,
    Rule,
}

impl Noun {
    /// 404 in Neutron's words.
    pub fn missing(self, id: impl fmt::Display) -> Error {
        let (name, message) = match self {
            Noun::Network => ("NetworkNotFound", format!("Network {id} could not be found.")),
            Noun::Subnet => ("SubnetNotFound", format!("Subnet {id} could not be found.")),
            Noun::Port => ("PortNotFound", format!("Port {id} could not be found.")),
            Noun::Router => ("RouterNotFound", format!("Router {id} could not be found")),
            Noun::FloatingIp => ("FloatingIPNotFound", format!("Floating IP {id} could not be found")),
            Noun::SecurityGroup => ("SecurityGroupNotFound", format!("Security group {id} does not exist")),
            Noun::Rule => ("SecurityGroupRuleNotFound", format!("Security group rule {id} does not exist")),
        };
        Error::new(Kind::NotFound, message).named(name)
    }

    /// Reads an id from a path or a body; what is none names nothing.
    pub fn id(self, text: &str) -> Result<Uuid, Error> {
        text.parse().map_err(|_| self.missing(text))
    }
}

/// 400 with Neutron's general name for it.
pub fn invalid(message: impl Into<String>) -> Error {
    Error::bad_request(message).named("InvalidInput")
}

/// 400 or 409 or whatever `kind` says, under Neutron's name.
pub fn named(kind: Kind, name: &'static str, message: impl Into<String>) -> Error {
    Error::new(kind, message).named(name)
}

pub fn conflict(name: &'static str, message: impl Into<String>) -> Error {
    named(Kind::Conflict, name, message)
}

/// Names an error if it is the conflict that a unique index found; any other stays what it is.
pub fn if_conflict(error: Error, name: &'static str) -> Error {
    if error.kind() == Kind::Conflict { error.named(name) } else { error }
}
