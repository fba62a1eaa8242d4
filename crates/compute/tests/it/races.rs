use hanse_compute::Config;
use hanse_compute::ports::Quota;
use hanse_core::CrashPoints;
use serde_json::json;

use crate::harness::{benches, benches_with};

/// All at once; the statuses that came back.
async fn fifty(client: &hanse_testkit::Client, flavor: &str) -> Vec<u16> {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let client = client.clone();
        let server = json!({"server": {"name": "x", "imageRef": crate::ports::IMAGE, "flavorRef": flavor}});
        tasks.spawn(async move {
            client.post("/compute/v2.1/servers", "member@p1", server).await.status.as_u16()
        });
    }
    tasks.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_servers_for_the_last_room_on_a_node_one_gets_it() {
    for bench in benches().await {
        // The node has 8 GiB.
        let statuses = fifty(&bench.client, "SCS-1V-8").await;
        assert!(statuses.iter().all(|status| *status == 202), "{statuses:?}");
        assert_eq!(bench.count("allocations").await, 1, "{}", bench.test.engine);
        assert_eq!(bench.count("servers WHERE state = 'building'").await, 1);
        assert_eq!(
            bench.count("servers WHERE state = 'error' AND state_reason LIKE 'No valid host%'").await,
            49
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_servers_for_the_last_of_a_quota_one_gets_it() {
    let quota = Quota { instances: 1, ..Quota::default() };
    for bench in benches_with(Config { quota, ..Config::default() }, CrashPoints::none()).await {
        let mut statuses = fifty(&bench.client, "SCS-1L-1").await;
        statuses.sort_unstable();
        assert_eq!((statuses[0], statuses[1], statuses[49]), (202, 403, 403), "{}", bench.test.engine);
        assert_eq!(bench.count("servers").await, 1);
        let text = bench.try_create("member@p1", json!({})).await.expect(403).text();
        assert!(
            text.contains("Quota exceeded for instances: Requested 1, but already used 1 of 1 instances"),
            "{text}"
        );
        bench.try_create("member@p2", json!({})).await.expect(202);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_gives_as_many_servers_as_fit() {
    let quota = Quota { instances: 10, cores: 3, ram: 10_000 };
    for bench in benches_with(Config { quota, ..Config::default() }, CrashPoints::none()).await {
        bench.try_create("member@p1", json!({"min_count": 4, "max_count": 5})).await.expect(403);
        bench.try_create("member@p1", json!({"min_count": 1, "max_count": 5})).await.expect(202);
        assert_eq!(bench.count("servers").await, 3, "three cores");
        let limits = bench.client.get("/compute/v2.1/limits", "reader@p1").await.expect(200).json();
        let absolute = &limits["limits"]["absolute"];
        assert_eq!((&absolute["totalCoresUsed"], &absolute["maxTotalCores"]), (&json!(3), &json!(3)));
        assert_eq!(absolute["totalRAMUsed"], 3072);
        let detail =
            bench.client.get("/compute/v2.1/os-quota-sets/p1/detail", "reader@p1").await.expect(200).json();
        assert_eq!(detail["quota_set"]["instances"], json!({"limit": 10, "in_use": 3, "reserved": 0}));
    }
}
