//! What a user does in a new cloud until the first guest answers, with a client that costs nothing.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hanse_e2e::{Cloud, guests};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Answered, answer};
use crate::client::{Api, Call};
use crate::process::{arguments, cpu, started};

/// The steps before the guest's own boot, in their order.
pub const STEPS: [&str; 5] = [
    "`hanse up`",
    "log in, upload the key and the image",
    "network, subnet, router, rules for ssh",
    "create the server, until QEMU starts",
    "from there until the server is ACTIVE and has a floating IP",
];

/// How often a server's status is asked.
const POLL: Duration = Duration::from_millis(20);
/// How long a server may be in the making.
const LIMIT: Duration = Duration::from_secs(120);

pub struct Journey {
    pub steps: [Duration; 5],
    /// From the start of QEMU until ssh answers.
    pub boot: Duration,
    /// Processor time that QEMU needed until a command had run in the guest.
    pub cpu: Duration,
    /// From the very beginning.
    pub answered: Answered,
    /// What the guest ran on.
    pub accelerator: String,
}

/// Makes the cloud and a guest in it, which runs afterwards. Returns the process of the guest as well.
pub async fn travel(cloud: &Cloud) -> Result<(Journey, u32)> {
    let start = Instant::now();
    cloud.hanse_ok(&["up"]);
    let up = start.elapsed();

    crate::client::enter(&cloud.namespace())?;
    let user = User::log_in(cloud).await?;
    let image = user.upload(cloud).await?;
    let uploaded = start.elapsed();

    let (network, public) = user.network().await?;
    let connected = start.elapsed();

    let server = user.server(&image, &network).await?;
    user.wait_until_active(&server).await?;
    let address = user.floating_ip(&server, &public).await?;
    let reachable = start.elapsed();

    let answered = answer::wait(cloud, address, start).await?;
    let pid = qemu(cloud, &server)?;
    let qemu = started(pid)?.saturating_duration_since(start);
    let journey = Journey {
        steps: [
            up,
            uploaded - up,
            connected - uploaded,
            qemu.saturating_sub(connected),
            reachable.saturating_sub(qemu),
        ],
        cpu: cpu(pid)?,
        boot: answered.banner.saturating_sub(qemu),
        answered,
        accelerator: accelerator(pid)?,
    };
    Ok((journey, pid))
}

/// The process of a guest, from the hint that the hypervisor leaves.
fn qemu(cloud: &Cloud, server: &str) -> Result<u32> {
    let path = cloud.state().join("agent/guests").join(server).join("qemu.pid");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim().parse()?)
}

fn accelerator(pid: u32) -> Result<String> {
    let arguments = arguments(pid)?;
    let at = arguments.iter().position(|argument| argument == "-accel").context("QEMU has no -accel")?;
    let value = arguments.get(at + 1).context("-accel has no value")?;
    Ok(value.split(',').next().unwrap_or_default().to_owned())
}

/// The demo user of a new cloud.
struct User {
    api: Api,
    token: String,
}

impl User {
    async fn log_in(cloud: &Cloud) -> Result<User> {
        let api = Api::of(cloud).await?;
        let token = api.session("hanse").await?.token;
        Ok(User { api, token })
    }

    async fn get(&self, path: &str) -> Result<Value> {
        self.api.json(&Call::get(path).token(&self.token)).await
    }

    async fn post(&self, path: &str, body: Value, expected: StatusCode) -> Result<Value> {
        self.api.json(&Call::post(path, &body, expected).token(&self.token)).await
    }

    /// Makes an object of the network service.
    async fn make(&self, path: &str, kind: &str, fields: Value) -> Result<Value> {
        let made =
            self.post(&format!("/network/v2.0/{path}"), json!({ kind: fields }), StatusCode::CREATED).await?;
        Ok(made[kind].clone())
    }

    /// The key pair and the image; returns the image's id.
    async fn upload(&self, cloud: &Cloud) -> Result<String> {
        let key = std::fs::read_to_string(cloud.file("key.pub"))?;
        let keypair = json!({ "keypair": { "name": "key", "public_key": key.trim() } });
        self.post("/compute/v2.1/os-keypairs", keypair, StatusCode::OK).await?;
        let image = json!({ "name": "guest", "disk_format": "qcow2", "container_format": "bare" });
        let id = text(&self.post("/image/v2/images", image, StatusCode::CREATED).await?["id"])?;
        let bytes = read(&guests::image())?;
        let path = format!("/image/v2/images/{id}/file");
        let put = Call::put(&path, "application/octet-stream", bytes, StatusCode::NO_CONTENT);
        self.api.send(&put.token(&self.token)).await?;
        Ok(id)
    }

    /// A network behind a router, with a security group that lets ssh in; returns its id and that of the public network.
    async fn network(&self) -> Result<(String, String)> {
        let list = self.get("/network/v2.0/networks?router:external=true").await?;
        let public = text(&list["networks"][0]["id"])?;
        let network = text(&self.make("networks", "network", json!({ "name": "inside" })).await?["id"])?;
        let range = json!({ "network_id": network, "ip_version": 4, "cidr": "10.7.0.0/24" });
        let subnet = self.make("subnets", "subnet", range).await?["id"].clone();
        let gateway = json!({ "name": "way-out", "external_gateway_info": { "network_id": public } });
        let router = text(&self.make("routers", "router", gateway).await?["id"])?;
        let path = format!("/network/v2.0/routers/{router}/add_router_interface");
        let body =
            Call::put(&path, "application/json", json!({ "subnet_id": subnet }).to_string(), StatusCode::OK);
        self.api.send(&body.token(&self.token)).await?;
        let groups = self.get("/network/v2.0/security-groups?name=default").await?;
        let ssh = json!({
            "security_group_id": groups["security_groups"][0]["id"], "direction": "ingress", "ethertype": "IPv4",
            "protocol": "tcp", "port_range_min": 22, "port_range_max": 22,
        });
        self.make("security-group-rules", "security_group_rule", ssh).await?;
        Ok((network, public))
    }

    /// Asks for a server of the smallest kind; returns its id.
    async fn server(&self, image: &str, network: &str) -> Result<String> {
        let flavors = self.get("/compute/v2.1/flavors/detail").await?;
        let flavors = flavors["flavors"].as_array().into_iter().flatten();
        let least = flavors.min_by_key(|flavor| flavor["ram"].as_u64()).context("there is no flavor")?;
        let server = json!({ "server": {
            "name": "first", "imageRef": image, "flavorRef": least["id"], "key_name": "key",
            "networks": [{ "uuid": network }],
        }});
        let made = self.post("/compute/v2.1/servers", server, StatusCode::ACCEPTED).await?;
        text(&made["server"]["id"])
    }

    async fn wait_until_active(&self, server: &str) -> Result<()> {
        let limit = Instant::now() + LIMIT;
        loop {
            let seen = &self.get(&format!("/compute/v2.1/servers/{server}")).await?["server"];
            match seen["status"].as_str() {
                Some("ACTIVE") => return Ok(()),
                Some("BUILD") if Instant::now() < limit => tokio::time::sleep(POLL).await,
                _ => bail!("the server does not become ACTIVE: {} {}", seen["status"], seen["fault"]),
            }
        }
    }

    /// Gives the server an address in the public network.
    async fn floating_ip(&self, server: &str, public: &str) -> Result<Ipv4Addr> {
        let ports = self.get(&format!("/network/v2.0/ports?device_id={server}")).await?;
        let wanted = json!({ "floating_network_id": public, "port_id": ports["ports"][0]["id"] });
        let made = self.make("floatingips", "floatingip", wanted).await?;
        Ok(text(&made["floating_ip_address"])?.parse()?)
    }
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("{value} is not what was expected"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
