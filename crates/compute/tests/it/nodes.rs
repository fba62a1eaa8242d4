use serde_json::json;

use crate::agent::Pretend;
use crate::harness::benches;

#[tokio::test(flavor = "multi_thread")]
async fn servers_go_where_most_memory_is_free_and_admins_see_it() {
    for bench in benches().await {
        bench.connect(Pretend::new("node-2", 10_000)).await;
        let mut hosts = Vec::new();
        for _ in 0..4 {
            let id = bench.active("member@p1", json!({"flavorRef": "SCS-1V-2"})).await;
            hosts.push(bench.show(id).await["OS-EXT-SRV-ATTR:host"].as_str().unwrap().to_owned());
        }
        // Left after the first: 8192 against 7952, and so on.
        assert_eq!(hosts, ["node-2", "node-1", "node-2", "node-1"], "{}", bench.test.engine);
        let list =
            bench.client.get("/compute/v2.1/os-hypervisors/detail", "admin@ops").await.expect(200).json();
        let first = &list["hypervisors"][0];
        assert_eq!(
            (&first["hypervisor_hostname"], &first["memory_mb_used"]),
            (&json!("node-1"), &json!(4096))
        );
        assert_eq!(
            (&first["vcpus_used"], &first["running_vms"], &first["state"]),
            (&json!(2), &json!(2), &json!("up"))
        );
        let path = format!("/compute/v2.1/os-hypervisors/{}", first["id"]);
        assert_eq!(&bench.client.get(&path, "admin@ops").await.expect(200).json()["hypervisor"], first);
        bench.client.get("/compute/v2.1/os-hypervisors/0", "admin@ops").await.expect(404);
        let sum =
            bench.client.get("/compute/v2.1/os-hypervisors/statistics", "admin@ops").await.expect(200).json();
        assert_eq!(sum["hypervisor_statistics"]["memory_mb"], 18_192);
        let services =
            bench.client.get("/compute/v2.1/os-services?host=node-2", "admin@ops").await.expect(200).json();
        assert_eq!(services["services"].as_array().unwrap().len(), 1);
        assert_eq!(services["services"][0]["state"], "up");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_gets_no_servers() {
    for bench in benches().await {
        let session = bench.connect(Pretend::new("node-2", 100_000)).await;
        session.abort();
        bench
            .eventually("node-2 is down", async || bench.count("nodes WHERE connected = 0").await == 1)
            .await;
        let id = bench.active("member@p1", json!({})).await;
        assert_eq!(bench.show(id).await["OS-EXT-SRV-ATTR:host"], "node-1");
        bench.clock.advance(std::time::Duration::from_secs(61));
        let large = bench.create("member@p1", json!({"flavorRef": "SCS-4V-16"})).await;
        assert_eq!(bench.show(large).await["status"], "ERROR", "there was room on node-2 only");
        let zones =
            bench.client.get("/compute/v2.1/os-availability-zone", "reader@p1").await.expect(200).json();
        let nova = json!({"zoneName": "nova", "zoneState": {"available": true}, "hosts": null});
        assert_eq!(zones["availabilityZoneInfo"], json!([nova]));
        let detail = bench
            .client
            .get("/compute/v2.1/os-availability-zone/detail", "admin@ops")
            .await
            .expect(200)
            .json();
        let hosts = &detail["availabilityZoneInfo"][0]["hosts"];
        assert_eq!(hosts["node-2"]["nova-compute"]["available"], false);
        assert_eq!(hosts["node-1"]["nova-compute"]["available"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_created_while_its_node_starts_anew_is_built_when_it_is_back() {
    for bench in benches().await {
        let session = bench.connect(Pretend::new("node-2", 100_000)).await;
        session.abort();
        bench
            .eventually("node-2 is down", async || bench.count("nodes WHERE connected = 0").await == 1)
            .await;
        let id = bench.create("member@p1", json!({"flavorRef": "SCS-4V-16"})).await;
        assert_eq!(bench.show(id).await["status"], "BUILD", "{}", bench.test.engine);
        bench.connect(Pretend::new("node-2", 100_000)).await;
        bench.reaches(id, "ACTIVE").await;
        assert_eq!(bench.show(id).await["OS-EXT-SRV-ATTR:host"], "node-2");
    }
}
