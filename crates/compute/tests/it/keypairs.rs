use axum::body::Body;
use http::Method;
use serde_json::json;

use crate::harness::benches;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE2H0FHGCUAtLIrk8qj+Jcym/EdbmOmt58qq64e1qwMG ada@example";
const PATH: &str = "/compute/v2.1/os-keypairs";

#[tokio::test(flavor = "multi_thread")]
async fn a_key_pair_belongs_to_its_user_and_to_nobody_else() {
    for bench in benches().await {
        let client = &bench.client;
        let body = json!({"keypair": {"name": "laptop", "public_key": KEY}});
        let made = client.post(PATH, "member@p1", body.clone()).await.expect(200).json();
        assert_eq!(made["keypair"]["user_id"], "user-member@p1");
        assert!(made["keypair"].get("private_key").is_none());
        client.post(PATH, "member@p1", body.clone()).await.expect(409);
        let shown = client.get(&format!("{PATH}/laptop"), "member@p1").await.expect(200).json();
        assert_eq!(shown["keypair"]["public_key"], KEY);
        for stranger in ["member@p2", "admin@ops"] {
            client.get(&format!("{PATH}/laptop"), stranger).await.expect(404);
            client.delete(&format!("{PATH}/laptop"), stranger).await.expect(404);
        }
        client.post(PATH, "member@p2", body).await.expect(200);
        let list = client.get(PATH, "member@p1").await.expect(200).json();
        assert_eq!(list["keypairs"].as_array().unwrap().len(), 1);
        client.delete(&format!("{PATH}/laptop"), "member@p1").await.expect(202);
        client.delete(&format!("{PATH}/laptop"), "member@p1").await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_key_is_generated_and_shown_once() {
    for bench in benches().await {
        let headers = [("openstack-api-version", "compute 2.2"), ("content-type", "application/json")];
        let body = Body::from(json!({"keypair": {"name": "gen", "type": "ssh"}}).to_string());
        let made =
            bench.client.send(Method::POST, PATH, "member@p1", &headers, body).await.expect(201).json();
        assert_eq!(made["keypair"]["type"], "ssh");
        assert!(
            made["keypair"]["private_key"]
                .as_str()
                .unwrap()
                .starts_with("-----BEGIN OPENSSH PRIVATE KEY-----")
        );
        let shown = bench.client.get(&format!("{PATH}/gen"), "member@p1").await.expect(200).json();
        assert!(shown["keypair"].get("private_key").is_none());
        let path = format!("{PATH}/gen");
        bench.client.send(Method::DELETE, &path, "member@p1", &headers, Body::empty()).await.expect(204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_and_too_many_are_refused() {
    for bench in benches().await {
        for (body, status) in [
            (json!({"keypair": {"name": "a", "public_key": "nonsense"}}), 400),
            (json!({"keypair": {"name": "", "public_key": KEY}}), 400),
            (json!({"keypair": {"name": "a/b", "public_key": KEY}}), 400),
            (json!({"keypair": {"name": "x".repeat(256), "public_key": KEY}}), 400),
            (json!({"keypair": {"name": "a", "type": "ssh"}}), 400),
            (json!({"keypair": {"public_key": KEY}}), 400),
            (json!({"name": "a"}), 400),
        ] {
            bench.client.post(PATH, "member@p1", body).await.expect(status);
        }
        for number in 0..100 {
            let body = json!({"keypair": {"name": format!("k{number}"), "public_key": KEY}});
            bench.client.post(PATH, "member@p1", body).await.expect(200);
        }
        let body = json!({"keypair": {"name": "one more", "public_key": KEY}});
        bench.client.post(PATH, "member@p1", body).await.expect(403);
    }
}
