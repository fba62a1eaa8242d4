use http::Method;
use serde_json::{Value, json};

use crate::harness::benches;

async fn ids(client: &hanse_testkit::Client, query: &str) -> Vec<String> {
    let list = client.get(&format!("/compute/v2.1/flavors?{query}"), "reader@p1").await.expect(200).json();
    list["flavors"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fifteen_standard_flavors_are_there_from_the_start() {
    for bench in benches().await {
        let list = bench
            .client
            .get("/compute/v2.1/flavors/detail?is_public=None", "reader@p1")
            .await
            .expect(200)
            .json();
        let flavors = list["flavors"].as_array().unwrap();
        assert_eq!(flavors.len(), 15);
        for flavor in flavors {
            // SCS-<vcpus><V|L>-<GiB>[-<GB>s]
            let name = flavor["name"].as_str().unwrap();
            let parts: Vec<&str> = name.split('-').collect();
            let (cpus, kind) = parts[1].split_at(parts[1].len() - 1);
            assert_eq!(flavor["vcpus"], cpus.parse::<u32>().unwrap(), "{name}");
            assert_eq!(flavor["ram"], parts[2].parse::<u32>().unwrap() * 1024, "{name}");
            let disk = parts.get(3).map_or(0, |disk| disk.trim_end_matches('s').parse::<u32>().unwrap());
            assert_eq!(flavor["disk"], disk, "{name}");
            let path = format!("/compute/v2.1/flavors/{}/os-extra_specs", flavor["id"].as_str().unwrap());
            let specs = bench.client.get(&path, "reader@p1").await.expect(200).json()["extra_specs"].take();
            let cpu = if kind == "V" { "shared-core" } else { "crowded-core" };
            let mut expected = json!({
                "scs:name-v2": name,
                "scs:name-v1": format!("SCS-{}", parts[1..].join(":")),
                "scs:cpu-type": cpu,
            });
            if disk > 0 {
                expected["scs:disk0-type"] = "ssd".into();
            }
            assert_eq!(specs, expected, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flavors_are_filtered_sorted_and_paged() {
    for bench in benches().await {
        assert_eq!(ids(&bench.client, "minDisk=1").await, ["SCS-2V-4-20s", "SCS-4V-16-100s"]);
        assert_eq!(ids(&bench.client, "minRam=32768").await.len(), 3);
        assert_eq!(ids(&bench.client, "is_public=false").await.len(), 0);
        let smallest = ids(&bench.client, "sort_key=memory_mb&limit=1").await;
        assert_eq!(smallest, ["SCS-1L-1"]);
        let first = bench.client.get("/compute/v2.1/flavors?limit=10", "reader@p1").await.expect(200).json();
        let next = first["flavors_links"][0]["href"].as_str().unwrap();
        let rest = bench
            .client
            .get(next.strip_prefix("https://cloud.example").unwrap(), "reader@p1")
            .await
            .expect(200)
            .json();
        assert_eq!(rest["flavors"].as_array().unwrap().len(), 5);
        assert_eq!(rest.get("flavors_links"), None);
        for wrong in
            ["limit=-1", "limit=x", "minRam=x", "minDisk=-1", "marker=nobody", "sort_key=x", "sort_dir=x"]
        {
            bench.client.get(&format!("/compute/v2.1/flavors?{wrong}"), "reader@p1").await.expect(400);
        }
        bench.client.get("/compute/v2.1/flavors/nothing", "reader@p1").await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_makes_and_removes_flavors_and_their_specs() {
    for bench in benches().await {
        let client = &bench.client;
        let new =
            |flavor: Value| client.post("/compute/v2.1/flavors", "admin@ops", json!({ "flavor": flavor }));
        let made = new(json!({"name": "tiny", "vcpus": 1, "ram": 64, "disk": 0, "id": "auto"}))
            .await
            .expect(200)
            .json();
        let id = made["flavor"]["id"].as_str().unwrap().to_owned();
        new(json!({"name": "tiny", "vcpus": 1, "ram": 64, "disk": 0})).await.expect(409);
        new(json!({"name": "other", "vcpus": 1, "ram": 64, "disk": 0, "id": id})).await.expect(409);
        for wrong in [
            json!({"name": "", "vcpus": 1, "ram": 64, "disk": 0}),
            json!({"name": "a", "vcpus": 0, "ram": 64, "disk": 0}),
            json!({"name": "a", "vcpus": 1, "ram": 0, "disk": 0}),
            json!({"name": "a", "vcpus": 1, "ram": 1, "disk": -1}),
            json!({"name": "a", "vcpus": 1, "ram": 1, "disk": 0, "swap": 5}),
            json!({"name": "a", "vcpus": 1, "ram": 1, "disk": 0, "id": "a/b"}),
            json!({"name": "a", "vcpus": 1, "ram": 1, "disk": 0, "os-flavor-access:is_public": false}),
            json!({"name": "a", "vcpus": 1, "ram": 1, "disk": 0, "color": "red"}),
        ] {
            new(wrong).await.expect(400);
        }
        let specs = format!("/compute/v2.1/flavors/{id}/os-extra_specs");
        client.post(&specs, "admin@ops", json!({"extra_specs": {"a": "1", "b": "2"}})).await.expect(200);
        let answer =
            client.call(Method::PUT, &format!("{specs}/a"), "admin@ops", json!({"a": "3"})).await.expect(200);
        assert_eq!(answer.json(), json!({"a": "3"}));
        client.call(Method::PUT, &format!("{specs}/a"), "admin@ops", json!({"c": "3"})).await.expect(400);
        client.post(&specs, "admin@ops", json!({"extra_specs": {"a/b": "1"}})).await.expect(400);
        client.delete(&format!("{specs}/b"), "admin@ops").await.expect(200);
        client.delete(&format!("{specs}/b"), "admin@ops").await.expect(404);
        assert_eq!(client.get(&specs, "reader@p1").await.json(), json!({"extra_specs": {"a": "3"}}));
        assert_eq!(client.get(&format!("{specs}/a"), "reader@p1").await.json(), json!({"a": "3"}));
        client.delete(&format!("/compute/v2.1/flavors/{id}"), "admin@ops").await.expect(202);
        client.delete(&format!("/compute/v2.1/flavors/{id}"), "admin@ops").await.expect(404);
    }
}
