//! What a guest learns about itself, as trees of files: the same for the config drive and for 169.254.169.254.
//!
//! Sources: Nova's metadata formats (`openstack/<date>/…`, user guide "Metadata") and the EC2 instance metadata
//! categories that cloud-init reads. Everything here is a pure function, so both ways always agree.

use std::collections::BTreeMap;

use hanse_core::Uuid;
use hanse_node::documents::GuestIdentity;
use serde_json::{Value, json};

/// Versions of the OpenStack tree that are served; what they hold is the same. `latest` is served beside them.
pub const OPENSTACK_VERSIONS: [&str; 3] = ["2015-10-15", "2017-02-22", "2018-08-27"];

/// Versions of the EC2 tree that are served, beside `latest`.
pub const EC2_VERSIONS: [&str; 1] = ["2009-04-04"];

/// Path of a file within its tree, and its content. A directory is what the paths imply.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The files of one version of the OpenStack tree: `meta_data.json`, `network_data.json`, `vendor_data.json`,
/// `vendor_data2.json` and, if the user gave any, `user_data`.
pub fn openstack(id: Uuid, identity: &GuestIdentity) -> Files {
    let mut meta_data = json!({
        "uuid": id,
        "name": identity.name,
        "hostname": identity.hostname,
        "launch_index": 0,
        "availability_zone": identity.availability_zone,
        "project_id": identity.project_id,
        "devices": [],
        "dedicated_cpus": [],
    });
    if !identity.public_keys.is_empty() {
        let key = |(name, data): (&String, &String)| json!({ "name": name, "type": "ssh", "data": data });
        meta_data["keys"] = identity.public_keys.iter().map(key).collect();
        meta_data["public_keys"] = json!(identity.public_keys);
    }
    if !identity.metadata.is_empty() {
        meta_data["meta"] = json!(identity.metadata);
    }
    let network_data = match identity.network_data.as_str() {
        "" => "{}",
        text => text,
    };
    let mut files = Files::from([
        ("meta_data.json".to_owned(), meta_data.to_string().into_bytes()),
        ("network_data.json".to_owned(), network_data.as_bytes().to_vec()),
        ("vendor_data.json".to_owned(), b"{}".to_vec()),
        ("vendor_data2.json".to_owned(), b"{}".to_vec()),
    ]);
    if let Some(user_data) = &identity.user_data {
        files.insert("user_data".to_owned(), user_data.expose().clone());
    }
    files
}

/// The files of one version of the EC2 tree: `meta-data/…` and, if the user gave any, `user-data`.
/// The HTTP service lists a directory of them by name.
pub fn ec2(id: Uuid, identity: &GuestIdentity) -> Files {
    let mut files = Files::new();
    let mut put =
        |path: &str, text: &str| files.insert(format!("meta-data/{path}"), text.as_bytes().to_vec());
    put("ami-id", "ami-00000000");
    put("ami-launch-index", "0");
    put("hostname", &identity.hostname);
    put("instance-action", "none");
    put("instance-id", &ec2_instance_id(id));
    put("instance-type", &identity.flavor);
    put("local-hostname", &identity.hostname);
    put("local-ipv4", &first_ipv4(identity).unwrap_or_default());
    put("placement/availability-zone", &identity.availability_zone);
    put("public-hostname", &identity.hostname);
    put("reservation-id", &format!("r-{}", &id.simple().to_string()[..8]));
    for (index, key) in identity.public_keys.values().enumerate() {
        put(&format!("public-keys/{index}/openssh-key"), key);
    }
    if let Some(user_data) = &identity.user_data {
        files.insert("user-data".to_owned(), user_data.expose().clone());
    }
    files
}

/// Everything on the config drive. The same identity gives the same bytes.
pub fn config_drive(id: Uuid, identity: &GuestIdentity) -> Files {
    let mut files = Files::new();
    for version in ["latest"].iter().chain(&OPENSTACK_VERSIONS) {
        for (name, content) in openstack(id, identity) {
            files.insert(format!("openstack/{version}/{name}"), content);
        }
    }
    files.insert("ec2/latest/meta-data.json".to_owned(), ec2_document(id, identity).to_string().into_bytes());
    if let Some(user_data) = &identity.user_data {
        files.insert("ec2/latest/user-data".to_owned(), user_data.expose().clone());
    }
    files
}

/// The id that EC2 tools see: `i-` and seventeen hexadecimal digits of the guest's own.
pub fn ec2_instance_id(id: Uuid) -> String {
    format!("i-{}", &id.simple().to_string()[..17])
}

/// The EC2 categories as the one document that a config drive has of them.
fn ec2_document(id: Uuid, identity: &GuestIdentity) -> Value {
    let mut document = json!({});
    for (path, content) in ec2(id, identity) {
        let Some(path) = path.strip_prefix("meta-data/") else { continue };
        let mut place = &mut document;
        for name in path.split('/') {
            place = &mut place[name];
        }
        *place = Value::from(String::from_utf8_lossy(&content));
    }
    document
}

/// The first fixed IPv4 address in `network_data.json`.
fn first_ipv4(identity: &GuestIdentity) -> Option<String> {
    let network_data: Value = serde_json::from_str(&identity.network_data).ok()?;
    let networks = network_data.get("networks")?.as_array()?;
    networks
        .iter()
        .filter_map(|network| network.get("ip_address")?.as_str())
        .find(|address| address.parse::<std::net::Ipv4Addr>().is_ok())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use hanse_core::Secret;

    use super::*;

    fn identity() -> GuestIdentity {
        GuestIdentity {
            name: "web 1".to_owned(),
            hostname: "web-1".to_owned(),
            project_id: "b3e1c0ffee".to_owned(),
            availability_zone: "nova".to_owned(),
            flavor: "SCS-1V-2".to_owned(),
            public_keys: BTreeMap::from([("laptop".to_owned(), "ssh-ed25519 AAAA me".to_owned())]),
            metadata: BTreeMap::from([("role".to_owned(), "web".to_owned())]),
            user_data: Some(Secret::new(b"#cloud-config\n".to_vec())),
            network_data:
                r#"{"links":[],"networks":[{"type":"ipv4","ip_address":"10.0.0.7"}],"services":[]}"#
                    .to_owned(),
        }
    }

    #[test]
    fn the_openstack_tree_says_who_the_guest_is() {
        let files = openstack(Uuid::from_u128(7), &identity());
        let meta_data: Value = serde_json::from_slice(&files["meta_data.json"]).unwrap();
        assert_eq!(meta_data["uuid"], "00000000-0000-0000-0000-000000000007");
        assert_eq!(meta_data["hostname"], "web-1");
        assert_eq!(meta_data["public_keys"]["laptop"], "ssh-ed25519 AAAA me");
        assert_eq!(meta_data["keys"][0]["type"], "ssh");
        assert_eq!(meta_data["meta"]["role"], "web");
        assert_eq!(files["user_data"], b"#cloud-config\n");
        assert_eq!(files["network_data.json"], identity().network_data.as_bytes());
    }

    #[test]
    fn the_ec2_tree_is_what_its_tools_look_for() {
        let files = ec2(Uuid::from_u128(7), &identity());
        assert_eq!(files["meta-data/instance-id"], b"i-00000000000000000");
        assert_eq!(files["meta-data/local-ipv4"], b"10.0.0.7");
        assert_eq!(files["meta-data/public-keys/0/openssh-key"], b"ssh-ed25519 AAAA me");
        assert_eq!(files["user-data"], b"#cloud-config\n");
    }

    #[test]
    fn a_config_drive_holds_both_trees_and_no_user_data_that_was_not_given() {
        let files = config_drive(Uuid::from_u128(7), &identity());
        assert!(files.contains_key("openstack/latest/meta_data.json"));
        assert!(files.contains_key("openstack/2018-08-27/network_data.json"));
        let ec2: Value = serde_json::from_slice(&files["ec2/latest/meta-data.json"]).unwrap();
        assert_eq!(ec2["placement"]["availability-zone"], "nova");
        assert_eq!(ec2["public-keys"]["0"]["openssh-key"], "ssh-ed25519 AAAA me");

        let files = config_drive(Uuid::from_u128(7), &GuestIdentity { user_data: None, ..identity() });
        assert!(!files.keys().any(|path| path.ends_with("user_data") || path.ends_with("user-data")));
    }
}
