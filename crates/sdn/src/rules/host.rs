//! The one table on the host: whether and how public addresses get out through the host's uplink.

use std::fmt::Write;

use ipnet::Ipv4Net;

use crate::names::CloudNames;

/// Replaces the cloud's table and leaves all others alone. Without an uplink the host forwards nothing from or
/// to the cloud, even where it forwards for others.
pub fn compile(names: &CloudNames, public: Ipv4Net, uplink: Option<&str>) -> String {
    let (table, veth) = (&names.host_table, &names.host_veth);
    let mut text = remove(names);
    let _ = write!(
        text,
        "table inet {table} {{
  chain forward {{
    type filter hook forward priority 0; policy accept;
"
    );
    if let Some(uplink) = uplink {
        let _ = write!(
            text,
            "    iifname \"{veth}\" oifname \"{uplink}\" accept
    iifname \"{uplink}\" oifname \"{veth}\" accept
"
        );
    }
    let _ = write!(text, "    iifname \"{veth}\" drop\n    oifname \"{veth}\" drop\n  }}\n");
    if let Some(uplink) = uplink {
        let public = public.trunc();
        let _ = write!(
            text,
            "  chain outbound {{
    type nat hook postrouting priority 100; policy accept;
    iifname \"{veth}\" oifname \"{uplink}\" ip saddr {public} masquerade
  }}
"
        );
    }
    text.push_str("}\n");
    text
}

/// Removes the cloud's table whether or not it is there.
pub fn remove(names: &CloudNames) -> String {
    let table = &names.host_table;
    format!("table inet {table} {{}}\ndelete table inet {table}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(uplink: Option<&str>) -> String {
        compile(&CloudNames::new("abcdef").unwrap(), "172.24.4.1/24".parse().unwrap(), uplink)
    }

    #[test]
    fn without_an_uplink_the_host_forwards_nothing() {
        let text = text(None);
        assert!(text.starts_with("table inet hanse_abcdef {}\ndelete table inet hanse_abcdef\n"));
        assert!(text.contains("iifname \"hnabcdef\" drop\n    oifname \"hnabcdef\" drop"));
        assert!(!text.contains("masquerade"));
    }

    #[test]
    fn with_an_uplink_public_addresses_leave_under_the_hosts_own() {
        let text = text(Some("eth7"));
        assert!(text.contains("iifname \"hnabcdef\" oifname \"eth7\" ip saddr 172.24.4.0/24 masquerade"));
        assert!(text.contains("iifname \"eth7\" oifname \"hnabcdef\" accept"));
    }
}
