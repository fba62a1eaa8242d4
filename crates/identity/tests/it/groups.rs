use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cloud::{Cloud, PASSWORD, clouds, in_project, role_names};

async fn create(cloud: &Cloud, token: &str, noun: &str, body: Value) -> String {
    let made = cloud.call("POST", &format!("/v3/{noun}s"), token, json!({ noun: body })).await.expect(201);
    made[noun]["id"].as_str().unwrap().to_owned()
}

async fn put(cloud: &Cloud, token: &str, path: &str) {
    cloud.call("PUT", &format!("/v3/{path}"), token, Value::Null).await.expect(204);
}

#[tokio::test]
async fn a_group_is_created_shown_listed_changed_and_deleted() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let body = json!({ "group": { "name": "staff", "colour": "red" } });
        let made = cloud.call("POST", "/v3/groups", &admin, body.clone()).await.expect(201);
        let id = made["group"]["id"].as_str().unwrap();
        let path = format!("/v3/groups/{id}");
        assert_eq!(
            made["group"],
            json!({
                "id": id, "name": "staff", "domain_id": "default", "description": "", "colour": "red",
                "links": { "self": format!("https://cloud.test/identity{path}") },
            })
        );
        cloud.call("POST", "/v3/groups", &admin, body).await.expect(409);
        let change = json!({ "group": { "name": "team", "description": "d" } });
        let changed = cloud.call("PATCH", &path, &admin, change).await.expect(200);
        assert_eq!(cloud.get(&path, &admin).await.expect(200), changed);
        for (query, count) in
            [("name=team", 1), ("name=staff", 0), ("name__icontains=TEA", 1), ("name__startswith=ea", 0)]
        {
            let list = cloud.get(&format!("/v3/groups?{query}"), &admin).await.expect(200);
            assert_eq!(list["groups"].as_array().unwrap().len(), count, "{query}");
        }
        for (status, group) in [
            (400, json!({})),
            (400, json!({ "name": "  " })),
            (404, json!({ "name": "x", "domain_id": "nowhere" })),
        ] {
            let answer = cloud.call("POST", "/v3/groups", &admin, json!({ "group": group })).await;
            assert_eq!(answer.status, status, "{}", answer.body);
        }
        cloud.delete(&path, &admin).await.expect(204);
        cloud.get(&path, &admin).await.expect(404);
    }
}

#[tokio::test]
async fn members_have_the_groups_roles_for_as_long_as_they_are_in_it() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let (user, project) = (cloud.id("users", "demo").await, cloud.id("projects", "admin").await);
        let manager = cloud.id("roles", "manager").await;
        let group = create(&cloud, &admin, "group", json!({ "name": "staff" })).await;
        put(&cloud, &admin, &format!("projects/{project}/groups/{group}/roles/{manager}")).await;
        cloud.login("demo", PASSWORD, in_project("admin")).await.expect(401);

        let member = format!("groups/{group}/users/{user}");
        cloud.get(&format!("/v3/{member}"), &admin).await.expect(404);
        put(&cloud, &admin, &member).await;
        put(&cloud, &admin, &member).await;
        cloud.call("HEAD", &format!("/v3/{member}"), &admin, Value::Null).await.expect(204);
        let users = cloud.get(&format!("/v3/groups/{group}/users"), &admin).await.expect(200);
        assert_eq!(users["users"][0]["name"], "demo");
        let groups = cloud.get(&format!("/v3/users/{user}/groups"), &cloud.demo().await).await.expect(200);
        assert_eq!(groups["groups"][0]["name"], "staff");
        assert_eq!(groups["groups"][0].get("membership_expires_at"), Some(&Value::Null));
        for (path, noun) in
            [(format!("groups/{group}/users"), "users"), (format!("users/{user}/groups"), "groups")]
        {
            let none = cloud.get(&format!("/v3/{path}?name=other"), &admin).await.expect(200);
            assert_eq!(none[noun], json!([]), "{path}");
        }

        let issued = cloud.login("demo", PASSWORD, in_project("admin")).await;
        let token = issued.token();
        assert_eq!(role_names(&issued.body), ["manager", "member", "reader"]);
        let own = cloud.get("/v3/auth/projects", &token).await.expect(200);
        assert_eq!(own["projects"].as_array().unwrap().len(), 2);
        let effective = format!("/v3/role_assignments?effective&user.id={user}&scope.project.id={project}");
        let list = cloud.get(&effective, &admin).await.expect(200);
        let line = &list["role_assignments"][0];
        assert_eq!(line["links"]["membership"], format!("https://cloud.test/identity/v3/{member}"));
        assert!(line["links"]["assignment"].as_str().unwrap().contains(&format!("groups/{group}/roles")));

        cloud.delete(&format!("/v3/{member}"), &admin).await.expect(204);
        cloud.delete(&format!("/v3/{member}"), &admin).await.expect(404);
        cloud.get("/v3/auth/projects", &token).await.expect(401);

        put(&cloud, &admin, &member).await;
        let token = cloud.login("demo", PASSWORD, in_project("admin")).await.token();
        cloud.delete(&format!("/v3/groups/{group}"), &admin).await.expect(204);
        cloud.get("/v3/auth/projects", &token).await.expect(401);
    }
}

#[tokio::test]
async fn the_last_administrator_may_be_one_through_a_group() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let user = cloud.id("users", "demo").await;
        let role = cloud.id("roles", "admin").await;
        let group = create(&cloud, &admin, "group", json!({ "name": "admins" })).await;
        put(&cloud, &admin, &format!("system/groups/{group}/roles/{role}")).await;
        let first = cloud.id("users", "admin").await;
        cloud.delete(&format!("/v3/users/{first}"), &admin).await.expect(403);
        put(&cloud, &admin, &format!("groups/{group}/users/{user}")).await;
        cloud.delete(&format!("/v3/users/{first}"), &admin).await.expect(204);
        let scope = json!({ "system": { "all": true } });
        let admin = cloud.login("demo", PASSWORD, scope).await.token();
        cloud.delete(&format!("/v3/groups/{group}"), &admin).await.expect(403);
        cloud.delete(&format!("/v3/groups/{group}/users/{user}"), &admin).await.expect(403);
    }
}

#[tokio::test]
async fn roles_imply_others_but_never_in_a_circle_and_never_admin() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let id = async |name: &'static str| cloud.id("roles", name).await;
        let (reader, member) = (id("reader").await, id("member").await);
        let one = create(&cloud, &admin, "role", json!({ "name": "one" })).await;
        let path = |above: &str, below: &str| format!("/v3/roles/{above}/implies/{below}");
        let made = cloud.call("PUT", &path(&one, &reader), &admin, Value::Null).await.expect(201);
        assert_eq!(made["role_inference"]["prior_role"]["name"], "one");
        assert_eq!(made["role_inference"]["implies"]["name"], "reader");
        assert_eq!(cloud.get(&path(&one, &reader), &admin).await.expect(200), made);
        cloud.call("HEAD", &path(&one, &reader), &admin, Value::Null).await.expect(204);
        let list = cloud.get(&format!("/v3/roles/{one}/implies"), &admin).await.expect(200);
        assert_eq!(list["role_inference"]["implies"].as_array().unwrap().len(), 1);
        let all = cloud.get("/v3/role_inferences", &admin).await.expect(200);
        assert_eq!(all["role_inferences"].as_array().unwrap().len(), 4);

        for (above, below, status) in [
            (&reader, &one, 400),
            (&reader, &member, 400),
            (&one, &one, 400),
            (&one, &id("admin").await, 403),
            (&one, &"nothing".to_owned(), 404),
        ] {
            let answer = cloud.call("PUT", &path(above, below), &admin, Value::Null).await;
            assert_eq!(answer.status, status, "{}", answer.body);
        }
        cloud.delete(&path(&one, &reader), &admin).await.expect(204);
        cloud.delete(&path(&one, &reader), &admin).await.expect(404);
        cloud.get(&path(&one, &reader), &admin).await.expect(404);
    }
}

#[tokio::test]
async fn a_role_of_one_domain_is_given_there_only_and_stands_in_no_token() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let domain = create(&cloud, &admin, "domain", json!({ "name": "other" })).await;
        let own = create(&cloud, &admin, "role", json!({ "name": "own", "domain_id": "default" })).await;
        let (user, project) = (cloud.id("users", "demo").await, cloud.id("projects", "admin").await);
        let reader = cloud.id("roles", "reader").await;
        let list = cloud.get("/v3/roles?name=own", &admin).await.expect(200);
        assert_eq!(list["roles"], json!([]), "without a domain, the roles of none are listed");
        let list = cloud.get("/v3/roles?domain_id=default", &admin).await.expect(200);
        assert_eq!(list["roles"][0]["name"], "own");
        let elsewhere = format!("/v3/domains/{domain}/users/{user}/roles/{own}");
        cloud.call("PUT", &elsewhere, &admin, Value::Null).await.expect(403);
        let system = format!("/v3/system/users/{user}/roles/{own}");
        cloud.call("PUT", &system, &admin, Value::Null).await.expect(400);
        put(&cloud, &admin, &format!("projects/{project}/users/{user}/roles/{own}")).await;
        cloud.login("demo", PASSWORD, in_project("admin")).await.expect(401);
        cloud
            .call("PUT", &format!("/v3/roles/{own}/implies/{reader}"), &admin, Value::Null)
            .await
            .expect(201);
        let issued = cloud.login("demo", PASSWORD, in_project("admin")).await.expect(201);
        assert_eq!(role_names(&issued), ["reader"]);

        // One of a domain may imply one of another domain, and what that implies counts here; one of none may not.
        let other = create(&cloud, &admin, "role", json!({ "name": "other", "domain_id": domain })).await;
        let imply = async |above: &str, below: &str| {
            cloud.call("PUT", &format!("/v3/roles/{above}/implies/{below}"), &admin, Value::Null).await.status
        };
        assert_eq!(imply(&reader, &other).await, 403);
        assert_eq!(imply(&own, &other).await, 201);
        assert_eq!(imply(&other, &cloud.id("roles", "member").await).await, 201);
        let issued = cloud.login("demo", PASSWORD, in_project("admin")).await.expect(201);
        assert_eq!(role_names(&issued), ["member", "reader"]);
        cloud.delete(&format!("/v3/roles/{own}"), &admin).await.expect(204);
        cloud.login("demo", PASSWORD, in_project("admin")).await.expect(401);
        let mine = format!("/v3/role_assignments?user.id={user}&scope.project.id={project}");
        assert_eq!(cloud.get(&mine, &admin).await.expect(200)["role_assignments"], json!([]));
    }
}

#[tokio::test]
async fn inherited_roles_count_on_the_projects_below_and_not_where_they_are_given() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let user = cloud.id("users", "demo").await;
        let reader = cloud.id("roles", "reader").await;
        let above = create(&cloud, &admin, "project", json!({ "name": "above" })).await;
        create(&cloud, &admin, "project", json!({ "name": "below", "parent_id": above })).await;
        let grant = format!("OS-INHERIT/projects/{above}/users/{user}/roles/{reader}/inherited_to_projects");
        put(&cloud, &admin, &grant).await;
        cloud.get(&format!("/v3/{grant}"), &admin).await.expect(204);
        cloud.login("demo", PASSWORD, in_project("above")).await.expect(401);
        let token = cloud.login("demo", PASSWORD, in_project("below")).await.token();
        let subtree = format!(
            "/v3/role_assignments?scope.project.id={above}&include_subtree=1&effective&user.id={user}"
        );
        let list = cloud.get(&subtree, &admin).await.expect(200);
        let lines = list["role_assignments"].as_array().unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["scope"]["OS-INHERIT:inherited_to"], "projects");
        assert_eq!(lines[0]["links"]["assignment"], format!("https://cloud.test/identity/v3/{grant}"));
        let plain = format!("/v3/role_assignments?user.id={user}&scope.OS-INHERIT:inherited_to=projects");
        assert_eq!(
            cloud.get(&plain, &admin).await.expect(200)["role_assignments"].as_array().unwrap().len(),
            1
        );
        let pages = cloud.get("/v3/role_assignments?limit=2", &admin).await.expect(200);
        assert_eq!(pages["role_assignments"].as_array().unwrap().len(), 2);
        let next = pages["links"]["next"].as_str().unwrap();
        let next = next.strip_prefix("https://cloud.test/identity").unwrap();
        let rest = cloud.get(next, &admin).await.expect(200);
        assert_eq!(rest["role_assignments"].as_array().unwrap().len(), 2);
        cloud.delete(&format!("/v3/{grant}"), &admin).await.expect(204);
        cloud.get("/v3/auth/projects", &token).await.expect(401);
        let whole = format!("OS-INHERIT/domains/default/users/{user}/roles/{reader}/inherited_to_projects");
        put(&cloud, &admin, &whole).await;
        cloud.login("demo", PASSWORD, in_project("above")).await.expect(201);
        let list = format!("/v3/OS-INHERIT/domains/default/users/{user}/roles/inherited_to_projects");
        assert_eq!(cloud.get(&list, &admin).await.expect(200)["roles"][0]["name"], "reader");
    }
}

#[tokio::test]
async fn a_domain_manager_rules_its_domain_and_nothing_beyond() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let id = async |name: &'static str| cloud.id("roles", name).await;
        let (manager, member, boss) = (id("manager").await, id("member").await, id("admin").await);
        let domain = create(&cloud, &admin, "domain", json!({ "name": "acme" })).await;
        let chief = json!({ "name": "chief", "domain_id": domain, "password": PASSWORD });
        let chief = create(&cloud, &admin, "user", chief).await;
        put(&cloud, &admin, &format!("domains/{domain}/users/{chief}/roles/{manager}")).await;
        let who = json!({ "id": chief, "password": PASSWORD });
        let who = json!({ "methods": ["password"], "password": { "user": who } });
        let token = cloud.issue(who, json!({ "domain": { "id": domain } })).await.token();

        let project = create(&cloud, &token, "project", json!({ "name": "web" })).await;
        let user = json!({ "name": "ada", "password": PASSWORD });
        let user = create(&cloud, &token, "user", user).await;
        let group = create(&cloud, &token, "group", json!({ "name": "staff" })).await;
        put(&cloud, &token, &format!("groups/{group}/users/{user}")).await;
        put(&cloud, &token, &format!("projects/{project}/users/{user}/roles/{member}")).await;
        put(&cloud, &token, &format!("domains/{domain}/groups/{group}/roles/{manager}")).await;
        let tags = format!("/v3/projects/{project}/tags");
        for (method, path, body, status) in [
            ("PUT", tags.clone(), json!({ "tags": ["a"] }), 200),
            ("PUT", format!("{tags}/b"), Value::Null, 201),
            ("DELETE", format!("{tags}/a"), Value::Null, 204),
            ("DELETE", tags, Value::Null, 204),
        ] {
            cloud.call(method, &path, &token, body).await.expect(status);
        }
        let roles = cloud.get("/v3/roles", &token).await.expect(200);
        let roles = roles["roles"].as_array().unwrap();
        let names: BTreeSet<_> = roles.iter().map(|role| role["name"].as_str().unwrap()).collect();
        assert_eq!(names, BTreeSet::from(["manager", "member", "reader"]));
        let seen = cloud.get("/v3/domains", &token).await.expect(200);
        assert_eq!(seen["domains"].as_array().unwrap().len(), 1);
        let lines = cloud.get("/v3/role_assignments", &token).await.expect(200);
        assert_eq!(lines["role_assignments"].as_array().unwrap().len(), 3);

        let (foreign, strange) = (cloud.id("projects", "demo").await, cloud.id("users", "demo").await);
        for path in [
            format!("projects/{project}/users/{user}/roles/{boss}"),
            format!("projects/{foreign}/users/{user}/roles/{member}"),
            format!("projects/{project}/users/{strange}/roles/{member}"),
            format!("domains/default/users/{user}/roles/{member}"),
            format!("system/users/{user}/roles/{member}"),
        ] {
            cloud.call("PUT", &format!("/v3/{path}"), &token, Value::Null).await.expect(403);
        }
        for (method, path, body, status) in [
            ("POST", "/v3/roles".to_owned(), json!({ "role": { "name": "x" } }), 403),
            ("PATCH", format!("/v3/roles/{member}"), json!({ "role": { "name": "x" } }), 403),
            ("DELETE", format!("/v3/roles/{member}"), Value::Null, 403),
            ("POST", "/v3/domains".to_owned(), json!({ "domain": { "name": "x" } }), 403),
            ("PATCH", format!("/v3/domains/{domain}"), json!({ "domain": { "name": "x" } }), 403),
            ("GET", format!("/v3/users/{strange}"), Value::Null, 404),
            ("PATCH", format!("/v3/projects/{foreign}"), json!({ "project": { "name": "x" } }), 404),
            ("POST", "/v3/users".to_owned(), json!({ "user": { "name": "x", "domain_id": "default" } }), 403),
            ("GET", "/v3/domains/default".to_owned(), Value::Null, 404),
        ] {
            let answer = cloud.call(method, &path, &token, body).await;
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        }
        cloud.delete(&format!("/v3/users/{user}"), &token).await.expect(204);
        cloud.delete(&format!("/v3/projects/{project}"), &token).await.expect(204);
    }
}
