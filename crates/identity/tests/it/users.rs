use futures_util::future::join_all;
use hanse_core::Secret;
use hanse_identity::{BootstrapSpec, bootstrap};
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
        assert_eq!(all["links"]["self"], "https://cloud.test/identity/v3/users");
        assert_eq!(all.get("truncated"), None);
        let own = "/v3/users?limit=1&enabled&domain_id=default&name__contains=%75ser";
        let page = cloud.get(own, &admin).await.expect(200);
        assert_eq!(page["links"]["self"], format!("https://cloud.test/identity{own}"));
        assert_eq!(page["truncated"], true);
        let next = format!(
            "https://cloud.test/identity/v3/users?limit=1&enabled=&domain_id=default&name__contains=user&marker={}",
            page["users"][0]["id"].as_str().unwrap()
        );
        assert_eq!(page["links"]["next"], next);
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
            (400, json!({ "name": "a", "default_project_id": "default" })),
            (400, json!({ "name": "a", "note": huge })),
            (400, json!({ "name": "a", "options": { "immutable": true } })),
            (400, json!({ "name": "a", "options": { "lock_password": "yes" } })),
            (400, json!({ "name": "a", "options": { "colour": true } })),
            (400, json!({ "name": "a", "options": { "multi_factor_auth_rules": [[]] } })),
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
            (400, json!({ "default_project_id": "default" })),
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
        cloud.delete(&format!("/v3/users/{other}"), &demo).await.expect(403);
        cloud.delete("/v3/users/nobody", &demo).await.expect(403);
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

#[tokio::test]
async fn of_many_at_once_one_gets_the_name_and_nobody_an_error() {
    for cloud in clouds().await {
        let (admin, other) = (cloud.admin().await, cloud.second_process());
        let (admin, cloud, other) = (&admin, &cloud, &other);
        let create = |n: u32, name: String| async move {
            let at = if n.is_multiple_of(2) { cloud } else { other };
            at.call("POST", "/v3/users", admin, json!({ "user": { "name": name } })).await.status
        };
        let mut same = join_all((0..8).map(|n| create(n, "ada".to_owned()))).await;
        same.sort();
        assert_eq!(same, [201, 409, 409, 409, 409, 409, 409, 409]);
        let different = join_all((0..8).map(|n| create(n, format!("user{n}")))).await;
        assert_eq!(different, [201; 8]);
    }
}

#[tokio::test]
async fn starting_again_changes_nothing() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let everything = || async {
            let mut all = Vec::new();
            for noun in ["users", "projects", "domains", "roles", "role_assignments"] {
                all.push(cloud.get(&format!("/v3/{noun}"), &admin).await.expect(200));
            }
            all
        };
        let before = everything().await;
        let admin_password = Secret::new("another".to_owned());
        bootstrap(&cloud.db, &cloud.cx, &cloud.hasher, BootstrapSpec { admin_password }).await.unwrap();
        cloud.ensure("demo", "demo", "member").await;
        assert_eq!(everything().await, before);
        cloud.login("admin", PASSWORD, Value::Null).await.expect(201);
        cloud.login("admin", "another", Value::Null).await.expect(401);
    }
}

#[tokio::test]
async fn a_domain_reader_sees_its_domain_and_nothing_beyond() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let make = |noun: &'static str, body: Value| {
            let (cloud, admin) = (&cloud, &admin);
            async move {
                let made = cloud.call("POST", &format!("/v3/{noun}s"), admin, json!({ noun: body })).await;
                made.expect(201)[noun]["id"].as_str().unwrap().to_owned()
            }
        };
        let acme = make("domain", json!({ "name": "acme" })).await;
        let ada = make("user", json!({ "name": "ada", "domain_id": acme, "password": PASSWORD })).await;
        let web = make("project", json!({ "name": "web", "domain_id": acme })).await;
        let reader = cloud.id("roles", "reader").await;
        let held = format!("/v3/domains/{acme}/users/{ada}/roles/{reader}");
        cloud.call("PUT", &held, &admin, Value::Null).await.expect(204);
        let user = json!({ "id": ada, "password": PASSWORD });
        let identity = json!({ "methods": ["password"], "password": { "user": user } });
        let token = cloud.issue(identity, json!({ "domain": { "id": acme } })).await.token();

        for (noun, own) in [("users", &ada), ("projects", &web)] {
            let list = cloud.get(&format!("/v3/{noun}"), &token).await.expect(200);
            let ids: Vec<_> = list[noun].as_array().unwrap().iter().map(|row| row["id"].clone()).collect();
            assert_eq!(ids, [json!(own)], "{noun}");
            cloud.get(&format!("/v3/{noun}/{own}"), &token).await.expect(200);
            let other = cloud.get(&format!("/v3/{noun}?domain_id=default"), &token).await.expect(200);
            assert_eq!(other[noun], json!([]));
            let foreign = cloud.id(noun, "demo").await;
            cloud.get(&format!("/v3/{noun}/{foreign}"), &token).await.expect(404);
            cloud.delete(&format!("/v3/{noun}/{own}"), &token).await.expect(403);
        }
        let own = cloud.get(&format!("/v3/users/{ada}/projects"), &token).await.expect(200);
        assert_eq!(own["projects"], json!([]));
        cloud.get(&format!("/v3/domains/{acme}"), &token).await.expect(200);
        cloud.get("/v3/domains/default", &token).await.expect(404);
    }
}
