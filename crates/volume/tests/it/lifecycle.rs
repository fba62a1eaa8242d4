//! What becomes of a volume.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hanse_core::{CrashPoints, Error};
use hanse_node::documents::{Disk, Spec};
use serde_json::json;

use crate::agent::{Mood, Pretend};
use crate::world::{ADA, ADMIN, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_made_by_the_node_and_leaves_nothing_when_it_is_deleted() {
    for world in World::all().await {
        let id = world.create(ADA, json!({ "size": 3, "name": "data" })).await;
        assert_eq!(world.status(&id).await, "creating");
        world.settle(&id, "available").await;
        let document = world.agent.document(&id).unwrap();
        assert_eq!(document.spec, Spec::Disk(Disk { size_bytes: 3 << 30, image: None }));
        world.delete(ADA, &id).await.expect(202);
        assert_eq!(world.status(&id).await, "deleting");
        world.delete(ADA, &id).await.expect(400);
        world.settle(&id, "gone").await;
        world.assert_nothing_left().await;
        world.delete(ADA, &id).await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_waits_for_a_node_that_says_nothing() {
    for world in World::all().await {
        world.agent.feel(Mood::Silent);
        let id = world.create(ADA, json!({})).await;
        world.eventually("the document arrives", async || world.agent.document(&id).is_some()).await;
        world.runner(CrashPoints::none()).drain().await.unwrap();
        assert_eq!(world.status(&id).await, "creating");
        world.delete(ADA, &id).await.expect(400);
        assert_eq!(world.count("work_items").await, 1, "{}", world.test.engine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_node_cannot_make_is_in_error_and_can_be_deleted() {
    for world in World::all().await {
        world.agent.feel(Mood::Unable);
        let id = world.create(ADA, json!({})).await;
        world.settle(&id, "error").await;
        world.delete(ADA, &id).await.expect(202);
        world.settle(&id, "error_deleting").await;
        world.agent.feel(Mood::Willing);
        world.delete(ADA, &id).await.expect(202);
        world.settle(&id, "gone").await;
        world.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_no_node_has_room_for_is_in_error_and_leaves_nothing_either() {
    for world in World::with_room(10).await {
        let large = world.create(ADA, json!({ "size": 11 })).await;
        assert_eq!(world.status(&large).await, "error");
        world.act(ADMIN, &large, json!({ "os-reset_status": { "status": "available" } })).await.expect(400);
        world.delete(ADA, &large).await.expect(202);
        world.settle(&large, "gone").await;
        world.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_goes_where_most_room_is() {
    for world in World::with_room(10).await {
        let roomy = Pretend::new("n2", 20);
        world.join(&roomy).await;
        let mut hosts = Vec::new();
        for size in [12, 9, 8, 2] {
            let id = world.create(ADA, json!({ "size": size })).await;
            let shown = world.get(ADMIN, &format!("/volumes/{id}")).await.expect(200).json();
            hosts.push(shown["volume"]["os-vol-host-attr:host"].as_str().unwrap_or("none").to_owned());
        }
        assert_eq!(hosts, ["n2@local#local", "n1@local#local", "n2@local#local", "none"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_grows_when_it_is_available_only() {
    for world in World::all().await {
        let id = world.create(ADA, json!({})).await;
        let extend = |size: i64| json!({ "os-extend": { "new_size": size } });
        world.act(ADA, &id, extend(2)).await.expect(400);
        world.settle(&id, "available").await;
        world.act(ADA, &id, extend(1)).await.expect(400);
        world.act(ADA, &id, extend(1001)).await.expect(400);
        world.act(ADA, &id, extend(16_385)).await.expect(400);
        world.act(ADA, &id, extend(2)).await.expect(202);
        let shown = world.get(ADA, &format!("/volumes/{id}")).await.json();
        assert_eq!((&shown["volume"]["status"], &shown["volume"]["size"]), (&json!("extending"), &json!(1)));
        world.settle(&id, "available").await;
        assert_eq!(world.get(ADA, &format!("/volumes/{id}")).await.json()["volume"]["size"], 2);
        let document = world.agent.document(&id).unwrap();
        assert_eq!(document.spec, Spec::Disk(Disk { size_bytes: 2 << 30, image: None }));
        world.agent.feel(Mood::Unable);
        world.act(ADA, &id, extend(3)).await.expect(202);
        world.settle(&id, "error_extending").await;
        assert_eq!(world.get(ADA, &format!("/volumes/{id}")).await.json()["volume"]["size"], 2);
    }
}

/// Fails once at the point, with an error or a panic.
fn once_at(point: &'static str, panics: bool) -> (CrashPoints, Arc<AtomicBool>) {
    let crashed = Arc::new(AtomicBool::new(false));
    let seen = crashed.clone();
    let hook = CrashPoints::new(move |passed| {
        if passed != point || seen.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        assert!(!panics, "a crash at {point}");
        Err(Error::unavailable(format!("a crash at {point}")))
    });
    (hook, crashed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_delays_a_volume_and_loses_nothing() {
    for world in World::all().await {
        for point in ["volume.read", "volume.settled"] {
            for panics in [false, true] {
                let id = world.create(ADA, json!({})).await;
                let (crash, crashed) = once_at(point, panics);
                world.settle_through(&id, "available", crash).await;
                assert!(crashed.load(Ordering::SeqCst), "{point} is passed when a volume is made");
                world.delete(ADA, &id).await.expect(202);
                let (crash, crashed) = once_at(point, panics);
                world.settle_through(&id, "gone", crash).await;
                assert!(crashed.load(Ordering::SeqCst), "{point} is passed when a volume is removed");
                world.assert_nothing_left().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_resets_the_status_and_deletes_whatever_state_it_is_in() {
    for world in World::all().await {
        let id = world.create(ADA, json!({})).await;
        world.settle(&id, "available").await;
        for status in ["error", "available", "maintenance", "creating", "attaching"] {
            world.act(ADMIN, &id, json!({ "os-reset_status": { "status": status } })).await.expect(202);
            assert_eq!(world.status(&id).await, status);
        }
        world.act(ADMIN, &id, json!({ "os-reset_status": { "status": "on fire" } })).await.expect(400);
        world.act(ADMIN, &id, json!({ "os-force_delete": {} })).await.expect(202);
        world.act(ADMIN, &id, json!({ "os-reset_status": { "status": "available" } })).await.expect(400);
        world.settle(&id, "gone").await;
        world.assert_nothing_left().await;
    }
}
