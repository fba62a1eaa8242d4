//! What the operator does at the machine, without an account.

use std::io::Write;
use std::process::Stdio;

use hanse_e2e::{Cloud, fails, ok, possible};
use serde_json::Value;

const SIM: &str = "[hypervisor]\ndriver = \"sim\"";

#[test]
fn a_lost_password_is_replaced_while_the_cloud_runs_and_while_it_does_not() {
    if !possible() {
        return;
    }
    let cloud = Cloud::new("admin", SIM);
    assert!(cloud.hanse_fails(&["admin", "reset-password"]).contains("`hanse up` makes one"));
    cloud.hanse_ok(&["up"]);
    let file = cloud.state().join("operator/admin-password");
    let password = || std::fs::read_to_string(&file).unwrap_or_default();
    let first = password();
    // As if nobody had kept it.
    std::fs::write(&file, "lost").unwrap_or_default();
    let said = cloud.hanse_ok(&["admin", "reset-password"]);
    let second = password();
    assert!(!said.contains(&second), "it stands in the file, not on the screen: {said}");
    assert!(second != first && second != "lost");
    cloud.openstack_json("hanse-admin", &["token", "issue"]);

    cloud.hanse_ok(&["down"]);
    let mut reset = cloud.hanse();
    reset.args(["admin", "reset-password", "--user", "demo", "--stdin"]).stdin(Stdio::piped());
    let mut reset = reset.spawn().unwrap_or_else(|error| unreachable!("hanse: {error}"));
    let written = reset.stdin.take().map(|mut stdin| stdin.write_all(b"correct horse\n"));
    assert!(matches!(written, Some(Ok(()))));
    assert!(reset.wait().is_ok_and(|status| status.success()));
    cloud.hanse_ok(&["up"]);
    cloud.openstack_json("hanse", &["token", "issue"]);
    let own = ["--os-password", "correct horse", "token", "issue"];
    cloud.openstack_json("hanse", &own);
    assert!(
        cloud.hanse_fails(&["admin", "reset-password", "--user", "x"]).contains("Could not find user: x")
    );
    cloud.assert_hidden(&[second, "correct horse".to_owned()]);
}

#[test]
fn an_operator_learns_why_somebody_may_do_something() {
    if !possible() {
        return;
    }
    let cloud = Cloud::new("explain", SIM);
    cloud.hanse_ok(&["up"]);
    let explain = |verb: &str, target: &str| -> Value {
        let arguments = ["admin", "explain", "--json", "--user", "demo", "--verb", verb, "--target", target];
        serde_json::from_str(&cloud.hanse_ok(&arguments)).unwrap_or_default()
    };
    let delete_project = "identity:delete_project";
    assert_eq!(explain("os_compute_api:servers:create", "demo")["allowed"], true);
    assert_eq!(explain(delete_project, "demo"), serde_json::json!({"allowed": false, "ways": []}));
    let forbidden = || fails(cloud.openstack("hanse").args(["project", "create", "more"]));
    assert!(forbidden().contains("403"));
    for arguments in [
        vec!["group", "create", "landlords"],
        vec!["group", "add", "user", "landlords", "demo"],
        vec!["role", "add", "--group", "landlords", "--domain", "Default", "manager"],
    ] {
        ok(cloud.openstack("hanse-admin").args(arguments));
    }
    let ways = explain(delete_project, "demo")["ways"].clone();
    assert_eq!(ways[0]["scope"], "domain Default");
    assert_eq!(ways[0]["through"], "role manager on domain Default, given to group landlords");
    assert_eq!(ways.as_array().map(Vec::len), Some(1));
    assert!(forbidden().contains("403"), "with a token for the project, not for the domain");
    let wrong = ["admin", "explain", "--user", "demo", "--verb", "dance"];
    assert!(cloud.hanse_fails(&wrong).contains("--verb list shows them all"));
}
