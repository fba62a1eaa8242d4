//! A full disk stops what needs space, says so, and breaks nothing.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use hanse_e2e::client::{Answer, Client, Request};
use hanse_e2e::crash::{Role, SIM};
use hanse_e2e::left_over::entries;
use hanse_e2e::{Cloud, possible};
use serde_json::{Value, json};

const MIB: usize = 1 << 20;

/// A file that takes what is left of the cloud's disk; dropping it frees that again.
struct Filler(PathBuf);

impl Filler {
    fn fill(cloud: &Cloud) -> Filler {
        let filler = Filler(cloud.file("filler"));
        let mut file = File::create(&filler.0).unwrap();
        // The last bytes, too.
        for size in [MIB, 4096, 1] {
            let zeros = vec![0; size];
            loop {
                match file.write_all(&zeros) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        filler
    }

    /// Gives some of it back.
    fn leave(&self, bytes: usize) {
        let file = File::options().write(true).open(&self.0).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length - bytes as u64).unwrap();
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn pids(cloud: &Cloud) -> [Option<u64>; 2] {
    [cloud.pid(Role::ControlPlane), cloud.pid(Role::Agent)]
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// The message of a refusal because the disk is full, as the API words it: `{"<fault>": {"message": …}}` or plain.
fn refusal(answer: &Answer) -> String {
    assert_eq!(answer.status, Some(503), "{answer:?}");
    match &answer.body {
        Value::Object(fault) => text(&fault.values().next().unwrap()["message"]),
        body => text(body),
    }
}

#[test]
fn a_full_disk_is_told_and_survived_and_all_goes_on_when_there_is_space_again() {
    if !possible() {
        return;
    }
    let cloud = Cloud::on_small_disk("full", SIM, 64);
    cloud.hanse_ok(&["up"]);
    let mut client = Client::of(&cloud);
    let running = pids(&cloud);
    let draft = json!({ "name": "guest", "disk_format": "raw", "container_format": "bare" });
    let mut draft_image = || text(&client.ok(&Request::post("/image/v2/images", draft.clone()))["id"]);
    let (small, large) = (draft_image(), draft_image());
    let put = |image: &str, file: &str, size: usize| {
        // Not on the disk that is filled.
        let path = std::env::temp_dir().join(format!("hanse-e2e-{}-{file}", std::process::id()));
        std::fs::write(&path, vec![0; size]).unwrap();
        (Request::upload(&format!("/image/v2/images/{image}/file"), &path).once(), Removed(path))
    };
    let (upload_small, _small_file) = put(&small, "small", MIB);
    let (upload_large, _large_file) = put(&large, "large", 16 * MIB);
    client.ok(&upload_small);
    let flavor = json!({ "flavor": { "name": "tiny", "vcpus": 1, "ram": 128, "disk": 1 } });
    let flavor = client.ok(&Request::post("/compute/v2.1/flavors", flavor).as_admin());
    let server = json!({ "server": {
        "name": "vm", "imageRef": small, "flavorRef": flavor["flavor"]["id"],
    }});
    let create = Request::post("/compute/v2.1/servers", server);
    let list = Request::get("/compute/v2.1/servers/detail");
    let all_active = |seen: &Value| {
        let servers = seen["servers"].as_array().unwrap();
        assert!(servers.iter().all(|server| server["status"] != "ERROR"), "{seen}");
        servers.iter().all(|server| server["status"] == "ACTIVE")
    };
    client.ok(&create);
    client.until(&list, "the server is active", all_active);

    // An image that does not fit: refused in Glance's form, and nothing of it stays.
    let filler = Filler::fill(&cloud);
    filler.leave(8 * MIB);
    let images = cloud.state().join("agent/sim/storage/images");
    let kept = entries(&images);
    let said = refusal(&client.ask(&upload_large));
    assert!(said.contains("No space left") && said.contains("free some by deleting"), "{said}");
    assert_eq!(client.ok(&Request::get(&format!("/image/v2/images/{large}")))["status"], "queued");
    assert_eq!(entries(&images), kept);

    // Not a byte is left: what must be written is refused, what is there can be read.
    drop(filler);
    let filler = Filler::fill(&cloud);
    let said: Vec<String> = (0..20).map(|_| refusal(&client.ask(&create.clone().once()))).collect();
    assert!(said.iter().all(|said| said.contains("disk") && said.contains("full")), "{said:?}");
    assert_eq!(client.ok(&list)["servers"].as_array().unwrap().len(), 1);
    assert_eq!(pids(&cloud), running, "both processes live");

    // With space, everything goes on.
    drop(filler);
    for _ in 0..3 {
        client.ok(&create);
    }
    client.until(&list, "all servers are active", all_active);
    client.ok(&upload_large);
    assert_eq!(pids(&cloud), running, "nothing was started anew");
    for server in client.ok(&list)["servers"].as_array().unwrap() {
        client.ok(&Request::delete(&format!("/compute/v2.1/servers/{}", text(&server["id"]))));
    }
    cloud.assert_nothing_left();

    // Starting on a full disk says in one line what to do.
    cloud.hanse_ok(&["down"]);
    let filler = Filler::fill(&cloud);
    let said = cloud.hanse_fails(&["up"]);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("full") && said.contains("free") && said.contains(&cloud.state().display().to_string()),
        "{said}"
    );
    assert_eq!(pids(&cloud), [None, None]);
    drop(filler);
    cloud.hanse_ok(&["up"]);
    client.ok(&create);
    client.until(&list, "the server is active", all_active);
}

/// A file that is gone when this is dropped.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
