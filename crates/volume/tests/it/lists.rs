//! What clients read.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::world::{ADA, ADMIN, BOB, World};

fn names(list: &Value) -> Vec<String> {
    list["volumes"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| name.to_string()).collect()
}

const SUMMARY: &[&str] = &[
    "attachments",
    "availability_zone",
    "bootable",
    "consistencygroup_id",
    "created_at",
    "description",
    "encrypted",
    "id",
    "links",
    "metadata",
    "migration_status",
    "multiattach",
    "name",
    "replication_status",
    "size",
    "snapshot_id",
    "source_volid",
    "status",
    "updated_at",
    "user_id",
    "volume_type",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_has_exactly_the_fields_of_version_3_0() {
    for world in World::all().await {
        let body = json!({ "volume": {
            "size": "2", "name": "data", "description": null, "metadata": { "k": "v" }, "snapshot_id": null,
            "availability_zone": "nova", "volume_type": "__DEFAULT__", "backup_id": null, "imageRef": null,
        }});
        let created = world.post(ADA, "/volumes", body).await.expect(202);
        assert_eq!(created.headers["openstack-api-version"], "volume 3.0");
        let created = created.json();
        assert_eq!(keys(&created["volume"]), set(SUMMARY));
        let id = created["volume"]["id"].as_str().unwrap();
        let own = world.get(ADA, &format!("/volumes/{id}")).await.expect(200).json();
        let mut shown = set(SUMMARY);
        shown.insert("os-vol-tenant-attr:tenant_id".to_owned());
        assert_eq!(keys(&own["volume"]), shown);
        assert_eq!(own["volume"]["created_at"].as_str().unwrap().len(), "2026-11-22T19:00:00.000000".len());
        assert_eq!(
            own["volume"]["links"][0]["href"],
            format!("https://cloud.example/volume/v3/p1/volumes/{id}")
        );
        for (field, value) in
            [("size", json!(2)), ("bootable", json!("false")), ("metadata", json!({ "k": "v" }))]
        {
            assert_eq!(own["volume"][field], value);
        }
        let admins = world.get(ADMIN, &format!("/volumes/{id}")).await.expect(200).json();
        for name in
            ["os-vol-host-attr:host", "os-vol-mig-status-attr:migstat", "os-vol-mig-status-attr:name_id"]
        {
            shown.insert(name.to_owned());
        }
        assert_eq!(keys(&admins["volume"]), shown);
        let detail = world.get(ADA, "/volumes/detail").await.expect(200).json();
        assert_eq!(detail["volumes"][0], own["volume"]);
        let brief = world.get(ADA, "/volumes").await.expect(200).json();
        assert_eq!(keys(&brief["volumes"][0]), set(&["id", "links", "name"]));
        let changed = json!({ "volume": { "name": "new", "description": "text" } });
        let changed =
            world.call(Method::PUT, ADA, &format!("/volumes/{id}"), changed).await.expect(200).json();
        assert_eq!(keys(&changed["volume"]), set(SUMMARY));
        assert_eq!(
            (&changed["volume"]["name"], &changed["volume"]["description"]),
            (&json!("new"), &json!("text"))
        );
        assert!(changed["volume"]["updated_at"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_sorted_and_paged() {
    for world in World::all().await {
        for (name, size, key) in [("b", 2, "x"), ("a", 3, "y"), ("c", 1, "x")] {
            world
                .create(ADA, json!({ "name": name, "size": size, "metadata": { key: "1", "q\"": "2" } }))
                .await;
            world.clock.advance(std::time::Duration::from_secs(1));
        }
        world.create(BOB, json!({ "name": "bobs" })).await;
        for (query, expected) in [
            ("", vec!["c", "a", "b"]),
            ("?sort=name:asc", vec!["a", "b", "c"]),
            ("?sort_key=size&sort_dir=desc", vec!["a", "b", "c"]),
            ("?name=a", vec!["a"]),
            ("?status=creating&limit=2", vec!["c", "a"]),
            ("?status=available", vec![]),
            ("?bootable=true", vec![]),
            ("?limit=0", vec![]),
            ("?metadata=%7B%27x%27%3A%20%271%27%7D", vec!["c", "b"]),
            ("?metadata=%7B%22q%5C%22%22:%222%22,%22y%22:%221%22%7D", vec!["a"]),
            ("?metadata=%7B%27X%27%3A%20%271%27%7D", vec![]),
            ("?all_tenants=1", vec!["c", "a", "b"]),
        ] {
            let list = world.get(ADA, &format!("/volumes/detail{query}")).await.expect(200).json();
            assert_eq!(names(&list), expected, "{query} on {}", world.test.engine);
        }
        assert_eq!(names(&world.get(ADMIN, "/volumes").await.json()), Vec::<String>::new());
        let all = world.get(ADMIN, "/volumes?all_tenants=1&project_id=p2").await.expect(200).json();
        assert_eq!(names(&all), ["bobs"]);
        for wrong in ["limit=-1", "sort=nothing:asc", "sort=name:up", "metadata=x", "marker=x", "bootable=x"]
        {
            world.get(ADA, &format!("/volumes?{wrong}")).await.expect(400);
        }
        world.get(ADA, "/volumes?offset=1").await.expect(501);
        let (mut seen, mut next) =
            (Vec::new(), "https://cloud.example/volume/v3/p1/volumes?limit=1".to_owned());
        for _ in 0..10 {
            let page =
                world.client.get(next.trim_start_matches("https://cloud.example"), ADA).await.expect(200);
            seen.extend(names(&page.json()));
            match page.json()["volumes_links"][0]["href"].as_str() {
                Some(href) => next = href.to_owned(),
                None => break,
            }
        }
        assert_eq!(seen, ["c", "a", "b"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_added_to_replaced_and_taken_away() {
    for world in World::all().await {
        let id = world.create(ADA, json!({ "metadata": { "a": "1" } })).await;
        let path = format!("/volumes/{id}/metadata");
        let added = world.post(ADA, &path, json!({ "metadata": { "b": "2" } })).await.expect(200).json();
        assert_eq!(added, json!({ "metadata": { "a": "1", "b": "2" } }));
        let item = format!("{path}/a");
        let body = json!({ "meta": { "a": "3" } });
        assert_eq!(world.call(Method::PUT, ADA, &item, body.clone()).await.expect(200).json(), body);
        assert_eq!(world.get(ADA, &item).await.expect(200).json(), body);
        world.call(Method::PUT, ADA, &item, json!({ "meta": { "b": "3" } })).await.expect(400);
        assert!(world.call(Method::DELETE, ADA, &item, Value::Null).await.expect(200).body.is_empty());
        world.call(Method::DELETE, ADA, &item, Value::Null).await.expect(404);
        world.get(ADA, &item).await.expect(404);
        let replaced = json!({ "metadata": { "c": "4" } });
        assert_eq!(world.call(Method::PUT, ADA, &path, replaced.clone()).await.expect(200).json(), replaced);
        assert_eq!(world.get(ADA, &path).await.expect(200).json(), replaced);
        let many: serde_json::Map<String, Value> = (0..128).map(|n| (n.to_string(), json!(""))).collect();
        world.post(ADA, &path, json!({ "metadata": many })).await.expect(400);
        assert_eq!(world.get(ADA, &path).await.json(), replaced, "what is refused changes nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_says_what_it_is() {
    for world in World::all().await {
        for (path, status) in [("/volume", 300), ("/volume/", 300), ("/volume/v3", 200), ("/volume/v3/", 200)]
        {
            let document = world.client.get(path, "").await.expect(status).json();
            let version = &document["versions"][0];
            assert_eq!((&version["id"], &version["status"]), (&json!("v3.0"), &json!("CURRENT")), "{path}");
            assert_eq!((&version["version"], &version["min_version"]), (&json!("3.0"), &json!("3.0")));
            assert_eq!(version["links"][0]["href"], "https://cloud.example/volume/v3/");
        }
        let services = world.get(ADMIN, "/os-services").await.expect(200).json();
        assert_eq!(services["services"][0]["host"], "n1@local");
        assert_eq!(services["services"][0]["state"], "up");
        let zones = world.get(ADA, "/os-availability-zone").await.expect(200).json();
        assert_eq!(
            zones["availabilityZoneInfo"],
            json!([{ "zoneName": "nova", "zoneState": { "available": true } }])
        );
        let types = world.get(ADA, "/types").await.expect(200).json();
        let id = types["volume_types"][0]["id"].as_str().unwrap();
        for id in [id, "default"] {
            let one = world.get(ADA, &format!("/types/{id}")).await.expect(200).json();
            assert_eq!(one["volume_type"], types["volume_types"][0]);
        }
        world.get(ADA, "/types/fast").await.expect(404);
        let aliases = world.get(ADA, "/extensions").await.expect(200).json();
        assert_eq!(aliases["extensions"].as_array().unwrap().len(), 5);
        let headers = [("openstack-api-version", "volume 3.1")];
        let body = axum::body::Body::empty();
        world.client.send(Method::GET, "/volume/v3/p1/volumes", ADA, &headers, body).await.expect(406);
    }
}
