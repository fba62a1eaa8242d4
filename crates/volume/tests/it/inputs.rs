//! What is refused.

use http::Method;
use serde_json::{Value, json};

use crate::world::{ADA, BOB, World};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_is_refused_and_nothing_is_written() {
    let long = "x".repeat(256);
    let many: serde_json::Map<String, Value> = (0..129).map(|n| (n.to_string(), json!("v"))).collect();
    let bad = [
        (json!({}), 400),
        (json!({ "volume": null }), 400),
        (json!({ "volume": {} }), 400),
        (json!({ "volume": { "size": 1 }, "more": 1 }), 400),
        (json!({ "volume": { "size": 0 } }), 400),
        (json!({ "volume": { "size": -1 } }), 400),
        (json!({ "volume": { "size": 1.5 } }), 400),
        (json!({ "volume": { "size": "" } }), 400),
        (json!({ "volume": { "size": "two" } }), 400),
        (json!({ "volume": { "size": null } }), 400),
        (json!({ "volume": { "size": 16_385 } }), 400),
        (json!({ "volume": { "size": 99_999_999_999_u64 } }), 400),
        (json!({ "volume": { "size": 1, "colour": "red" } }), 400),
        (json!({ "volume": { "size": 1, "name": long } }), 400),
        (json!({ "volume": { "size": 1, "name": "a\u{0}b" } }), 400),
        (json!({ "volume": { "size": 1, "name": 7 } }), 400),
        (json!({ "volume": { "size": 1, "description": long } }), 400),
        (json!({ "volume": { "size": 1, "metadata": { "": "v" } } }), 400),
        (json!({ "volume": { "size": 1, "metadata": { "k": 1 } } }), 400),
        (json!({ "volume": { "size": 1, "metadata": { "k": long } } }), 400),
        (json!({ "volume": { "size": 1, "metadata": { long.as_str(): "v" } } }), 400),
        (json!({ "volume": { "size": 1, "metadata": many } }), 400),
        (json!({ "volume": { "size": 1, "availability_zone": "mars" } }), 400),
        (json!({ "volume": { "size": 1, "volume_type": "fast" } }), 404),
        (json!({ "volume": { "size": 1, "imageRef": "x" } }), 501),
        (json!({ "volume": { "size": 1, "snapshot_id": "x" } }), 501),
        (json!({ "volume": { "size": 1, "source_volid": "x" } }), 501),
        (json!({ "volume": { "size": 1, "multiattach": true } }), 501),
    ];
    for world in World::all().await {
        for (body, status) in &bad {
            let answer = world.post(ADA, "/volumes", body.clone()).await;
            assert_eq!(answer.status.as_u16(), *status, "{body}: {}", answer.text());
        }
        world.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_changed_is_refused() {
    for world in World::all().await {
        let id = world.available(ADA, json!({ "name": "kept" })).await;
        for body in [
            json!({}),
            json!({ "volume": { "name": "x".repeat(256) } }),
            json!({ "volume": { "size": 2 } }),
            json!({ "volume": { "metadata": { "k": null } } }),
        ] {
            world.call(Method::PUT, ADA, &format!("/volumes/{id}"), body.clone()).await.expect(400);
        }
        for (body, status) in [
            (json!({}), 400),
            (json!({ "os-extend": null }), 400),
            (json!({ "os-extend": { "new_size": 0 } }), 400),
            (json!({ "os-extend": { "new_size": "x" } }), 400),
            (json!({ "os-extend": { "new_size": 2, "more": 1 } }), 400),
            (json!({ "os-extend": { "new_size": 2 }, "os-set_bootable": { "bootable": true } }), 400),
            (json!({ "os-set_bootable": { "bootable": "maybe" } }), 400),
            (json!({ "os-fly": {} }), 400),
            (json!({ "os-update_readonly_flag": { "readonly": true } }), 501),
            (json!({ "os-attach": { "instance_uuid": "x", "mountpoint": "/dev/vdb" } }), 501),
            (json!({ "os-retype": { "new_type": "fast" } }), 501),
        ] {
            let answer = world.act(ADA, &id, body.clone()).await;
            assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.text());
        }
        for unknown in ["x", "00000000-0000-4000-8000-000000000000"] {
            world.get(ADA, &format!("/volumes/{unknown}")).await.expect(404);
            world.delete(ADA, unknown).await.expect(404);
        }
        let shown = world.get(ADA, &format!("/volumes/{id}")).await.json();
        assert_eq!(
            (&shown["volume"]["name"], &shown["volume"]["status"]),
            (&json!("kept"), &json!("available"))
        );
        world.act(ADA, &id, json!({ "os-set_bootable": { "bootable": true } })).await.expect(200);
        assert_eq!(world.get(ADA, &format!("/volumes/{id}")).await.json()["volume"]["bootable"], "true");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_do_not_see_each_other() {
    for world in World::all().await {
        let id = world.available(ADA, json!({ "name": "adas" })).await;
        let foreign = format!("/volumes/{id}");
        let before = world.get(ADA, &foreign).await.json();
        for (method, rest, body) in [
            (Method::GET, "", Value::Null),
            (Method::PUT, "", json!({ "volume": { "name": "bobs" } })),
            (Method::DELETE, "", Value::Null),
            (Method::GET, "/metadata", Value::Null),
            (Method::POST, "/metadata", json!({ "metadata": { "k": "v" } })),
            (Method::POST, "/action", json!({ "os-extend": { "new_size": 2 } })),
            (Method::POST, "/action", json!({ "os-update_readonly_flag": { "readonly": true } })),
        ] {
            world.call(method, BOB, &format!("{foreign}{rest}"), body).await.expect(404);
        }
        assert_eq!(world.get(BOB, "/volumes/detail?all_tenants=1").await.json()["volumes"], json!([]));
        let marker = world.get(BOB, &format!("/volumes?marker={id}")).await.expect(400);
        assert!(marker.text().contains("not found"));
        let path = format!("/volume/v3/p1/volumes/{id}");
        world.client.get(&path, BOB).await.expect(400);
        assert_eq!(world.get(ADA, &foreign).await.json(), before);
    }
}
