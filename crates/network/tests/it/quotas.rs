use serde_json::{Value, json};

use crate::world::{ADA, ADMIN, World};

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_set_counted_and_reset() {
    for world in World::all().await {
        assert_eq!(world.get(ADA, "/quotas/p1").await["quota"]["port"], 500);
        let set =
            world.call(ADMIN, "PUT", "/quotas/p1", json!({"quota": {"port": 2, "security_group": -1}})).await;
        assert_eq!((set.status, &set.body["quota"]["port"]), (200, &json!(2)));
        let (network, _) = world.subnet(ADA, "10.0.0.0/24").await;
        world.make(ADA, "ports", json!({"network_id": network})).await;
        let over = world.call(ADA, "POST", "/ports", json!({"port": {"network_id": network}})).await;
        assert_eq!(over.fault(), (409, "OverQuota"), "the service port counts");
        let usage = world.get(ADA, "/quotas/p1/details").await;
        assert_eq!(usage["quota"]["port"], json!({"limit": 2, "used": 2, "reserved": 0}));
        assert_eq!(world.get(ADA, "/quotas/p1/default").await["quota"]["port"], 500);
        assert_eq!(world.get(ADMIN, "/quotas").await["quotas"][0]["project_id"], "p1");
        for (body, status) in [
            (json!({"quota": {"port": "many"}}), 400),
            (json!({"quota": {"port": -2}}), 400),
            (json!({"quota": {"coffee": 1}}), 400),
            (json!({"quota": {"port": 3, "force": true}}), 200),
        ] {
            assert_eq!(world.call(ADMIN, "PUT", "/quotas/p1", body.clone()).await.status, status, "{body}");
        }
        assert_eq!(world.call(ADA, "PUT", "/quotas/p1", json!({"quota": {"port": 9}})).await.status, 403);
        assert_eq!(world.call(ADA, "GET", "/quotas/p2", Value::Null).await.status, 403);
        assert_eq!(world.call(ADMIN, "DELETE", "/quotas/p1", Value::Null).await.status, 204);
        assert_eq!(world.get(ADA, "/quotas/p1").await["quota"]["port"], 500);
    }
}
