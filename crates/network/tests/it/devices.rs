//! What compute asks for.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use hanse_core::{CrashPoints, Kind, Result, Uuid};
use hanse_network::{DevicePort, Network, NicRequest, PortSpec};
use hanse_work::{Outcome, Reconciler, Runner, Turn, wake};
use serde_json::{Value, json};

use crate::world::{ADA, ADMIN, World, caller};

type Act =
    Box<dyn for<'t> Fn(&'t Network, &'t Turn) -> BoxFuture<'t, Result<Option<DevicePort>>> + Send + Sync>;

/// A reconciler of servers that does one thing.
struct Servers {
    network: Network,
    act: Act,
    seen: Mutex<Option<Result<Option<DevicePort>>>>,
}

#[async_trait]
impl Reconciler for Servers {
    fn kind(&self) -> &'static str {
        "test.servers"
    }

    async fn step(&self, turn: &Turn, _: &str) -> Result<Outcome> {
        let seen = (self.act)(&self.network, turn).await;
        *self.seen.lock().unwrap() = Some(seen);
        Ok(Outcome::Done)
    }
}

async fn act(world: &World, act: Act) -> Result<Option<DevicePort>> {
    let servers = Arc::new(Servers { network: world.network.clone(), act, seen: Mutex::default() });
    let (cx, db) = (&world.cx, &world.test.db);
    let verb = hanse_policy::Verb::new("test:wake", hanse_policy::Rule::Admin);
    let grant = hanse_policy::Grant::operator(cx, verb, "server");
    db.write(cx, &grant, |tx| Box::pin(wake(tx, cx, "test.servers", "server"))).await.unwrap();
    Runner::new(db.clone(), cx, vec![servers.clone()], CrashPoints::none()).drain().await.unwrap();
    servers.seen.lock().unwrap().take().unwrap()
}

pub async fn ensure(world: &World, id: Uuid, spec: &PortSpec) -> Result<DevicePort> {
    let spec = spec.clone();
    let made = act(
        world,
        Box::new(move |network, turn| {
            let spec = spec.clone();
            Box::pin(async move { network.ensure_port(turn, id, &spec).await.map(Some) })
        }),
    );
    made.await.map(Option::unwrap)
}

pub async fn bind(world: &World, id: Uuid, node: &'static str, guest: Uuid) {
    let bound = act(
        world,
        Box::new(move |network, turn| {
            Box::pin(async move { network.bind(turn, id, node, guest).await.map(|()| None) })
        }),
    );
    bound.await.unwrap();
}

pub async fn release(world: &World, id: Uuid, device: &'static str) {
    let released = act(
        world,
        Box::new(move |network, turn| {
            Box::pin(async move { network.release(turn, id, device).await.map(|()| None) })
        }),
    );
    released.await.unwrap();
}

pub fn spec(network: &Value, device: &str) -> PortSpec {
    PortSpec {
        network_id: network.as_str().unwrap().parse().unwrap(),
        project_id: "p1".to_owned(),
        device_id: device.to_owned(),
        device_owner: "compute:nova".to_owned(),
        hostname: "web-1".to_owned(),
        fixed_ip: None,
        security_groups: Vec::new(),
        given: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_made_once_bound_told_of_and_taken_away() {
    for world in World::all().await {
        let (network, subnet) = world.subnet(ADA, "10.0.0.0/24").await;
        let dns = json!({"dns_nameservers": ["9.9.9.9"], "host_routes": [{"destination": "10.8.0.0/16", "nexthop": "10.0.0.7"}]});
        world.changed(ADA, "subnets", &subnet, dns).await;
        let (id, guest) = (world.cx.uuid(), world.cx.uuid());
        let wanted = spec(&network, "server-1");
        let made = ensure(&world, id, &wanted).await.unwrap();
        assert_eq!(made, ensure(&world, id, &wanted).await.unwrap(), "twice is once");
        assert_eq!((made.id, made.network_name.as_str(), made.mtu), (id, "n", 1500));
        let address = &made.addresses[0];
        assert_eq!(address.address.to_string(), "10.0.0.3");
        assert_eq!(address.subnet.gateway.unwrap().to_string(), "10.0.0.1");
        assert_eq!(address.subnet.dns_servers[0].to_string(), "9.9.9.9");
        assert_eq!(address.subnet.routes.len(), 1);
        assert_eq!(made.security_groups[0].1, "default");
        bind(&world, id, "n1", guest).await;
        bind(&world, id, "n1", guest).await;
        let shown = world.show(ADMIN, "ports", &json!(id)).await;
        assert_eq!((&shown["binding:host_id"], &shown["status"]), (&json!("n1"), &json!("BUILD")));
        assert_eq!(shown["revision_number"], 2, "binding again changed nothing");
        let all = world.network.ports_of(&["server-1".to_owned(), "server-2".to_owned()]).await.unwrap();
        assert_eq!((all.len(), all["server-1"][0].host.as_str()), (1, "n1"));
        let stolen = ensure(&world, id, &spec(&network, "server-2")).await.unwrap_err();
        assert_eq!(stolen.kind(), Kind::Conflict);
        release(&world, id, "server-2").await;
        assert_eq!(world.show(ADA, "ports", &json!(id)).await["device_id"], "server-1", "not its port");
        release(&world, id, "server-1").await;
        release(&world, id, "server-1").await;
        assert!(world.network.ports_of(&["server-1".to_owned()]).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_the_users_is_borrowed_and_given_back() {
    for world in World::all().await {
        let (network, _) = world.subnet(ADA, "10.0.0.0/24").await;
        let port = world.make(ADA, "ports", json!({"network_id": network, "name": "mine"})).await;
        let id: Uuid = port["id"].as_str().unwrap().parse().unwrap();
        let wanted = PortSpec { given: true, ..spec(&network, "server-1") };
        let taken = ensure(&world, id, &wanted).await.unwrap();
        assert!(!taken.made_for_device);
        ensure(&world, id, &wanted).await.unwrap();
        bind(&world, id, "n1", world.cx.uuid()).await;
        let request = NicRequest { port_id: Some(id.to_string()), ..NicRequest::default() };
        let again = world.network.validate_nics(&world.cx, &caller("p1", "member"), &[request]).await;
        assert_eq!(again.unwrap_err().kind(), Kind::Conflict, "it is in use");
        release(&world, id, "server-1").await;
        let back = world.show(ADMIN, "ports", &port["id"]).await;
        assert_eq!(
            (&back["device_id"], &back["binding:host_id"], &back["name"]),
            (&json!(""), &json!(""), &json!("mine"))
        );
        let missing = ensure(&world, world.cx.uuid(), &wanted).await.unwrap_err();
        assert_eq!(missing.kind(), Kind::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_network_cards_are_checked_before_anything_is_made() {
    for world in World::all().await {
        let ada = caller("p1", "member");
        let validate =
            async |requests: &[NicRequest]| world.network.validate_nics(&world.cx, &ada, requests).await;
        assert!(validate(&[]).await.unwrap().is_empty(), "no network, no card");
        let external = world.external().await;
        let (network, _) = world.subnet(ADA, "10.0.0.0/24").await;
        assert_eq!(validate(&[]).await.unwrap()[0].network_id.to_string(), network.as_str().unwrap());
        let (second, _) = world.subnet(ADA, "10.1.0.0/24").await;
        assert_eq!(validate(&[]).await.unwrap_err().kind(), Kind::Conflict, "which of the two?");
        let on = |network: &Value, address: Option<&str>| NicRequest {
            network_id: Some(network.as_str().unwrap().to_owned()),
            port_id: None,
            fixed_ip: address.map(|text| text.parse().unwrap()),
        };
        let nics = validate(&[on(&network, Some("10.0.0.77")), on(&second, None)]).await.unwrap();
        assert_eq!(nics[0].fixed_ip.unwrap().to_string(), "10.0.0.77");
        for (request, kind) in [
            (NicRequest::default(), Kind::BadRequest),
            (on(&json!("nowhere"), None), Kind::NotFound),
            (on(&external, None), Kind::Forbidden),
            (on(&network, Some("10.5.0.1")), Kind::BadRequest),
            (on(&network, Some("10.0.0.2")), Kind::Conflict),
            (on(&network, Some("fd00::1")), Kind::NotImplemented),
        ] {
            assert_eq!(
                validate(std::slice::from_ref(&request)).await.unwrap_err().kind(),
                kind,
                "{request:?}"
            );
        }
        let group = world.make(ADA, "security-groups", json!({"name": "web"})).await["id"].take();
        let names = ["web".to_owned(), "default".to_owned()];
        let found = world.network.find_security_groups(&ada, &names).await.unwrap();
        assert_eq!(found[0].to_string(), group.as_str().unwrap());
        let lost = world.network.find_security_groups(&ada, &["db".to_owned()]).await.unwrap_err();
        assert_eq!(lost.kind(), Kind::BadRequest);
        world.make(ADA, "security-groups", json!({"name": "web"})).await;
        assert!(world.network.find_security_groups(&ada, &names).await.is_err(), "two have this name");
    }
}
