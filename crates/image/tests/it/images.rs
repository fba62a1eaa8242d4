use serde_json::json;

use crate::harness::{benches, id};

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_created_read_changed_and_deleted() {
    for bench in benches().await {
        let image =
            bench.create("member@p1", json!({"os_distro": "debian", "tags": ["a"], "min_disk": 3})).await;
        assert_eq!(image["status"], "queued");
        assert_eq!(image["owner"], "p1");
        assert_eq!((&image["os_distro"], &image["tags"]), (&json!("debian"), &json!(["a"])));
        assert_eq!((&image["checksum"], &image["size"]), (&json!(null), &json!(null)));
        let path = format!("/image/v2/images/{}", id(&image));
        assert_eq!(bench.client.get(&path, "reader@p1").await.expect(200).json(), image);
        let changes = json!([
            {"op": "replace", "path": "/name", "value": "new"},
            {"op": "add", "path": "/os_version", "value": "13"},
            {"op": "remove", "path": "/os_distro"},
        ]);
        let changed = bench.patch("member@p1", id(&image), changes).await.expect(200).json();
        assert_eq!((&changed["name"], &changed["os_version"]), (&json!("new"), &json!("13")));
        assert!(changed.get("os_distro").is_none());
        for (tag, status) in [("b", 204), ("b", 204)] {
            let tag = format!("{path}/tags/{tag}");
            bench.client.call(http::Method::PUT, &tag, "member@p1", json!(null)).await.expect(status);
        }
        bench.client.delete(&format!("{path}/tags/a"), "member@p1").await.expect(204);
        bench.client.delete(&format!("{path}/tags/a"), "member@p1").await.expect(404);
        assert_eq!(bench.client.get(&path, "member@p1").await.json()["tags"], json!(["b"]));
        bench.client.delete(&path, "member@p1").await.expect(204);
        bench.client.delete(&path, "member@p1").await.expect(404);
        bench.client.get(&path, "admin@ops").await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_do_not_see_each_others_images_unless_they_are_public() {
    for bench in benches().await {
        let private = bench.create("member@p1", json!({"name": "private"})).await;
        let public = bench.create("admin@p1", json!({"name": "public", "visibility": "public"})).await;
        let path = |image| format!("/image/v2/images/{}", id(image));
        for (method, path) in [
            (http::Method::GET, path(&private)),
            (http::Method::DELETE, path(&private)),
            (http::Method::GET, format!("{}/file", path(&private))),
            (http::Method::PUT, format!("{}/tags/x", path(&private))),
            (http::Method::POST, format!("{}/actions/deactivate", path(&private))),
        ] {
            bench.client.call(method, &path, "member@p2", json!(null)).await.expect(404);
        }
        bench.upload("member@p2", id(&private), vec![1]).await.expect(404);
        bench.client.get(&path(&public), "reader@p2").await.expect(200);
        bench.client.delete(&path(&public), "member@p2").await.expect(403);
        bench.upload("member@p2", id(&public), vec![1]).await.expect(403);
        assert_eq!(bench.names("reader@p2", "").await, ["public"]);
        assert_eq!(bench.names("reader@p1", "sort=name:asc").await, ["private", "public"]);
        assert_eq!(bench.names("admin@ops", "sort=name:asc").await, ["private", "public"]);
        assert_eq!(bench.names("admin@ops", "owner=p1&visibility=private").await, ["private"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_filtered_sorted_and_paged() {
    for bench in benches().await {
        for (name, more) in [
            ("c", json!({"os_distro": "debian"})),
            ("a", json!({"tags": ["t"]})),
            ("b", json!({"disk_format": "qcow2", "min_ram": 7})),
            ("h", json!({"os_hidden": true})),
        ] {
            let mut more = more;
            more["name"] = name.into();
            let image = bench.create("member@p1", more).await;
            if name == "a" {
                bench.upload("member@p1", id(&image), vec![0; 10]).await.expect(204);
            }
        }
        for (query, expected) in [
            ("sort_key=name&sort_dir=asc", vec!["a", "b", "c"]),
            ("sort_key=name&sort_dir=desc", vec!["c", "b", "a"]),
            ("sort=disk_format:desc,name:asc", vec!["a", "c", "b"]),
            ("name=b", vec!["b"]),
            ("name=in:a,c&sort=name", vec!["c", "a"]),
            ("status=active", vec!["a"]),
            ("os_distro=debian", vec!["c"]),
            ("tag=t", vec!["a"]),
            ("min_ram=7", vec!["b"]),
            ("size_min=5&size_max=10", vec!["a"]),
            ("size_min=11", vec![]),
            ("os_hidden=true", vec!["h"]),
            ("visibility=shared", vec![]),
            ("created_at=lt:2000-01-01T00:00:00Z", vec![]),
        ] {
            assert_eq!(bench.names("reader@p1", query).await, expected, "{query} on {}", bench.test.engine);
        }
        let mut path = "/v2/images?limit=2&sort_key=name&sort_dir=asc".to_owned();
        let mut seen = Vec::new();
        loop {
            let page = bench.client.get(&format!("/image{path}"), "reader@p1").await.expect(200).json();
            assert_eq!(page["first"], "/v2/images?limit=2&sort_key=name&sort_dir=asc");
            for image in page["images"].as_array().unwrap() {
                seen.push(image["name"].as_str().unwrap().to_owned());
            }
            let Some(next) = page["next"].as_str() else { break };
            path = next.to_owned();
        }
        assert_eq!(seen, ["a", "b", "c"]);
        for wrong in
            ["limit=-1", "limit=x", "marker=nobody", "sort_key=shoe_size", "sort_dir=up", "size_min=x"]
        {
            bench.client.get(&format!("/image/v2/images?{wrong}"), "reader@p1").await.expect(400);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_input_is_refused_and_changes_nothing() {
    for bench in benches().await {
        for (body, status) in [
            (json!({"disk_format": "vmdk"}), 400),
            (json!({"container_format": "ova"}), 400),
            (json!({"visibility": "shared"}), 400),
            (json!({"visibility": "public"}), 403),
            (json!({"name": "x".repeat(256)}), 400),
            (json!({"id": "seven"}), 400),
            (json!({"min_disk": -1}), 400),
            (json!({"owner": "p2"}), 403),
            (json!({"status": "active"}), 403),
            (json!({"locations": []}), 403),
            (json!({"custom": 7}), 400),
            (json!([]), 400),
        ] {
            let answer = bench.client.post("/image/v2/images", "member@p1", body.clone()).await;
            assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.text());
        }
        assert!(bench.names("member@p1", "").await.is_empty());
        let own = json!({"id": "7c1f9a9c-6f0b-4b7e-8f5a-0f8c3e1b2a4d"});
        let image = bench.create("member@p1", own.clone()).await;
        bench.client.post("/image/v2/images", "member@p1", own).await.expect(409);
        for (change, status) in [
            (json!([{"op": "replace", "path": "/visibility", "value": "public"}]), 403),
            (json!([{"op": "replace", "path": "/nothing", "value": "x"}]), 409),
            (json!([{"op": "replace", "path": "/id", "value": "x"}]), 403),
            (json!({"op": "replace"}), 400),
        ] {
            bench.patch("member@p1", id(&image), change).await.expect(status);
        }
        bench.upload("member@p1", id(&image), vec![1]).await.expect(204);
        let formats = json!([{"op": "replace", "path": "/disk_format", "value": "qcow2"}]);
        bench.patch("member@p1", id(&image), formats).await.expect(403);
        let path = format!("/image/v2/images/{}", id(&image));
        let answer = bench.client.call(http::Method::PATCH, &path, "member@p1", json!([])).await;
        assert_eq!(answer.expect(415).headers["content-type"], "text/html; charset=UTF-8");
        for path in ["/image/v2/images/seven", "/image/v2/images/!!!"] {
            bench.client.get(path, "member@p1").await.expect(404);
            bench.client.delete(path, "member@p1").await.expect(404);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_image_stays_and_a_full_project_takes_no_more() {
    for bench in benches().await {
        let image = bench.create("member@p1", json!({"protected": true})).await;
        let path = format!("/image/v2/images/{}", id(&image));
        bench.client.delete(&path, "member@p1").await.expect(403);
        bench
            .patch("member@p1", id(&image), json!([{"op": "replace", "path": "/protected", "value": false}]))
            .await;
        // Five is the quota: of twenty that come at once, four find room beside the first.
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let client = bench.client.clone();
            tasks.spawn(async move {
                client.post("/image/v2/images", "member@p1", json!({})).await.status.as_u16()
            });
        }
        let mut created = 0;
        while let Some(status) = tasks.join_next().await {
            let status = status.unwrap();
            assert!(status == 201 || status == 413, "{status}");
            created += i32::from(status == 201);
        }
        assert_eq!(created, 4, "{}", bench.test.engine);
        bench.create("member@p2", json!({})).await;
        bench.client.delete(&path, "member@p1").await.expect(204);
        bench.create("member@p1", json!({})).await;
    }
}
