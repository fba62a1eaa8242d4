//! Two control planes of one cloud on one PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use hanse_e2e::client::{Client, Request};
use hanse_e2e::crash::{Role, SIM};
use hanse_e2e::plane::{PORT, Plane};
use hanse_e2e::postgres::{Database, Proxy, Way};
use hanse_e2e::{Cloud, possible};
use serde_json::{Value, json};

/// For as long may a control plane believe what it was told last, and a little more.
const TRUSTED: Duration = Duration::from_millis(1200);

const PASSWORD: &str = "s3cret-Pass";

/// What a token must be good for to see this.
const CATALOG: &str = "/identity/v3/auth/catalog";

/// A cloud with a second control plane, and its admin.
struct Planes {
    // Dropped in this order: the second ends before the cloud is taken back.
    second: Plane,
    client: Client,
    cloud: Cloud,
    proxy: Proxy,
    database: Database,
    /// Configuration of the second.
    extra: String,
}

impl Planes {
    fn start(name: &str) -> Option<Planes> {
        let database = Database::new().filter(|_| possible())?;
        let (proxy, proxied) = database.by_proxy();
        let config = |url: std::path::PathBuf| format!("{SIM}\n[database]\nurl_file = \"{}\"", url.display());
        let (extra, config) = (config(proxied), config(database.url_file()));
        let cloud = Cloud::new(name, &config);
        cloud.hanse_ok(&["up"]);
        let second = Plane::start(&cloud, &extra);
        let client = Client::of(&cloud);
        Some(Planes { second, client, cloud, proxy, database, extra })
    }

    fn admin(&mut self, method: &str, path: &str, body: Value) -> Value {
        let mut request = Request::new(method, path).as_admin();
        if !body.is_null() {
            request = request.with_body(body);
        }
        self.client.ok(&request)
    }

    fn id(&mut self, path: &str, noun: &str, body: Value) -> String {
        text(&self.admin("POST", path, json!({ noun: body }))[noun]["id"])
    }

    fn role(&mut self, name: &str) -> String {
        text(&self.admin("GET", &format!("/identity/v3/roles?name={name}"), Value::Null)["roles"][0]["id"])
    }

    /// A member of a project of their own, and a token of theirs.
    fn member(&mut self, name: &str) -> Member {
        let user = self.id("/identity/v3/users", "user", json!({ "name": name, "password": PASSWORD }));
        let project = self.id("/identity/v3/projects", "project", json!({ "name": name }));
        let role = self.role("member");
        let held = format!("/identity/v3/projects/{project}/users/{user}/roles/{role}");
        self.admin("PUT", &held, Value::Null);
        let mut member = Member { user, project, held, token: String::new() };
        let proof = json!({ "methods": ["password"], "password": { "user": { "id": member.user, "password": PASSWORD } } });
        member.token = self.login(proof, json!({ "project": { "id": member.project } }));
        member
    }

    fn login(&mut self, identity: Value, scope: Value) -> String {
        let mut auth = json!({ "identity": identity });
        if !scope.is_null() {
            auth["scope"] = scope;
        }
        let request = Request::post("/identity/v3/auth/tokens", json!({ "auth": auth })).with_token("");
        let answer = self.client.ask(&request);
        assert_eq!(answer.status, Some(201), "{answer:?}");
        answer.token.unwrap()
    }

    /// What the second control plane answers to the token.
    fn there(&mut self, token: &str) -> Option<u64> {
        self.client.ask(&Request::get(CATALOG).with_token(token).to_port(PORT).once()).status
    }

    fn probe(&mut self, port: u16) -> Option<u64> {
        self.client.ask(&Request::get("/healthz").with_token("").to_port(port).once()).status
    }
}

struct Member {
    user: String,
    project: String,
    held: String,
    token: String,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| unreachable!("no text: {value}")).to_owned()
}

#[test]
fn what_one_control_plane_ends_the_other_refuses_after_a_second_and_what_it_makes_is_known_at_once() {
    let Some(mut planes) = Planes::start("planes") else { return };
    let names = ["kept", "revoked", "disabled", "unrolled", "rekeyed", "closed", "uncredentialed"];
    let mut members: Vec<Member> = names.iter().map(|name| planes.member(name)).collect();
    let uncredentialed = members.pop().unwrap();
    let path = format!("/identity/v3/users/{}/application_credentials", uncredentialed.user);
    let body = json!({ "application_credential": { "name": "ci", "secret": "long enough to be one" } });
    let made = planes.client.ok(&Request::post(&path, body).with_token(&uncredentialed.token));
    let credential = text(&made["application_credential"]["id"]);
    let proof = json!({
        "methods": ["application_credential"],
        "application_credential": { "id": credential, "secret": "long enough to be one" },
    });
    let by_credential = planes.login(proof, Value::Null);
    // Made a moment ago by the first, shown to the second.
    for token in members.iter().map(|member| &member.token).chain([&by_credential]) {
        assert_eq!(planes.there(token), Some(200));
    }
    let late = planes.member("late");
    assert_eq!(planes.there(&late.token), Some(200));

    let [kept, revoked, disabled, unrolled, rekeyed, closed] = &members[..] else { unreachable!("six") };
    let revoke = Request::delete("/identity/v3/auth/tokens").as_admin().on_token(&revoked.token);
    planes.client.ok(&revoke);
    let user = |member: &Member| format!("/identity/v3/users/{}", member.user);
    planes.admin("PATCH", &user(disabled), json!({ "user": { "enabled": false } }));
    planes.admin("DELETE", &unrolled.held, Value::Null);
    planes.admin("PATCH", &user(rekeyed), json!({ "user": { "password": "changed-Pass" } }));
    let project = format!("/identity/v3/projects/{}", closed.project);
    planes.admin("PATCH", &project, json!({ "project": { "enabled": false } }));
    let path = format!("{path}/{credential}");
    planes.client.ok(&Request::delete(&path).with_token(&uncredentialed.token));

    std::thread::sleep(TRUSTED);
    for dead in [revoked, disabled, unrolled, rekeyed, closed] {
        assert_eq!(planes.there(&dead.token), Some(401));
    }
    assert_eq!(planes.there(&by_credential), Some(401));
    assert_eq!(planes.there(&kept.token), Some(200));
    assert_eq!(planes.there(&late.token), Some(200));
}

#[test]
fn a_control_plane_without_its_database_refuses_within_seconds_and_goes_on_by_itself() {
    let Some(mut planes) = Planes::start("cutoff") else { return };
    for way in [Way::Cut, Way::Silent] {
        let kept = planes.member(&format!("kept-{way:?}"));
        let revoked = planes.member(&format!("revoked-{way:?}"));
        assert_eq!([&kept, &revoked].map(|member| planes.there(&member.token)), [Some(200), Some(200)]);
        planes.proxy.set(way);
        let revoke = Request::delete("/identity/v3/auth/tokens").as_admin().on_token(&revoked.token);
        planes.client.ok(&revoke);
        std::thread::sleep(TRUSTED);
        // One behind the other, they would be cut off with 408 after a minute.
        let ask = |token: &str| Request::get(CATALOG).with_token(token).to_port(PORT).once();
        let requests = [ask(&kept.token), ask(&revoked.token)];
        let numbers: Vec<u64> =
            requests.iter().cycle().take(60).map(|request| planes.client.start(request)).collect();
        for number in numbers {
            assert_eq!(planes.client.answer(number).status, Some(503), "{way:?}");
        }
        let health = Request::get("/healthz").with_token("").to_port(PORT).once();
        let numbers: Vec<u64> = (0..40).map(|_| planes.client.start(&health)).collect();
        for number in numbers {
            assert_eq!(planes.client.answer(number).status, Some(503), "{way:?}");
        }
        assert_eq!(planes.probe(8443), Some(200), "the first has its database");

        planes.proxy.set(Way::Open);
        let again = Request::get(CATALOG).with_token(&kept.token).to_port(PORT);
        // Repeated until something below 500 answers.
        assert_eq!(planes.client.ask(&again).status, Some(200), "{way:?}");
        assert_eq!(planes.there(&revoked.token), Some(401), "{way:?}");
        assert_eq!(planes.probe(PORT), Some(200), "{way:?}");
    }
}

#[test]
fn a_control_plane_goes_on_when_the_other_dies_and_both_do_the_work() {
    let Some(mut planes) = Planes::start("share") else { return };
    let server = what_servers_need(&mut planes);
    let create = |planes: &mut Planes, ports: &[u16]| -> Vec<String> {
        let numbers: Vec<u64> = (0..4)
            .map(|number| {
                let mut server = server.clone();
                server["name"] = json!(format!("vm-{number}"));
                let port = ports[number % ports.len()];
                let request =
                    Request::post("/compute/v2.1/servers", json!({ "server": server })).to_port(port);
                planes.client.start(&request)
            })
            .collect();
        let answers = numbers.into_iter().map(|number| planes.client.answer(number));
        answers
            .map(|answer| {
                assert_eq!(answer.status, Some(202), "{answer:?}");
                text(&answer.body["server"]["id"])
            })
            .collect()
    };
    let all_active = |planes: &mut Planes, port: u16, count: usize| {
        let list = Request::get("/compute/v2.1/servers/detail").to_port(port);
        planes.client.until(&list, "all servers are ACTIVE", |seen| {
            let servers = seen["servers"].as_array().unwrap();
            servers.len() == count && servers.iter().all(|server| server["status"] == "ACTIVE")
        });
    };
    create(&mut planes, &[8443, PORT]);
    all_active(&mut planes, PORT, 4);

    // The second dies with work in its hands; the first takes it up when the leases have run out.
    create(&mut planes, &[8443, PORT]);
    planes.second.kill();
    all_active(&mut planes, 8443, 8);

    // The first dies. The second answers and works; the machine, whose agent knows only the first, comes back with it.
    planes.second = Plane::start(&planes.cloud, &planes.extra);
    planes.cloud.kill("control_plane");
    assert_eq!(planes.cloud.pid(Role::ControlPlane), None);
    let late = create(&mut planes, &[PORT]);
    for id in &late {
        let asked =
            format!("SELECT fence FROM work_items WHERE kind = 'compute.servers' AND object_id = '{id}'");
        let is_claimed = (0..300).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            planes.database.ask(&asked).trim().parse::<u32>().is_ok_and(|fence| fence > 0)
        });
        assert!(is_claimed, "nobody has worked on {id}");
    }
    planes.cloud.hanse_ok(&["up"]);
    all_active(&mut planes, 8443, 12);
}

/// An image, a flavor and a network, as the request for a server names them.
fn what_servers_need(planes: &mut Planes) -> Value {
    let zeros = planes.cloud.file("zeros");
    std::fs::write(&zeros, vec![0; 1 << 20]).unwrap();
    let client = &mut planes.client;
    let image = json!({ "name": "zeros", "disk_format": "raw", "container_format": "bare" });
    let image = text(&client.ok(&Request::post("/image/v2/images", image))["id"]);
    client.ok(&Request::upload(&format!("/image/v2/images/{image}/file"), &zeros));
    let flavor = json!({ "flavor": { "name": "tiny", "vcpus": 1, "ram": 16, "disk": 1 } });
    let flavor = client.ok(&Request::post("/compute/v2.1/flavors", flavor).as_admin());
    let network = json!({ "network": { "name": "inside" } });
    let network = client.ok(&Request::post("/network/v2.0/networks", network))["network"]["id"].clone();
    let subnet = json!({ "subnet": { "network_id": network, "ip_version": 4, "cidr": "10.7.0.0/24" } });
    client.ok(&Request::post("/network/v2.0/subnets", subnet));
    json!({ "imageRef": image, "flavorRef": flavor["flavor"]["id"], "networks": [{ "uuid": network }] })
}
