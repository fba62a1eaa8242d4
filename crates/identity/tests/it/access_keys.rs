//! What a service of the same process learns of an access key: `Identity::access_key`, and how the operator makes one.

use std::time::Duration;

use hanse_core::{Kind, Secret};
use hanse_identity::{GivenKey, create_access_key, delete_access_key, list_access_keys};
use hanse_policy::TokenScope;
use serde_json::json;

use crate::cloud::{Cloud, clouds};

/// An EC2 credential of `demo` on the project `demo`: access key and secret.
async fn made(cloud: &Cloud, admin: &str) -> (String, String) {
    let (user, project) = (cloud.id("users", "demo").await, cloud.id("projects", "demo").await);
    let ec2 = json!({ "tenant_id": project });
    let key =
        cloud.call("POST", &format!("/v3/users/{user}/credentials/OS-EC2"), admin, ec2).await.expect(201);
    let text = |name: &str| key["credential"][name].as_str().unwrap().to_owned();
    (text("access"), text("secret"))
}

/// The names of the roles, if the key is good for anything.
async fn roles(cloud: &Cloud, access: &str) -> Option<Vec<String>> {
    let key = cloud.identity.access_key(&cloud.cx, access).await.unwrap()?;
    Some(key.caller.roles.iter().map(|role| role.name.clone()).collect())
}

#[tokio::test]
async fn a_key_gives_its_secret_and_what_its_user_may_do_in_its_project() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let (access, secret) = made(&cloud, &admin).await;
        let key = cloud.identity.access_key(&cloud.cx, &access).await.unwrap().unwrap();
        assert_eq!(*key.secret.expose(), secret);
        assert_eq!(key.caller.user_name, "demo");
        let TokenScope::Project(project) = &key.caller.scope else { panic!("{:?}", key.caller.scope) };
        assert_eq!(project.id, cloud.id("projects", "demo").await);
        assert!(key.caller.has_role("member") && !key.caller.has_role("admin"));
        // A process that has never heard of it asks before it says no.
        assert!(roles(&cloud.second_process(), &access).await.is_some());
        for wrong in ["", "doesnotexist", &access.to_uppercase(), &format!("{access} ")] {
            assert_eq!(roles(&cloud, wrong).await, None, "{wrong:?}");
        }
    }
}

#[tokio::test]
async fn a_key_dies_with_the_role_the_user_the_project_and_the_credential() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let (access, _) = made(&cloud, &admin).await;
        let other = cloud.second_process();
        assert!(roles(&other, &access).await.is_some());
        let (user, project) = (cloud.id("users", "demo").await, cloud.id("projects", "demo").await);
        let role = cloud.id("roles", "member").await;
        let assignment = format!("/v3/projects/{project}/users/{user}/roles/{role}");
        let enable = |what: &str, enabled: bool| json!({ what: { "enabled": enabled } });
        let (users, projects) = (format!("/v3/users/{user}"), format!("/v3/projects/{project}"));
        for (end, begin) in [
            (("DELETE", &assignment, json!(null)), ("PUT", &assignment, json!(null))),
            (("PATCH", &users, enable("user", false)), ("PATCH", &users, enable("user", true))),
            (("PATCH", &projects, enable("project", false)), ("PATCH", &projects, enable("project", true))),
        ] {
            let answer = cloud.call(end.0, end.1, &admin, end.2).await;
            assert!(answer.status < 300, "{}", answer.body);
            assert_eq!(roles(&cloud, &access).await, None, "at once: {}", end.1);
            cloud.clock.advance(Duration::from_secs(1));
            assert_eq!(roles(&other, &access).await, None, "after a second elsewhere: {}", end.1);
            let answer = cloud.call(begin.0, begin.1, &admin, begin.2).await;
            assert!(answer.status < 300, "{}", answer.body);
            assert!(roles(&cloud, &access).await.is_some(), "{}", begin.1);
        }
        let path = format!("/v3/users/{user}/credentials/OS-EC2/{access}");
        cloud.call("DELETE", &path, &admin, json!(null)).await.expect(204);
        assert_eq!(roles(&cloud, &access).await, None);
        cloud.clock.advance(Duration::from_secs(1));
        assert_eq!(roles(&other, &access).await, None);
    }
}

#[tokio::test]
async fn a_key_follows_its_credential() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let (access, _) = made(&cloud, &admin).await;
        let listed = cloud.get("/v3/credentials?type=ec2", &admin).await.expect(200);
        let id = listed["credentials"][0]["id"].as_str().unwrap().to_owned();
        let blob = json!({ "access": "mine", "secret": "my secret" }).to_string();
        let change = json!({ "credential": { "blob": blob } });
        cloud.call("PATCH", &format!("/v3/credentials/{id}"), &admin, change).await.expect(200);
        assert_eq!(roles(&cloud, &access).await, None);
        let key = cloud.identity.access_key(&cloud.cx, "mine").await.unwrap().unwrap();
        assert_eq!(key.secret.expose(), "my secret");
        // One of no project is good for nothing here.
        let user = cloud.id("users", "demo").await;
        let blob = json!({ "access": "nowhere", "secret": "x" }).to_string();
        let body = json!({ "credential": { "user_id": user, "type": "ec2", "blob": blob } });
        let answer = cloud.call("POST", "/v3/credentials", &admin, body).await;
        assert!([201, 400].contains(&answer.status), "{}", answer.body);
        assert_eq!(roles(&cloud, "nowhere").await, None);
    }
}

#[tokio::test]
async fn the_operator_makes_lists_and_ends_keys_that_count_at_once() {
    for cloud in clouds().await {
        let (identity, cx) = (&cloud.identity, &cloud.cx);
        let made = create_access_key(identity, cx, "demo", "demo", None).await.unwrap();
        let key = identity.access_key(cx, &made.access).await.unwrap().unwrap();
        assert_eq!(key.secret.expose(), made.secret.expose());
        let given = |access: &str, secret: &str| {
            Some(GivenKey { access: access.to_owned(), secret: Secret::new(secret.to_owned()) })
        };
        let brought = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        create_access_key(identity, cx, "demo", "demo", given("AKIAIOSFODNN7EXAMPLE", brought))
            .await
            .unwrap();
        let key = identity.access_key(cx, "AKIAIOSFODNN7EXAMPLE").await.unwrap().unwrap();
        assert_eq!(key.secret.expose(), brought);
        let shown = list_access_keys(identity, cx, Some("demo"), Some("demo")).await.unwrap();
        assert_eq!(shown.len(), 2);
        assert!(shown.iter().all(|key| key.is_live && key.user == "demo" && key.project == "demo"));
        assert_eq!(list_access_keys(identity, cx, Some("admin"), None).await.unwrap(), []);

        for (user, project, given, kind) in [
            ("nobody", "demo", None, Kind::NotFound),
            ("demo", "nowhere", None, Kind::NotFound),
            ("demo", "admin", None, Kind::Conflict),
            ("demo", "demo", given("AKIAIOSFODNN7EXAMPLE", brought), Kind::Conflict),
            ("demo", "demo", given("a b", brought), Kind::BadRequest),
            ("demo", "demo", given("fine", "short"), Kind::BadRequest),
        ] {
            let refused = create_access_key(identity, cx, user, project, given).await.err().unwrap();
            assert_eq!(refused.kind(), kind, "{user} {project}: {refused}");
        }
        delete_access_key(identity, cx, &made.access).await.unwrap();
        assert_eq!(roles(&cloud, &made.access).await, None);
        assert_eq!(delete_access_key(identity, cx, &made.access).await.unwrap_err().kind(), Kind::NotFound);
    }
}
