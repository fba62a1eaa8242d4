//! How much a project may have.

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::world::{ADA, ADMIN, World, path};

async fn limit(world: &World, limits: Value) {
    let answer = world.call(Method::PUT, ADMIN, "/os-quota-sets/p1", json!({ "quota_set": limits })).await;
    answer.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_that_race_for_the_last_of_a_quota_one_wins() {
    for (limits, name) in
        [(json!({ "volumes": 1 }), "VolumeLimitExceeded"), (json!({ "gigabytes": 3 }), "VolumeSizeExceeds")]
    {
        for world in World::all().await {
            limit(&world, limits.clone()).await;
            let mut racers = JoinSet::new();
            for _ in 0..50 {
                let client = world.client.clone();
                racers.spawn(async move {
                    client.post(&path(ADA, "/volumes"), ADA, json!({ "volume": { "size": 2 } })).await
                });
            }
            let (won, lost): (Vec<_>, Vec<_>) =
                racers.join_all().await.into_iter().partition(|answer| answer.status == 202);
            assert_eq!((won.len(), lost.len()), (1, 49), "{limits} on {}", world.test.engine);
            for refused in lost {
                let fault = refused.expect(413).json();
                assert!(fault["overLimit"]["message"].as_str().unwrap().starts_with(name), "{fault}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_counts_what_is_there_and_what_grows() {
    for world in World::all().await {
        limit(&world, json!({ "gigabytes": 5, "per_volume_gigabytes": "4", "tenant_id": "p1" })).await;
        world.post(ADA, "/volumes", json!({ "volume": { "size": 5 } })).await.expect(413);
        let id = world.available(ADA, json!({ "size": 3 })).await;
        let extend = |size: u32| world.act(ADA, &id, json!({ "os-extend": { "new_size": size } }));
        extend(5).await.expect(413);
        world.create(ADA, json!({ "size": 2 })).await;
        extend(4).await.expect(413);
        let usage = world.get(ADA, "/os-quota-sets/p1?usage=True").await.expect(200).json();
        assert_eq!(usage["quota_set"]["gigabytes"], json!({ "limit": 5, "in_use": 5, "reserved": 0 }));
        assert_eq!(usage["quota_set"]["volumes"], json!({ "limit": 100, "in_use": 2, "reserved": 0 }));
        let limits = world.get(ADA, "/limits").await.expect(200).json();
        let absolute = &limits["limits"]["absolute"];
        assert_eq!(
            (&absolute["totalVolumesUsed"], &absolute["maxTotalVolumeGigabytes"]),
            (&json!(2), &json!(5))
        );
        limit(&world, json!({ "gigabytes": -1 })).await;
        extend(4).await.expect(202);
        world.call(Method::DELETE, ADMIN, "/os-quota-sets/p1", Value::Null).await.expect(200);
        let set = world.get(ADA, "/os-quota-sets/p1").await.expect(200).json();
        assert_eq!(set["quota_set"]["gigabytes"], 10_000);
        assert_eq!(set["quota_set"]["id"], "p1");
        for wrong in [json!({ "volumes": -2 }), json!({ "volumes": "many" }), json!({ "cores": 1 })] {
            let body = json!({ "quota_set": wrong });
            world.call(Method::PUT, ADMIN, "/os-quota-sets/p1", body).await.expect(400);
        }
    }
}
