//! Volumes and the servers that have them.

use hanse_core::{CrashPoints, Kind};
use hanse_volume::{State, Use};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::agent::Mood;
use crate::world::{ADA, ADMIN, World, caller};

fn wanted(world: &World, id: &str, node: &str) -> Use {
    Use {
        id: world.cx.uuid(),
        volume_id: world.uuid(id),
        server_id: world.cx.uuid(),
        project_id: "p1".to_owned(),
        node: node.to_owned(),
        device: "/dev/vdb".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_servers_that_race_for_a_volume_one_gets_it() {
    for world in World::all().await {
        for reserving in [true, false] {
            let id = world.available(ADA, json!({})).await;
            let mut racers = JoinSet::new();
            for _ in 0..50 {
                let (volume, cx, wanted) =
                    (world.volume.clone(), world.cx.clone(), wanted(&world, &id, "n1"));
                racers.spawn(async move {
                    let ada = caller("member", "p1");
                    match reserving {
                        true => volume.reserve(&cx, &ada, &wanted).await?,
                        false => {
                            volume.ensure_reserved(&cx, &wanted).await?;
                            return volume.ensure_attached(&cx, &wanted).await;
                        }
                    };
                    Ok(())
                });
            }
            let (won, lost): (Vec<_>, Vec<_>) = racers.join_all().await.into_iter().partition(Result::is_ok);
            assert_eq!((won.len(), lost.len()), (1, 49), "{}", world.test.engine);
            for refused in lost {
                assert_eq!(refused.unwrap_err().kind(), Kind::BadRequest);
            }
            let expected = if reserving { "attaching" } else { "in-use" };
            assert_eq!(world.status(&id).await, expected);
        }
        assert_eq!(world.count("volume_attachments").await, 2, "{}", world.test.engine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_in_use_says_by_whom_and_cannot_be_deleted() {
    for world in World::all().await {
        let id = world.available(ADA, json!({})).await;
        let wanted = wanted(&world, &id, "n1");
        let (cx, volume, ada) = (&world.cx, &world.volume, caller("member", "p1"));
        volume.validate(&ada, wanted.volume_id).await.unwrap();
        let held = volume.reserve(cx, &ada, &wanted).await.unwrap();
        assert_eq!((held.node.as_deref(), held.size), (Some("n1"), 1));
        let shown = world.get(ADA, &format!("/volumes/{id}")).await.json();
        assert_eq!(
            (&shown["volume"]["status"], &shown["volume"]["attachments"]),
            (&json!("attaching"), &json!([]))
        );
        for _ in 0..2 {
            volume.ensure_attached(cx, &wanted).await.unwrap();
        }
        for (token, host) in [(ADA, Value::Null), (ADMIN, json!("n1"))] {
            let shown = world.get(token, &format!("/volumes/{id}")).await.json();
            let attachment = &shown["volume"]["attachments"][0];
            assert_eq!(shown["volume"]["status"], "in-use");
            assert_eq!(attachment["server_id"], json!(wanted.server_id));
            assert_eq!(attachment["device"], "/dev/vdb");
            assert_eq!((&attachment["id"], &attachment["volume_id"]), (&json!(id), &json!(id)));
            assert_eq!(attachment["host_name"], host);
        }
        assert_eq!(volume.validate(&ada, wanted.volume_id).await.unwrap_err().kind(), Kind::BadRequest);
        let of = volume.of_servers(&[wanted.server_id, cx.uuid()]).await.unwrap();
        assert_eq!(of[&wanted.server_id][0].volume_id, wanted.volume_id);
        for (token, body) in [
            (ADA, json!({ "os-extend": { "new_size": 2 } })),
            (ADMIN, json!({ "os-force_delete": null })),
            (ADMIN, json!({ "os-reset_status": { "status": "available" } })),
        ] {
            world.act(token, &id, body).await.expect(400);
        }
        let refused = world.delete(ADA, &id).await.expect(400).json();
        assert!(
            refused["badRequest"]["message"]
                .as_str()
                .unwrap()
                .starts_with("Invalid volume: Volume status must be")
        );
        volume.release(cx, wanted.volume_id, cx.uuid()).await.unwrap();
        assert_eq!(world.status(&id).await, "in-use", "another attachment gives nothing back");
        for _ in 0..2 {
            volume.release(cx, wanted.volume_id, wanted.id).await.unwrap();
            assert_eq!(world.status(&id).await, "available");
        }
        world.delete(ADA, &id).await.expect(202);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_for_its_project_and_its_node_only() {
    for world in World::all().await {
        let id = world.available(ADA, json!({})).await;
        let (cx, volume) = (&world.cx, &world.volume);
        let there = wanted(&world, &id, "n2");
        let refused = volume.ensure_reserved(cx, &there).await.unwrap_err();
        assert!(refused.kind() == Kind::BadRequest && refused.message().contains("node n1"), "{refused}");
        let foreign = Use { project_id: "p2".to_owned(), ..wanted(&world, &id, "n1") };
        assert_eq!(volume.ensure_reserved(cx, &foreign).await.unwrap_err().kind(), Kind::NotFound);
        // Nor may those who see it give it to another project's server.
        let ada = caller("member", "p1");
        assert_eq!(volume.reserve(cx, &ada, &foreign).await.unwrap_err().kind(), Kind::NotFound);
        assert_eq!(volume.reserve(cx, &ada, &there).await.unwrap_err().kind(), Kind::BadRequest);
        let (bob, reader) = (caller("member", "p2"), caller("reader", "p1"));
        let own = &Use { project_id: "p1".to_owned(), ..foreign };
        let volume_id = own.volume_id;
        assert_eq!(volume.validate(&bob, volume_id).await.unwrap_err().kind(), Kind::NotFound);
        let reserve = |caller| async move { volume.reserve(cx, caller, own).await };
        assert_eq!(reserve(&bob).await.unwrap_err().kind(), Kind::NotFound);
        assert_eq!(reserve(&reader).await.unwrap_err().kind(), Kind::Forbidden);
        assert!(volume.show_for("p2", &[volume_id]).await.unwrap().is_empty());
        assert_eq!(volume.show_for("p1", &[volume_id]).await.unwrap()[0].state, State::Available);
        assert_eq!(world.status(&id).await, "available", "who is refused changes nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_not_available_is_promised_to_nobody() {
    for world in World::all().await {
        world.agent.feel(Mood::Silent);
        let (cx, volume, ada) = (&world.cx, &world.volume, caller("member", "p1"));
        let id = world.create(ADA, json!({})).await;
        let wanted = wanted(&world, &id, "n1");
        for status in ["creating", "error", "maintenance", "extending", "deleting"] {
            world.act(ADMIN, &id, json!({ "os-reset_status": { "status": status } })).await.expect(202);
            let reserved = volume.reserve(cx, &ada, &wanted).await;
            assert_eq!(reserved.unwrap_err().kind(), Kind::BadRequest, "{status}");
            assert_eq!(volume.ensure_reserved(cx, &wanted).await.unwrap_err().kind(), Kind::BadRequest);
            assert_eq!(volume.ensure_attached(cx, &wanted).await.unwrap_err().kind(), Kind::BadRequest);
            assert_eq!(world.status(&id).await, status);
        }
        assert_eq!(world.count("volume_attachments").await, 0, "{}", world.test.engine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_admin_says_of_an_attached_volume_stands() {
    for world in World::all().await {
        let id = world.available(ADA, json!({})).await;
        let wanted = wanted(&world, &id, "n1");
        let (cx, volume) = (&world.cx, &world.volume);
        volume.ensure_reserved(cx, &wanted).await.unwrap();
        volume.ensure_attached(cx, &wanted).await.unwrap();
        world.act(ADMIN, &id, json!({ "os-reset_status": { "status": "error" } })).await.expect(202);
        world.delete(ADA, &id).await.expect(400);
        volume.ensure_attached(cx, &wanted).await.unwrap();
        assert_eq!(world.status(&id).await, "error");
        volume.release(cx, wanted.volume_id, wanted.id).await.unwrap();
        assert_eq!(world.status(&id).await, "error");
        world.delete(ADA, &id).await.expect(202);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promise_lasts_as_long_as_its_server_wants_it() {
    for world in World::all().await {
        let id = world.available(ADA, json!({})).await;
        let (mut wanted, cx, volume) = (wanted(&world, &id, "n1"), &world.cx, &world.volume);
        let runner = world.runner(CrashPoints::none());
        runner.drain().await.unwrap();
        volume.ensure_reserved(cx, &wanted).await.unwrap();
        runner.drain().await.unwrap();
        assert_eq!((world.status(&id).await.as_str(), world.count("work_items").await), ("attaching", 1));
        // What an admin says meanwhile moves no disk.
        world.act(ADMIN, &id, json!({ "os-reset_status": { "status": "deleting" } })).await.expect(202);
        world.servers.give_up(wanted.id);
        world.wake(&id).await;
        world.settle(&id, "gone").await;
        assert_eq!(world.count("volume_attachments").await, 0);

        let id = world.available(ADA, json!({})).await;
        (wanted.id, wanted.volume_id) = (cx.uuid(), world.uuid(&id));
        volume.ensure_reserved(cx, &wanted).await.unwrap();
        volume.ensure_attached(cx, &wanted).await.unwrap();
        runner.drain().await.unwrap();
        assert_eq!((world.status(&id).await.as_str(), world.count("work_items").await), ("in-use", 0));
        volume.release(cx, wanted.volume_id, wanted.id).await.unwrap();
        world.settle(&id, "available").await;

        wanted.id = cx.uuid();
        volume.ensure_reserved(cx, &wanted).await.unwrap();
        world.servers.give_up(wanted.id);
        world.settle(&id, "available").await;
    }
}
