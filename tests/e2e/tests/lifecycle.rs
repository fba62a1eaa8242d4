//! What an operator does with the binary itself.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use hanse_e2e::{Cloud, possible};

const SIM: &str = "[hypervisor]\ndriver = \"sim\"";

#[test]
fn up_down_up_again_and_reset() {
    if !possible() {
        return;
    }
    let user = format!("hanse-t{}", std::process::id());
    let cloud = Cloud::new("life", &format!("user = \"{user}\"\n{SIM}"));
    assert!(cloud.hanse_fails(&["status"]).contains("`hanse up` makes one"));
    let first = cloud.hanse_ok(&["up"]);
    assert!(first.contains("started the control plane"), "{first}");
    assert!(first.contains("clouds.yaml"), "{first}");
    hanse_e2e::ok(std::process::Command::new("id").arg(&user));
    let second = cloud.hanse_ok(&["up"]);
    assert!(second.contains("the control plane runs already"), "{second}");
    let status = cloud.status();
    assert_eq!(status["nodes"][0]["connected"], true, "{status}");
    cloud.hanse_ok(&["down"]);
    assert_eq!(cloud.status()["control_plane"]["healthy"], false);
    // The configuration is named as it is seen from here, which is not where the two processes work.
    let mut up = cloud.inside(hanse_e2e::binary());
    hanse_e2e::ok(up.current_dir(cloud.file("")).args(["--config", "hanse.toml", "up"]));
    assert!(cloud.hanse_fails(&["reset"]).contains("--yes"), "nobody is there to ask");
    cloud.hanse_ok(&["reset", "--yes"]);
    assert!(!cloud.state().exists());
    hanse_e2e::fails(std::process::Command::new("id").arg(&user));
    assert!(cloud.hanse_ok(&["reset", "--yes"]).contains("nothing to remove"));
}

#[test]
fn what_is_wrong_is_said_in_one_line_with_what_to_do() {
    if !possible() {
        return;
    }
    let cloud = Cloud::new("wrong", SIM);
    let config = std::fs::read_to_string(cloud.config()).unwrap_or_default();
    let write =
        |extra: &str| std::fs::write(cloud.config(), format!("{extra}\n{config}")).unwrap_or_default();
    write("staet_dir = \"/x\"");
    assert!(cloud.hanse_fails(&["up"]).contains("did you mean `state_dir`"));
    write("");
    // A port in use.
    let listener = cloud.inside("python3").args(["-c", LISTEN]).stdout(Stdio::piped()).spawn();
    let mut listener = listener.unwrap_or_else(|error| unreachable!("python3: {error}"));
    let mut ready = String::new();
    let listening = listener.stdout.take().map(|out| BufReader::new(out).read_line(&mut ready));
    assert!(matches!(listening, Some(Ok(1..))), "{listening:?}");
    let said = cloud.hanse_fails(&["up"]);
    assert!(said.contains("127.0.0.1:8443 is in use") && said.lines().count() == 1, "{said}");
    let _ = listener.kill();
    let _ = listener.wait();
    cloud.hanse_ok(&["up"]);
    // A second control plane on the same state.
    let said = cloud.hanse_fails(&["serve"]);
    assert!(said.contains("another control plane"), "{said}");
    // A state of a newer release.
    cloud.hanse_ok(&["down"]);
    let file = cloud.state().join("cloud.json");
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    std::fs::write(&file, text.replace("\"layout\": 1", "\"layout\": 2")).unwrap_or_default();
    assert!(cloud.hanse_fails(&["up"]).contains("newer release"));
    std::fs::write(&file, text).unwrap_or_default();
}

#[test]
fn a_running_cloud_takes_up_a_log_level_and_renews_its_keys_when_it_is_asked_to() {
    if !possible() {
        return;
    }
    let cloud = Cloud::new("hangup", SIM);
    cloud.hanse_ok(&["up"]);
    let before = cloud.openstack_json("hanse", &["token", "issue"]);
    let keys = cloud.state().join("control/token-keys");
    let names = || hanse_e2e::ok(std::process::Command::new("ls").arg(&keys));
    assert_eq!(names(), "0\n1\n");
    // As if the last rotation had been two days ago.
    let age = ["-d", "2 days ago"];
    for key in ["0", "1"] {
        hanse_e2e::ok(std::process::Command::new("touch").args(age).arg(keys.join(key)));
    }
    let config = std::fs::read_to_string(cloud.config()).unwrap_or_default();
    std::fs::write(cloud.config(), format!("{config}\n[log]\nlevel = \"debug\"\n")).unwrap_or_default();
    for role in ["control_plane", "agent"] {
        let pid = cloud.status()[role]["pid"].to_string();
        hanse_e2e::ok(std::process::Command::new("kill").args(["-HUP", &pid]));
    }
    cloud.eventually_logs("serve.log", "\"chore\":\"token keys\"");
    cloud.eventually_logs("serve.log", "\"level\":\"DEBUG\"");
    cloud.eventually_logs("agent.log", "\"chore\":\"log level\"");
    assert_eq!(names(), "0\n1\n2\n");
    let text = |name: &str| before[name].as_str().unwrap_or_default().to_owned();
    let authority = cloud.state().join("operator/ca.crt").display().to_string();
    let with = [
        ("--os-cacert", authority),
        ("--os-auth-url", "https://127.0.0.1:8443/identity".to_owned()),
        ("--os-auth-type", "token".to_owned()),
        ("--os-token", text("id")),
        ("--os-project-id", text("project_id")),
    ];
    let old: Vec<&str> = with.iter().flat_map(|(option, value)| [option, value.as_str()]).collect();
    let after = cloud.openstack_json("", &[&old[..], &["token", "issue"]].concat());
    assert_eq!(after["user_id"], before["user_id"], "a token from before the rotation is good");
}

const LISTEN: &str = "import socket,time
s=socket.socket(); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1); s.bind(('127.0.0.1',8443)); s.listen(); print('ready', flush=True); time.sleep(60)";
