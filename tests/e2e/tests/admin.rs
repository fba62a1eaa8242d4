//! What the operator does at the machine, without an account.

use std::io::Write;
use std::process::Stdio;

use hanse_e2e::client::{Client, Request};
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

/// What the export says: one event a line, oldest first.
fn exported(cloud: &Cloud, more: &[&str]) -> Vec<Value> {
    let text = cloud.hanse_ok(&[&["admin", "audit", "export"], more].concat());
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| unreachable!("{error}: {line}")))
        .collect()
}

#[test]
fn logins_and_changes_are_events_of_the_api_and_of_the_export() {
    if !possible() {
        return;
    }
    let cloud = Cloud::new("audit", SIM);
    cloud.hanse_ok(&["up"]);
    let before = exported(&cloud, &[]).len();
    fails(cloud.openstack("hanse").args(["--os-password", "wrong", "token", "issue"]));
    let demo = cloud.openstack_json("hanse", &["token", "issue"])["user_id"].clone();
    let create = ["user", "create", "--password", "s3cret-Pass", "ada"];
    let ada = cloud.openstack_json("hanse-admin", &create)["id"].clone();
    ok(cloud.openstack("hanse-admin").args(["user", "delete", "ada"]));

    let events = exported(&cloud, &[]).split_off(before);
    let admin = events.get(3).map(|event| event["initiator"]["id"].clone()).unwrap_or_default();
    let unknown = Value::from("unknown");
    let login = "identity:authenticate";
    let expected = [
        (login, "authenticate", "failure", &unknown, &demo),
        (login, "authenticate", "success", &demo, &demo),
        (login, "authenticate", "success", &admin, &admin),
        ("identity:create_user", "create", "success", &admin, &ada),
        (login, "authenticate", "success", &admin, &admin),
        ("identity:delete_user", "delete", "success", &admin, &ada),
    ];
    assert_eq!(events.len(), expected.len(), "{events:#?}");
    for (event, (verb, action, outcome, initiator, target)) in events.iter().zip(expected) {
        assert_eq!(event["attachments"][0]["content"], verb, "{event}");
        assert_eq!(event["action"], action, "{event}");
        assert_eq!(event["outcome"], outcome, "{event}");
        assert_eq!((&event["initiator"]["id"], &event["target"]["id"]), (initiator, target), "{event}");
        assert_eq!(event["initiator"]["host"]["address"], "127.0.0.1", "{event}");
        assert!(event["requestId"].as_str().is_some_and(|id| id.starts_with("req-")), "{event}");
    }

    let mut client = Client::of(&cloud);
    let since = events[0]["eventTime"].as_str().unwrap_or_default();
    let list = Request::get(&format!("/audit/v1/events?since={since}"));
    let body = client.ok(&list.clone().as_admin());
    let mut listed = body["events"].as_array().cloned().unwrap_or_default();
    listed.reverse();
    assert_eq!(listed.get(..events.len()), Some(events.as_slice()), "{body:#}");
    assert_eq!(client.ask(&list.once()).status, Some(403), "the trail is not for members");

    cloud.hanse_ok(&["down"]);
    let later = exported(&cloud, &["--since", since]);
    assert_eq!(later.get(..events.len()), Some(events.as_slice()), "also while the cloud is down");
    assert!(cloud.hanse_fails(&["admin", "audit", "export", "--since", "yesterday"]).contains("yesterday"));
}

#[test]
fn what_a_deleted_project_and_user_leave_is_found_and_purged() {
    if !possible() {
        return;
    }
    let cloud = Cloud::new("orphans", SIM);
    cloud.hanse_ok(&["up"]);
    let admin = |arguments: &[&str]| ok(cloud.openstack("hanse-admin").args(arguments));
    admin(&["flavor", "create", "--vcpus", "1", "--ram", "128", "--disk", "1", "tiny"]);
    let project = cloud.openstack_json("hanse-admin", &["project", "create", "gone"]);
    let project = project["id"].as_str().unwrap_or_default().to_owned();
    admin(&["user", "create", "--password", "s3cret-Pass", "ada"]);
    admin(&["role", "add", "--project", "gone", "--user", "ada", "member"]);
    let ada = |arguments: &[&str]| {
        let mut command = cloud.openstack("hanse");
        command.args(["--os-username", "ada", "--os-password", "s3cret-Pass", "--os-project-name", "gone"]);
        ok(command.args(arguments))
    };
    let file = cloud.file("small.raw");
    assert!(std::fs::write(&file, vec![7; 1 << 20]).is_ok());
    let file = file.display().to_string();
    let image =
        ["--disk-format", "raw", "--container-format", "bare", "--file", &file, "--protected", "small"];
    ada(&[&["image", "create"], image.as_slice()].concat());
    ada(&["network", "create", "blue"]);
    ada(&["subnet", "create", "--network", "blue", "--subnet-range", "10.7.0.0/24", "blue"]);
    ada(&["router", "create", "out"]);
    ada(&["router", "set", "--external-gateway", "public", "out"]);
    ada(&["router", "add", "subnet", "out", "blue"]);
    ada(&["keypair", "create", "laptop"]);
    ada(&["volume", "create", "--size", "1", "data"]);
    ada(&["server", "create", "--image", "small", "--flavor", "tiny", "--network", "blue", "--wait", "web"]);
    ada(&["server", "add", "volume", "web", "data"]);
    let address = ada(&["floating", "ip", "create", "public", "-f", "value", "-c", "floating_ip_address"]);
    ada(&["server", "add", "floating", "ip", "web", address.trim()]);
    ok(cloud.openstack("hanse").args(["network", "create", "kept"]));
    let list = || -> Value {
        serde_json::from_str(&cloud.hanse_ok(&["admin", "orphans", "list", "--json"])).unwrap_or_default()
    };
    assert_eq!(list(), serde_json::json!([]), "what has an owner is no orphan");
    let alive = cloud.hanse_fails(&["admin", "orphans", "purge", "--yes", "--project", &project]);
    assert!(alive.contains("exists"), "{alive}");

    admin(&["project", "delete", "gone"]);
    admin(&["user", "delete", "ada"]);
    let left = list();
    let mut kinds: Vec<&str> =
        left.as_array().into_iter().flatten().filter_map(|one| one["kind"].as_str()).collect();
    kinds.dedup();
    let expected = "server port floating IP router subnet network security group volume image key pair";
    assert_eq!(kinds.join(" "), expected, "{left:#}");
    let refused = cloud.hanse_fails(&["admin", "orphans", "purge"]);
    assert!(refused.contains("nobody is there to ask"), "{refused}");
    assert_eq!(list(), left, "nothing was done");

    // Without the control plane nothing goes that a node must take away, and nothing is forgotten.
    cloud.hanse_ok(&["down"]);
    let mut purge = cloud.hanse();
    let said = purge.args(["admin", "orphans", "purge", "--yes", "--project", &project]).output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    assert!(said.contains("deleted: server") && said.contains("it goes when the cloud runs"), "{said}");
    cloud.hanse_ok(&["up"]);
    let said = cloud.hanse_ok(&["admin", "orphans", "purge", "--yes"]);
    assert!(said.contains("deleted: network") && said.contains("deleted: key pair laptop"), "{said}");
    assert_eq!(list(), serde_json::json!([]));
    assert!(cloud.hanse_ok(&["admin", "orphans", "purge", "--yes"]).contains("nothing to delete"));
    cloud.assert_nothing_left();
    let networks = cloud.openstack_json("hanse-admin", &["network", "list"]).to_string();
    assert!(
        networks.contains("kept") && networks.contains("public") && !networks.contains("blue"),
        "{networks}"
    );
}
