use serde_json::{Value, json};

use crate::cloud::{Cloud, clouds};

async fn create(cloud: &Cloud, token: &str, path: &str, noun: &str, body: Value) -> Value {
    let made = cloud.call("POST", &format!("/v3/{path}"), token, json!({ noun: body })).await.expect(201);
    made[noun].clone()
}

/// The addresses that the catalog of a token has for a type.
async fn urls(cloud: &Cloud, token: &str, kind: &str) -> Option<Vec<String>> {
    let catalog = cloud.get("/v3/auth/catalog", token).await.expect(200);
    let service = catalog["catalog"].as_array().unwrap().iter().find(|service| service["type"] == kind)?;
    let endpoints = service["endpoints"].as_array().unwrap().iter();
    Some(endpoints.map(|each| each["url"].as_str().unwrap().to_owned()).collect())
}

#[tokio::test]
async fn a_service_with_an_endpoint_stands_in_the_catalog_as_long_as_both_are_enabled() {
    for cloud in clouds().await {
        let (admin, demo) = (cloud.admin().await, cloud.demo().await);
        let (project, user) = (cloud.id("projects", "demo").await, cloud.id("users", "demo").await);
        let service =
            create(&cloud, &admin, "services", "service", json!({ "type": "test", "description": "d" }))
                .await;
        let id = service["id"].as_str().unwrap();
        assert_eq!(
            service,
            json!({
                "id": id, "type": "test", "name": "", "enabled": true, "description": "d",
                "links": { "self": format!("https://cloud.test/identity/v3/services/{id}") },
            })
        );
        assert_eq!(urls(&cloud, &demo, "test").await, Some(vec![]));
        let endpoint = json!({
            "service_id": id, "interface": "public", "region": "north",
            "url": "https://elsewhere.test/$(project_id)s/%(user_id)s",
        });
        let endpoint = create(&cloud, &admin, "endpoints", "endpoint", endpoint).await;
        assert_eq!((&endpoint["region"], &endpoint["region_id"]), (&json!("north"), &json!("north")));
        cloud.get("/v3/regions/north", &demo).await.expect(200);
        let whole = format!("https://elsewhere.test/{project}/{user}");
        assert_eq!(urls(&cloud, &demo, "test").await, Some(vec![whole.clone()]));

        let path = format!("/v3/endpoints/{}", endpoint["id"].as_str().unwrap());
        let patch = async |path: &str, noun: &str, change: Value| {
            cloud.call("PATCH", path, &admin, json!({ noun: change })).await.expect(200)
        };
        patch(&path, "endpoint", json!({ "enabled": false })).await;
        assert_eq!(urls(&cloud, &demo, "test").await, Some(vec![]));
        patch(&path, "endpoint", json!({ "enabled": true, "region_id": null })).await;
        patch(&format!("/v3/services/{id}"), "service", json!({ "enabled": false })).await;
        assert_eq!(urls(&cloud, &demo, "test").await, None);
        for (query, count) in
            [("services?type=test", 1), ("services?name=nova", 0), ("services?type=identity", 1)]
        {
            let list = cloud.get(&format!("/v3/{query}"), &admin).await.expect(200);
            assert_eq!(list["services"].as_array().unwrap().len(), count, "{query}");
        }
        let list = cloud.get(&format!("/v3/endpoints?service_id={id}"), &admin).await.expect(200);
        assert_eq!(list["endpoints"].as_array().unwrap().len(), 1);
        cloud.delete(&format!("/v3/services/{id}"), &admin).await.expect(204);
        cloud.get(&path, &admin).await.expect(404);
    }
}

#[tokio::test]
async fn what_comes_with_the_cloud_stays_and_bad_input_is_refused() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let list = cloud.get("/v3/services?type=identity", &admin).await.expect(200);
        let own = list["services"][0]["id"].as_str().unwrap();
        cloud.delete(&format!("/v3/services/{own}"), &admin).await.expect(403);
        let change = json!({ "service": { "enabled": false } });
        cloud.call("PATCH", &format!("/v3/services/{own}"), &admin, change).await.expect(403);
        cloud.delete("/v3/regions/RegionOne", &admin).await.expect(403);
        let good = json!({ "service_id": own, "interface": "public", "url": "https://x.test/" });
        for (key, value, status) in [
            ("service_id", json!("nowhere"), 400),
            ("interface", json!("private"), 400),
            ("url", json!("nonsense"), 400),
            ("url", json!("https://x.test/$(password)s"), 400),
            ("url", json!("https://x.test/$(project_id"), 400),
            ("url", json!(format!("https://x.test/{}", "x".repeat(225))), 400),
            ("region_id", json!("nowhere"), 400),
            ("enabled", json!("yes"), 400),
        ] {
            let mut body = good.clone();
            body[key] = value;
            let answer = cloud.call("POST", "/v3/endpoints", &admin, json!({ "endpoint": body })).await;
            assert_eq!(answer.status, status, "{key}: {}", answer.body);
        }
        for (path, noun, body, status) in [
            ("services", "service", json!({ "name": "x" }), 400),
            ("services", "service", json!({ "type": "" }), 400),
            ("regions", "region", json!({ "id": "RegionOne" }), 409),
            ("regions", "region", json!({ "parent_region_id": "nowhere" }), 404),
            ("policies", "policy", json!({ "type": "x" }), 400),
            ("policies", "policy", json!({ "type": "x", "blob": 7 }), 400),
            ("OS-EP-FILTER/endpoint_groups", "endpoint_group", json!({ "name": "x" }), 400),
            (
                "OS-EP-FILTER/endpoint_groups",
                "endpoint_group",
                json!({ "name": "x", "filters": { "url": "y" } }),
                400,
            ),
            (
                "OS-EP-FILTER/endpoint_groups",
                "endpoint_group",
                json!({ "name": "x", "filters": { "interface": "private" } }),
                400,
            ),
        ] {
            let answer = cloud.call("POST", &format!("/v3/{path}"), &admin, json!({ noun: body })).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn regions_form_a_hierarchy_without_circles() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let put = async |id: &str, body: Value| {
            cloud.call("PUT", &format!("/v3/regions/{id}"), &admin, json!({ "region": body })).await.status
        };
        assert_eq!(put("a", json!({})).await, 201);
        assert_eq!(put("a", json!({})).await, 409);
        assert_eq!(put("b", json!({ "parent_region_id": "a" })).await, 201);
        assert_eq!(put("c", json!({ "parent_region_id": "b", "id": "d" })).await, 400);
        let turn = json!({ "region": { "parent_region_id": "b" } });
        cloud.call("PATCH", "/v3/regions/a", &admin, turn).await.expect(400);
        let rename = |id: &str| json!({ "region": { "id": id, "description": "d" } });
        cloud.call("PATCH", "/v3/regions/a", &admin, rename("z")).await.expect(400);
        cloud.call("PATCH", "/v3/regions/a", &admin, rename("a")).await.expect(200);
        let list = cloud.get("/v3/regions?parent_region_id=a", &admin).await.expect(200);
        assert_eq!(list["regions"].as_array().unwrap().len(), 1);
        let service = create(&cloud, &admin, "services", "service", json!({ "type": "test" })).await;
        let endpoint = json!({
            "service_id": service["id"], "interface": "public", "region_id": "b", "url": "https://x.test/",
        });
        let endpoint = create(&cloud, &admin, "endpoints", "endpoint", endpoint).await;
        cloud.delete("/v3/regions/a", &admin).await.expect(403);
        let endpoint = endpoint["id"].as_str().unwrap();
        cloud.delete(&format!("/v3/endpoints/{endpoint}"), &admin).await.expect(204);
        cloud.delete("/v3/regions/a", &admin).await.expect(204);
        cloud.get("/v3/regions/b", &admin).await.expect(404);
    }
}

#[tokio::test]
async fn a_project_sees_the_endpoints_it_was_given_alone_and_in_groups() {
    for cloud in clouds().await {
        let (admin, demo) = (cloud.admin().await, cloud.demo().await);
        let project = cloud.id("projects", "demo").await;
        let find = async |query: &str| {
            let list = cloud.get(&format!("/v3/endpoints?{query}"), &admin).await.expect(200);
            list["endpoints"][0].clone()
        };
        let endpoint = find("interface=public").await;
        let id = endpoint["id"].as_str().unwrap();
        assert_eq!(urls(&cloud, &demo, "identity").await.unwrap().len(), 3);
        let path = format!("/v3/OS-EP-FILTER/projects/{project}/endpoints/{id}");
        cloud.get(&path, &admin).await.expect(404);
        cloud.call("PUT", &path, &admin, Value::Null).await.expect(204);
        cloud.get(&path, &admin).await.expect(204);
        assert_eq!(urls(&cloud, &demo, "identity").await.unwrap().len(), 1);
        assert_eq!(
            urls(&cloud, &demo, "block-storage").await,
            None,
            "a service of which it was given nothing"
        );
        assert_eq!(urls(&cloud, &admin, "identity").await.unwrap().len(), 3, "another project");

        let group = json!({ "name": "g", "filters": { "interface": "admin" } });
        let group = create(&cloud, &admin, "OS-EP-FILTER/endpoint_groups", "endpoint_group", group).await;
        let group = group["id"].as_str().unwrap();
        let given = format!("/v3/OS-EP-FILTER/endpoint_groups/{group}/projects/{project}");
        cloud.call("PUT", &given, &admin, Value::Null).await.expect(204);
        let shown = cloud.get(&given, &admin).await.expect(200);
        assert_eq!(
            shown["project_endpoint_group"],
            json!({
                "endpoint_group_id": group, "project_id": project,
                "links": { "self": format!("https://cloud.test/identity{given}") },
            })
        );
        assert_eq!(urls(&cloud, &demo, "identity").await.unwrap().len(), 2);
        assert_eq!(urls(&cloud, &demo, "block-storage").await.unwrap().len(), 1);
        let count = async |path: String, noun: &str| {
            let list = cloud.get(&format!("/v3/OS-EP-FILTER/{path}"), &admin).await.expect(200);
            list[noun].as_array().unwrap().len()
        };
        assert_eq!(count(format!("projects/{project}/endpoints"), "endpoints").await, 4);
        assert_eq!(count(format!("projects/{project}/endpoint_groups"), "endpoint_groups").await, 1);
        assert_eq!(count(format!("endpoints/{id}/projects"), "projects").await, 1);
        assert_eq!(count(format!("endpoint_groups/{group}/endpoints"), "endpoints").await, 3);
        assert_eq!(count(format!("endpoint_groups/{group}/projects"), "projects").await, 1);
        cloud.delete(&path, &admin).await.expect(204);
        cloud.delete(&path, &admin).await.expect(404);
        cloud.delete(&format!("/v3/OS-EP-FILTER/endpoint_groups/{group}"), &admin).await.expect(204);
        assert_eq!(urls(&cloud, &demo, "identity").await.unwrap().len(), 3);
    }
}

#[tokio::test]
async fn an_endpoint_has_the_policy_that_is_closest() {
    for cloud in clouds().await {
        let admin = cloud.admin().await;
        let policy = async |blob: &str| {
            let body = json!({ "type": "text/plain", "blob": blob, "colour": "red" });
            let made = create(&cloud, &admin, "policies", "policy", body).await;
            made["id"].as_str().unwrap().to_owned()
        };
        let (wide, close) = (policy("wide").await, policy("close").await);
        let list = cloud.get("/v3/endpoints?interface=public", &admin).await.expect(200);
        let endpoint = list["endpoints"][0].clone();
        let (id, service) = (endpoint["id"].as_str().unwrap(), endpoint["service_id"].as_str().unwrap());
        let found = format!("/v3/endpoints/{id}/OS-ENDPOINT-POLICY/policy");
        cloud.get(&found, &admin).await.expect(404);
        let put = async |policy: &str, what: &str| {
            let path = format!("/v3/policies/{policy}/OS-ENDPOINT-POLICY/{what}");
            cloud.call("PUT", &path, &admin, Value::Null).await.expect(204);
            cloud.get(&path, &admin).await.expect(204);
        };
        put(&wide, &format!("services/{service}")).await;
        assert_eq!(cloud.get(&found, &admin).await.expect(200)["policy"]["blob"], "wide");
        put(&close, &format!("services/{service}/regions/RegionOne")).await;
        assert_eq!(cloud.get(&found, &admin).await.expect(200)["policy"]["blob"], "close");
        put(&wide, &format!("endpoints/{id}")).await;
        assert_eq!(cloud.get(&found, &admin).await.expect(200)["policy"]["blob"], "wide");
        let path = format!("/v3/policies/{close}/OS-ENDPOINT-POLICY/endpoints");
        let list = cloud.get(&path, &admin).await.expect(200);
        assert_eq!(list["endpoints"].as_array().unwrap().len(), 2);
        cloud.delete(&format!("/v3/policies/{wide}"), &admin).await.expect(204);
        assert_eq!(cloud.get(&found, &admin).await.expect(200)["policy"]["blob"], "close");
    }
}
