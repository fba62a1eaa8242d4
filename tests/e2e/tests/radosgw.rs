//! A real radosgw behind the real binary, each in its right: Hanse says who may do what, Ceph keeps the objects.
//! `make test-ceph` runs it; it takes a tree of Debian packages that other tests do without.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hanse_e2e::objects::{Key, REGION, assert_same};
use hanse_e2e::{Cloud, fails, ok, tools};
use serde_json::Value;

const ENDPOINT: &str = "http://127.0.0.1:8000";
const ACCESS: &str = "HANSEADMIN";
const MIB: u64 = 1 << 20;

/// A Ceph in the network namespace and the directory of a cloud, which is gone when this is dropped.
struct Ceph<'c> {
    cloud: &'c Cloud,
    directory: PathBuf,
}

fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/ceph-node")
}

impl<'c> Ceph<'c> {
    /// With the settings that Hanse has written.
    fn up(cloud: &'c Cloud, settings: &Path) -> Ceph<'c> {
        let ceph = Ceph { cloud, directory: cloud.file("ceph") };
        let files = [ceph.directory.clone(), settings.join("radosgw.conf"), settings.join("hanse-ca.crt")];
        ok(cloud.inside(program()).arg("up").args(files));
        // What it is started in is seen as /srv by radosgw.
        std::fs::copy(settings.join("keystone-password"), ceph.directory.join("keystone-password")).unwrap();
        ceph
    }

    fn admin(&self, arguments: &[&str]) -> Value {
        let text = ok(self
            .cloud
            .inside(program())
            .arg("run")
            .arg(&self.directory)
            .arg("radosgw-admin")
            .args(arguments));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn is_suspended(&self, uid: &str) -> bool {
        self.admin(&["user", "info", "--uid", uid])["suspended"] != 0
    }
}

impl Drop for Ceph<'_> {
    fn drop(&mut self) {
        let done = Command::new(program()).arg("down").arg(&self.directory).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("Ceph may still run: scripts/ceph-node down {}", self.directory.display());
        }
    }
}

fn is_required() -> bool {
    std::env::var("HANSE_REQUIRED_TESTS").unwrap_or_default().split(',').any(|area| area.trim() == "ceph")
}

/// A function of `radosgw_clients.py` with a key.
fn client(cloud: &Cloud, key: &Key, what: &[&str]) {
    let mut command = cloud.inside(tools().join("python3"));
    command.env_clear().env("HOME", cloud.file("")).env("LC_ALL", "C.UTF-8");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("radosgw_clients.py"));
    command.arg(ENDPOINT).arg(cloud.ca()).arg(&key.access).arg(REGION).args(what);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{}", key.secret).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{what:?} failed:\n{}", String::from_utf8_lossy(&done.stderr));
}

/// The command line of python-swiftclient, which reads no `clouds.yaml`.
fn swift(cloud: &Cloud, arguments: &[&str]) -> Command {
    let login = cloud.openstack_json("hanse", &["configuration", "show", "--unmask"]);
    let field = |name: &str| login[name].as_str().unwrap_or_else(|| panic!("no {name}: {login}"));
    let mut command = cloud.inside(tools().join("swift"));
    command.env_clear().env("HOME", cloud.file("")).env("LC_ALL", "C.UTF-8").current_dir(cloud.file(""));
    command.env("ST_AUTH_VERSION", "3").env("OS_AUTH_URL", field("auth.auth_url"));
    command.env("OS_USERNAME", field("auth.username")).env("OS_PASSWORD", field("auth.password"));
    command.env("OS_PROJECT_NAME", field("auth.project_name")).env("OS_USER_DOMAIN_NAME", "Default");
    command.env("OS_PROJECT_DOMAIN_NAME", "Default").env("OS_CACERT", cloud.ca()).args(arguments);
    command
}

/// Waits until the condition holds.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..240 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    panic!("waited in vain until {what}");
}

/// The line of a project in what `hanse s3 radosgw usage` says.
fn usage(cloud: &Cloud, project: &str) -> Value {
    let text = cloud.hanse_ok(&["s3", "radosgw", "usage", "--json", "--project", project]);
    let lines: Value = serde_json::from_str(&text).unwrap();
    lines[0].clone()
}

#[test]
fn radosgw_keeps_the_objects_and_hanse_says_whose_they_are() {
    if !is_required() {
        eprintln!("SKIPPED: no Ceph (make test-ceph)");
        return;
    }
    assert!(hanse_e2e::possible());
    let cloud = Cloud::new("radosgw", "[hypervisor]\ndriver = \"sim\"");
    let secret = "a secret of the admin of radosgw".replace(' ', "");
    let secret_file = cloud.file("radosgw-secret");
    std::fs::write(&secret_file, &secret).unwrap();
    std::fs::set_permissions(&secret_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    ok(Command::new("chown").arg("nobody").arg(&secret_file));
    let mut config = std::fs::OpenOptions::new().append(true).open(cloud.config()).unwrap();
    write!(
        config,
        "[objectstore]\nengine = \"radosgw\"\npublic_url = \"{ENDPOINT}\"\n[objectstore.radosgw]\nendpoint = \"{ENDPOINT}\"\n\
         access_key = \"{ACCESS}\"\nsecret_key_file = \"{}\"\n",
        secret_file.display()
    )
    .unwrap();

    // Everything else goes on without radosgw.
    cloud.hanse_ok(&["up"]);
    let radosgw = || cloud.status()["radosgw"].clone();
    assert_eq!(radosgw()["answers"], false, "{}", radosgw());
    assert!(cloud.hanse_ok(&["status"]).contains("127.0.0.1:8000"), "it says who does not answer");
    cloud.eventually_logs("serve.log", "cannot connect");
    assert!(cloud.hanse_fails(&["s3", "fsck"]).contains("radosgw"));

    let written = cloud.file("written");
    cloud.hanse_ok(&["s3", "radosgw", "config", &written.display().to_string(), "--installed", "/srv"]);
    let mode = written.join("keystone-password").metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let ceph = Ceph::up(&cloud, &written);
    let create = ["user", "create", "--display-name", "Hanse", "--caps", "users=*", "--uid", "hanse-admin"];
    ceph.admin(&[&create[..], &["--access-key", ACCESS, "--secret-key", &secret]].concat());
    eventually("radosgw answers", || radosgw()["answers"] == true);

    // The catalog leads to it.
    for (kind, url) in [("s3", ENDPOINT.to_owned()), ("object-store", format!("{ENDPOINT}/swift/v1/AUTH_"))] {
        let shown = cloud.openstack_json("hanse", &["catalog", "show", kind]);
        assert!(shown["endpoints"].to_string().contains(&url), "{shown}");
    }

    // Keys of users, and none of others.
    let made = ok(cloud.openstack("hanse").args(["ec2", "credentials", "create", "-f", "json"]));
    let demo = Key::of(&made);
    for what in ["objects", "streaming"] {
        client(&cloud, &demo, &[what]);
    }
    let used = usage(&cloud, "demo");
    assert_eq!(used["objects"], 3, "{used}");
    assert_eq!(used["bytes"], 20 * MIB + 5 + 65536 + 1000, "{used}");
    let eve = cloud.key_of("eve", "green");
    client(&cloud, &eve, &["stranger", &demo.project_id]);

    // Limits of projects hold, from the first object on.
    let admin = |arguments: &[&str]| ok(cloud.openstack("hanse-admin").args(arguments));
    for (resource, default, own) in [("objects", "-1", "2"), ("buckets", "1000", "1")] {
        admin(&["registered", "limit", "create", "--service", "s3", "--default-limit", default, resource]);
        admin(&[
            "limit",
            "create",
            "--service",
            "s3",
            "--project",
            "green",
            "--resource-limit",
            own,
            resource,
        ]);
    }
    let green = format!("{0}${0}", eve.project_id);
    eventually("radosgw knows the limits", || {
        let user = ceph.admin(&["user", "info", "--uid", &green]);
        user["max_buckets"] == 1 && user["user_quota"]["max_objects"] == 2
    });
    client(&cloud, &eve, &["full"]);

    // The same project by Swift, with tokens.
    let large = cloud.random_file("large", 5 * MIB);
    ok(&mut swift(&cloud, &["upload", "files", "large", "--segment-size", "2000000"]));
    assert!(ok(&mut swift(&cloud, &["list", "files"])).contains("large"));
    ok(&mut swift(&cloud, &["download", "files", "large", "--output", "large.back"]));
    assert_same(&large, &cloud.file("large.back").display().to_string());
    assert!(ok(&mut swift(&cloud, &["list"])).contains("photos"), "what S3 made");
    let stranger =
        cloud.openstack("hanse-admin").args(["container", "list", "-f", "value"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&stranger.stdout).contains("photos"), "{stranger:?}");

    // What was taken away ends soon there, too.
    admin(&["project", "set", "--disable", "green"]);
    eventually("it is suspended", || usage(&cloud, "green")["suspended"] == true);
    client(&cloud, &eve, &["suspended", "blues"]);
    admin(&["project", "set", "--enable", "green"]);
    eventually("it is let in again", || usage(&cloud, "green")["suspended"] == false);
    client(&cloud, &eve, &["let_in", "blues"]);
    ok(cloud.openstack("hanse").args(["ec2", "credentials", "delete", &demo.access]));
    admin(&["role", "remove", "--user", "eve", "--project", "green", "member"]);
    client(&cloud, &demo, &["refused", "photos"]);
    client(&cloud, &eve, &["refused", "blues"]);

    // A project that is gone leaves its objects; users of others in the same Ceph are left alone.
    ceph.admin(&["user", "create", "--display-name", "x", "--tenant", "elsewhere", "--uid", "elsewhere"]);
    admin(&["project", "delete", "green"]);
    eventually("it is suspended for good", || ceph.is_suspended(&green));
    assert!(!ceph.is_suspended("elsewhere$elsewhere") && !ceph.is_suspended("hanse-admin"));
    let stats = ceph.admin(&["bucket", "stats", "--bucket", &format!("{}/blues", eve.project_id)]);
    assert_eq!(stats["usage"]["rgw.main"]["num_objects"], 2, "{stats}");

    let password = std::fs::read_to_string(written.join("keystone-password")).unwrap();
    cloud.assert_hidden(&[secret, password, demo.secret, eve.secret]);
    let ended = fails(&mut swift(&cloud, &["--os-password", "wrong", "list"]));
    assert!(ended.contains("Unauthorized"), "{ended}");
}
