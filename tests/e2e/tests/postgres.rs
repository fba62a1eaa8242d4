//! The whole cloud on PostgreSQL instead of SQLite.

use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use hanse_e2e::{Cloud, ok, possible};

/// The user `nobody`, whom end-to-end clouds run as.
const NOBODY: u32 = 65534;

#[test]
fn a_cloud_keeps_its_state_in_postgresql() {
    let Ok(server) = std::env::var("HANSE_TEST_POSTGRES") else {
        let required = std::env::var("HANSE_REQUIRED_TESTS").unwrap_or_default();
        assert!(!required.contains("postgres"), "PostgreSQL is required, but HANSE_TEST_POSTGRES names none");
        eprintln!("SKIPPED: HANSE_TEST_POSTGRES names no server");
        return;
    };
    if !possible() {
        return;
    }
    let name = format!("e2e_{}", std::process::id());
    let create = format!("CREATE DATABASE {name} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
    let admin = server.replace("{database}", "postgres");
    ok(Command::new("psql").args(["--quiet", "--no-psqlrc", "--dbname", &admin, "--command", &create]));

    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let url = place.path().join("database-url");
    std::fs::write(&url, server.replace("{database}", &name)).unwrap();
    std::fs::set_permissions(&url, std::fs::Permissions::from_mode(0o600)).unwrap();
    chown(&url, Some(NOBODY), None).unwrap();

    let config = format!("[hypervisor]\ndriver = \"sim\"\n[database]\nurl_file = \"{}\"", url.display());
    let cloud = Cloud::new("pg", &config);
    cloud.hanse_ok(&["up"]);
    assert!(!cloud.state().join("control/state.db").exists());
    ok(cloud.openstack("hanse").args(["network", "create", "kept"]));
    cloud.kill("control_plane");
    cloud.hanse_ok(&["up"]);
    let networks = cloud.openstack_json("hanse", &["network", "list"]);
    assert!(networks.to_string().contains("kept"), "{networks}");
}
