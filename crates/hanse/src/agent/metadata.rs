//! What a guest reads at 169.254.169.254: the same trees that its config drive holds, with directories listed.

use std::collections::BTreeSet;

use hanse_core::Uuid;
use hanse_hypervisor::metadata::{EC2_VERSIONS, Files, OPENSTACK_VERSIONS, ec2, openstack};
use hanse_node::documents::GuestIdentity;

const LATEST: &str = "latest";

/// The body for a path without a slash at its end, or nothing for 404.
pub fn page(id: Uuid, identity: &GuestIdentity, path: &str) -> Option<Vec<u8>> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Some(listing(EC2_VERSIONS.iter().chain([&LATEST, &"openstack"])));
    }
    if let Some(rest) = path.strip_prefix("openstack") {
        let rest = rest.trim_start_matches('/');
        if rest.is_empty() {
            return Some(listing(OPENSTACK_VERSIONS.iter().chain([&LATEST])));
        }
        let (version, file) = rest.split_once('/').unwrap_or((rest, ""));
        let known = version == LATEST || OPENSTACK_VERSIONS.contains(&version);
        return known.then(|| find(&openstack(id, identity), file))?;
    }
    let (version, file) = path.split_once('/').unwrap_or((path, ""));
    let known = version == LATEST || EC2_VERSIONS.contains(&version);
    known.then(|| find(&ec2(id, identity), file))?
}

/// The file, or what lies in the directory of that name.
fn find(files: &Files, path: &str) -> Option<Vec<u8>> {
    if let Some(content) = files.get(path) {
        return Some(content.clone());
    }
    let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
    let inside: BTreeSet<String> = files
        .keys()
        .filter_map(|name| {
            let rest = name.strip_prefix(&prefix)?;
            Some(
                rest.split_once('/')
                    .map_or_else(|| rest.to_owned(), |(directory, _)| format!("{directory}/")),
            )
        })
        .collect();
    // EC2 lists a key as `0=name`; the names of our keys are in the OpenStack tree, so the number serves as one.
    (!inside.is_empty()).then(|| listing(inside.iter().map(String::as_str).collect::<Vec<_>>().iter()))
}

fn listing<'a>(names: impl Iterator<Item = &'a &'a str>) -> Vec<u8> {
    names.copied().collect::<Vec<_>>().join("\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hanse_core::Secret;

    use super::*;

    fn identity() -> GuestIdentity {
        GuestIdentity {
            name: "web".to_owned(),
            hostname: "web".to_owned(),
            project_id: "p".to_owned(),
            availability_zone: "nova".to_owned(),
            flavor: "SCS-1V-2".to_owned(),
            public_keys: BTreeMap::from([("k".to_owned(), "ssh-ed25519 AAAA".to_owned())]),
            metadata: BTreeMap::new(),
            user_data: Some(Secret::new(b"#!/bin/sh\n".to_vec())),
            network_data: "{}".to_owned(),
        }
    }

    fn text(path: &str) -> Option<String> {
        page(Uuid::nil(), &identity(), path).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn both_trees_can_be_walked_from_the_root() {
        assert!(text("/").unwrap().lines().any(|line| line == "openstack"));
        assert!(text("/openstack").unwrap().lines().any(|line| line == "latest"));
        assert!(text("/openstack/latest").unwrap().contains("meta_data.json"));
        assert!(text("/openstack/latest/meta_data.json").unwrap().contains("\"web\""));
        assert_eq!(text("/openstack/latest/user_data").unwrap(), "#!/bin/sh\n");
        assert!(text("/latest").unwrap().lines().any(|line| line == "meta-data/"));
        assert!(text("/latest/meta-data").unwrap().contains("instance-id"));
        assert_eq!(text("/latest/meta-data/public-keys/0/openssh-key").unwrap(), "ssh-ed25519 AAAA");
    }

    #[test]
    fn what_is_not_there_is_not_there() {
        for path in
            ["/openstack/1999-01-01/meta_data.json", "/latest/nothing", "/openstackx", "/../etc/passwd"]
        {
            assert_eq!(text(path), None, "{path}");
        }
    }
}
