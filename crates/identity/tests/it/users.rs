use serde_json::{Value, json};

use crate::cloud::{PASSWORD, clouds};

#[tokio::test]
async fn a_user_is_created_shown_listed_changed_and_deleted() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let body = json!({ "user": { "name": " ada ", "password": PASSWORD, "email": "ada@example.org" } });
        let made = cloud.call("POST", "/v3/users", &admin, body.clone()).await.expect(201);
        let user = &made["user"];
        let id = user["id"].as_str().unwrap();
        assert_eq!(id.len(), 32);
        let path = format!("/v3/users/{id}");
        assert_eq!(
            user,
            &json!({
                "id": id, "name": "ada", "domain_id": "default", "enabled": true, "options": {},
                "password_expires_at": null, "email": "ada@example.org",
                "links": { "self": format!("https://cloud.test/identity{path}") },
            })
        );
        assert_eq!(cloud.get(&path, &admin).await.expect(200), made);
        cloud.call("POST", "/v3/users", &admin, body).await.expect(409);
        let other_case = json!({ "user": { "name": "Ada" } });
        cloud.call("POST", "/v3/users", &admin, other_case).await.expect(201);

        let change =
            json!({ "user": { "name": "ada l", "email": null, "default_project_id": "p1", "shoe": 38 } });
        let changed = cloud.call("PATCH", &path, &admin, change).await.expect(200);
        assert_eq!(changed["user"]["name"], "ada l");
        assert_eq!(changed["user"]["email"], Value::Null);
        assert_eq!(changed["user"]["shoe"], 38);
        assert_eq!(changed["user"]["default_project_id"], "p1");
        let cleared = json!({ "user": { "default_project_id": null } });
        let cleared = cloud.call("PATCH", &path, &admin, cleared).await.expect(200);
        assert!(cleared["user"].get("default_project_id").is_none());

        let named =
            cloud.get("/v3/users?name=ada%20l&domain_id=default&enabled=true", &admin).await.expect(200);
        assert_eq!(named["users"].as_array().unwrap().len(), 1);
        let none = cloud.get("/v3/users?name=ada%20l&enabled=false", &admin).await.expect(200);
        assert_eq!(none["users"], json!([]));

        cloud.delete(&path, &admin).await.expect(204);
        cloud.get(&path, &admin).await.expect(404);
        cloud.delete(&path, &admin).await.expect(404);
        let gone = json!({ "user": { "enabled": false } });
        cloud.call("PATCH", &path, &admin, gone).await.expect(404);
    }
}

#[tokio::test]
async fn a_list_comes_in_pages_that_meet() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        for n in 0..3 {
            let body = json!({ "user": { "name": format!("user{n}") } });
            cloud.call("POST", "/v3/users", &admin, body).await.expect(201);
        }
        let all = cloud.get("/v3/users", &admin).await.expect(200);
        assert_eq!(all["links"]["next"], Value::Null);
        let mut collected = Vec::new();
        let mut next = "/v3/users?limit=2".to_owned();
        loop {
            let page = cloud.get(&next, &admin).await.expect(200);
            collected.extend(page["users"].as_array().unwrap().clone());
            match page["links"]["next"].as_str() {
                Some(link) => next = link.strip_prefix("https://cloud.test/identity").unwrap().to_owned(),
                None => break,
            }
        }
        assert_eq!(Value::Array(collected), all["users"]);
        cloud.get("/v3/users?limit=many", &admin).await.expect(400);
        cloud.get("/v3/users?marker=nobody", &admin).await.expect(400);
        cloud.get("/v3/users?enabled=perhaps", &admin).await.expect(400);
    }
}

#[tokio::test]
async fn bad_input_is_refused() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let huge: String = "x".repeat(20_000);
        for (status, user) in [
            (400, json!({})),
            (400, json!({ "name": "" })),
            (400, json!({ "name": "  " })),
            (400, json!({ "name": 7 })),
            (400, json!({ "name": "x".repeat(256) })),
            (400, json!({ "name": "a\u{7}" })),
            (400, json!({ "name": "a", "enabled": "perhaps" })),
            (400, json!({ "name": "a", "password": 7 })),
            (400, json!({ "name": "a", "password": "" })),
            (400, json!({ "name": "a", "password": "x".repeat(5000) })),
            (400, json!({ "name": "a", "default_project_id": "x".repeat(100) })),
            (400, json!({ "name": "a", "note": huge })),
            (400, json!({ "name": "a", "options": { "immutable": true } })),
            (501, json!({ "name": "a", "options": { "lock_password": true } })),
            (404, json!({ "name": "a", "domain_id": "nowhere" })),
        ] {
            let answer = cloud.call("POST", "/v3/users", &admin, json!({ "user": user })).await;
            assert_eq!(answer.status, status, "{}", answer.body);
        }
        cloud.call("POST", "/v3/users", &admin, json!({ "person": {} })).await.expect(400);
        let path = format!("/v3/users/{}", cloud.id("users", "demo").await);
        for (status, user) in [
            (400, json!({ "domain_id": "elsewhere" })),
            (400, json!({ "name": "" })),
            (400, json!({ "password": "" })),
            (409, json!({ "name": "admin" })),
        ] {
            let answer = cloud.call("PATCH", &path, &admin, json!({ "user": user })).await;
            assert_eq!(answer.status, status, "{}", answer.body);
        }
        let same = json!({ "user": { "domain_id": "default", "id": "mine", "links": {} } });
        let same = cloud.call("PATCH", &path, &admin, same).await.expect(200);
        assert_ne!(same["user"]["id"], "mine");
    }
}

#[tokio::test]
async fn a_user_sees_itself_and_no_other() {
    for cloud in clouds().await {
        let demo = cloud.demo().await;
        let (own, other) = (cloud.id("users", "demo").await, cloud.id("users", "admin").await);
        cloud.get(&format!("/v3/users/{own}"), &demo).await.expect(200);
        cloud.get(&format!("/v3/users/{other}"), &demo).await.expect(404);
        cloud.get(&format!("/v3/users/{own}/projects"), &demo).await.expect(200);
        cloud.get(&format!("/v3/users/{other}/projects"), &demo).await.expect(404);
        let change = json!({ "user": { "email": "x" } });
        cloud.call("PATCH", &format!("/v3/users/{own}"), &demo, change).await.expect(403);
        cloud.delete(&format!("/v3/users/{own}"), &demo).await.expect(403);
        cloud.delete(&format!("/v3/users/{other}"), &demo).await.expect(404);
    }
}

#[tokio::test]
async fn the_last_administrator_stays() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let user = cloud.id("users", "admin").await;
        let path = format!("/v3/users/{user}");
        cloud.delete(&path, &admin).await.expect(403);
        for change in [json!({ "enabled": false }), json!({ "password": null })] {
            cloud.call("PATCH", &path, &admin, json!({ "user": change })).await.expect(403);
        }
        let disable = json!({ "domain": { "enabled": false } });
        cloud.call("PATCH", "/v3/domains/default", &admin, disable).await.expect(403);
        cloud.get(&path, &admin).await.expect(200);

        cloud.ensure("admin", "deputy", "admin").await;
        let deputy = cloud.login("deputy", PASSWORD, Value::Null).await.token();
        cloud.delete(&path, &deputy).await.expect(204);
        cloud.get(&path, &deputy).await.expect(404);
        cloud.get("/v3/users", &admin).await.expect(401);
    }
}
