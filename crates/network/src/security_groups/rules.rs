//! The rules of security groups: what they may say, and when two say the same.

use hanse_core::{Cx, Error, Kind, Result, Uuid, check_text};
use hanse_policy::{Caller, Scope, Target};
use hanse_web::Params;
use hanse_work::wake;

use crate::addresses::parse_network;
use crate::db::security_groups as db;
use crate::error::{Noun, invalid, named};
use crate::listing::{Found, Listing};
use crate::model::{Direction, EtherType, RuleRow};
use crate::quotas::{Resource, claim};
use crate::reconcile::SECURITY_GROUPS;
use crate::{Network, verbs};

/// The protocols that Neutron knows by name, with their IANA numbers.
const PROTOCOLS: &[(&str, u8)] = &[
    ("ah", 51),
    ("dccp", 33),
    ("egp", 8),
    ("esp", 50),
    ("gre", 47),
    ("icmp", 1),
    ("icmpv6", 58),
    ("igmp", 2),
    ("ipip", 4),
    ("ipv6-encap", 41),
    ("ipv6-frag", 44),
    ("ipv6-icmp", 58),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("ipv6-route", 43),
    ("ospf", 89),
    ("pgm", 113),
    ("rsvp", 46),
    ("sctp", 132),
    ("tcp", 6),
    ("udp", 17),
    ("udplite", 136),
    ("vrrp", 112),
];

const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;

/// A rule as a client wrote it.
#[derive(Clone, Debug, Default)]
pub struct NewRule {
    pub security_group_id: String,
    pub direction: String,
    pub ethertype: Option<String>,
    pub protocol: Option<String>,
    pub port_range_min: Option<i64>,
    pub port_range_max: Option<i64>,
    pub remote_ip_prefix: Option<String>,
    pub remote_group_id: Option<String>,
    pub description: String,
}

/// What is left of a rule once it has been checked, but for its ids.
#[derive(Debug)]
struct Checked {
    direction: Direction,
    ethertype: EtherType,
    protocol: Option<String>,
    ports: (Option<u32>, Option<u32>),
    prefix: Option<ipnet::IpNet>,
}

impl RuleRow {
    /// The IANA number of the protocol; `icmp` in an IPv6 rule is ICMPv6.
    pub fn protocol_number(&self) -> Option<u8> {
        let number = self.protocol.as_deref().and_then(protocol_number)?;
        Some(if number == ICMP && self.ethertype == EtherType::Ipv6 { ICMP_V6 } else { number })
    }

    /// What the rule matches, in one spelling: `tcp` and `6` are the same, and so are 10.0.0.1/8 and 10.0.0.0/8.
    pub fn meaning(&self) -> String {
        fn part(value: Option<impl ToString>) -> String {
            value.map_or_else(|| "-".to_owned(), |value| value.to_string())
        }
        [
            self.direction.as_str().to_owned(),
            self.ethertype.as_str().to_owned(),
            part(self.protocol_number()),
            part(self.port_range_min),
            part(self.port_range_max),
            part(self.remote_ip_prefix.map(|prefix| prefix.trunc())),
            part(self.remote_group_id),
        ]
        .join(" ")
    }
}

fn protocol_number(text: &str) -> Option<u8> {
    let known = PROTOCOLS.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    known.or_else(|| text.parse().ok())
}

fn refuse(name: &'static str, message: impl Into<String>) -> Error {
    named(Kind::BadRequest, name, message)
}

/// At most so much of what a client wrote goes into a message.
fn quoted(text: &str) -> String {
    text.chars().take(64).collect()
}

fn check(new: &NewRule) -> Result<Checked> {
    check_text("description", &new.description, hanse_core::NAME_MAX)?;
    let direction = match new.direction.as_str() {
        "ingress" => Direction::Ingress,
        "egress" => Direction::Egress,
        other => {
            return Err(invalid(format!(
                "Invalid input for direction. Reason: '{}' is not in ['ingress', 'egress'].",
                quoted(other)
            )));
        }
    };
    let ethertype = match new.ethertype.as_deref().unwrap_or("IPv4").to_ascii_lowercase().as_str() {
        "ipv4" => EtherType::Ipv4,
        "ipv6" => EtherType::Ipv6,
        other => {
            return Err(invalid(format!(
                "Invalid input for ethertype. Reason: '{}' is not in ['IPv4', 'IPv6'].",
                quoted(other)
            )));
        }
    };
    let protocol = match new.protocol.as_deref().map(str::to_ascii_lowercase) {
        None => None,
        Some(any) if any.is_empty() || any == "any" => None,
        Some(known) if protocol_number(&known).is_some() => Some(known),
        Some(unknown) => {
            return Err(refuse(
                "SecurityGroupRuleInvalidProtocol",
                format!(
                    "Security group rule protocol {} not supported. Give a name or a number from 0 to 255.",
                    quoted(&unknown)
                ),
            ));
        }
    };
    let number = protocol.as_deref().and_then(protocol_number);
    if ethertype == EtherType::Ipv4
        && number.is_some_and(|number| [41, 43, 44, ICMP_V6, 59, 60].contains(&number))
    {
        return Err(refuse(
            "SecurityGroupEthertypeConflictWithProtocol",
            "Invalid ethertype IPv4 for protocol: it exists in IPv6 only.",
        ));
    }
    let ports = check_ports(number, new.port_range_min, new.port_range_max)?;
    if new.remote_group_id.is_some() && new.remote_ip_prefix.is_some() {
        return Err(refuse(
            "SecurityGroupRemoteGroupAndRemoteIpPrefix",
            "Only remote_ip_prefix or remote_group_id may be provided.",
        ));
    }
    let prefix = match new.remote_ip_prefix.as_deref() {
        None => None,
        Some(text) => Some(parse_network(text).ok_or_else(|| {
            invalid(format!(
                "Invalid input for remote_ip_prefix. Reason: '{}' is not a valid IP subnet.",
                quoted(text)
            ))
        })?),
    };
    if let Some(prefix) = prefix
        && prefix.addr().is_ipv4() != (ethertype == EtherType::Ipv4)
    {
        return Err(refuse(
            "SecurityGroupRuleParameterConflict",
            format!("Conflicting value ethertype {} for CIDR {prefix}", ethertype.as_str()),
        ));
    }
    Ok(Checked { direction, ethertype, protocol, ports, prefix })
}

fn check_ports(
    protocol: Option<u8>,
    min: Option<i64>,
    max: Option<i64>,
) -> Result<(Option<u32>, Option<u32>)> {
    if min.is_none() && max.is_none() {
        return Ok((None, None));
    }
    let narrow = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
    match protocol {
        None => Err(refuse(
            "SecurityGroupProtocolRequiredWithPorts",
            "Must also specify protocol if port range is given.",
        )),
        // tcp, udp, dccp, sctp, udplite
        Some(6 | 17 | 33 | 132 | 136) => {
            for port in [min, max].into_iter().flatten() {
                if !(1..=65535).contains(&port) {
                    return Err(refuse(
                        "SecurityGroupInvalidPortValue",
                        format!("Invalid value for port {port}"),
                    ));
                }
            }
            match (min, max) {
                (Some(low), Some(high)) if low <= high => Ok((narrow(min), narrow(max))),
                _ => Err(refuse(
                    "SecurityGroupInvalidPortRange",
                    "For TCP/UDP protocols, port_range_min must be <= port_range_max",
                )),
            }
        }
        Some(ICMP | ICMP_V6) => {
            for (field, value) in [("type", min), ("code", max)] {
                if let Some(value) = value.filter(|value| !(0..=255).contains(value)) {
                    return Err(refuse(
                        "SecurityGroupInvalidIcmpValue",
                        format!(
                            "Invalid value for ICMP {field} (port-range-{}) {value}. It must be 0 to 255.",
                            if field == "type" { "min" } else { "max" }
                        ),
                    ));
                }
            }
            if min.is_none() {
                return Err(refuse(
                    "SecurityGroupMissingIcmpType",
                    format!(
                        "ICMP code (port-range-max) {} is provided but ICMP type (port-range-min) is missing.",
                        max.unwrap_or_default()
                    ),
                ));
            }
            Ok((narrow(min), narrow(max)))
        }
        Some(_) => Err(refuse(
            "SecurityGroupInvalidProtocolForPort",
            "Invalid protocol for port range, must be one of tcp, udp, sctp, dccp, udplite, icmp, icmpv6.",
        )),
    }
}

pub async fn list(network: &Network, caller: &Caller, params: &Params) -> Result<Found<RuleRow>> {
    let scope = caller.scope(verbs::SHOW_RULE)?;
    let listing = Listing::parse(&db::RULES, params)?;
    db::list_rules(&mut network.db.read().await?, &scope, &listing).await
}

pub async fn show(network: &Network, caller: &Caller, id: &str) -> Result<RuleRow> {
    let (scope, id) = (caller.scope(verbs::SHOW_RULE)?, Noun::Rule.id(id)?);
    let found = db::show_rule(&mut network.db.read().await?, &scope, id).await?;
    found.ok_or_else(|| Noun::Rule.missing(id))
}

pub async fn create(network: &Network, cx: &Cx, caller: &Caller, new: &[NewRule]) -> Result<Vec<RuleRow>> {
    let scope = &caller.scope(verbs::SHOW_SECURITY_GROUP)?;
    let mut rows = Vec::new();
    for new in new {
        let checked = check(new)?;
        let group = super::show(network, caller, &new.security_group_id).await?;
        let remote_group_id =
            new.remote_group_id.as_deref().map(|id| Noun::SecurityGroup.id(id)).transpose()?;
        rows.push(RuleRow {
            id: cx.uuid(),
            security_group_id: group.standard.id,
            project_id: group.standard.project_id,
            description: new.description.clone(),
            direction: checked.direction,
            ethertype: checked.ethertype,
            protocol: checked.protocol,
            port_range_min: checked.ports.0,
            port_range_max: checked.ports.1,
            remote_ip_prefix: checked.prefix,
            remote_group_id,
            created_at: cx.now(),
        });
    }
    let project = one_project(rows.iter().map(|row| row.project_id.as_str()))?;
    let ids: Vec<String> = rows.iter().map(|row| row.id.to_string()).collect();
    let target = Target::new(ids.join(",")).in_project(&project);
    let grant = &caller.authorize(cx, verbs::CREATE_RULE, target)?;
    let (rows, project) = (&rows, &project);
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                claim(tx, project, Resource::Rule, rows.len()).await?;
                for row in rows {
                    let named: Vec<Uuid> =
                        [row.security_group_id].into_iter().chain(row.remote_group_id).collect();
                    let known = db::known(tx, scope, &named).await?;
                    if let Some(missing) = named.iter().find(|id| !known.contains(id)) {
                        return Err(Noun::SecurityGroup.missing(missing));
                    }
                    db::insert_rule(tx, grant, row).await?;
                    wake(tx, cx, SECURITY_GROUPS, &row.security_group_id.to_string()).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(rows.clone())
}

/// What a bulk request makes belongs to one project, for that is whom it is granted to.
///
/// # Errors
/// 400 if there are several, or none.
pub fn one_project<'p>(mut projects: impl Iterator<Item = &'p str>) -> Result<String> {
    let first = projects.next().ok_or_else(|| invalid("The request makes nothing."))?;
    match projects.all(|other| other == first) {
        true => Ok(first.to_owned()),
        false => Err(invalid("All objects of a bulk request must belong to one project.")),
    }
}

pub async fn delete(network: &Network, cx: &Cx, caller: &Caller, id: &str) -> Result<()> {
    let known = show(network, caller, id).await?;
    let target = Target::new(known.id).in_project(&known.project_id);
    let grant = &caller.authorize(cx, verbs::DELETE_RULE, target)?;
    network
        .db
        .write(cx, grant, |tx| {
            Box::pin(async move {
                let id = crate::db::target(grant)?;
                let rule = db::show_rule(tx, &Scope::All, id).await?.ok_or_else(|| Noun::Rule.missing(id))?;
                db::delete_rule(tx, grant).await?;
                wake(tx, cx, SECURITY_GROUPS, &rule.security_group_id.to_string()).await
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(protocol: &str, min: Option<i64>, max: Option<i64>) -> NewRule {
        NewRule {
            direction: "ingress".to_owned(),
            protocol: (!protocol.is_empty()).then(|| protocol.to_owned()),
            port_range_min: min,
            port_range_max: max,
            ..NewRule::default()
        }
    }

    #[test]
    fn ports_are_checked_in_the_words_of_neutron() {
        for (protocol, min, max, words) in [
            ("tcp", Some(-16), Some(80), "Invalid value for port -16"),
            ("tcp", Some(80), Some(79), "port_range_min must be <= port_range_max"),
            ("tcp", Some(80), Some(65536), "Invalid value for port 65536"),
            ("tcp", None, Some(6), "port_range_min must be <= port_range_max"),
            ("17", Some(0), Some(6), "Invalid value for port 0"),
            ("icmp", Some(1), Some(256), "Invalid value for ICMP code"),
            ("icmp", Some(-1), Some(25), "Invalid value"),
            ("icmp", Some(300), Some(1), "Invalid value for ICMP type"),
            ("icmp", None, Some(6), "ICMP type (port-range-min) is missing"),
            ("", Some(1), Some(2), "specify protocol"),
            ("gre", Some(1), Some(2), "Invalid protocol for port range"),
            ("256", None, None, "not supported"),
            ("tpc", None, None, "not supported"),
            ("icmpv6", None, None, "Invalid ethertype"),
        ] {
            let error = check(&rule(protocol, min, max)).unwrap_err();
            assert_eq!(error.kind(), Kind::BadRequest);
            assert!(error.message().contains(words), "{protocol} {min:?} {max:?}: {}", error.message());
        }
        for (protocol, min, max) in [
            ("tcp", Some(1), Some(65535)),
            ("6", None, None),
            ("any", None, None),
            ("icmp", Some(8), None),
            ("0", None, None),
        ] {
            check(&rule(protocol, min, max)).unwrap();
        }
    }

    #[test]
    fn a_remote_is_one_thing_of_the_right_family() {
        let with = |prefix: &str, ethertype: &str| {
            let new = NewRule {
                remote_ip_prefix: Some(prefix.to_owned()),
                ethertype: Some(ethertype.to_owned()),
                ..rule("", None, None)
            };
            check(&new).map(|checked| checked.prefix.map(|prefix| prefix.to_string()))
        };
        assert_eq!(with("10.0.0.1/8", "IPv4").unwrap().as_deref(), Some("10.0.0.1/8"));
        assert_eq!(with("10.0.0.1", "ipv4").unwrap().as_deref(), Some("10.0.0.1/32"));
        assert_eq!(with("2001:db8::/32", "IPv6").unwrap().as_deref(), Some("2001:db8::/32"));
        for (prefix, ethertype) in [
            ("192.168.1./24", "IPv4"),
            ("192.168.1.1/33", "IPv4"),
            ("bad_prefix", "IPv4"),
            ("256", "IPv4"),
            ("10.0.0.0/8", "IPv6"),
            ("::/0", "IPv4"),
            ("10.0.0.0/8", "IPX"),
        ] {
            assert_eq!(with(prefix, ethertype).unwrap_err().kind(), Kind::BadRequest, "{prefix} {ethertype}");
        }
    }
}
