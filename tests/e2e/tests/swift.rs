//! Swift through its stock clients.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::process::Command;

use hanse_e2e::objects::{assert_same, possible};
use hanse_e2e::{Cloud, fails, ok, tools};
use serde_json::Value;

const SIM: &str = "[hypervisor]\ndriver = \"sim\"";

const MIB: u64 = 1 << 20;

/// Reads a URL without any token, and says what came of it.
const READ: &str = "import sys, urllib.request, urllib.error
try:
    sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1]).read())
except urllib.error.HTTPError as error:
    print(error.code)";

fn start(name: &str) -> Option<Cloud> {
    if !possible() {
        return None;
    }
    let cloud = Cloud::new(name, SIM);
    cloud.hanse_ok(&["up"]);
    Some(cloud)
}

/// The command line of python-swiftclient, which reads no `clouds.yaml`.
struct Swift<'c> {
    cloud: &'c Cloud,
    login: Value,
}

impl<'c> Swift<'c> {
    fn new(cloud: &'c Cloud) -> Swift<'c> {
        Swift { cloud, login: cloud.openstack_json("hanse", &["configuration", "show", "--unmask"]) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.cloud.inside(tools().join("swift"));
        let field =
            |name: &str| self.login[name].as_str().unwrap_or_else(|| panic!("no {name}: {}", self.login));
        command.env_clear().env("HOME", self.cloud.file("")).env("LC_ALL", "C.UTF-8");
        command.current_dir(self.cloud.file("")).env("ST_AUTH_VERSION", "3");
        command.env("OS_AUTH_URL", field("auth.auth_url")).env("OS_USERNAME", field("auth.username"));
        command.env("OS_PASSWORD", field("auth.password")).env("OS_PROJECT_NAME", field("auth.project_name"));
        command.env("OS_USER_DOMAIN_NAME", "Default").env("OS_PROJECT_DOMAIN_NAME", "Default");
        command.env("OS_CACERT", self.cloud.ca()).args(arguments);
        command
    }

    fn ok(&self, arguments: &[&str]) -> String {
        ok(&mut self.command(arguments))
    }

    /// What anybody gets of a URL.
    fn read(&self, url: &str) -> Vec<u8> {
        let mut python = self.cloud.inside("/usr/bin/python3");
        let done = python.args(["-c", READ, url]).env("SSL_CERT_FILE", self.cloud.ca()).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        done.stdout
    }
}

#[test]
fn the_swift_client_keeps_files_small_and_large() {
    let Some(cloud) = start("swift-cli") else { return };
    let swift = Swift::new(&cloud);
    let stat = swift.ok(&["stat", "-v"]);
    let storage = stat.lines().find_map(|line| line.trim().strip_prefix("StorageURL: ")).unwrap().to_owned();
    assert!(stat.contains("Containers: 0"), "{stat}");
    let account = storage.rsplit('/').next().unwrap().to_owned();
    assert!(swift.ok(&["capabilities"]).contains("slo"));

    for (name, bytes) in [("tree/small", 5), ("tree/deep/er/ü & more", 70_000), ("tree/empty", 0)] {
        cloud.random_file(name, bytes);
    }
    let large = cloud.random_file("large", 5 * MIB + 7);
    swift.ok(&["upload", "My_Files", "tree"]);
    assert_eq!(
        swift.ok(&["list", "My_Files"]).lines().collect::<Vec<_>>(),
        ["tree/deep/er/ü & more", "tree/empty", "tree/small"]
    );
    swift.ok(&["download", "My_Files", "--output-dir", "back"]);
    assert_same(&cloud.file("tree").display().to_string(), &cloud.file("back/tree").display().to_string());
    let stat = swift.ok(&["stat", "My_Files"]);
    assert!(stat.contains("Objects: 3") && stat.contains("Bytes: 70005"), "{stat}");

    // In segments, both ways.
    for (container, how) in [("slo", "--use-slo"), ("dlo", "--use-dlo")] {
        let mib = MIB.to_string();
        swift.ok(&["upload", how, "--segment-size", &mib, container, "large"]);
        let back = format!("{container}.back");
        swift.ok(&["download", container, "large", "--output", &back]);
        assert_same(&large, &cloud.file(&back).display().to_string());
        let segments = format!("{container}_segments");
        assert_eq!(swift.ok(&["list", &segments]).lines().count(), 6);
        let stat = swift.ok(&["stat", container, "large"]);
        assert!(stat.contains("Content Length: 5242887"), "{stat}");
        swift.ok(&["delete", container, "large"]);
        assert_eq!(swift.ok(&["list", &segments]).trim(), "");
    }

    // Metadata, copies, what others may read.
    swift.ok(&["post", "My_Files", "tree/small", "-m", "color:red"]);
    swift.ok(&["copy", "--destination", "/copies/small", "My_Files", "tree/small"]);
    assert!(swift.ok(&["stat", "copies", "small"]).contains("Meta Color: red"));
    let small = std::fs::read(cloud.file("tree/small")).unwrap();
    let public = format!("{storage}/copies/small");
    assert_eq!(swift.read(&public), b"401\n");
    swift.ok(&["post", "copies", "--read-acl", ".r:*"]);
    assert_eq!(swift.read(&public), small);
    swift.ok(&["post", "copies", "--read-acl", ""]);
    assert_eq!(swift.read(&public), b"401\n");

    // Temporary URLs.
    swift.ok(&["post", "-m", "Temp-URL-Key:of the account"]);
    let path = format!("/v1/{account}/copies/small");
    let signed = |method: &str, more: &[&str]| {
        let mut arguments = vec!["tempurl", method, "3600", &path, "of the account"];
        arguments.extend(more);
        let url = swift.ok(&arguments);
        format!("{}{}", storage.split("/v1/").next().unwrap(), url.trim())
    };
    assert_eq!(swift.read(&signed("GET", &[])), small);
    assert_eq!(swift.read(&signed("GET", &["--digest", "sha1"])), small);
    assert_eq!(swift.read(&signed("GET", &["--iso8601"])), small);
    assert_eq!(swift.read(&signed("GET", &["--ip-range", "192.0.2.0/24"])), b"401\n");
    assert_eq!(swift.read(&signed("PUT", &[])), b"401\n");

    swift.ok(&["delete", "--all"]);
    let stat = swift.ok(&["stat"]);
    assert!(stat.contains("Containers: 0") && stat.contains("Bytes: 0"), "{stat}");
    assert!(fails(&mut swift.command(&["stat", "My_Files"])).contains("not found"));
}

#[test]
fn the_swift_client_reads_versions_and_sees_ends() {
    let Some(cloud) = start("swift-old") else { return };
    let swift = Swift::new(&cloud);
    let files = ["first", "second"].map(|name| cloud.random_file(name, 70_000));
    swift.ok(&["post", "files", "-H", "X-Versions-Enabled: true"]);
    let put = |name: &str| {
        swift.ok(&["upload", "--object-name", "page", "files", name]);
        let stat = swift.ok(&["stat", "files", "page"]);
        let id = stat.lines().find_map(|line| line.trim().strip_prefix("X-Object-Version-Id: "));
        id.unwrap_or_else(|| panic!("no version in {stat}")).to_owned()
    };
    let ids = ["first", "second"].map(put);
    swift.ok(&["delete", "files", "page"]);
    assert_eq!(swift.ok(&["list", "files"]).trim(), "");
    let listed = swift.ok(&["list", "--versions", "files"]);
    for (id, file) in ids.iter().zip(&files) {
        assert!(listed.contains(id.as_str()), "{listed}");
        let back = format!("{id}.back");
        swift.ok(&["download", "--version-id", id, "files", "page", "--output", &back]);
        assert_same(file, &cloud.file(&back).display().to_string());
    }
    swift.ok(&["delete", "--version-id", &ids[0], "files", "page"]);
    assert!(!swift.ok(&["list", "--versions", "files"]).contains(ids[0].as_str()));

    swift.ok(&["upload", "-H", "X-Delete-After: 3600", "--object-name", "soon", "files", "first"]);
    let stat = swift.ok(&["stat", "files", "soon"]);
    assert!(stat.contains("X-Delete-At: "), "{stat}");
}

#[test]
fn the_openstack_client_finds_containers_by_the_catalog() {
    let Some(cloud) = start("swift-osc") else { return };
    let openstack = |arguments: &[&str]| ok(cloud.openstack("hanse").args(arguments));
    openstack(&["container", "create", "docs"]);
    let file = cloud.random_file("page", 70_000);
    openstack(&["object", "create", "--name", "dir/page", "docs", &file]);
    let listed = cloud.openstack_json("hanse", &["container", "list", "--long"]);
    assert_eq!(listed[0]["Name"], "docs", "{listed}");
    assert_eq!((&listed[0]["Count"], &listed[0]["Bytes"]), (&1.into(), &70_000.into()), "{listed}");
    let listed = cloud.openstack_json("hanse", &["object", "list", "docs"]);
    assert_eq!(listed[0]["Name"], "dir/page", "{listed}");
    openstack(&["object", "set", "--property", "color=red", "docs", "dir/page"]);
    let shown = cloud.openstack_json("hanse", &["object", "show", "docs", "dir/page"]).to_string();
    assert!(shown.contains("red"), "{shown}");
    let back = cloud.file("back").display().to_string();
    openstack(&["object", "save", "--file", &back, "docs", "dir/page"]);
    assert_same(&file, &back);
    assert!(openstack(&["object", "store", "account", "show"]).contains("70000"));

    // The same object by S3.
    let made = cloud.openstack_json("hanse", &["ec2", "credentials", "create"]);
    let key = hanse_e2e::objects::Key::of(&made.to_string());
    let by_s3 = cloud.file("by-s3").display().to_string();
    ok(&mut cloud.aws(&key, &["s3", "cp", "s3://docs/dir/page", &by_s3]));
    assert_same(&file, &by_s3);

    // Another project sees nothing of it.
    let theirs = cloud.openstack_json("hanse-admin", &["container", "list"]);
    assert_eq!(theirs.as_array().map(Vec::len), Some(0), "{theirs}");
    openstack(&["object", "delete", "docs", "dir/page"]);
    openstack(&["container", "delete", "docs"]);
    assert_eq!(cloud.openstack_json("hanse", &["container", "list"]).as_array().map(Vec::len), Some(0));
}
