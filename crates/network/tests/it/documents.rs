//! What nodes are told, by a real hub to an agent over a pipe in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use hanse_core::{Error, Result, Uuid};
use hanse_node::StoredImage;
use hanse_node::agent::{self, Agent, Bytes};
use hanse_node::documents::{
    AddressPair, DiskFormat, Document, EtherType, FloatingIp, Gateway, Kind, Port, PortAddress, PortGroup,
    Remote, Route, Router, RouterInterface, Rule, RuleDirection, Spec, Subnet, Switch,
};
use hanse_node::hub::Hub;
use hanse_node::reports::{Hello, PROTOCOL, Report, State};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::devices::{bind, ensure, release, spec};
use crate::world::{ADA, ADMIN, World};

/// Does what it is told at once, but for what is to fail.
struct Node {
    name: &'static str,
    has: Mutex<BTreeMap<(Kind, Uuid), Spec>>,
    fails: Mutex<BTreeSet<Uuid>>,
    reports: tokio::sync::broadcast::Sender<Report>,
}

#[async_trait]
impl Agent for Node {
    fn hello(&self) -> Hello {
        Hello {
            node: self.name.to_owned(),
            release: "0.1.0".to_owned(),
            protocol: PROTOCOL,
            vcpus: 2,
            memory_mib: 1024,
            disk_gib: 10,
            accelerator: "sim".to_owned(),
        }
    }

    async fn apply(&self, documents: Vec<Document>, _: bool) -> Result<()> {
        for document in documents {
            let (kind, id, revision) = (document.spec.kind(), document.id, document.revision);
            let state = if matches!(document.spec, Spec::Absent { .. }) {
                self.has.lock().unwrap().remove(&(kind, id));
                State::Gone
            } else {
                self.has.lock().unwrap().insert((kind, id), document.spec);
                match self.fails.lock().unwrap().contains(&id) {
                    true => State::Failed { reason: "out of order".to_owned() },
                    false => State::Ready,
                }
            };
            _ = self.reports.send(Report { kind, id, revision, state });
        }
        Ok(())
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        let receiver = self.reports.subscribe();
        futures_util::stream::unfold(receiver, async |mut receiver| {
            Some((receiver.recv().await.ok()?, receiver))
        })
        .boxed()
    }

    async fn console(&self, _: Uuid, _: usize) -> Result<Vec<u8>> {
        Err(Error::not_found("Guest", "any"))
    }
    async fn put_image(&self, _: Uuid, _: DiskFormat, _: u64, _: Bytes) -> Result<StoredImage> {
        Err(Error::not_implemented("no images here"))
    }
    async fn read_image(&self, _: Uuid) -> Result<(u64, Bytes)> {
        Err(Error::not_implemented("no images here"))
    }
    async fn delete_image(&self, _: Uuid) -> Result<()> {
        Ok(())
    }
}

/// A hub that runs until this is dropped.
struct Cloud<'w> {
    world: &'w World,
    hub: Hub,
    stop: CancellationToken,
    _socket: tempfile::TempDir,
}

impl Drop for Cloud<'_> {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl<'w> Cloud<'w> {
    fn start(world: &'w World) -> Cloud<'w> {
        let (db, documents) = (world.test.db.clone(), world.documents.clone());
        let hub = Hub::new(db, &world.cx, documents, hanse_network::wakes())
            .waking_on_join(hanse_network::wake_on_join());
        let (stop, socket) = (CancellationToken::new(), tempfile::tempdir().unwrap());
        let listener = tokio::net::UnixListener::bind(socket.path().join("agent.sock")).unwrap();
        let (running, stopped) = (hub.clone(), stop.clone());
        tokio::spawn(async move { running.run(listener, stopped).await });
        Cloud { world, hub, stop, _socket: socket }
    }

    fn connect(&self, name: &'static str) -> Arc<Node> {
        let (reports, _) = tokio::sync::broadcast::channel(1000);
        let node = Arc::new(Node { name, has: Mutex::default(), fails: Mutex::default(), reports });
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (hub, agent) = (self.hub.clone(), node.clone());
        tokio::spawn(async move { _ = agent::serve(theirs, agent).await });
        tokio::spawn(async move { _ = hub.attend(ours).await });
        node
    }

    /// Works until something is true that must become so.
    async fn until(&self, what: &str, mut check: impl AsyncFnMut() -> bool) {
        let runner = self.world.runner();
        for _ in 0..6000 {
            runner.drain().await.unwrap();
            if check().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never happened on {}: {what}", self.world.test.engine);
    }

    async fn count(&self, table: &str) -> i64 {
        let mut conn = self.world.test.db.read().await.unwrap();
        hanse_store::query(format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table}"))
            .one::<(i64,)>(&mut conn)
            .await
            .unwrap()
            .0
    }
}

fn id(value: &Value) -> Uuid {
    value.as_str().unwrap().parse().unwrap()
}

/// Everything in it once: the ids that the documents must name.
struct Topology {
    external: Value,
    network: Value,
    subnet: Value,
    router: Value,
    interface: Value,
    group: Value,
    port: Uuid,
    guest: Uuid,
    floating: Value,
}

impl Topology {
    async fn build(world: &World) -> Topology {
        let external = world.external().await;
        let (network, subnet) = world.subnet(ADA, "10.0.0.0/24").await;
        let change = json!({"dns_nameservers": ["9.9.9.9"], "host_routes": [{"destination": "10.8.0.0/16", "nexthop": "10.0.0.7"}]});
        world.changed(ADA, "subnets", &subnet, change).await;
        let gateway = json!({"external_gateway_info": {"network_id": external}});
        let router = world.make(ADA, "routers", gateway).await["id"].take();
        let mut added = world.interface(ADA, &router, "add", json!({"subnet_id": subnet})).await.body;
        let group = world.make(ADA, "security-groups", json!({"name": "web"})).await["id"].take();
        for rule in [
            json!({"protocol": "tcp", "port_range_min": 22, "port_range_max": 23, "remote_ip_prefix": "10.0.0.9/8"}),
            json!({"protocol": "icmp", "ethertype": "IPv6", "remote_group_id": group}),
        ] {
            let mut rule = rule;
            (rule["security_group_id"], rule["direction"]) = (group.clone(), json!("ingress"));
            world.make(ADA, "security-group-rules", rule).await;
        }
        let (port, guest) = (world.cx.uuid(), world.cx.uuid());
        let mut wanted = spec(&network, "server-1");
        wanted.security_groups = vec![id(&group)];
        ensure(world, port, &wanted).await.unwrap();
        let pairs = json!({"allowed_address_pairs": [{"ip_address": "10.0.0.200", "mac_address": "fa:16:3e:00:00:01"}]});
        world.changed(ADA, "ports", &json!(port), pairs).await;
        bind(world, port, "n1", guest).await;
        let floating = json!({"floating_network_id": external, "port_id": port});
        let floating = world.make(ADA, "floatingips", floating).await["id"].take();
        let interface = added["port_id"].take();
        Topology { external, network, subnet, router, interface, group, port, guest, floating }
    }

    /// What the node must have been told, written out.
    async fn documents(&self, world: &World) -> BTreeMap<(Kind, Uuid), Spec> {
        let mac = |port: &Value| port["mac_address"].as_str().unwrap().parse().unwrap();
        let interface = world.show(ADMIN, "ports", &self.interface).await;
        let gateway = world.get(ADMIN, "/ports?device_owner=network:router_gateway").await["ports"][0].take();
        let port = world.show(ADMIN, "ports", &json!(self.port)).await;
        let outside = world.show(ADMIN, "networks", &self.external).await["subnets"][0].take();
        let rule = |direction, ether_type, protocol, ports: Option<(u16, u16)>, remote| Rule {
            direction,
            ether_type,
            protocol,
            port_min: ports.map(|ports| ports.0),
            port_max: ports.map(|ports| ports.1),
            remote,
        };
        let switch = |subnet, external| Spec::Switch(Switch { mtu: 1500, subnets: vec![subnet], external });
        BTreeMap::from([
            (
                (Kind::Switch, id(&self.external)),
                switch(
                    Subnet {
                        id: id(&outside),
                        cidr: "172.24.4.0/24".parse().unwrap(),
                        gateway: "172.24.4.1".parse().ok(),
                        dhcp: false,
                        service_address: None,
                        dns_servers: vec![],
                        host_routes: vec![],
                    },
                    true,
                ),
            ),
            (
                (Kind::Switch, id(&self.network)),
                switch(
                    Subnet {
                        id: id(&self.subnet),
                        cidr: "10.0.0.0/24".parse().unwrap(),
                        gateway: "10.0.0.1".parse().ok(),
                        dhcp: true,
                        service_address: "10.0.0.2".parse().ok(),
                        dns_servers: vec!["9.9.9.9".parse().unwrap()],
                        host_routes: vec![Route {
                            destination: "10.8.0.0/16".parse().unwrap(),
                            next_hop: "10.0.0.7".parse().unwrap(),
                        }],
                    },
                    false,
                ),
            ),
            (
                (Kind::Router, id(&self.router)),
                Spec::Router(Router {
                    admin_up: true,
                    interfaces: vec![RouterInterface {
                        port_id: id(&self.interface),
                        switch_id: id(&self.network),
                        mac: mac(&interface),
                        address: "10.0.0.1/24".parse().unwrap(),
                    }],
                    gateway: Some(Gateway {
                        port_id: id(&gateway["id"]),
                        switch_id: id(&self.external),
                        mac: mac(&gateway),
                        address: "172.24.4.10/24".parse().unwrap(),
                        next_hop: "172.24.4.1".parse().ok(),
                        snat: true,
                    }),
                    floating_ips: vec![FloatingIp {
                        id: id(&self.floating),
                        floating: "172.24.4.11".parse().unwrap(),
                        fixed: "10.0.0.3".parse().unwrap(),
                    }],
                    routes: vec![],
                }),
            ),
            (
                (Kind::Port, self.port),
                Spec::Port(Port {
                    switch_id: id(&self.network),
                    mac: mac(&port),
                    addresses: vec![PortAddress {
                        subnet_id: id(&self.subnet),
                        address: "10.0.0.3".parse().unwrap(),
                    }],
                    guest_id: Some(self.guest),
                    hostname: "web-1".to_owned(),
                    admin_up: true,
                    port_security: true,
                    groups: vec![id(&self.group)],
                    allowed_pairs: vec![AddressPair {
                        mac: "fa:16:3e:00:00:01".parse().unwrap(),
                        address: "10.0.0.200/32".parse().unwrap(),
                    }],
                }),
            ),
            (
                (Kind::PortGroup, id(&self.group)),
                Spec::PortGroup(PortGroup {
                    rules: vec![
                        rule(RuleDirection::Egress, EtherType::Ipv4, None, None, Remote::Any),
                        rule(RuleDirection::Egress, EtherType::Ipv6, None, None, Remote::Any),
                        rule(
                            RuleDirection::Ingress,
                            EtherType::Ipv4,
                            Some(6),
                            Some((22, 23)),
                            Remote::Prefix("10.0.0.0/8".parse().unwrap()),
                        ),
                        rule(
                            RuleDirection::Ingress,
                            EtherType::Ipv6,
                            Some(58),
                            None,
                            Remote::Group(id(&self.group)),
                        ),
                    ],
                }),
            ),
        ])
    }

    async fn remove(&self, world: &World) {
        release(world, self.port, "server-1").await;
        for (collection, id) in [("floatingips", &self.floating), ("security-groups", &self.group)] {
            assert_eq!(world.delete(ADA, collection, id).await.status, 204, "{collection}");
        }
        let removed = world.interface(ADA, &self.router, "remove", json!({"subnet_id": self.subnet})).await;
        assert_eq!(removed.status, 200, "{}", removed.body);
        for (who, collection, id) in [
            (ADA, "routers", &self.router),
            (ADA, "networks", &self.network),
            (ADMIN, "networks", &self.external),
        ] {
            let gone = world.delete(who, collection, id).await;
            assert_eq!(gone.status, 204, "{collection}: {}", gone.body);
        }
    }
}

/// The order of a group's rules means nothing.
fn sorted(mut documents: BTreeMap<(Kind, Uuid), Spec>) -> BTreeMap<(Kind, Uuid), Spec> {
    for spec in documents.values_mut() {
        if let Spec::PortGroup(group) = spec {
            group.rules.sort_by_key(|rule| format!("{rule:?}"));
        }
    }
    documents
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_is_told_everything_and_after_deletion_nothing_is_left() {
    for world in World::all().await {
        let topology = Topology::build(&world).await;
        world.runner().drain().await.unwrap();
        let cloud = Cloud::start(&world);
        assert_eq!(cloud.count("node_documents").await, 0, "no node, no documents");
        let node = cloud.connect("n1");
        let wanted = sorted(topology.documents(&world).await);
        cloud.until("the node has everything", async || node.has.lock().unwrap().len() == wanted.len()).await;
        assert_eq!(sorted(node.has.lock().unwrap().clone()), wanted, "{}", world.test.engine);
        let port = json!(topology.port);
        cloud
            .until("what is there is ACTIVE", async || {
                world.show(ADA, "ports", &port).await["status"] == "ACTIVE"
                    && world.show(ADA, "floatingips", &topology.floating).await["status"] == "ACTIVE"
            })
            .await;
        topology.remove(&world).await;
        cloud
            .until("nothing is left", async || {
                cloud.count("node_documents").await
                    + cloud.count("node_reports").await
                    + cloud.count("work_items").await
                    == 0
            })
            .await;
        assert!(node.has.lock().unwrap().is_empty());
        for table in ["networks", "subnets", "port_addresses", "ports", "routers", "floating_ips"] {
            assert_eq!(cloud.count(table).await, 0, "{table}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_reaches_the_node_and_a_failure_reaches_the_user() {
    for world in World::all().await {
        let cloud = Cloud::start(&world);
        let node = cloud.connect("n1");
        let topology = Topology::build(&world).await;
        let wanted = sorted(topology.documents(&world).await);
        cloud.until("everything arrives", async || sorted(node.has.lock().unwrap().clone()) == wanted).await;
        let group = topology.group.as_str().unwrap();
        let rules = world
            .get(ADA, &format!("/security-group-rules?security_group_id={group}&direction=egress"))
            .await;
        for rule in rules["security_group_rules"].as_array().unwrap() {
            assert_eq!(world.delete(ADA, "security-group-rules", &rule["id"]).await.status, 204);
        }
        world.changed(ADA, "floatingips", &topology.floating, json!({"port_id": null})).await;
        cloud
            .until("rules and floating IP are gone", async || {
                let has = node.has.lock().unwrap();
                let rules = match has.get(&(Kind::PortGroup, id(&topology.group))) {
                    Some(Spec::PortGroup(group)) => group.rules.len(),
                    _ => 0,
                };
                let floating = match has.get(&(Kind::Router, id(&topology.router))) {
                    Some(Spec::Router(router)) => router.floating_ips.len(),
                    _ => 9,
                };
                (rules, floating) == (2, 0)
            })
            .await;
        node.fails.lock().unwrap().insert(id(&topology.router));
        world.changed(ADA, "routers", &topology.router, json!({"admin_state_up": false})).await;
        cloud
            .until("the router is ERROR", async || {
                world.show(ADA, "routers", &topology.router).await["status"] == "ERROR"
            })
            .await;
        node.fails.lock().unwrap().clear();
        world.changed(ADA, "routers", &topology.router, json!({"admin_state_up": true})).await;
        cloud
            .until("the router is well again", async || {
                world.show(ADA, "routers", &topology.router).await["status"] == "ACTIVE"
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_gets_networks_and_routers_and_a_port_follows_its_guest() {
    for world in World::all().await {
        let cloud = Cloud::start(&world);
        let first = cloud.connect("n1");
        let topology = Topology::build(&world).await;
        cloud.until("the first has everything", async || first.has.lock().unwrap().len() == 5).await;
        let second = cloud.connect("n2");
        cloud.until("the second has all but the port", async || second.has.lock().unwrap().len() == 4).await;
        let port = (Kind::Port, topology.port);
        assert!(!second.has.lock().unwrap().contains_key(&port));
        bind(&world, topology.port, "n2", topology.guest).await;
        cloud
            .until("the port has moved", async || {
                second.has.lock().unwrap().contains_key(&port)
                    && !first.has.lock().unwrap().contains_key(&port)
            })
            .await;
        assert_eq!(world.get(ADMIN, "/agents").await["agents"].as_array().unwrap().len(), 2);
        topology.remove(&world).await;
        cloud
            .until("nothing is left", async || {
                cloud.count("node_documents").await + cloud.count("work_items").await == 0
            })
            .await;
    }
}
