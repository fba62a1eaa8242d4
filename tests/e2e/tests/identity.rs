//! Identity through the stock OpenStack client.

use hanse_e2e::{Cloud, ok, possible};

const SIM: &str = "[hypervisor]\ndriver = \"sim\"";

#[test]
fn a_user_logs_in_and_an_admin_makes_projects_users_and_assignments() {
    if !possible() {
        return;
    }
    let cloud = Cloud::new("id", SIM);
    cloud.hanse_ok(&["up"]);

    let token = cloud.openstack_json("hanse", &["token", "issue"]);
    let id = token["id"].as_str().unwrap_or_default();
    assert!(id.len() > 100 && id.len() <= 255, "{token}");
    let catalog = cloud.openstack_json("hanse", &["catalog", "list"]);
    assert!(catalog.to_string().contains("identity"), "{catalog}");

    let project = cloud.openstack_json("hanse-admin", &["project", "create", "blue"]);
    let user = cloud.openstack_json("hanse-admin", &["user", "create", "--password", "s3cret-Pass", "ada"]);
    ok(cloud.openstack("hanse-admin").args(["role", "add", "--project", "blue", "--user", "ada", "member"]));
    let assignments =
        cloud.openstack_json("hanse-admin", &["role", "assignment", "list", "--names", "--user", "ada"]);
    assert_eq!(assignments[0]["Role"], "member", "{assignments}");
    assert_eq!(assignments[0]["Project"], "blue@Default", "{assignments}");

    let as_ada = || {
        let mut command = cloud.openstack("hanse");
        command.args(["--os-username", "ada", "--os-password", "s3cret-Pass", "--os-project-name", "blue"]);
        command
    };
    let issued = ok(as_ada().args(["token", "issue", "-f", "value", "-c", "project_id", "-c", "user_id"]));
    assert!(issued.contains(project["id"].as_str().unwrap_or("?")), "{issued}");
    assert!(issued.contains(user["id"].as_str().unwrap_or("?")), "{issued}");

    // A member sees nothing of the cloud's users, and nobody gets in with another password.
    assert!(hanse_e2e::fails(as_ada().args(["user", "list"])).contains("403"));
    let wrong = cloud.openstack("hanse").args(["--os-password", "wrong", "token", "issue"]).output();
    let wrong = String::from_utf8_lossy(&wrong.map(|output| output.stderr).unwrap_or_default()).into_owned();
    assert!(wrong.contains("401"), "{wrong}");

    // Access ends with the role.
    ok(cloud.openstack("hanse-admin").args([
        "role",
        "remove",
        "--project",
        "blue",
        "--user",
        "ada",
        "member",
    ]));
    assert!(hanse_e2e::fails(as_ada().args(["token", "issue"])).contains("401"));

    // What was acknowledged survives a kill of the control plane at any time.
    cloud.kill("control_plane");
    cloud.hanse_ok(&["up"]);
    let projects = cloud.openstack_json("hanse-admin", &["project", "list"]);
    assert!(projects.to_string().contains("blue"), "{projects}");
}

#[test]
fn no_secret_stands_in_a_log_the_database_or_an_argument() {
    if !possible() {
        return;
    }
    let cloud = Cloud::new("secret", SIM);
    cloud.hanse_ok(&["up"]);
    let token = cloud.openstack_json("hanse", &["token", "issue"]);
    let token = token["id"].as_str().unwrap_or_default().to_owned();
    let read =
        |name: &str| std::fs::read_to_string(cloud.state().join(name)).unwrap_or_default().trim().to_owned();
    let secrets = [token, read("operator/admin-password"), read("operator/demo-password")];
    assert!(secrets.iter().all(|secret| secret.len() >= 32));
    cloud.assert_hidden(&secrets);
}

#[test]
fn signed_tokens_serve_the_stock_client_and_switching_kinds_ends_no_token() {
    if !possible() {
        return;
    }
    let with = |provider: &str| format!("{SIM}\n[identity]\ntoken_provider = \"{provider}\"");
    let cloud = Cloud::new("jws", &with("jws"));
    cloud.hanse_ok(&["up"]);
    let issue =
        || cloud.openstack_json("hanse", &["token", "issue"])["id"].as_str().unwrap_or_default().to_owned();
    let works = |token: &str| {
        // The client shows this token as it is, instead of getting one of its own.
        let mut command = cloud.openstack("hanse");
        command.env_remove("OS_CLOUD").args(["--os-auth-type", "admin_token", "--os-token", token]);
        command.args(["--os-endpoint", "https://127.0.0.1:8443/compute/v2.1"]);
        command.arg("--os-cacert").arg(cloud.state().join("operator/ca.crt"));
        ok(command.args(["flavor", "list"]))
    };
    let switch = |provider: &str| {
        let text = std::fs::read_to_string(cloud.config()).unwrap_or_default();
        let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("token_provider")).collect();
        let text = format!("{}\ntoken_provider = \"{provider}\"\n", text.join("\n").trim_end());
        assert!(std::fs::write(cloud.config(), text).is_ok());
        cloud.hanse_ok(&["down"]);
        cloud.hanse_ok(&["up"]);
    };
    let signed = issue();
    assert_eq!(signed.matches('.').count(), 2, "{signed}");
    ok(cloud.openstack("hanse").args(["network", "create", "blue"]));
    works(&signed);
    assert!(cloud.hanse_ok(&["admin", "rotate-keys"]).contains("made with a new key"));
    let newer = issue();
    assert_ne!(signed.split('.').next(), newer.split('.').next(), "by another key");

    switch("fernet");
    let sealed = issue();
    assert!(!sealed.contains('.') && sealed.len() <= 255, "{sealed}");
    switch("jws");
    assert_eq!(issue().matches('.').count(), 2);
    for token in [&signed, &newer, &sealed] {
        works(token);
    }
}
