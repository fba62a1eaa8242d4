//! What a service of the same process learns of an access key: `Identity::access_key`.

use std::time::Duration;

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
    Some(key.caller.roles.into_iter().map(|role| role.name).collect())
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
