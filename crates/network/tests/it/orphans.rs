//! What a deleted project leaves goes in the ways of the API, and nothing of others goes with it.

use hanse_network::orphans::OWNED;
use hanse_policy::Caller;
use hanse_store::Owned;
use serde_json::json;

use crate::world::{ADA, ADMIN, BOB, World};

async fn owned(world: &World, project: &str) -> Vec<Owned> {
    let mut all = Vec::new();
    for table in OWNED {
        let owners = table.owners(&mut world.test.db.read().await.unwrap()).await.unwrap();
        let of = owners.into_iter().filter(|owner| owner == project).collect::<Vec<_>>();
        all.extend(table.of(&mut world.test.db.read().await.unwrap(), &of).await.unwrap());
    }
    all
}

/// Deletes in the order of the tables; returns the kinds that stayed.
async fn purge(world: &World, project: &str) -> Vec<&'static str> {
    let mut stayed = Vec::new();
    for one in owned(world, project).await {
        if world.network.delete_owned(&world.cx, &Caller::operator(), &one).await.is_err() {
            stayed.push(one.kind);
        }
    }
    stayed
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_of_a_project_goes_in_one_round_and_twice_is_as_once() {
    for world in World::all().await {
        let external = world.external().await;
        let (network, subnet) = world.subnet(ADA, "10.0.0.0/24").await;
        world.subnet(BOB, "10.0.0.0/24").await;
        let gateway = json!({"external_gateway_info": {"network_id": external}});
        let router = world.make(ADA, "routers", gateway).await;
        let plugged = world.interface(ADA, &router["id"], "add", json!({"subnet_id": subnet})).await;
        assert_eq!(plugged.status, 200);
        let routes = json!({"routes": [{"destination": "10.8.0.0/16", "nexthop": "10.0.0.9"}]});
        world.changed(ADA, "routers", &router["id"], routes).await;
        let port = world.make(ADA, "ports", json!({"network_id": network, "device_id": "server"})).await;
        let floating = json!({"floating_network_id": external, "port_id": port["id"]});
        world.make(ADA, "floatingips", floating).await;
        world.make(ADA, "security-groups", json!({"name": "web"})).await;

        let mut kinds: Vec<&str> = owned(&world, "p1").await.iter().map(|one| one.kind).collect();
        kinds.dedup();
        let expected = ["port", "floating IP", "router", "subnet", "network", "security group"];
        assert_eq!(kinds, expected, "{}", world.test.engine);
        let others = (owned(&world, "p2").await, owned(&world, "p9").await);
        assert_eq!(purge(&world, "p1").await, Vec::<&str>::new(), "{}", world.test.engine);
        assert!(owned(&world, "p1").await.is_empty());
        assert_eq!((owned(&world, "p2").await, owned(&world, "p9").await), others);
        assert_eq!(purge(&world, "p1").await, Vec::<&str>::new());
        let mut conn = world.test.db.read().await.unwrap();
        let ports: Vec<(String,)> =
            hanse_store::query("SELECT device_owner FROM ports WHERE project_id IN ('', 'p1')")
                .all(&mut conn)
                .await
                .unwrap();
        assert!(ports.is_empty(), "those of routers and floating IPs go too: {ports:?}");
        let deleted: Vec<(String,)> = hanse_store::query(
            "SELECT initiator FROM audit_events WHERE action = 'delete_network' AND target = $1",
        )
        .bind(network.as_str().unwrap())
        .all(&mut conn)
        .await
        .unwrap();
        assert_eq!(deleted, [("operator".to_owned(),)], "the trail says who it was");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_living_project_uses_stays() {
    for world in World::all().await {
        let (network, _) = world.subnet(ADA, "10.0.0.0/24").await;
        world.changed(ADMIN, "networks", &network, json!({"shared": true})).await;
        let port = world.make(BOB, "ports", json!({"network_id": network})).await;
        assert_eq!(purge(&world, "p1").await, ["subnet", "network"], "{}", world.test.engine);
        assert_eq!(world.show(BOB, "ports", &port["id"]).await["network_id"], network);
        assert_eq!(world.delete(BOB, "ports", &port["id"]).await.status, 204);
        assert_eq!(purge(&world, "p1").await, Vec::<&str>::new());
        assert!(owned(&world, "p1").await.is_empty());
    }
}
