//! What an operator does with the binary itself.

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
    let listener = cloud.inside("python3").args(["-c", LISTEN]).spawn();
    let mut listener = listener.unwrap_or_else(|error| unreachable!("python3: {error}"));
    std::thread::sleep(std::time::Duration::from_millis(1500));
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

const LISTEN: &str = "import socket,time
s=socket.socket(); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1); s.bind(('127.0.0.1',8443)); s.listen(); time.sleep(60)";
