//! The whole cloud on PostgreSQL instead of SQLite.

use hanse_e2e::postgres::Database;
use hanse_e2e::{Cloud, ok, possible};

#[test]
fn a_cloud_keeps_its_state_in_postgresql() {
    let Some(database) = Database::new().filter(|_| possible()) else { return };
    let config = format!(
        "[hypervisor]\ndriver = \"sim\"\n[database]\nurl_file = \"{}\"",
        database.url_file().display()
    );
    let cloud = Cloud::new("pg", &config);
    cloud.hanse_ok(&["up"]);
    assert!(!cloud.state().join("control/state.db").exists());
    ok(cloud.openstack("hanse").args(["network", "create", "kept"]));
    cloud.kill("control_plane");
    cloud.hanse_ok(&["up"]);
    let networks = cloud.openstack_json("hanse", &["network", "list"]);
    assert!(networks.to_string().contains("kept"), "{networks}");
}
