use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::world::{ADA, ADMIN, Answer, World, send};

/// Sends the same request `count` times at once.
async fn race(world: &World, count: usize, path: &str, body: &Value) -> Vec<Answer> {
    let mut racers = JoinSet::new();
    for _ in 0..count {
        let (router, path, body) = (world.router.clone(), path.to_owned(), body.clone());
        racers.spawn(async move { send(router, ADA, "POST", &path, body).await });
    }
    racers.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_that_race_for_the_last_address_one_wins() {
    for world in World::all().await {
        let network = world.make(ADA, "networks", json!({"name": "n"})).await;
        let body = json!({
            "network_id": network["id"], "cidr": "10.0.0.0/24", "ip_version": 4, "enable_dhcp": false,
            "allocation_pools": [{"start": "10.0.0.9", "end": "10.0.0.9"}],
        });
        world.make(ADA, "subnets", body).await;
        let answers = race(&world, 50, "/ports", &json!({"port": {"network_id": network["id"]}})).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
        assert_eq!(won.len(), 1, "{}", world.test.engine);
        for answer in lost {
            assert_eq!(answer.fault(), (409, "IpAddressGenerationFailure"), "{}", world.test.engine);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_that_race_for_the_last_unit_of_quota_one_wins() {
    for world in World::all().await {
        let quota = world.call(ADMIN, "PUT", "/quotas/p1", json!({"quota": {"network": 1}})).await;
        assert_eq!(quota.status, 200);
        let answers = race(&world, 50, "/networks", &json!({"network": {"name": "n"}})).await;
        let won = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(won, 1, "{}", world.test.engine);
        assert!(
            answers
                .iter()
                .filter(|answer| answer.status != 201)
                .all(|lost| lost.fault() == (409, "OverQuota"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_made_at_once_all_get_addresses_of_their_own_and_one_default_group() {
    for world in World::all().await {
        let (network, _) = world.subnet(ADA, "10.0.0.0/24").await;
        let answers = race(&world, 30, "/ports", &json!({"port": {"network_id": network}})).await;
        let mut addresses = BTreeSet::new();
        let mut groups = BTreeSet::new();
        for answer in &answers {
            assert_eq!(answer.status, 201, "{}: {}", world.test.engine, answer.body);
            addresses.insert(answer.body["port"]["fixed_ips"][0]["ip_address"].to_string());
            groups.insert(answer.body["port"]["security_groups"].to_string());
        }
        assert_eq!((addresses.len(), groups.len()), (30, 1), "{}", world.test.engine);
    }
}
