use http::Method;
use serde_json::{Value, json};

use crate::harness::benches;
use crate::ports::{IMAGE, VOLUME};

/// Every route with its body, and what each persona gets: nobody, a stranger's project, reader, member, admin.
fn routes() -> Vec<(&'static str, &'static str, Value, [u16; 5])> {
    let none = Value::Null;
    let server = json!({"server": {"name": "x", "imageRef": IMAGE, "flavorRef": "SCS-1L-1"}});
    let key = json!({"keypair": {"name": "k"}});
    let flavor = json!({"flavor": {"name": "f", "vcpus": 1, "ram": 1, "disk": 0, "id": "f"}});
    let volume = json!({"volumeAttachment": {"volumeId": VOLUME}});
    let all = |status| [status; 5];
    let read = [401, 404, 200, 200, 200];
    let known = |status| [401, status, status, status, status];
    let admin = |status| [401, 403, 403, 403, status];
    vec![
        ("GET", "", none.clone(), all(200)),
        ("GET", "/v2.1", none.clone(), all(200)),
        ("GET", "/v2.1/limits", none.clone(), known(200)),
        ("GET", "/v2.1/extensions", none.clone(), known(200)),
        ("GET", "/v2.1/flavors", none.clone(), known(200)),
        ("GET", "/v2.1/flavors/detail", none.clone(), known(200)),
        ("POST", "/v2.1/flavors", flavor, admin(200)),
        ("GET", "/v2.1/flavors/f", none.clone(), known(200)),
        ("POST", "/v2.1/flavors/f/os-extra_specs", json!({"extra_specs": {"a": "1"}}), admin(200)),
        ("GET", "/v2.1/flavors/f/os-extra_specs", none.clone(), known(200)),
        ("GET", "/v2.1/flavors/f/os-extra_specs/a", none.clone(), known(200)),
        ("PUT", "/v2.1/flavors/f/os-extra_specs/a", json!({"a": "2"}), admin(200)),
        ("DELETE", "/v2.1/flavors/f/os-extra_specs/a", none.clone(), admin(200)),
        ("DELETE", "/v2.1/flavors/f", none.clone(), admin(202)),
        ("GET", "/v2.1/os-keypairs", none.clone(), known(200)),
        ("POST", "/v2.1/os-keypairs", key, known(200)),
        ("GET", "/v2.1/os-keypairs/k", none.clone(), known(200)),
        ("DELETE", "/v2.1/os-keypairs/k", none.clone(), known(202)),
        ("GET", "/v2.1/os-availability-zone", none.clone(), known(200)),
        ("GET", "/v2.1/os-availability-zone/detail", none.clone(), admin(200)),
        ("GET", "/v2.1/os-hypervisors", none.clone(), admin(200)),
        ("GET", "/v2.1/os-hypervisors/detail", none.clone(), admin(200)),
        ("GET", "/v2.1/os-hypervisors/statistics", none.clone(), admin(200)),
        ("GET", "/v2.1/os-hypervisors/1", none.clone(), admin(404)),
        ("GET", "/v2.1/os-services", none.clone(), admin(200)),
        ("GET", "/v2.1/os-quota-sets/p1", none.clone(), [401, 403, 200, 200, 200]),
        ("GET", "/v2.1/os-quota-sets/p1/defaults", none.clone(), [401, 403, 200, 200, 200]),
        ("GET", "/v2.1/os-quota-sets/p1/detail", none.clone(), [401, 403, 200, 200, 200]),
        ("GET", "/v2.1/servers", none.clone(), known(200)),
        ("GET", "/v2.1/servers/detail", none.clone(), known(200)),
        ("POST", "/v2.1/servers", server, [401, 202, 403, 202, 202]),
        ("GET", "/v2.1/servers/{id}", none.clone(), read),
        ("PUT", "/v2.1/servers/{id}", json!({"server": {"name": "y"}}), [401, 404, 403, 200, 200]),
        ("GET", "/v2.1/servers/{id}/ips", none.clone(), read),
        ("GET", "/v2.1/servers/{id}/ips/private", none.clone(), read),
        ("GET", "/v2.1/servers/{id}/metadata", none.clone(), read),
        ("POST", "/v2.1/servers/{id}/metadata", json!({"metadata": {"a": "1"}}), [401, 404, 403, 200, 200]),
        ("PUT", "/v2.1/servers/{id}/metadata", json!({"metadata": {"a": "1"}}), [401, 404, 403, 200, 200]),
        ("GET", "/v2.1/servers/{id}/metadata/a", none.clone(), read),
        ("PUT", "/v2.1/servers/{id}/metadata/a", json!({"meta": {"a": "1"}}), [401, 404, 403, 200, 200]),
        ("DELETE", "/v2.1/servers/{id}/metadata/a", none.clone(), [401, 404, 403, 204, 404]),
        ("GET", "/v2.1/servers/{id}/os-interface", none.clone(), read),
        ("GET", "/v2.1/servers/{id}/os-interface/x", none.clone(), [401, 404, 404, 404, 404]),
        ("GET", "/v2.1/servers/{id}/os-security-groups", none.clone(), read),
        ("GET", "/v2.1/servers/{id}/os-volume_attachments", none.clone(), read),
        ("POST", "/v2.1/servers/{id}/os-volume_attachments", volume, [401, 404, 403, 200, 409]),
        ("GET", "/v2.1/servers/{id}/os-volume_attachments/{volume}", none.clone(), read),
        (
            "DELETE",
            "/v2.1/servers/{id}/os-volume_attachments/{volume}",
            none.clone(),
            [401, 404, 403, 202, 202],
        ),
        ("GET", "/v2.1/servers/{id}/os-instance-actions", none.clone(), read),
        ("GET", "/v2.1/servers/{id}/os-instance-actions/req-x", none.clone(), [401, 404, 404, 404, 404]),
        ("POST", "/v2.1/servers/{id}/action", json!({"os-getConsoleOutput": {}}), [401, 404, 403, 200, 200]),
        (
            "POST",
            "/v2.1/servers/{id}/action",
            json!({"addSecurityGroup": {"name": "web"}}),
            [401, 404, 403, 202, 202],
        ),
        (
            "POST",
            "/v2.1/servers/{id}/action",
            json!({"removeSecurityGroup": {"name": "web"}}),
            [401, 404, 403, 202, 202],
        ),
        ("POST", "/v2.1/servers/{id}/action", json!({"os-start": null}), [401, 404, 403, 409, 409]),
        ("POST", "/v2.1/servers/{id}/action", json!({"reboot": {"type": "HARD"}}), [401, 404, 403, 202, 409]),
        (
            "POST",
            "/v2.1/servers/{id}/action",
            json!({"os-resetState": {"state": "active"}}),
            [401, 404, 403, 403, 202],
        ),
        ("POST", "/v2.1/servers/{id}/action", json!({"os-stop": null}), [401, 404, 403, 202, 409]),
        ("POST", "/v2.1/servers/{id}/action", json!({"pause": null}), [401, 404, 501, 501, 501]),
        ("DELETE", "/v2.1/servers/{id}", none, [401, 404, 403, 204, 204]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_each_persona_as_it_must() {
    for bench in benches().await {
        let id = bench.active("member@p1", json!({})).await;
        for (method, path, body, expected) in routes() {
            let method: Method = method.parse().unwrap();
            let path = format!("/compute{path}").replace("{id}", &id.to_string());
            let path = path.replace("{volume}", &VOLUME.to_string());
            for (token, expected) in
                ["", "member@p2", "reader@p1", "member@p1", "admin@ops"].into_iter().zip(expected)
            {
                let answer = bench.client.call(method.clone(), &path, token, body.clone()).await;
                let status = answer.status.as_u16();
                assert_eq!(status, expected, "{method} {path} {body} as '{token}': {}", answer.text());
            }
        }
        bench.client.get("/compute/v2.1/nothing", "member@p1").await.expect(404);
        bench.client.delete("/compute/v2.1/servers", "member@p1").await.expect(405);
        for path in ["servers", "servers/detail", "limits", "os-quota-sets/p1"] {
            let status =
                bench.client.get(&format!("/compute/v2.1/{path}"), "member@none").await.status.as_u16();
            assert!(matches!(status, 400 | 403), "{path} without a project: {status}");
        }
        bench.try_create("member@none", json!({})).await.expect(403);
    }
}

#[test]
fn the_list_of_routes_is_complete() {
    let source = include_str!("../../src/api.rs");
    let known: Vec<&str> =
        routes().iter().map(|(_, path, _, _)| path.strip_prefix("/v2.1").unwrap_or(path)).collect();
    for path in source.split(".route(").skip(1).filter_map(|rest| rest.split('"').nth(1)) {
        let stands = |known: &&str| {
            let (known, path) = (known.split('/').collect::<Vec<_>>(), path.split('/').collect::<Vec<_>>());
            known.len() == path.len() && known.iter().zip(&path).all(|(a, b)| a == b || b.starts_with('{'))
        };
        assert!(matches!(path, "/" | "/v2.1" | "/v2.1/") || known.iter().any(stands), "{path} is not tried");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_negotiated_and_shown() {
    let bench = benches().await.remove(0);
    let list = bench.client.get("/compute", "").await.expect(200).json();
    assert_eq!(
        (&list["versions"][0]["version"], &list["versions"][0]["min_version"]),
        (&json!("2.3"), &json!("2.1"))
    );
    let one = bench.client.get("/compute/v2.1/", "").await.expect(200).json();
    assert_eq!(one["version"]["links"][0]["href"], "https://cloud.example/compute/v2.1/");
    let id = bench.active("member@p1", json!({})).await;
    let path = format!("/compute/v2.1/servers/{id}");
    let at = async |token: &str, version: &str| {
        let headers = [("openstack-api-version", version)];
        bench.client.send(Method::GET, &path, token, &headers, axum::body::Body::empty()).await
    };
    let newest = at("admin@ops", "compute 2.3").await.expect(200);
    assert_eq!(newest.headers["openstack-api-version"], "compute 2.3");
    assert_eq!(newest.json()["server"]["OS-EXT-SRV-ATTR:hostname"], "web");
    let old = at("admin@ops", "compute 2.1").await.expect(200).json();
    assert!(old["server"].get("OS-EXT-SRV-ATTR:hostname").is_none());
    let member = at("member@p1", "compute 2.3").await.expect(200).json();
    assert!(member["server"].get("OS-EXT-SRV-ATTR:host").is_none(), "hosts are the operator's business");
    at("member@p1", "compute 2.4").await.expect(406);
}
