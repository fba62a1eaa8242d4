use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cloud::{Cloud, clouds, role_names};

#[tokio::test]
async fn roles_are_given_checked_listed_and_taken_on_each_kind_of_scope() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let (user, reader) = (cloud.id("users", "demo").await, cloud.id("roles", "reader").await);
        let project = cloud.id("projects", "admin").await;
        for (place, missing) in [
            (format!("projects/{project}"), Some("projects/nowhere")),
            ("domains/default".to_owned(), Some("domains/nowhere")),
            ("system".to_owned(), None),
        ] {
            let list = format!("/v3/{place}/users/{user}/roles");
            let one = format!("{list}/{reader}");
            assert_eq!(cloud.get(&list, &admin).await.expect(200)["roles"], json!([]));
            cloud.call("HEAD", &one, &admin, Value::Null).await.expect(404);
            for _ in 0..2 {
                cloud.call("PUT", &one, &admin, Value::Null).await.expect(204);
            }
            cloud.call("HEAD", &one, &admin, Value::Null).await.expect(204);
            cloud.get(&one, &admin).await.expect(204);
            let held = cloud.get(&list, &admin).await.expect(200);
            assert_eq!(held["roles"].as_array().unwrap().len(), 1);
            assert_eq!(held["roles"][0]["name"], "reader");
            cloud.delete(&one, &admin).await.expect(204);
            cloud.delete(&one, &admin).await.expect(404);

            cloud.call("PUT", &format!("{list}/nothing"), &admin, Value::Null).await.expect(404);
            let nobody = format!("/v3/{place}/users/nobody/roles");
            cloud.get(&nobody, &admin).await.expect(404);
            cloud.call("PUT", &format!("{nobody}/{reader}"), &admin, Value::Null).await.expect(404);
            if let Some(nowhere) = missing {
                let nowhere = format!("/v3/{nowhere}/users/{user}/roles");
                cloud.get(&nowhere, &admin).await.expect(404);
                cloud.call("PUT", &format!("{nowhere}/{reader}"), &admin, Value::Null).await.expect(404);
            }
        }
    }
}

async fn assignments(cloud: &Cloud, query: &str) -> Vec<Value> {
    let list = cloud.get(&format!("/v3/role_assignments?{query}"), &cloud.admin().await).await.expect(200);
    list["role_assignments"].as_array().unwrap().clone()
}

#[tokio::test]
async fn role_assignments_are_filtered_expanded_and_named() {
    for cloud in clouds().await {
        let (user, project) = (cloud.id("users", "demo").await, cloud.id("projects", "demo").await);
        let (member, reader) = (cloud.id("roles", "member").await, cloud.id("roles", "reader").await);
        assert_eq!(assignments(&cloud, "").await.len(), 4, "three of admin and one of demo");
        let link = format!("https://cloud.test/identity/v3/projects/{project}/users/{user}/roles/{member}");
        assert_eq!(
            assignments(&cloud, &format!("user.id={user}")).await,
            [json!({
                "role": { "id": member }, "user": { "id": user }, "scope": { "project": { "id": project } },
                "links": { "assignment": link },
            })]
        );
        let effective = assignments(&cloud, &format!("user.id={user}&effective&include_names=true")).await;
        assert_eq!(effective.len(), 2);
        let implied = effective.iter().find(|line| line["role"]["id"] == reader.as_str()).unwrap();
        assert_eq!(implied["role"]["name"], "reader");
        assert_eq!(implied["user"]["domain"]["name"], "Default");
        assert_eq!(implied["scope"]["project"]["name"], "demo");
        let prior = format!("https://cloud.test/identity/v3/prior_role/{reader}/implies/{member}");
        assert_eq!(implied["links"]["prior_role"], prior);
        assert_eq!(implied["links"]["assignment"], link);

        for (query, count) in [
            (format!("role.id={member}"), 1),
            (format!("role.id={reader}"), 0),
            (format!("role.id={reader}&effective=1"), 4),
            (format!("scope.project.id={project}"), 1),
            ("scope.domain.id=default".to_owned(), 1),
            ("scope.system=all".to_owned(), 1),
            ("scope.system".to_owned(), 1),
            ("user.id=nobody".to_owned(), 0),
            ("group.id=anything".to_owned(), 0),
        ] {
            assert_eq!(assignments(&cloud, &query).await.len(), count, "{query}");
        }
        let admin = cloud.admin().await;
        let two = "/v3/role_assignments?scope.system=all&scope.domain.id=default";
        cloud.get(two, &admin).await.expect(400);
        cloud.get("/v3/role_assignments?include_subtree=true", &admin).await.expect(400);
    }
}

/// Random gifts and takings, against a model of three sets.
#[tokio::test]
async fn effective_roles_are_what_a_simple_model_says() {
    const NAMES: [&str; 4] = ["admin", "manager", "member", "reader"];
    for cloud in clouds().await {
        let (user, project) = (cloud.id("users", "demo").await, cloud.id("projects", "demo").await);
        let admin = cloud.admin().await;
        let mut ids = Vec::new();
        for name in NAMES {
            ids.push(cloud.id("roles", name).await);
        }
        let mut held = BTreeSet::from([2_usize]);
        for _ in 0..25 {
            let [byte] = cloud.cx.bytes::<1>();
            let role = usize::from(byte % 4);
            let path = format!("/v3/projects/{project}/users/{user}/roles/{}", ids[role]);
            if held.remove(&role) {
                cloud.delete(&path, &admin).await.expect(204);
            } else {
                held.insert(role);
                cloud.call("PUT", &path, &admin, Value::Null).await.expect(204);
            }
            let scope = json!({ "project": { "id": project } });
            let issued = cloud.login("demo", crate::cloud::PASSWORD, scope).await;
            match held.first() {
                None => assert_eq!(issued.status, 401),
                // Each role implies all that stand after it.
                Some(&first) => assert_eq!(role_names(&issued.expect(201)), &NAMES[first..]),
            }
        }
    }
}
