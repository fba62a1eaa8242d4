use serde_json::{Value, json};

use crate::cloud::clouds;

#[tokio::test]
async fn a_role_is_created_shown_listed_changed_and_deleted() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let body = json!({ "role": { "name": "auditor" } });
        let made = cloud.call("POST", "/v3/roles", &admin, body.clone()).await.expect(201);
        let id = made["role"]["id"].as_str().unwrap();
        let path = format!("/v3/roles/{id}");
        assert_eq!(
            made["role"],
            json!({
                "id": id, "name": "auditor", "domain_id": null, "description": null, "options": {},
                "links": { "self": format!("https://cloud.test/identity{path}") },
            })
        );
        cloud.call("POST", "/v3/roles", &admin, body).await.expect(409);
        let change = json!({ "role": { "name": "checker", "description": "looks" } });
        let changed = cloud.call("PATCH", &path, &admin, change).await.expect(200);
        assert_eq!(cloud.get(&path, &admin).await.expect(200), changed);
        let all = cloud.get("/v3/roles", &admin).await.expect(200);
        assert_eq!(all["roles"].as_array().unwrap().len(), 6);
        let of_domain = cloud.get("/v3/roles?domain_id=default", &admin).await.expect(200);
        assert_eq!(of_domain["roles"], json!([]));
        cloud.delete(&path, &admin).await.expect(204);
        cloud.get(&path, &admin).await.expect(404);
    }
}

#[tokio::test]
async fn bad_input_is_refused_and_what_came_with_the_cloud_stays() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        for (status, role) in [
            (400, json!({})),
            (400, json!({ "name": "" })),
            (400, json!({ "name": "x".repeat(256) })),
            (400, json!({ "name": "a", "description": "x".repeat(256) })),
            (409, json!({ "name": "admin" })),
            (404, json!({ "name": "a", "domain_id": "nowhere" })),
            (400, json!({ "name": "a", "options": { "colour": "red" } })),
        ] {
            let answer = cloud.call("POST", "/v3/roles", &admin, json!({ "role": role })).await;
            assert_eq!(answer.status, status, "{}", answer.body);
        }
        let path = format!("/v3/roles/{}", cloud.id("roles", "admin").await);
        cloud.delete(&path, &admin).await.expect(403);
        cloud.call("PATCH", &path, &admin, json!({ "role": { "name": "root" } })).await.expect(403);
        let loose = json!({ "role": { "options": { "immutable": false } } });
        let loose = cloud.call("PATCH", &path, &admin, loose).await.expect(200);
        assert_eq!(loose["role"]["options"]["immutable"], Value::Bool(false));
        cloud.delete(&path, &admin).await.expect(403);
        cloud.call("PATCH", &path, &admin, json!({ "role": { "name": "root" } })).await.expect(403);
    }
}
