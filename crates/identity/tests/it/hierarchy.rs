use std::time::Duration;

use hanse_policy::{Caller, DomainRef, Role, Rule, Target, TokenScope, Verb};
use hanse_store::query;
use serde_json::{Value, json};

use crate::cloud::{Cloud, PASSWORD, clouds, in_project};

async fn create(cloud: &Cloud, token: &str, noun: &str, body: Value) -> String {
    let made = cloud.call("POST", &format!("/v3/{noun}s"), token, json!({ noun: body })).await.expect(201);
    made[noun]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_project_tells_what_is_above_and_below_it() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let one = create(&cloud, &admin, "project", json!({ "name": "one" })).await;
        let two = create(&cloud, &admin, "project", json!({ "name": "two", "parent_id": one })).await;
        let three = create(&cloud, &admin, "project", json!({ "name": "three", "parent_id": two })).await;
        let show = async |id: &str, query: &str| {
            cloud.get(&format!("/v3/projects/{id}?{query}"), &admin).await.expect(200)["project"].clone()
        };
        assert_eq!(
            show(&three, "parents_as_ids").await["parents"],
            json!({ &two: { &one: { "default": null } } })
        );
        assert_eq!(show(&one, "subtree_as_ids").await["subtree"], json!({ &two: { &three: null } }));
        assert_eq!(show(&three, "subtree_as_ids").await["subtree"], Value::Null);
        assert_eq!(
            show(&three, "parents_as_list").await["parents"],
            json!([]),
            "the admin has no role there"
        );
        let (user, reader) = (cloud.id("users", "admin").await, cloud.id("roles", "reader").await);
        for id in [&one, &two] {
            let path = format!("/v3/projects/{id}/users/{user}/roles/{reader}");
            cloud.call("PUT", &path, &admin, Value::Null).await.expect(204);
        }
        let names = |list: &Value| -> Vec<String> {
            let list = list.as_array().unwrap().iter();
            list.map(|each| each["project"]["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&show(&three, "parents_as_list").await["parents"]), ["two", "one"]);
        assert_eq!(names(&show(&one, "subtree_as_list").await["subtree"]), ["two"]);
        for both in ["parents_as_ids&parents_as_list", "subtree_as_ids&subtree_as_list"] {
            cloud.get(&format!("/v3/projects/{one}?{both}"), &admin).await.expect(400);
        }
    }
}

#[tokio::test]
async fn a_subtree_is_deleted_at_once_if_it_is_disabled_and_nothing_of_it_is_protected() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let one = create(&cloud, &admin, "project", json!({ "name": "one" })).await;
        let two = create(&cloud, &admin, "project", json!({ "name": "two", "parent_id": one })).await;
        let body = json!({ "name": "three", "parent_id": two, "options": { "immutable": true } });
        let three = create(&cloud, &admin, "project", body).await;
        let path = format!("/v3/projects/{one}");
        cloud.delete(&path, &admin).await.expect(403);
        cloud.delete(&format!("{path}?cascade"), &admin).await.expect(403);
        let patch = async |id: &str, change: Value| {
            let path = format!("/v3/projects/{id}");
            cloud.call("PATCH", &path, &admin, json!({ "project": change })).await.status
        };
        assert_eq!(patch(&two, json!({ "enabled": false })).await, 403);
        assert_eq!(patch(&three, json!({ "enabled": false })).await, 403, "it is immutable");
        assert_eq!(patch(&three, json!({ "options": { "immutable": false } })).await, 200);
        assert_eq!(patch(&three, json!({ "enabled": false })).await, 200);
        assert_eq!(patch(&two, json!({ "enabled": false })).await, 200);
        assert_eq!(patch(&three, json!({ "enabled": true })).await, 403);
        assert_eq!(patch(&three, json!({ "options": { "immutable": true } })).await, 200);
        cloud.delete(&format!("{path}?cascade"), &admin).await.expect(403);
        cloud.get(&format!("/v3/projects/{two}"), &admin).await.expect(200);
        assert_eq!(patch(&three, json!({ "options": { "immutable": null } })).await, 200);
        cloud.delete(&format!("{path}?cascade"), &admin).await.expect(204);
        for id in [one, two, three] {
            cloud.get(&format!("/v3/projects/{id}"), &admin).await.expect(404);
        }
    }
}

#[tokio::test]
async fn tags_are_set_added_taken_and_found() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let id = create(&cloud, &admin, "project", json!({ "name": "one", "tags": ["a"] })).await;
        let path = format!("/v3/projects/{id}/tags");
        let made = cloud.call("PUT", &format!("{path}/b%20c"), &admin, Value::Null).await;
        assert_eq!(made.status, 201);
        assert_eq!(made.headers["location"], format!("https://cloud.test/identity{path}/b%20c"));
        cloud.call("PUT", &format!("{path}/a"), &admin, Value::Null).await.expect(201);
        assert_eq!(cloud.get(&path, &admin).await.expect(200)["tags"], json!(["a", "b c"]));
        cloud.get(&format!("{path}/a"), &admin).await.expect(204);
        cloud.call("HEAD", &format!("{path}/x"), &admin, Value::Null).await.expect(404);
        cloud.call("PUT", &format!("{path}/a%2Cb"), &admin, Value::Null).await.expect(400);
        cloud.call("PUT", &path, &admin, json!({ "tags": vec!["x"; 81] })).await.expect(400);
        create(&cloud, &admin, "project", json!({ "name": "two", "tags": ["x", "quote\"a"] })).await;
        for (query, names) in [
            ("tags=a", vec!["one"]),
            ("tags=a,b%20c", vec!["one"]),
            ("tags=a,x", vec![]),
            ("tags-any=a,x", vec!["one", "two"]),
            ("tags=x", vec!["two"]),
            ("tags=quote\"a", vec!["two"]),
        ] {
            let query = query.replace('"', "%22");
            let list = cloud.get(&format!("/v3/projects?{query}"), &admin).await.expect(200);
            let list = list["projects"].as_array().unwrap();
            let mut found: Vec<&str> = list.iter().map(|each| each["name"].as_str().unwrap()).collect();
            found.sort_unstable();
            assert_eq!(found, names, "{query}");
        }
        for (query, count) in [("not-tags=a,b%20c", 3), ("not-tags-any=a,x", 2)] {
            let list = cloud.get(&format!("/v3/projects?{query}"), &admin).await.expect(200);
            assert_eq!(list["projects"].as_array().unwrap().len(), count, "{query}");
        }
        cloud.delete(&format!("{path}/a"), &admin).await.expect(204);
        cloud.delete(&format!("{path}/a"), &admin).await.expect(404);
        assert_eq!(
            cloud.call("PUT", &path, &admin, json!({ "tags": ["z"] })).await.expect(200)["tags"],
            json!(["z"])
        );
        cloud.delete(&path, &admin).await.expect(204);
        assert_eq!(cloud.get(&path, &admin).await.expect(200)["tags"], json!([]));
    }
}

#[tokio::test]
async fn a_domain_is_a_project_too() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let body = json!({ "name": "acme", "is_domain": true });
        let id = create(&cloud, &admin, "project", body).await;
        let path = format!("/v3/projects/{id}");
        let shown = cloud.get(&path, &admin).await.expect(200);
        assert_eq!(shown["project"]["is_domain"], true);
        assert_eq!(shown["project"]["domain_id"], Value::Null);
        cloud.get(&format!("/v3/domains/{id}"), &admin).await.expect(200);
        let list = cloud.get("/v3/projects?is_domain=true&name=acme", &admin).await.expect(200);
        assert_eq!(list["projects"].as_array().unwrap().len(), 1);
        cloud.delete(&path, &admin).await.expect(403);
        let patch =
            async |change: Value| cloud.call("PATCH", &path, &admin, json!({ "project": change })).await;
        patch(json!({ "is_domain": false })).await.expect(400);
        patch(json!({ "enabled": false })).await.expect(200);
        cloud.delete(&path, &admin).await.expect(204);
        cloud.get(&format!("/v3/domains/{id}"), &admin).await.expect(404);
    }
}

#[tokio::test]
async fn a_domain_with_ten_thousand_users_goes_whole_or_not_at_all() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let domain = create(&cloud, &admin, "domain", json!({ "name": "big" })).await;
        let role = cloud.id("roles", "reader").await;
        let seed = Verb::new("identity:create_user", Rule::Admin);
        let caller = Caller {
            user_id: "seed".to_owned(),
            user_name: "seed".to_owned(),
            user_domain: DomainRef { id: "default".to_owned(), name: "Default".to_owned() },
            scope: TokenScope::System,
            roles: vec![Role { id: "r".to_owned(), name: "admin".to_owned() }],
            expires_at: cloud.cx.now(),
            audit_ids: Vec::new(),
            delegation: None,
        };
        let grant = caller.authorize(&cloud.cx, seed, Target::new("many")).unwrap();
        let (domain_id, role) = (domain.as_str(), role.as_str());
        let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)";
        let count = async |table: &str| -> i64 {
            let mut conn = cloud.db.read().await.unwrap();
            let sql = format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table}");
            query(sql).one::<(i64,)>(&mut conn).await.unwrap().0
        };
        let before = (count("users").await, count("role_assignments").await);
        cloud
            .db
            .write(&cloud.cx, &grant, |tx| {
                Box::pin(async move {
                    query(format!(
                        "{numbers} INSERT INTO users (id, domain_id, name, enabled, token_epoch, options, extra, created_at)
                         SELECT 'u' || CAST(i AS TEXT), $1, 'u' || CAST(i AS TEXT), 1, 0, '{{}}', '{{}}', 1 FROM n"
                    ))
                    .bind(domain_id)
                    .execute(tx)
                    .await?;
                    query(format!(
                        "{numbers} INSERT INTO role_assignments (id, actor_kind, actor_id, scope_kind, scope_id, role_id,
                                                                inherited, created_at)
                         SELECT 'a' || CAST(i AS TEXT), 'user', 'u' || CAST(i AS TEXT), 'domain', $1, $2, 0, 1 FROM n"
                    ))
                    .bind(domain_id)
                    .bind(role)
                    .execute(tx)
                    .await?;
                    Ok(())
                })
            })
            .await
            .unwrap();
        let path = format!("/v3/domains/{domain}");
        cloud.delete(&path, &admin).await.expect(403);
        assert_eq!(count("users").await, before.0 + 10_000);
        let off = json!({ "domain": { "enabled": false } });
        cloud.call("PATCH", &path, &admin, off).await.expect(200);
        cloud.delete(&path, &admin).await.expect(204);
        assert_eq!((count("users").await, count("role_assignments").await), before);
    }
}

#[tokio::test]
async fn a_service_may_look_into_a_token_that_has_just_expired() {
    for cloud in clouds().await {
        let token = cloud.demo().await;
        cloud.clock.advance(Duration::from_secs(4 * 3600 + 1));
        cloud.ensure("service", "nova", "service").await;
        let service = cloud.login("nova", PASSWORD, in_project("service")).await.token();
        cloud.on_token("GET", &service, &token).await.expect(404);
        let headers = [("x-auth-token", service.as_str()), ("x-subject-token", token.as_str())];
        let late = "/v3/auth/tokens?allow_expired=1";
        cloud.send("GET", late, &headers, String::new()).await.expect(200);
        cloud.clock.advance(Duration::from_secs(2 * 24 * 3600));
        let service = cloud.login("nova", PASSWORD, in_project("service")).await.token();
        let headers = [("x-auth-token", service.as_str()), ("x-subject-token", token.as_str())];
        cloud.send("GET", late, &headers, String::new()).await.expect(404);
        cloud.get("/v3/auth/projects", &token).await.expect(401);
    }
}
