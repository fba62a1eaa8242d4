//! Ways to more power than one was given, each of which must be closed.

use serde_json::{Value, json};

use crate::cloud::{Cloud, PASSWORD, clouds, in_project};

async fn made(cloud: &Cloud, token: &str, path: &str, noun: &str, body: Value) -> Value {
    cloud.call("POST", &format!("/v3/{path}"), token, json!({ noun: body })).await.expect(201)[noun].clone()
}

fn id(object: &Value) -> &str {
    object["id"].as_str().unwrap()
}

/// The id of a new domain, and the token of one who manages it.
async fn managed_domain(cloud: &Cloud, admin: &str) -> (String, String) {
    let domain = made(cloud, admin, "domains", "domain", json!({ "name": "acme" })).await;
    let chief = json!({ "name": "chief", "domain_id": id(&domain), "password": PASSWORD });
    let chief = made(cloud, admin, "users", "user", chief).await;
    let manager = cloud.id("roles", "manager").await;
    let grant = format!("/v3/domains/{}/users/{}/roles/{manager}", id(&domain), id(&chief));
    cloud.call("PUT", &grant, admin, Value::Null).await.expect(204);
    let who = json!({ "id": id(&chief), "password": PASSWORD });
    let who = json!({ "methods": ["password"], "password": { "user": who } });
    let token = cloud.issue(who, json!({ "domain": { "id": id(&domain) } })).await.token();
    (id(&domain).to_owned(), token)
}

#[tokio::test]
async fn a_domain_manager_builds_below_no_parent_of_another_domain() {
    for cloud in clouds().await {
        let (domain, token) = managed_domain(&cloud, &cloud.admin().await).await;
        for parent in ["default".to_owned(), cloud.id("projects", "demo").await] {
            let body = json!({ "project": { "name": "x", "parent_id": parent } });
            cloud.call("POST", "/v3/projects", &token, body).await.expect(403);
        }
        let own = json!({ "name": "x", "parent_id": domain });
        made(&cloud, &token, "projects", "project", own).await;
    }
}

#[tokio::test]
async fn a_domain_manager_takes_over_nobody_who_has_more() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let (domain, token) = managed_domain(&cloud, &admin).await;
        let role = cloud.id("roles", "admin").await;
        let user = |name: &str| json!({ "name": name, "domain_id": domain, "password": PASSWORD });
        let boss = made(&cloud, &admin, "users", "user", user("boss")).await;
        let clerk = made(&cloud, &token, "users", "user", user("clerk")).await;
        let group = made(&cloud, &token, "groups", "group", json!({ "name": "bosses" })).await;
        cloud
            .call("PUT", &format!("/v3/system/users/{}/roles/{role}", id(&boss)), &admin, Value::Null)
            .await
            .expect(204);
        let grant = format!("/v3/domains/{domain}/groups/{}/roles/{role}", id(&group));
        cloud.call("PUT", &grant, &admin, Value::Null).await.expect(204);
        let password = json!({ "user": { "password": "taken over" } });
        cloud.call("PATCH", &format!("/v3/users/{}", id(&boss)), &token, password.clone()).await.expect(403);
        cloud.call("PATCH", &format!("/v3/users/{}", id(&clerk)), &token, password).await.expect(200);
        let join = format!("/v3/groups/{}/users/{}", id(&group), id(&clerk));
        cloud.call("PUT", &join, &token, Value::Null).await.expect(403);
        cloud.delete(&grant, &admin).await.expect(204);
        cloud.call("PUT", &join, &token, Value::Null).await.expect(204);
    }
}

#[tokio::test]
async fn a_trust_that_is_used_up_can_be_ended_and_its_token_ends_with_it() {
    for cloud in clouds().await {
        let demo = cloud.demo().await;
        let (user, project) = (cloud.id("users", "demo").await, cloud.id("projects", "demo").await);
        let admin = cloud.id("users", "admin").await;
        let trust = |uses: Value| {
            json!({
                "trustor_user_id": user, "trustee_user_id": admin, "impersonation": true, "project_id": project,
                "roles": [{ "name": "member" }, { "name": "member" }], "remaining_uses": uses,
            })
        };
        let once = made(&cloud, &demo, "OS-TRUST/trusts", "trust", trust(json!(1))).await;
        let other = made(&cloud, &demo, "OS-TRUST/trusts", "trust", trust(Value::Null)).await;
        let names: Vec<_> = other["roles"].as_array().unwrap().iter().map(|role| &role["name"]).collect();
        assert_eq!(names, ["member"], "asked for twice, handed on once");
        let boss = cloud.admin().await;
        let issued = cloud.rescope(&boss, json!({ "OS-TRUST:trust": { "id": id(&once) } })).await.token();
        // It is the trustor's token in all but this: it reaches no other trust of theirs.
        let path = |trust: &Value| format!("/v3/OS-TRUST/trusts/{}", id(trust));
        cloud.get(&path(&other), &issued).await.expect(404);
        cloud.delete(&path(&other), &issued).await.expect(404);
        cloud.get("/v3/auth/catalog", &issued).await.expect(200);
        cloud.get(&path(&once), &demo).await.expect(404);
        cloud.delete(&path(&once), &demo).await.expect(204);
        cloud.get("/v3/auth/catalog", &issued).await.expect(401);
    }
}

#[tokio::test]
async fn what_an_application_credential_makes_does_not_outlive_it_or_reach_further() {
    for cloud in clouds().await {
        let demo = cloud.demo().await;
        let path = format!("users/{}/application_credentials", cloud.id("users", "demo").await);
        let login = async |credential: &Value| {
            let proof = json!({ "id": credential["id"], "secret": credential["secret"] });
            let proof = json!({ "methods": ["application_credential"], "application_credential": proof });
            cloud.issue(proof, Value::Null).await.token()
        };
        let ends = "2100-01-01T00:00:00.000000Z";
        let parent = json!({ "name": "parent", "unrestricted": true, "expires_at": ends });
        let parent = made(&cloud, &demo, &path, "application_credential", parent).await;
        let later = json!({ "name": "child", "expires_at": "2200-01-01T00:00:00.000000Z" });
        for child in [later, json!({ "name": "other" })] {
            let child = made(&cloud, &login(&parent).await, &path, "application_credential", child).await;
            assert_eq!(child["expires_at"].as_str().map(|at| &at[..4]), Some("2100"));
        }
        let rule = json!({ "service": "identity", "method": "POST", "path": "/v3/**" });
        let narrow = json!({ "name": "narrow", "unrestricted": true, "access_rules": [rule] });
        let narrow = made(&cloud, &demo, &path, "application_credential", narrow).await;
        let wide = json!({ "application_credential": { "name": "wide" } });
        cloud.call("POST", &format!("/v3/{path}"), &login(&narrow).await, wide).await.expect(403);
    }
}

#[tokio::test]
async fn a_system_reader_reads_nobodys_secrets() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let blob = json!({ "type": "cert", "blob": "a secret", "user_id": cloud.id("users", "admin").await });
        let secret = made(&cloud, &admin, "credentials", "credential", blob).await;
        let grant = format!(
            "/v3/system/users/{}/roles/{}",
            cloud.id("users", "demo").await,
            cloud.id("roles", "reader").await
        );
        cloud.call("PUT", &grant, &admin, Value::Null).await.expect(204);
        let reader = cloud.login("demo", PASSWORD, json!({ "system": { "all": true } })).await.token();
        cloud.get(&format!("/v3/credentials/{}", id(&secret)), &reader).await.expect(404);
        let list = cloud.get("/v3/credentials", &reader).await.expect(200);
        assert_eq!(list["credentials"], json!([]));
        let own = cloud.login("demo", PASSWORD, in_project("demo")).await.token();
        let mine = json!({ "type": "cert", "blob": "mine", "user_id": cloud.id("users", "demo").await });
        made(&cloud, &own, "credentials", "credential", mine).await;
    }
}

#[tokio::test]
async fn a_domain_manager_sees_no_foreign_project_of_its_users() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let (domain, token) = managed_domain(&cloud, &admin).await;
        let clerk = json!({ "name": "clerk", "domain_id": domain, "password": PASSWORD });
        let clerk = made(&cloud, &token, "users", "user", clerk).await;
        let own = made(&cloud, &token, "projects", "project", json!({ "name": "own" })).await;
        let member = cloud.id("roles", "member").await;
        let foreign = cloud.id("projects", "demo").await;
        for project in [id(&own), &foreign] {
            let grant = format!("/v3/projects/{project}/users/{}/roles/{member}", id(&clerk));
            cloud.call("PUT", &grant, &admin, Value::Null).await.expect(204);
        }
        let who = json!({ "id": id(&clerk), "password": PASSWORD });
        let who = json!({ "methods": ["password"], "password": { "user": who } });
        let itself = cloud.issue(who, Value::Null).await.token();
        let path = format!("/v3/users/{}/projects", id(&clerk));
        for (token, expected) in
            [(&token, vec!["own"]), (&itself, vec!["demo", "own"]), (&admin, vec!["demo", "own"])]
        {
            let list = cloud.get(&path, token).await.expect(200);
            let projects = list["projects"].as_array().unwrap();
            let mut names: Vec<_> =
                projects.iter().map(|project| project["name"].as_str().unwrap()).collect();
            names.sort_unstable();
            assert_eq!(names, expected);
        }
        let assigned = format!("/v3/role_assignments?user.id={}", id(&clerk));
        let assigned = cloud.get(&assigned, &token).await.expect(200);
        assert!(!assigned.to_string().contains(&foreign), "{assigned}");
    }
}

#[tokio::test]
async fn a_domain_manager_does_not_learn_which_foreign_ids_there_are() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let (domain, token) = managed_domain(&cloud, &admin).await;
        let member = cloud.id("roles", "member").await;
        let own = made(&cloud, &token, "projects", "project", json!({ "name": "own" })).await;
        let clerk = made(&cloud, &token, "users", "user", json!({ "name": "clerk" })).await;
        let (user, project) = (cloud.id("users", "demo").await, cloud.id("projects", "demo").await);
        let nothing = "0".repeat(32);
        for (there, not_there) in [
            (
                format!("projects/{}/users/{user}/roles", id(&own)),
                format!("projects/{}/users/{nothing}/roles", id(&own)),
            ),
            (
                format!("projects/{project}/users/{}/roles", id(&clerk)),
                format!("projects/{nothing}/users/{}/roles", id(&clerk)),
            ),
            (
                format!("domains/{domain}/users/{user}/roles"),
                format!("domains/{domain}/users/{nothing}/roles"),
            ),
            (
                format!("domains/default/users/{}/roles", id(&clerk)),
                format!("domains/{nothing}/users/{}/roles", id(&clerk)),
            ),
        ] {
            for (method, end) in
                [("GET", ""), ("GET", "/role"), ("HEAD", "/role"), ("PUT", "/role"), ("DELETE", "/role")]
            {
                let end = end.replace("role", &member);
                let answer = async |path: &str| {
                    let answer = cloud.call(method, &format!("/v3/{path}{end}"), &token, Value::Null).await;
                    (answer.status, answer.body)
                };
                let known = answer(&there).await;
                assert_eq!(known, answer(&not_there).await, "{method} {there}{end}");
                assert_eq!(known.0, 403);
            }
            cloud.get(&format!("/v3/{not_there}"), &admin).await.expect(404);
        }
    }
}

#[tokio::test]
async fn an_overlong_secret_tells_no_credential_that_is_there_from_one_that_is_not() {
    for cloud in clouds().await {
        let token = cloud.demo().await;
        let path = format!("users/{}/application_credentials", cloud.id("users", "demo").await);
        let chosen = json!({ "name": "chosen", "secret": "chosen by its user" });
        let made_up = json!({ "name": "made up" });
        let chosen = made(&cloud, &token, &path, "application_credential", chosen).await;
        let made_up = made(&cloud, &token, &path, "application_credential", made_up).await;
        let mut seen = Vec::new();
        for credential in [id(&chosen), id(&made_up), "nothing"] {
            for secret in ["wrong".to_owned(), "x".repeat(5000)] {
                let proof = json!({ "id": credential, "secret": secret });
                let identity =
                    json!({ "methods": ["application_credential"], "application_credential": proof });
                let answer = cloud.issue(identity, Value::Null).await;
                seen.push((answer.status, answer.body));
            }
        }
        assert!(seen.iter().all(|answer| *answer == seen[0] && answer.0 == 401), "{seen:?}");
    }
}
