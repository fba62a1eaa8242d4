//! The plugins of keystoneauth1 by which clients log in, through the stock `openstack`.
#![expect(clippy::panic, reason = "a test that cannot go on fails")]

use std::process::Command;
use std::time::Duration;

use hanse_conformance_tests::{CONFIG, possible};
use hanse_e2e::{Cloud, ok};

/// `openstack token issue` by this plugin, with these options.
fn token(cloud: &Cloud, plugin: &str, options: &[(&str, &str)]) -> Command {
    let mut command = cloud.openstack("");
    command.env_remove("OS_CLOUD").env_remove("OS_CLIENT_CONFIG_FILE");
    command.env("OS_AUTH_TYPE", plugin).env("OS_AUTH_URL", "https://127.0.0.1:8443/identity/v3");
    command.env("OS_CACERT", cloud.state().join("operator/ca.crt")).env("OS_IDENTITY_API_VERSION", "3");
    command.envs(options.iter().copied());
    command.args(["token", "issue", "-f", "value", "-c", "project_id"]);
    command
}

fn project_of_a_token(cloud: &Cloud, plugin: &str, options: &[(&str, &str)]) -> String {
    ok(&mut token(cloud, plugin, options)).trim().to_owned()
}

/// A project and a user `ada` with the role `member` in it: their ids.
fn project_and_user(cloud: &Cloud) -> (String, String) {
    let id = |arguments: &[&str]| {
        let made = cloud.openstack_json("hanse-admin", arguments);
        made["id"].as_str().unwrap_or_default().to_owned()
    };
    let project = id(&["project", "create", "blue"]);
    let user = id(&["user", "create", "--password", "Ada-1-secret", "ada"]);
    ok(cloud.openstack("hanse-admin").args(["role", "add", "--project", "blue", "--user", "ada", "member"]));
    (project, user)
}

/// What an authenticator shows now for this secret (RFC 6238).
fn passcode(cloud: &Cloud, secret: &str) -> String {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/keystone");
    let program =
        "import sys; sys.path.insert(0, sys.argv[1]); import replay; print(replay.totp(sys.argv[2]))";
    ok(cloud.client_python("hanse").args(["-B", "-c", program, directory, secret])).trim().to_owned()
}

fn next_passcode(cloud: &Cloud, secret: &str, last: &str) -> String {
    // It changes every thirty seconds.
    for _ in 0..120 {
        let code = passcode(cloud, secret);
        if code != last {
            return code;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    panic!("the passcode does not change");
}

#[test]
fn v3password_and_v3token_log_in() {
    if !possible() {
        return;
    }
    let cloud = Cloud::new("plugins", CONFIG);
    cloud.hanse_ok(&["up"]);
    let (project, user) = project_and_user(&cloud);
    let scope = ("OS_PROJECT_ID", project.as_str());
    let password = [("OS_USER_ID", user.as_str()), ("OS_PASSWORD", "Ada-1-secret"), scope];
    assert_eq!(project_of_a_token(&cloud, "v3password", &password), project);

    let issued = ok(cloud.openstack("hanse").args(["token", "issue", "-f", "value", "-c", "id"]).envs([
        ("OS_USERNAME", "ada"),
        ("OS_PASSWORD", "Ada-1-secret"),
        ("OS_PROJECT_NAME", "blue"),
    ]));
    assert_eq!(project_of_a_token(&cloud, "v3token", &[("OS_TOKEN", issued.trim()), scope]), project);
}

#[test]
fn v3totp_and_v3multifactor_log_in_and_a_password_alone_no_longer_does() {
    if !possible() {
        return;
    }
    let cloud = Cloud::new("factors", CONFIG);
    cloud.hanse_ok(&["up"]);
    let (project, user) = project_and_user(&cloud);
    let scope = ("OS_PROJECT_ID", project.as_str());
    let secret = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U";
    ok(cloud.openstack("hanse-admin").args(["credential", "create", "--type", "totp", "ada", secret]));
    let code = passcode(&cloud, secret);
    let totp = [("OS_USER_ID", user.as_str()), ("OS_PASSCODE", code.as_str()), scope];
    assert_eq!(project_of_a_token(&cloud, "v3totp", &totp), project);

    ok(cloud
        .openstack("hanse-admin")
        .args(["user", "set", "--enable-multi-factor-auth", "ada"])
        .args(["--multi-factor-auth-rule", "password,totp"]));
    // A passcode is good for one login, so this is the next one.
    let code = next_passcode(&cloud, secret, &code);
    let password = [("OS_USER_ID", user.as_str()), ("OS_PASSWORD", "Ada-1-secret"), scope];
    let both = [&password[..], &[("OS_PASSCODE", &code), ("OS_AUTH_METHODS", "v3password,v3totp")]].concat();
    assert_eq!(project_of_a_token(&cloud, "v3multifactor", &both), project);
    let alone = token(&cloud, "v3password", &password).output().unwrap();
    assert!(!alone.status.success(), "a password alone must not be enough");
}

#[test]
fn v3applicationcredential_logs_in() {
    if !possible() {
        return;
    }
    let cloud = Cloud::new("appcred", CONFIG);
    cloud.hanse_ok(&["up"]);
    let made = cloud.openstack_json("hanse", &["application", "credential", "create", "app"]);
    let field =
        |name: &str| made[name].as_str().unwrap_or_else(|| panic!("{name} is missing: {made}")).to_owned();
    let project = ok(cloud.openstack("hanse").args(["token", "issue", "-f", "value", "-c", "project_id"]));
    let (id, secret) = (field("ID"), field("Secret"));
    let options = [
        ("OS_APPLICATION_CREDENTIAL_ID", id.as_str()),
        ("OS_APPLICATION_CREDENTIAL_SECRET", secret.as_str()),
    ];
    assert_eq!(project_of_a_token(&cloud, "v3applicationcredential", &options), project.trim());
    ok(cloud.openstack("hanse").args(["application", "credential", "delete", "app"]));
    assert!(!token(&cloud, "v3applicationcredential", &options).output().unwrap().status.success());
}
