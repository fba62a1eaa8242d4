//! Two projects with the same addresses on one cloud: neither sees, reaches or disturbs the other.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hanse_e2e::guests::{TCG, image, possible};
use hanse_e2e::{Cloud, fails, ok};
use serde_json::{Value, json};

/// The names of the two in `clouds.yaml`.
const NEAR: &str = "hanse";
const FAR: &str = "far";

/// What both call their own.
const CIDR: &str = "10.7.0.0/24";
/// Of `one`; the far project has nobody there.
const ONE: (&str, &str) = ("10.7.0.10", "fa:16:3e:07:00:0a");
/// Of `two`, and of the far project's only guest.
const TWO: (&str, &str) = ("10.7.0.11", "fa:16:3e:07:00:0b");
/// Nobody's.
const FALSE: (&str, &str) = ("10.7.0.99", "fa:16:3e:07:00:63");

/// Answers everybody with the name of its guest.
const OPEN: u16 = 8080;
/// Repeats what it is told, and no rule lets anybody from outside in.
const DENIED: u16 = 8081;

/// Sends two, and waits for what answers.
const PING: &str = "ping -q -c 2 -W 3";
/// What it says if nobody does.
const UNHEARD: &str = "2 packets transmitted, 0 packets received";

#[test]
fn two_projects_with_the_same_addresses_do_not_meet_and_a_denied_port_stays_denied() {
    if !possible() {
        return;
    }
    let cloud = Cloud::new("tenants", TCG);
    cloud.hanse_ok(&["up"]);
    admit(&cloud);
    let (near, far) = std::thread::scope(|scope| {
        let far = scope.spawn(|| tenant(&cloud, FAR, "build", &plan(&cloud, "far", &[22], &[("far", TWO)])));
        let guests = [("one", ONE), ("two", TWO)];
        let near = tenant(&cloud, NEAR, "build", &plan(&cloud, "near", &[22, OPEN], &guests));
        (near, far.join().unwrap())
    });
    let guests = Guests {
        cloud: &cloud,
        one: address(&near, "one"),
        two: address(&near, "two"),
        far: address(&far, "far"),
    };
    sees_nothing(&cloud, &near, &far);
    guests.listen();
    guests.meet_only_within_their_project();
    guests.are_reached_only_where_a_rule_says_so();
    guests.are_not_heard_under_a_false_address();
}

/// Admits the second project, with a member who has an entry in `clouds.yaml` beside the first one's.
fn admit(cloud: &Cloud) {
    let flavor = ["flavor", "create", "--vcpus", "1", "--ram", "128", "--disk", "1", "tiny"];
    let steps: &[&[&str]] = &[
        &flavor,
        &["project", "create", FAR],
        &["user", "create", "--password", "f4r-Away-Pass", "eve"],
        &["role", "add", "--project", FAR, "--user", "eve", "member"],
    ];
    for step in steps {
        ok(cloud.openstack("hanse-admin").args(*step));
    }
    let file = cloud.state().join("operator/clouds.yaml");
    let mut clouds: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let mut entry = clouds["clouds"][NEAR].clone();
    entry["auth"]["username"] = json!("eve");
    entry["auth"]["password"] = json!("f4r-Away-Pass");
    entry["auth"]["project_name"] = json!(FAR);
    clouds["clouds"][FAR] = entry;
    std::fs::write(&file, clouds.to_string()).unwrap();
    ok(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(cloud.file("key")));
}

fn plan(cloud: &Cloud, name: &str, ports: &[u16], guests: &[(&str, (&str, &str))]) -> Value {
    let allow: Vec<Value> =
        ports.iter().map(|port| json!(["tcp", port])).chain([json!(["icmp", null])]).collect();
    json!({
        "name": name,
        "cidr": CIDR,
        "image": image(),
        "public_key": std::fs::read_to_string(cloud.file("key.pub")).unwrap(),
        "allow": allow,
        "guests": guests.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
    })
}

/// Runs a verb of the script that plays a tenant.
fn tenant(cloud: &Cloud, who: &str, verb: &str, argument: &Value) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tenant.py");
    let text = ok(cloud.client_python(who).args([script, verb, &argument.to_string()]));
    serde_json::from_str(&text).unwrap()
}

fn address(project: &Value, guest: &str) -> String {
    project["floating_ips"][guest]["address"].as_str().unwrap().to_owned()
}

/// Through the API, nothing of a project is there for the other one.
fn sees_nothing(cloud: &Cloud, near: &Value, far: &Value) {
    let before = tenant(cloud, NEAR, "look", &Value::Null);
    let pried = tenant(cloud, FAR, "pry", &json!({ "theirs": near, "mine": far }));
    assert!(pried["lists"].as_array().unwrap().len() >= 11, "every list was read: {}", pried["lists"]);
    assert_eq!(pried["found"], json!([]), "a list shows what is another project's");
    let addressed = pried["addressed"].as_array().unwrap();
    let others: Vec<_> = addressed.iter().filter(|call| call[3] != 404).collect();
    assert!(addressed.len() > 45 && others.is_empty(), "not 404: {others:#?}");
    let referred = pried["referred"].as_array().unwrap();
    let others: Vec<_> = referred.iter().filter(|call| call[3] != 404 && call[3] != 400).collect();
    assert!(referred.len() > 10 && others.is_empty(), "neither 400 nor 404: {others:#?}");
    assert_eq!(tenant(cloud, NEAR, "look", &Value::Null), before, "what was tried has changed something");

    // The same in the words of the client. Its own guest has the address of one that it does not see.
    let list =
        ok(cloud.openstack(FAR).args(["server", "list", "-f", "value", "-c", "Name", "-c", "Networks"]));
    assert!(list.lines().count() == 1 && list.contains("far") && list.contains(TWO.0), "{list}");
    let server = near["servers"]["one"].as_str().unwrap();
    assert!(fails(cloud.openstack(FAR).args(["server", "show", server])).contains("No Server found"));
}

struct Guests<'a> {
    cloud: &'a Cloud,
    one: String,
    two: String,
    far: String,
}

impl Guests<'_> {
    fn listen(&self) {
        for guest in [&self.one, &self.two, &self.far] {
            let line = format!(
                "nc -ll -p {OPEN} -e hostname </dev/null >/dev/null 2>&1 &
                 nc -ll -p {DENIED} -e cat </dev/null >/dev/null 2>&1 &"
            );
            self.cloud.ssh_ok(guest, &line);
        }
    }

    /// Who answers a guest at an address, if anybody does.
    fn ask(&self, guest: &str, address: &str, port: u16) -> String {
        let line = format!("echo hello | timeout 10 nc -w 5 {address} {port} 2>/dev/null || true");
        self.cloud.ssh_ok(guest, &line).trim().to_owned()
    }

    /// Asks until somebody answers: a listener or a route may be on its way.
    fn hear(&self, guest: &str, address: &str, port: u16) -> String {
        let answers = (0..30).map(|_| self.ask(guest, address, port));
        answers.into_iter().find(|answer| !answer.is_empty()).unwrap_or_default()
    }

    /// Whether an address answers a guest's pings, sent with these options.
    fn pings(&self, guest: &str, options: &str, address: &str) -> bool {
        let said = self.cloud.ssh_ok(guest, &format!("{PING} {options} {address} || true"));
        assert!(said.contains("2 packets transmitted"), "{said}");
        !said.contains(UNHEARD)
    }

    /// The same where an answer must come, on however busy a machine.
    fn is_answered(&self, guest: &str, options: &str, address: &str) -> bool {
        (0..20).any(|_| self.pings(guest, options, address))
    }

    /// How many pings `one` has heard since it runs.
    fn heard(&self) -> u64 {
        let text = self.cloud.ssh_ok(&self.one, "grep ^Icmp: /proc/net/snmp");
        let (names, values) = text.trim().split_once('\n').unwrap();
        let place = names.split(' ').position(|name| name == "InEchos").unwrap();
        values.split(' ').nth(place).unwrap().parse().unwrap()
    }

    fn meet_only_within_their_project(&self) {
        // The same address is somebody else in each project.
        assert_eq!(self.hear(&self.two, ONE.0, OPEN), "one");
        assert_eq!(self.hear(&self.one, TWO.0, OPEN), "two");
        assert_eq!(self.hear(&self.far, TWO.0, OPEN), "far");
        assert!(self.is_answered(&self.two, "", ONE.0));

        // The last ping does not ask first who has the address: it goes to the neighbour's own hardware address.
        let before = self.heard();
        let line = format!(
            "for port in {OPEN} 22; do echo hello | timeout 5 nc -w 3 {one} $port; done
             {PING} {one}; arp -s {one} {mac}; {PING} {one}; arp -n; arp -d {one}",
            one = ONE.0,
            mac = ONE.1
        );
        let said = self.cloud.ssh_ok(&self.far, &line);
        assert!(said.matches(UNHEARD).count() == 2 && said.contains(ONE.1), "{said}");
        assert!(!said.lines().any(|line| line == "one" || line.contains("SSH")), "{said}");
        assert_eq!(self.heard(), before, "a stranger was heard");

        // They do meet where both are public, as far as the rules go.
        assert_eq!(self.hear(&self.far, &self.one, OPEN), "one");
        assert!(self.is_answered(&self.far, "", &self.one));
        assert!(self.heard() > before);
        assert_eq!(self.ask(&self.one, &self.far, OPEN), "");
    }

    fn are_reached_only_where_a_rule_says_so(&self) {
        // Somebody listens: the project's default group lets its members in.
        assert_eq!(self.hear(&self.two, ONE.0, DENIED), "hello");
        assert!(self.opens(OPEN));
        assert!(!self.is_open(DENIED), "{DENIED} is open although no rule says so");
        assert_eq!(self.ask(&self.far, &self.one, DENIED), "");

        let port = DENIED.to_string();
        let rule = ["security", "group", "rule", "create", "--proto", "tcp", "--dst-port", &port, "default"];
        let rule = self.cloud.openstack_json(NEAR, &rule);
        assert!(self.opens(DENIED), "{DENIED} does not open");
        let mut held = Conversation::begin(self.cloud, &self.one, DENIED);
        assert!(held.is_answered(60), "what is open is used");

        let id = rule["id"].as_str().unwrap();
        ok(self.cloud.openstack(NEAR).args(["security", "group", "rule", "delete", id]));
        assert!((0..60).any(|_| !self.is_open(DENIED)), "{DENIED} does not close");
        assert!((0..60).any(|_| !held.is_answered(5)), "what was connected before goes on");
        assert!(self.opens(OPEN), "what other rules allow goes on");
        assert_eq!(self.hear(&self.two, ONE.0, DENIED), "hello", "and what the group allows");
    }

    /// Waits until a port of `one` is reached from outside.
    fn opens(&self, port: u16) -> bool {
        (0..60).any(|_| self.is_open(port))
    }

    /// Whether a port of `one` is reached from outside.
    fn is_open(&self, port: u16) -> bool {
        // Not in a tight loop, when it is refused at once.
        std::thread::sleep(Duration::from_millis(200));
        let connect = format!("exec 3<>/dev/tcp/{}/{port}", self.one);
        let mut command = self.cloud.inside("timeout");
        command.args(["5", "bash", "-c", &connect]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn are_not_heard_under_a_false_address(&self) {
        let (two, own) = (&self.two, format!("-I {}", TWO.0));
        let before = self.heard();
        assert!(self.is_answered(two, &own, ONE.0));
        let honest = self.heard();
        assert!(honest > before, "pings are counted");

        // Another IP address than its own, then another MAC address. Who has `one`'s address it knows already.
        let change = format!("arp -s {} {}; ip addr add {}/24 dev eth0", ONE.0, ONE.1, FALSE.0);
        self.cloud.ssh_ok(two, &change);
        assert!(!self.pings(two, &format!("-I {}", FALSE.0), ONE.0));
        assert_eq!(self.heard(), honest, "a false IP address was heard");
        assert!(!self.pings(&self.one, "", FALSE.0), "a false IP address is believed");

        // It cannot be told what to do meanwhile.
        let line = format!(
            "ip addr del {}/24 dev eth0
             (sleep 1
              ip link set dev eth0 address {}; cat /sys/class/net/eth0/address; {PING} {}
              ip link set dev eth0 address {}; echo over) >/tmp/spoofed 2>&1 &",
            FALSE.0, FALSE.1, ONE.0, TWO.1
        );
        self.cloud.ssh_ok(two, &line);
        let mut said = String::new();
        for _ in 0..120 {
            std::thread::sleep(Duration::from_millis(500));
            said = self.cloud.ssh_ok(two, "cat /tmp/spoofed");
            if said.contains("over") {
                break;
            }
        }
        assert!(said.contains(FALSE.1) && said.contains(UNHEARD) && said.contains("over"), "{said}");
        assert_eq!(self.heard(), honest, "a false MAC address was heard");
        assert!(self.is_answered(two, &own, ONE.0), "its own are still good");
        assert!(self.heard() > honest);
    }
}

/// A connection that is kept.
struct Conversation(Child, BufReader<std::process::ChildStdout>);

/// Says something for each line that it reads, waits as many seconds as the line says, and tells whether it was answered.
const TALK: &str = "
import socket, sys
server = socket.create_connection((sys.argv[1], int(sys.argv[2])), 60)
for line in sys.stdin:
    server.settimeout(int(line))
    try:
        server.sendall(line.encode())
        answer = server.recv(100)
    except OSError:
        answer = b''
    print('answered' if answer else 'silence', flush=True)
";

impl Conversation {
    fn begin(cloud: &Cloud, address: &str, port: u16) -> Conversation {
        let mut command = cloud.inside("python3");
        command.args(["-c", TALK, address, &port.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Conversation(child, out)
    }

    fn is_answered(&mut self, seconds: u32) -> bool {
        writeln!(self.0.stdin.as_mut().unwrap(), "{seconds}").unwrap();
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        match line.as_str() {
            "answered\n" => true,
            "silence\n" => false,
            other => panic!("the connection broke off: {other}"),
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
