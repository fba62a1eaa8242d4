use axum::body::Body;
use http::Method;
use serde_json::json;

use crate::harness::{benches, id};

/// Every route, with what each persona gets: nobody, a stranger's project, reader, member, admin.
const ROUTES: &[(&str, &str, [u16; 5])] = &[
    ("GET", "/image", [300, 300, 300, 300, 300]),
    ("GET", "/image/versions", [200, 200, 200, 200, 200]),
    ("GET", "/image/v2", [300, 300, 300, 300, 300]),
    ("GET", "/image/v2/images", [401, 200, 200, 200, 200]),
    ("POST", "/image/v2/images", [401, 201, 403, 201, 201]),
    ("GET", "/image/v2/images/{id}", [401, 404, 200, 200, 200]),
    ("PATCH", "/image/v2/images/{id}", [401, 404, 403, 200, 200]),
    ("PUT", "/image/v2/images/{id}/tags/t", [401, 404, 403, 204, 204]),
    ("DELETE", "/image/v2/images/{id}/tags/t", [401, 404, 403, 204, 404]),
    ("PUT", "/image/v2/images/{id}/file", [401, 404, 403, 204, 409]),
    ("GET", "/image/v2/images/{id}/file", [401, 404, 200, 200, 200]),
    ("POST", "/image/v2/images/{id}/actions/deactivate", [401, 404, 403, 204, 204]),
    ("POST", "/image/v2/images/{id}/actions/reactivate", [401, 404, 403, 204, 204]),
    ("GET", "/image/v2/info/import", [401, 200, 200, 200, 200]),
    ("GET", "/image/v2/schemas/image", [401, 200, 200, 200, 200]),
    ("GET", "/image/v2/schemas/images", [401, 200, 200, 200, 200]),
    ("DELETE", "/image/v2/images/{id}", [401, 404, 403, 204, 404]),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_each_persona_as_it_must() {
    for bench in benches().await {
        let image = bench.create("member@p1", json!({})).await;
        for (method, path, expected) in ROUTES {
            let method: Method = method.parse().unwrap();
            let path = path.replace("{id}", id(&image));
            for (token, expected) in
                ["", "member@p2", "reader@p1", "member@p1", "admin@ops"].into_iter().zip(expected)
            {
                let (kind, body) = match method.as_str() {
                    "PATCH" => ("application/openstack-images-v2.1-json-patch", "[]"),
                    "PUT" if path.ends_with("file") => ("application/octet-stream", "bytes"),
                    _ => ("application/json", "{}"),
                };
                let kind = [("content-type", kind)];
                let answer = bench.client.send(method.clone(), &path, token, &kind, Body::from(body)).await;
                assert_eq!(
                    answer.status.as_u16(),
                    *expected,
                    "{method} {path} as '{token}': {}",
                    answer.text()
                );
            }
        }
        bench.client.get("/image/v2/nothing", "member@p1").await.expect(404);
        bench.client.delete("/image/v2/images", "member@p1").await.expect(405);
        // A token without a project has no images.
        bench.client.get("/image/v2/images", "member@none").await.expect(403);
        bench.client.post("/image/v2/images", "admin@none", json!({})).await.expect(403);
    }
}

#[test]
fn the_list_of_routes_is_complete() {
    let source = include_str!("../../src/api.rs");
    for path in source.split(".route(").skip(1).filter_map(|rest| rest.split('"').nth(1)) {
        let path = format!("/image{}", path.trim_end_matches('/')).replace("{tag}", "t");
        assert!(ROUTES.iter().any(|(_, known, _)| *known == path), "{path} is not tried");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_document_names_what_is_served() {
    let bench = benches().await.remove(0);
    let document = bench.client.get("/image", "").await.expect(300).json();
    let current: Vec<_> =
        document["versions"].as_array().unwrap().iter().filter(|one| one["status"] == "CURRENT").collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0]["links"][0]["href"], "https://cloud.example/image/v2/");
    bench.client.get("/image/v2/", "").await.expect(300);
}
