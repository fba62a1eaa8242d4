//! Who may depend on whom: `hanse → services → kernel`, `drivers → node, core`; no service knows another.

use anyhow::{Context, Result};
use serde_json::Value;

/// The floor of the house that a crate lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Kernel,
    Service,
    Driver,
    /// The binary and what belongs to it; may know everything.
    Product,
    /// Known to tests only.
    Tests,
}

/// The kernel, bottom up: a crate uses only what stands before it.
const KERNEL: &[&str] = &["core", "logstore", "policy", "store", "work", "crypto", "node", "web"];

/// Every crate of ours, without its `hanse-`. A new one is added here by whoever decides where it belongs.
const LAYERS: &[(Layer, &[&str])] = &[
    (Layer::Kernel, KERNEL),
    (
        Layer::Service,
        &[
            "audit",
            "compute",
            "conformance",
            "database",
            "dns",
            "federation",
            "identity",
            "image",
            "inventory",
            "keymanager",
            "kubernetes",
            "loadbalancer",
            "metering",
            "monitor",
            "network",
            "objectstore",
            "volume",
        ],
    ),
    (Layer::Driver, &["baremetal", "hypervisor", "sdn", "storage"]),
    (Layer::Product, &["bench", "cloud-tests", "conformance-tests", "console", "e2e", "hanse", "xtask"]),
    (Layer::Tests, &["testkit"]),
];

/// The floor of a package, or nothing when it is unknown or not ours.
fn layer(name: &str) -> Option<Layer> {
    LAYERS.iter().find(|(_, names)| names.contains(&name)).map(|(layer, _)| *layer)
}

fn short(package: &str) -> &str {
    package.strip_prefix("hanse-").unwrap_or(package)
}

/// Whether the code (not the tests) of `from` may use `to`.
fn may_use(from: &str, to: &str) -> bool {
    let (Some(upper), Some(lower)) = (layer(from), layer(to)) else { return false };
    let height = |name: &str| KERNEL.iter().position(|known| *known == name);
    match (upper, lower) {
        (Layer::Product, lower) => lower != Layer::Tests,
        (Layer::Kernel, Layer::Kernel) => height(to) < height(from),
        (Layer::Driver, _) => matches!(to, "core" | "node"),
        (Layer::Kernel | Layer::Service | Layer::Tests, lower) => lower == Layer::Kernel,
    }
}

/// Checks what `cargo metadata --no-deps` printed.
pub fn check(metadata: &Value) -> Result<Vec<String>> {
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let names: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut problems = Vec::new();
    for package in packages {
        let name = package["name"].as_str().context("a package without a name")?;
        let from = short(name);
        if layer(from).is_none() {
            problems.push(format!("{name} has no layer: enter it in xtask/src/tidy/layers.rs"));
            continue;
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let Some(target) = dependency["name"].as_str().filter(|target| names.contains(target)) else {
                continue;
            };
            // Tests may use what they like; that is how a service is tested beside its neighbour.
            if dependency["kind"] != "dev" && !may_use(from, short(target)) {
                problems
                    .push(format!("{name} must not depend on {target} (see DESIGN, dependency direction)"));
            }
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problems(from: &str, to: &str, kind: Option<&str>) -> usize {
        let packages = json!({ "packages": [
            { "name": from, "dependencies": [{ "name": to, "kind": kind }, { "name": "serde", "kind": null }] },
            { "name": to, "dependencies": [] },
        ]});
        check(&packages).unwrap().len()
    }

    #[test]
    fn a_service_uses_the_kernel_but_neither_a_service_nor_a_driver() {
        assert_eq!(problems("hanse-compute", "hanse-work", None), 0);
        assert_eq!(problems("hanse-compute", "hanse-network", None), 1);
        assert_eq!(problems("hanse-compute", "hanse-hypervisor", None), 1);
        assert_eq!(problems("hanse-compute", "hanse-network", Some("build")), 1);
    }

    #[test]
    fn a_driver_uses_only_node_and_core() {
        assert_eq!(problems("hanse-hypervisor", "hanse-node", None), 0);
        assert_eq!(problems("hanse-sdn", "hanse-core", None), 0);
        assert_eq!(problems("hanse-storage", "hanse-store", None), 1);
        assert_eq!(problems("hanse-storage", "hanse-sdn", None), 1);
    }

    #[test]
    fn the_kernel_knows_no_service_and_core_knows_nobody() {
        assert_eq!(problems("hanse-web", "hanse-policy", None), 0);
        assert_eq!(problems("hanse-web", "hanse-identity", None), 1);
        assert_eq!(problems("hanse-core", "hanse-node", None), 1);
        assert_eq!(problems("hanse-store", "hanse-work", None), 1);
    }

    #[test]
    fn the_testkit_is_for_tests_only() {
        assert_eq!(problems("hanse-image", "hanse-testkit", Some("dev")), 0);
        assert_eq!(problems("hanse-image", "hanse-testkit", None), 1);
        assert_eq!(problems("hanse", "hanse-testkit", None), 1);
        assert_eq!(problems("hanse", "hanse-image", None), 0);
    }

    #[test]
    fn a_crate_without_a_layer_is_reported() {
        assert_eq!(problems("hanse-image", "hanse-surprise", None), 2);
    }
}
