//! Names of interfaces and namespaces. A Linux interface name has at most 15 bytes, so ids are cut to eleven
//! hexadecimal digits; `plan` refuses the second of two objects whose cut ids are equal.

use hanse_core::{Error, Result, Uuid};
use hanse_node::documents::MacAddress;

/// The interface that the guest behind this port plugs into.
pub fn tap_name(port_id: Uuid) -> String {
    format!("tap{}", short(port_id))
}

/// The bridge of a switch.
pub fn bridge(switch_id: Uuid) -> String {
    format!("br{}", short(switch_id))
}

/// The two ends of a router's leg: on the bridge, and in the router.
pub fn leg(port_id: Uuid, gateway: bool) -> (String, String) {
    let inner = if gateway { "gw" } else { "in" };
    (format!("rp{}", short(port_id)), format!("{inner}{}", short(port_id)))
}

/// Where a network's DHCP and metadata service hangs on its bridge.
pub fn service(switch_id: Uuid) -> String {
    format!("sv{}", short(switch_id))
}

/// The other end of [`service`]; it is alone in its namespace.
pub const SERVICE_INNER: &str = "eth0";

/// A locally administered address that depends on the switch alone, so that it outlives a rebuilt service.
pub fn service_mac(switch_id: Uuid) -> MacAddress {
    let id = switch_id.as_bytes();
    MacAddress([0x02, id[0], id[1], id[2], id[3], id[4]])
}

/// The first eleven hexadecimal digits.
pub fn short(id: Uuid) -> String {
    let mut text = id.simple().to_string();
    text.truncate(11);
    text
}

/// What stands for a port in packet marks; zero means "no port".
pub fn mark(port_id: Uuid) -> u32 {
    let id = port_id.as_bytes();
    u32::from_be_bytes([id[0], id[1], id[2], id[3]])
}

/// The names of one cloud, told from those of every other on the same host by the cloud's id.
#[derive(Clone, Debug)]
pub struct CloudNames {
    /// The namespace of bridges and taps; also what all its other namespaces start with.
    pub namespace: String,
    /// The end of the one veth that is on the host.
    pub host_veth: String,
    /// Its other end, on the bridge of the external network.
    pub cloud_veth: String,
    /// The one nft table on the host.
    pub host_table: String,
}

impl CloudNames {
    /// # Errors
    /// 400 unless `cloud` is 6 to 8 lower-case hexadecimal digits.
    pub fn new(cloud: &str) -> Result<CloudNames> {
        let hex = cloud.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !hex || !(6..=8).contains(&cloud.len()) {
            return Err(Error::bad_request(format!(
                "the cloud id '{cloud}' must be 6 to 8 lower-case hexadecimal digits"
            )));
        }
        Ok(CloudNames {
            namespace: format!("hanse-{cloud}"),
            host_veth: format!("hn{cloud}"),
            cloud_veth: format!("hx{cloud}"),
            host_table: format!("hanse_{cloud}"),
        })
    }

    pub fn router(&self, router_id: Uuid) -> String {
        format!("{}-r{}", self.namespace, short(router_id))
    }

    pub fn service(&self, switch_id: Uuid) -> String {
        format!("{}-s{}", self.namespace, short(switch_id))
    }

    /// Whether a namespace of this name belongs to the cloud.
    pub fn owns(&self, namespace: &str) -> bool {
        namespace.strip_prefix(&self.namespace).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_name_fits_fifteen_bytes() {
        let id = Uuid::from_u128(u128::MAX);
        let names = CloudNames::new("01234567").unwrap();
        let (outer, inner) = leg(id, true);
        for name in [
            tap_name(id),
            bridge(id),
            outer,
            inner,
            service(id),
            names.host_veth.clone(),
            names.cloud_veth.clone(),
        ] {
            assert!(name.len() <= 15, "{name}");
        }
        assert_eq!(tap_name(id), "tapfffffffffff");
    }

    #[test]
    fn a_cloud_owns_its_namespaces_and_no_other_clouds() {
        let names = CloudNames::new("abcdef").unwrap();
        assert!(names.owns("hanse-abcdef"));
        assert!(names.owns(&names.router(Uuid::nil())));
        assert!(!names.owns("hanse-abcdef0"));
        assert!(!names.owns("hanse-abcdef0-r00000000000"));
        for wrong in ["", "abcde", "ABCDEF", "012345678", "../../x", "ghijkl"] {
            assert!(CloudNames::new(wrong).is_err(), "{wrong}");
        }
    }
}
