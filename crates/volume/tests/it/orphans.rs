//! What a deleted project leaves.

use hanse_policy::Caller;
use hanse_store::Owned;
use hanse_volume::orphans::OWNED;
use serde_json::json;

use crate::world::{ADA, ADMIN, BOB, World};

async fn owned(world: &World, project: &str) -> Vec<Owned> {
    OWNED[0].of(&mut world.test.db.read().await.unwrap(), &[project.to_owned()]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_of_a_deleted_project_go_with_their_disks_whatever_state_they_are_in() {
    for world in World::all().await {
        let whole = world.create(ADA, json!({ "name": "data" })).await;
        world.settle(&whole, "available").await;
        let broken = world.create(ADA, json!({})).await;
        world.settle(&broken, "available").await;
        world
            .act(ADMIN, &broken, json!({ "os-reset_status": { "status": "maintenance" } }))
            .await
            .expect(202);
        let others = world.available(BOB, json!({})).await;
        let owners = OWNED[0].owners(&mut world.test.db.read().await.unwrap()).await.unwrap();
        assert_eq!(owners, ["p1", "p2"], "{}", world.test.engine);
        let left = owned(&world, "p1").await;
        assert_eq!(left.len(), 2);
        assert!(left.iter().any(|one| one.id == whole && one.name == "data" && one.owner == "p1"));
        for one in left.iter().chain(&left) {
            world.volume.delete_owned(&world.cx, &Caller::operator(), one).await.unwrap();
        }
        world.settle(&whole, "gone").await;
        world.settle(&broken, "gone").await;
        assert!(owned(&world, "p1").await.is_empty());
        assert_eq!(owned(&world, "p2").await[0].id, others);
    }
}
