use std::time::Duration;

use serde_json::{Value, json};

use crate::cloud::{PASSWORD, by_password, clouds_of_each_provider as clouds, in_project, role_names};

#[tokio::test]
async fn a_token_is_issued_for_each_scope() {
    for cloud in clouds().await {
        let project = cloud.login("admin", PASSWORD, in_project("admin")).await;
        // Sealed ones fit where Keystone's do; signed ones fit a header.
        let limit = if project.token().contains('.') { 800 } else { 255 };
        assert!(project.token().len() <= limit, "{} characters", project.token().len());
        let token = &project.body["token"];
        assert_eq!(token["methods"], json!(["password"]));
        assert_eq!(token["user"]["name"], "admin");
        assert_eq!(token["user"]["domain"], json!({ "id": "default", "name": "Default" }));
        assert_eq!(token["user"]["password_expires_at"], Value::Null);
        assert_eq!(token["project"]["name"], "admin");
        assert_eq!(token["project"]["domain"]["id"], "default");
        assert_eq!(token["is_domain"], false);
        assert_eq!(token["audit_ids"].as_array().unwrap().len(), 1);
        assert_eq!(token["catalog"][0]["endpoints"].as_array().unwrap().len(), 3);
        assert_eq!(role_names(&project.body), ["admin", "manager", "member", "reader"]);

        let by_id = json!({ "project": { "id": token["project"]["id"] } });
        cloud.login("admin", PASSWORD, by_id).await.expect(201);

        for scope in [json!({ "domain": { "id": "default" } }), json!({ "domain": { "name": "Default" } })] {
            let domain = cloud.login("admin", PASSWORD, scope).await.expect(201);
            assert_eq!(domain["token"]["domain"]["name"], "Default");
            assert!(domain["token"].get("project").is_none());
            let catalog = &domain["token"]["catalog"];
            assert_eq!(catalog[1]["endpoints"], json!([]), "no project, no address with one in it");
        }
        let system = cloud.login("admin", PASSWORD, json!({ "system": { "all": true } })).await.expect(201);
        assert_eq!(system["token"]["system"], json!({ "all": true }));

        for scope in [json!("unscoped"), json!({ "unscoped": {} })] {
            let unscoped = cloud.login("admin", PASSWORD, scope).await.expect(201);
            for absent in ["project", "domain", "system", "roles", "catalog", "is_domain"] {
                assert!(unscoped["token"].get(absent).is_none(), "{absent}");
            }
        }
        let default = cloud.login("demo", PASSWORD, Value::Null).await.expect(201);
        assert_eq!(default["token"]["project"]["name"], "demo", "the default project");
    }
}

#[tokio::test]
async fn all_tokens_of_a_user_end_at_once_if_the_user_or_an_admin_says_so() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let (user, other) = (cloud.id("users", "demo").await, cloud.id("users", "admin").await);
        let path = |user: &str| format!("/v3/users/{user}/tokens");
        for end in [None, Some(&admin)] {
            let (mine, another) = (cloud.demo().await, cloud.demo().await);
            cloud.delete(&path(&other), &mine).await.expect(403);
            cloud.delete(&path("nobody"), &mine).await.expect(403);
            cloud.delete(&path(&user), end.unwrap_or(&mine)).await.expect(204);
            for token in [mine, another] {
                cloud.get("/v3/auth/projects", &token).await.expect(401);
            }
        }
        cloud.get("/v3/auth/projects", &admin).await.expect(200);
        cloud.get("/v3/auth/projects", &cloud.demo().await).await.expect(200);
        cloud.delete(&path("nobody"), &admin).await.expect(404);
    }
}

#[tokio::test]
async fn a_scope_without_a_role_there_or_that_does_not_exist_is_refused() {
    for cloud in clouds().await {
        for scope in [
            in_project("admin"),
            in_project("nowhere"),
            json!({ "project": { "id": "0".repeat(32) } }),
            json!({ "project": { "id": "default" } }),
            json!({ "domain": { "id": "default" } }),
            json!({ "domain": { "name": "nowhere" } }),
            json!({ "system": { "all": true } }),
        ] {
            let refused = cloud.login("demo", PASSWORD, scope.clone()).await;
            assert_eq!(refused.status, 401, "{scope}");
        }
    }
}

#[tokio::test]
async fn a_token_is_looked_into_by_its_user_and_by_admins_only() {
    for cloud in clouds().await {
        cloud.ensure("services", "glance", "service").await;
        cloud.ensure("demo", "eve", "member").await;
        let (admin, demo) = (cloud.admin().await, cloud.demo().await);
        let eve = cloud.login("eve", PASSWORD, in_project("demo")).await.token();
        let glance = cloud.login("glance", PASSWORD, in_project("services")).await.token();
        for who in [&admin, &demo, &glance] {
            let shown = cloud.on_token("GET", who, &demo).await;
            assert_eq!(shown.headers["x-subject-token"].to_str().unwrap(), demo);
            let shown = shown.expect(200);
            assert_eq!(shown["token"]["user"]["name"], "demo");
            assert_eq!(role_names(&shown), ["member", "reader"]);
        }
        let head = cloud.on_token("HEAD", &admin, &demo).await;
        assert_eq!((head.status, head.body), (200, Value::Null));
        cloud.on_token("GET", &eve, &demo).await.expect(403);
        cloud.on_token("DELETE", &eve, &demo).await.expect(403);
        cloud.on_token("DELETE", &glance, &demo).await.expect(403);
        for invalid in ["gAAAAA", "", &demo[..demo.len() - 2]] {
            cloud.on_token("GET", &admin, invalid).await.expect(404);
            cloud.on_token("DELETE", &admin, invalid).await.expect(404);
        }
        cloud.get("/v3/auth/tokens", &admin).await.expect(404);
        cloud.on_token("GET", "gAAAAA", &demo).await.expect(401);
        let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", demo.as_str())];
        let bare = cloud.send("GET", "/v3/auth/tokens?nocatalog", &headers, String::new()).await.expect(200);
        assert!(bare["token"].get("catalog").is_none());
    }
}

#[tokio::test]
async fn rescoping_keeps_the_expiry_the_methods_and_the_chain() {
    for cloud in clouds().await {
        let first = cloud.login("admin", PASSWORD, json!("unscoped")).await;
        let (token, first) = (first.token(), first.body);
        cloud.clock.advance(Duration::from_secs(60));
        let second = cloud.rescope(&token, in_project("admin")).await;
        let (token, second) = (second.token(), second.body);
        assert_eq!(second["token"]["expires_at"], first["token"]["expires_at"]);
        assert_ne!(second["token"]["issued_at"], first["token"]["issued_at"]);
        assert_eq!(second["token"]["methods"], json!(["token", "password"]));
        assert_eq!(second["token"]["audit_ids"][1], first["token"]["audit_ids"][0]);
        assert_ne!(second["token"]["audit_ids"][0], first["token"]["audit_ids"][0]);
        let third = cloud.rescope(&token, json!({ "system": { "all": true } })).await.expect(201);
        assert_eq!(third["token"]["audit_ids"][1], first["token"]["audit_ids"][0], "the chain's first");

        cloud.clock.advance(Duration::from_secs(4 * 3600));
        cloud.rescope(&token, in_project("admin")).await.expect(404);
        cloud.get("/v3/auth/projects", &token).await.expect(401);
    }
}

#[tokio::test]
async fn a_revoked_token_is_dead_and_the_others_live() {
    for cloud in clouds().await {
        let (one, other) = (cloud.demo().await, cloud.demo().await);
        cloud.on_token("DELETE", &one, &one).await.expect(204);
        cloud.get("/v3/auth/projects", &one).await.expect(401);
        // Keystone, and Tempest: 404.
        let dead = cloud.rescope(&one, in_project("demo")).await.expect(404);
        assert_eq!(cloud.rescope("gAAAAA", in_project("demo")).await.expect(404), dead);
        cloud.on_token("GET", &other, &one).await.expect(404);
        cloud.on_token("DELETE", &other, &one).await.expect(404);
        cloud.get("/v3/auth/projects", &other).await.expect(200);
    }
}

#[tokio::test]
async fn another_process_sees_within_a_second_what_this_one_wrote() {
    for here in clouds().await {
        let there = here.second_process();
        let (admin, demo, other) = (here.admin().await, here.demo().await, here.demo().await);
        there.get("/v3/auth/projects", &demo).await.expect(200);
        here.on_token("DELETE", &admin, &demo).await.expect(204);
        here.get("/v3/auth/projects", &demo).await.expect(401);
        // A token is never issued from an old snapshot, not even within the second.
        there.rescope(&demo, Value::Null).await.expect(404);
        here.clock.advance(Duration::from_secs(1));
        there.get("/v3/auth/projects", &demo).await.expect(401);
        there.get("/v3/auth/projects", &other).await.expect(200);

        let user = here.id("users", "demo").await;
        let disable = json!({ "user": { "enabled": false } });
        here.call("PATCH", &format!("/v3/users/{user}"), &admin, disable).await.expect(200);
        here.clock.advance(Duration::from_secs(1));
        there.get("/v3/auth/projects", &other).await.expect(401);
    }
}

#[tokio::test]
async fn disabling_ends_tokens_for_good() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let acme = json!({ "domain": { "name": "acme" } });
        let acme = cloud.call("POST", "/v3/domains", &admin, acme).await.expect(201);
        let acme = acme["domain"]["id"].as_str().unwrap().to_owned();
        let body = json!({ "project": { "name": "web", "domain_id": acme } });
        let project = cloud.call("POST", "/v3/projects", &admin, body).await.expect(201);
        let project = project["project"]["id"].as_str().unwrap().to_owned();
        let body = json!({ "user": { "name": "ada", "domain_id": acme, "password": PASSWORD } });
        let user = cloud.call("POST", "/v3/users", &admin, body).await.expect(201);
        let user = user["user"]["id"].as_str().unwrap().to_owned();
        let member = cloud.id("roles", "member").await;
        let held = format!("/v3/projects/{project}/users/{user}/roles/{member}");
        cloud.call("PUT", &held, &admin, Value::Null).await.expect(204);

        let login_for = |scope: Value| {
            let user = json!({ "id": user, "password": PASSWORD });
            let identity = json!({ "methods": ["password"], "password": { "user": user } });
            cloud.issue(identity, scope)
        };
        let login = || login_for(json!({ "project": { "id": project } }));
        for (noun, id) in [("user", &user), ("project", &project), ("domain", &acme)] {
            let token = login().await.token();
            cloud.get("/v3/auth/projects", &token).await.expect(200);
            let path = format!("/v3/{noun}s/{id}");
            let set =
                |enabled: bool| cloud.call("PATCH", &path, &admin, json!({ noun: { "enabled": enabled } }));
            set(false).await.expect(200);
            cloud.get("/v3/auth/projects", &token).await.expect(401);
            cloud.on_token("GET", &admin, &token).await.expect(404);
            login().await.expect(401);
            // Without a scope, only what befell the user itself counts.
            let unscoped = if noun == "project" { 201 } else { 401 };
            login_for(json!("unscoped")).await.expect(unscoped);
            set(true).await.expect(200);
            cloud.get("/v3/auth/projects", &token).await.expect(401);
            login().await.expect(201);
        }
    }
}

#[tokio::test]
async fn a_changed_password_ends_the_tokens_of_before() {
    for cloud in clouds().await {
        let demo = cloud.demo().await;
        let user = cloud.id("users", "demo").await;
        let change = |old: &str, new: &str| {
            let body = json!({ "user": { "original_password": old, "password": new } });
            let path = format!("/v3/users/{user}/password");
            let demo = demo.clone();
            let cloud = &cloud;
            async move { cloud.call("POST", &path, &demo, body).await }
        };
        change("wrong", "new secret").await.expect(401);
        change(PASSWORD, "").await.expect(400);
        change(PASSWORD, &"x".repeat(5000)).await.expect(400);
        change(PASSWORD, "new secret").await.expect(204);
        cloud.get("/v3/auth/projects", &demo).await.expect(401);
        cloud.login("demo", PASSWORD, Value::Null).await.expect(401);
        let again = cloud.login("demo", "new secret", Value::Null).await.token();
        cloud.get("/v3/auth/projects", &again).await.expect(200);

        let reset = json!({ "user": { "password": "by admin" } });
        let admin = cloud.admin().await;
        cloud.call("PATCH", &format!("/v3/users/{user}"), &admin, reset).await.expect(200);
        cloud.get("/v3/auth/projects", &again).await.expect(401);
        cloud.login("demo", "by admin", Value::Null).await.expect(201);
    }
}

#[tokio::test]
async fn a_role_that_is_given_or_taken_counts_at_once() {
    for cloud in clouds().await {
        let (admin, demo) = (cloud.admin().await, cloud.demo().await);
        let (user, project) = (cloud.id("users", "demo").await, cloud.id("projects", "demo").await);
        let held = |role: String| format!("/v3/projects/{project}/users/{user}/roles/{role}");
        let manager = held(cloud.id("roles", "manager").await);
        let member = held(cloud.id("roles", "member").await);
        let roles = || async { role_names(&cloud.on_token("GET", &admin, &demo).await.expect(200)) };

        cloud.call("PUT", &manager, &admin, Value::Null).await.expect(204);
        assert_eq!(roles().await, ["manager", "member", "reader"]);
        cloud.delete(&manager, &admin).await.expect(204);
        assert_eq!(roles().await, ["member", "reader"]);
        cloud.delete(&member, &admin).await.expect(204);
        cloud.on_token("GET", &admin, &demo).await.expect(404);
        cloud.get("/v3/auth/projects", &demo).await.expect(401);
        cloud.login("demo", PASSWORD, in_project("demo")).await.expect(401);
        let unscoped = cloud.issue(by_password("demo", PASSWORD), Value::Null).await.expect(201);
        assert!(unscoped["token"].get("project").is_none(), "the default project is not forced");
    }
}
