use std::time::Duration;

use serde_json::{Value, json};

use crate::cloud::{Cloud, PASSWORD, clouds};

async fn create(cloud: &Cloud, token: &str, project: Value) -> String {
    let made = cloud.call("POST", "/v3/projects", token, json!({ "project": project })).await.expect(201);
    made["project"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_project_is_created_shown_listed_changed_and_deleted() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let body =
            json!({ "project": { "name": "web", "description": "d", "tags": ["a"], "colour": "red" } });
        let made = cloud.call("POST", "/v3/projects", &admin, body.clone()).await.expect(201);
        let id = made["project"]["id"].as_str().unwrap();
        let path = format!("/v3/projects/{id}");
        assert_eq!(
            made["project"],
            json!({
                "id": id, "name": "web", "domain_id": "default", "parent_id": "default", "is_domain": false,
                "description": "d", "enabled": true, "tags": ["a"], "options": {}, "colour": "red",
                "links": { "self": format!("https://cloud.test/identity{path}") },
            })
        );
        cloud.call("POST", "/v3/projects", &admin, body).await.expect(409);
        let change = json!({ "project": { "name": "www", "description": null, "enabled": false } });
        let changed = cloud.call("PATCH", &path, &admin, change).await.expect(200);
        assert_eq!(changed["project"]["description"], "");
        assert_eq!(cloud.get(&path, &admin).await.expect(200), changed);
        for (query, count) in [("name=www", 1), ("name=www&enabled=1", 0), ("parent_id=default&name=www", 1)]
        {
            let list = cloud.get(&format!("/v3/projects?{query}"), &admin).await.expect(200);
            assert_eq!(list["projects"].as_array().unwrap().len(), count, "{query}");
        }
        cloud.delete(&path, &admin).await.expect(204);
        cloud.get(&path, &admin).await.expect(404);
    }
}

#[tokio::test]
async fn bad_input_is_refused() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        for (status, project) in [
            (400, json!({})),
            (400, json!({ "name": "" })),
            (400, json!({ "name": "x".repeat(256) })),
            (400, json!({ "name": "a", "description": "x".repeat(5000) })),
            (400, json!({ "name": "a", "tags": ["a,b"] })),
            (400, json!({ "name": "a", "tags": vec!["x"; 81] })),
            (400, json!({ "name": "a", "enabled": "no" })),
            (400, json!({ "name": "a", "options": { "immutable": "yes" } })),
            (400, json!({ "name": "a", "options": { "colour": "red" } })),
            (400, json!({ "name": "a", "tags": ["b", "b"] })),
            (400, json!({ "name": "a", "explicit_domain_id": "0".repeat(32) })),
            (400, json!({ "name": "a", "domain_id": "nowhere" })),
            (400, json!({ "name": "a", "parent_id": "nowhere" })),
            (400, json!({ "name": "a", "is_domain": true, "parent_id": "default" })),
        ] {
            let answer = cloud.call("POST", "/v3/projects", &admin, json!({ "project": project })).await;
            assert_eq!(answer.status, status, "{}", answer.body);
        }
        for (status, domain) in [
            (400, json!({ "name": "" })),
            (400, json!({ "name": "a", "domain_id": "default" })),
            (409, json!({ "name": "Default" })),
            (400, json!({ "name": "a", "explicit_domain_id": "a" })),
            (400, json!({ "name": "a", "explicit_domain_id": "A".repeat(32) })),
            (400, json!({ "name": "a", "options": { "colour": "red" } })),
        ] {
            let answer = cloud.call("POST", "/v3/domains", &admin, json!({ "domain": domain })).await;
            assert_eq!(answer.status, status, "{}", answer.body);
        }
        let id = create(&cloud, &admin, json!({ "name": "a" })).await;
        for (status, project) in [
            (400, json!({ "domain_id": "elsewhere" })),
            (403, json!({ "parent_id": "elsewhere" })),
            (409, json!({ "name": "demo" })),
            (400, json!({ "tags": ["b", "c", "b"] })),
        ] {
            let body = json!({ "project": project });
            let answer = cloud.call("PATCH", &format!("/v3/projects/{id}"), &admin, body).await;
            assert_eq!(answer.status, status, "{}", answer.body);
        }
    }
}

#[tokio::test]
async fn projects_nest_and_only_leaves_go() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let mut parent = create(&cloud, &admin, json!({ "name": "p1" })).await;
        let top = format!("/v3/projects/{parent}");
        for depth in 2..=5 {
            let name = format!("p{depth}");
            parent = create(&cloud, &admin, json!({ "name": name, "parent_id": parent })).await;
        }
        let deeper = json!({ "project": { "name": "p6", "parent_id": parent } });
        cloud.call("POST", "/v3/projects", &admin, deeper).await.expect(403);
        cloud.delete(&top, &admin).await.expect(403);
        let disable = json!({ "project": { "enabled": false } });
        cloud.call("PATCH", &top, &admin, disable.clone()).await.expect(403);
        let leaf = format!("/v3/projects/{parent}");
        cloud.call("PATCH", &leaf, &admin, disable).await.expect(200);
        let below = json!({ "project": { "name": "p6", "parent_id": parent } });
        cloud.call("POST", "/v3/projects", &admin, below).await.expect(403);
        cloud.delete(&leaf, &admin).await.expect(204);
    }
}

#[tokio::test]
async fn a_domain_goes_with_all_that_is_in_it_once_it_is_disabled() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let made = cloud.call("POST", "/v3/domains", &admin, json!({ "domain": { "name": "acme" } })).await;
        let made = made.expect(201);
        let id = made["domain"]["id"].as_str().unwrap();
        let path = format!("/v3/domains/{id}");
        assert_eq!(
            made["domain"],
            json!({
                "id": id, "name": "acme", "description": "", "enabled": true, "tags": [], "options": {},
                "links": { "self": format!("https://cloud.test/identity{path}") },
            })
        );
        let as_project = cloud.get(&format!("/v3/projects/{id}"), &admin).await.expect(200);
        assert_eq!(as_project["project"]["is_domain"], true);
        assert_eq!(as_project["project"]["domain_id"], Value::Null);
        let project = create(&cloud, &admin, json!({ "name": "demo", "domain_id": id })).await;
        let body = json!({ "user": { "name": "demo", "domain_id": id } });
        let user = cloud.call("POST", "/v3/users", &admin, body).await.expect(201);
        let user = user["user"]["id"].as_str().unwrap();

        cloud.delete(&path, &admin).await.expect(403);
        let disable = json!({ "domain": { "enabled": false } });
        cloud.call("PATCH", &path, &admin, disable).await.expect(200);
        cloud.delete(&path, &admin).await.expect(204);
        for gone in [path, format!("/v3/projects/{project}"), format!("/v3/users/{user}")] {
            cloud.get(&gone, &admin).await.expect(404);
        }
        cloud.delete("/v3/domains/default", &admin).await.expect(403);
    }
}

#[tokio::test]
async fn a_domain_has_the_id_that_was_asked_for_and_revives_no_token_of_one_before_it() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let id = "0123456789abcdef".repeat(2);
        let body = |name: &str| json!({ "domain": { "name": name, "explicit_domain_id": id } });
        let (user, reader) = (cloud.id("users", "demo").await, cloud.id("roles", "reader").await);
        let grant = format!("/v3/domains/{id}/users/{user}/roles/{reader}");
        let path = format!("/v3/domains/{id}");
        let mut old: Vec<String> = Vec::new();
        for _ in 0..2 {
            let made = cloud.call("POST", "/v3/domains", &admin, body("acme")).await.expect(201);
            assert_eq!((&made["domain"]["id"], made["domain"].get("explicit_domain_id")), (&json!(id), None));
            cloud.call("POST", "/v3/domains", &admin, body("other")).await.expect(409);
            cloud.call("PUT", &grant, &admin, Value::Null).await.expect(204);
            for token in &old {
                cloud.get("/v3/auth/projects", token).await.expect(401);
            }
            let scope = json!({ "domain": { "id": id } });
            old.push(cloud.login("demo", PASSWORD, scope).await.token());
            cloud.get("/v3/auth/projects", &old[old.len() - 1]).await.expect(200);
            let disable = json!({ "domain": { "enabled": false } });
            cloud.call("PATCH", &path, &admin, disable).await.expect(200);
            cloud.delete(&path, &admin).await.expect(204);
            cloud.clock.advance(Duration::from_secs(60));
        }
    }
}

#[tokio::test]
async fn what_is_immutable_is_let_go_first() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let body = json!({ "name": "fixed", "options": { "immutable": true } });
        let path = format!("/v3/projects/{}", create(&cloud, &admin, body).await);
        let rename = json!({ "project": { "name": "loose" } });
        cloud.call("PATCH", &path, &admin, rename).await.expect(403);
        cloud.delete(&path, &admin).await.expect(403);
        let loose = json!({ "project": { "options": { "immutable": null } } });
        cloud.call("PATCH", &path, &admin, loose).await.expect(200);
        cloud.delete(&path, &admin).await.expect(204);
    }
}

#[tokio::test]
async fn a_member_sees_its_own_project_and_domain_and_no_other() {
    for cloud in clouds().await {
        let demo = cloud.demo().await;
        let (own, other) = (cloud.id("projects", "demo").await, cloud.id("projects", "admin").await);
        cloud.get(&format!("/v3/projects/{own}"), &demo).await.expect(200);
        cloud.get(&format!("/v3/projects/{other}"), &demo).await.expect(404);
        cloud.delete(&format!("/v3/projects/{other}"), &demo).await.expect(403);
        cloud.delete("/v3/projects/nowhere", &demo).await.expect(403);
        cloud.delete(&format!("/v3/projects/{own}"), &demo).await.expect(403);
        cloud.get("/v3/domains/default", &demo).await.expect(200);
        let admin = cloud.admin().await;
        let acme = cloud.call("POST", "/v3/domains", &admin, json!({ "domain": { "name": "acme" } })).await;
        let acme = acme.expect(201)["domain"]["id"].as_str().unwrap().to_owned();
        cloud.get(&format!("/v3/domains/{acme}"), &demo).await.expect(404);
        let mine = cloud.get("/v3/auth/projects", &demo).await.expect(200);
        assert_eq!(mine["projects"].as_array().unwrap().len(), 1);
        assert_eq!(mine["projects"][0]["id"], own);
        assert_eq!(cloud.get("/v3/auth/domains", &demo).await.expect(200)["domains"], json!([]));
        assert_eq!(cloud.get("/v3/auth/system", &demo).await.expect(200)["system"], json!([]));
        let domains = cloud.get("/v3/auth/domains", &admin).await.expect(200);
        assert_eq!(domains["domains"][0]["id"], "default");
        assert_eq!(
            cloud.get("/v3/auth/system", &admin).await.expect(200)["system"],
            json!([{ "all": true }])
        );
    }
}
