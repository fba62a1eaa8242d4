use serde_json::{Value, json};

use crate::cloud::{Cloud, clouds};

async fn service(cloud: &Cloud, admin: &str) -> String {
    let list = cloud.get("/v3/services?type=block-storage", admin).await.expect(200);
    list["services"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn limits_are_of_what_is_registered_and_stand_over_its_default() {
    for cloud in clouds().await {
        let (admin, demo) = (cloud.admin().await, cloud.demo().await);
        let (service, project) = (service(&cloud, &admin).await, cloud.id("projects", "demo").await);
        let registered = |name: &str, limit: i64| json!({ "service_id": service, "resource_name": name, "default_limit": limit });
        let both = json!({ "registered_limits": [registered("volumes", 10), registered("gigabytes", 1000)] });
        let made = cloud.call("POST", "/v3/registered_limits", &admin, both.clone()).await.expect(201);
        assert_eq!(made["registered_limits"].as_array().unwrap().len(), 2);
        assert_eq!(made.get("links"), None, "what was made is no page of a list");
        let first = made["registered_limits"][0].clone();
        let path = format!("/v3/registered_limits/{}", first["id"].as_str().unwrap());
        assert_eq!(cloud.get(&path, &demo).await.expect(200)["registered_limit"], first);
        cloud.call("POST", "/v3/registered_limits", &admin, both).await.expect(409);
        let half = json!({ "registered_limits": [registered("backups", 1), registered("volumes", 1)] });
        cloud.call("POST", "/v3/registered_limits", &admin, half).await.expect(409);
        let list = cloud.get("/v3/registered_limits?resource_name=backups", &admin).await.expect(200);
        assert_eq!(list["registered_limits"], json!([]), "all or none");

        let limit = |name: &str, limit: Value| {
            json!({ "limits": [{
                "service_id": service, "resource_name": name, "resource_limit": limit, "project_id": project,
            }] })
        };
        let post = async |body: Value| cloud.call("POST", "/v3/limits", &admin, body).await;
        let made = post(limit("volumes", json!(3))).await.expect(201);
        post(limit("volumes", json!(3))).await.expect(409);
        post(limit("snapshots", json!(3))).await.expect(403);
        post(limit("gigabytes", json!(-2))).await.expect(400);
        post(limit("gigabytes", json!(1_u64 << 53))).await.expect(400);
        let much = post(limit("gigabytes", json!(1_000_000_000_000_u64))).await.expect(201);
        let much = format!("/v3/limits/{}", much["limits"][0]["id"].as_str().unwrap());
        assert_eq!(
            cloud.get(&much, &demo).await.expect(200)["limit"]["resource_limit"],
            1_000_000_000_000_u64
        );
        cloud.delete(&much, &admin).await.expect(204);
        post(limit("gigabytes", json!("many"))).await.expect(400);
        post(json!({ "limits": [] })).await.expect(400);
        let neither = json!({ "service_id": service, "resource_name": "gigabytes", "resource_limit": 1 });
        post(json!({ "limits": [neither] })).await.expect(400);
        let own = format!("/v3/limits/{}", made["limits"][0]["id"].as_str().unwrap());
        cloud.get(&own, &demo).await.expect(200);
        let list = cloud.get("/v3/limits", &demo).await.expect(200);
        assert_eq!(list["limits"], made["limits"]);
        let change = json!({ "limit": { "resource_limit": 5, "description": "more" } });
        assert_eq!(cloud.call("PATCH", &own, &admin, change).await.expect(200)["limit"]["resource_limit"], 5);
        let limits = cloud.identity.limits("block-storage", &project).await.unwrap();
        assert_eq!(
            limits.into_iter().collect::<Vec<_>>(),
            [("gigabytes".to_owned(), 1000), ("volumes".to_owned(), 5)]
        );
        assert!(cloud.identity.limits("compute", &project).await.unwrap().is_empty());

        cloud.delete(&path, &admin).await.expect(403);
        let other = json!({ "registered_limit": { "resource_name": "other" } });
        cloud.call("PATCH", &path, &admin, other).await.expect(403);
        let more = json!({ "registered_limit": { "default_limit": 20 } });
        cloud.call("PATCH", &path, &admin, more).await.expect(200);
        cloud.delete(&own, &admin).await.expect(204);
        let limits = cloud.identity.limits("block-storage", &project).await.unwrap();
        assert_eq!(limits["volumes"], 20);
        cloud.delete(&path, &admin).await.expect(204);
        assert_eq!(cloud.get("/v3/limits/model", &demo).await.expect(200)["model"]["name"], "flat");
    }
}

#[tokio::test]
async fn a_domain_has_options_of_its_own_and_tells_no_password() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let path = "/v3/domains/default/config";
        cloud.get(path, &admin).await.expect(404);
        let config = json!({ "config": {
            "identity": { "driver": "ldap" }, "ldap": { "url": "ldap://x", "user": "u", "password": "hunter2" },
        } });
        let shown = json!({ "identity": { "driver": "ldap" }, "ldap": { "url": "ldap://x", "user": "u" } });
        let made = cloud.call("PUT", path, &admin, config.clone()).await.expect(201);
        assert_eq!(made["config"], shown);
        cloud.call("PUT", path, &admin, config).await.expect(200);
        let group = cloud.get(&format!("{path}/ldap"), &admin).await.expect(200);
        assert_eq!(group["config"], json!({ "ldap": shown["ldap"] }));
        let one = cloud.get(&format!("{path}/ldap/url"), &admin).await.expect(200);
        assert_eq!(one["config"], json!({ "url": "ldap://x" }));
        cloud.get(&format!("{path}/ldap/password"), &admin).await.expect(404);
        let change = json!({ "config": { "url": "ldaps://y" } });
        let changed = cloud.call("PATCH", &format!("{path}/ldap/url"), &admin, change).await.expect(200);
        assert_eq!(changed["config"]["ldap"]["url"], "ldaps://y");
        assert_eq!(changed["config"]["identity"]["driver"], "ldap");
        for (method, tail, body, status) in [
            ("PUT", "", json!({ "config": {} }), 400),
            ("PUT", "", json!({ "config": { "token": { "provider": "x" } } }), 403),
            ("PUT", "", json!({ "config": { "ldap": { "nonsense": 1 } } }), 403),
            ("PATCH", "/ldap", json!({ "config": { "identity": { "driver": "x" } } }), 403),
            ("PATCH", "/identity/list_limit", json!({ "config": { "list_limit": 1 } }), 404),
            ("GET", "/nonsense", Value::Null, 403),
        ] {
            let answer = cloud.call(method, &format!("{path}{tail}"), &admin, body).await;
            assert_eq!(answer.status, status, "{method} {tail}: {}", answer.body);
        }
        let mut conn = cloud.db.read().await.unwrap();
        let stored: Vec<(Vec<u8>,)> =
            hanse_store::query("SELECT value FROM domain_options").all(&mut conn).await.unwrap();
        drop(conn);
        assert!(stored.iter().all(|(value,)| !value.windows(7).any(|part| part == b"hunter2")));
        cloud.delete(&format!("{path}/ldap/url"), &admin).await.expect(204);
        cloud.get(&format!("{path}/ldap/url"), &admin).await.expect(404);
        cloud.delete(path, &admin).await.expect(204);
        cloud.get(path, &admin).await.expect(404);
        let all = cloud.get("/v3/domains/config/default", &admin).await.expect(200);
        assert_eq!(all["config"]["identity"], json!({ "driver": "sql", "list_limit": null }));
        let one = cloud.get("/v3/domains/config/ldap/url/default", &admin).await.expect(200);
        assert_eq!(one["config"], json!({ "url": "ldap://localhost" }));
    }
}
