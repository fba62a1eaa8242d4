use serde_json::{Value, json};

use crate::world::{ADA, ADMIN, BOB, World};

/// One object of each kind in project p1: the collection, its id, a change, and a request that makes another.
async fn objects(world: &World) -> Vec<(&'static str, Value, Value, Value)> {
    let external = world.external().await;
    let (network, subnet) = world.subnet(ADA, "10.0.0.0/24").await;
    let port = world.make(ADA, "ports", json!({"network_id": network})).await["id"].take();
    let router = world.make(ADA, "routers", json!({"name": "r"})).await["id"].take();
    let floating =
        world.make(ADA, "floatingips", json!({"floating_network_id": external})).await["id"].take();
    let group = world.make(ADA, "security-groups", json!({"name": "g"})).await["id"].take();
    let rule = json!({"security_group_id": group, "direction": "ingress", "protocol": "tcp"});
    let rule_id = world.make(ADA, "security-group-rules", rule).await["id"].take();
    let p1 = |body: Value| {
        let mut body = body;
        body["project_id"] = json!("p1");
        body
    };
    let named = json!({"description": "new"});
    vec![
        (
            "security-group-rules",
            rule_id,
            Value::Null,
            json!({"security_group_id": group, "direction": "ingress", "protocol": "udp"}),
        ),
        ("security-groups", group, named.clone(), p1(json!({"name": "other"}))),
        ("floatingips", floating, named.clone(), p1(json!({"floating_network_id": external}))),
        ("routers", router, named.clone(), p1(json!({}))),
        ("ports", port, named.clone(), p1(json!({"network_id": network}))),
        (
            "subnets",
            subnet,
            named.clone(),
            json!({"network_id": network, "cidr": "10.1.0.0/24", "ip_version": 4}),
        ),
        ("networks", network, named, p1(json!({}))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_knows_nobody_stranger_reader_member_and_admin() {
    for world in World::all().await {
        for (collection, id, change, another) in objects(&world).await {
            let name = collection.strip_suffix('s').unwrap().replace('-', "_");
            let path = format!("/{collection}/{}", id.as_str().unwrap());
            let list = format!("/{collection}");
            let make = json!({ &name: another });
            let put = json!({ &name: change });
            // A stranger may not make things in another's project, and does not see its networks and groups.
            let make_by_stranger =
                if ["ports", "subnets", "security-group-rules"].contains(&collection) { 404 } else { 403 };
            for (who, get, post, update, delete) in [
                ("", 401, 401, 401, 401),
                (":reader", 403, 403, 403, 403),
                (BOB, 404, make_by_stranger, 404, 404),
                ("p2:manager", 404, make_by_stranger, 404, 404),
                ("p1:reader", 200, 403, 403, 403),
            ] {
                assert_eq!(world.call(who, "GET", &path, Value::Null).await.status, get, "{who} GET {path}");
                let seen = world.call(who, "GET", &list, Value::Null).await;
                assert_eq!(seen.status, if get == 404 { 200 } else { get }, "{who} GET {list}");
                assert_eq!(
                    seen.body.to_string().contains(id.as_str().unwrap()),
                    get == 200,
                    "{who} GET {list}"
                );
                let made = world.call(who, "POST", &list, make.clone()).await;
                assert_eq!(made.status, post, "{who} POST {list}: {}", made.body);
                if !change.is_null() {
                    assert_eq!(
                        world.call(who, "PUT", &path, put.clone()).await.status,
                        update,
                        "{who} PUT {path}"
                    );
                }
                assert_eq!(
                    world.call(who, "DELETE", &path, Value::Null).await.status,
                    delete,
                    "{who} DELETE {path}"
                );
            }
            for who in ["p1:member", "p1:manager", ADMIN] {
                assert_eq!(world.call(who, "GET", &path, Value::Null).await.status, 200, "{who} GET {path}");
                let made = world.call(who, "POST", &list, make.clone()).await;
                assert_eq!(made.status, 201, "{who} POST {list}: {}", made.body);
                let made = &made.body[&name];
                assert_eq!(made["project_id"], "p1", "{who} POST {list}");
                if !change.is_null() {
                    assert_eq!(
                        world.call(who, "PUT", &path, put.clone()).await.status,
                        200,
                        "{who} PUT {path}"
                    );
                }
                let gone = world.delete(who, collection, &made["id"]).await;
                assert_eq!(gone.status, 204, "{who} DELETE {collection}: {}", gone.body);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn router_interfaces_and_quotas_know_the_same_personas() {
    for world in World::all().await {
        let (_, subnet) = world.subnet(ADA, "10.0.0.0/24").await;
        let router = world.make(ADA, "routers", json!({})).await["id"].take();
        for (who, expected) in
            [("", 401), (":reader", 403), (BOB, 404), ("p1:reader", 403), (ADA, 200), (ADMIN, 200)]
        {
            for verb in ["add", "remove"] {
                let answer = world.interface(who, &router, verb, json!({"subnet_id": subnet})).await;
                assert_eq!(answer.status, expected, "{who} {verb}: {}", answer.body);
            }
        }
        for (who, show, update) in [
            ("", 401, 401),
            (":reader", 403, 403),
            (BOB, 403, 403),
            ("p1:reader", 200, 403),
            (ADMIN, 200, 200),
        ] {
            for path in ["/quotas/p1", "/quotas/p1/default", "/quotas/p1/details"] {
                assert_eq!(world.call(who, "GET", path, Value::Null).await.status, show, "{who} {path}");
            }
            let body = json!({"quota": {"port": 5}});
            assert_eq!(world.call(who, "PUT", "/quotas/p1", body).await.status, update, "{who}");
            assert_eq!(
                world.call(who, "GET", "/quotas", Value::Null).await.status,
                if update == 200 { 200 } else { update }
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_leaves_one_audit_event_and_a_bulk_request_names_all_of_its_objects() {
    for world in World::all().await {
        let body = json!({"networks": [{"name": "a"}, {"name": "b"}]});
        let made = world.call(ADA, "POST", "/networks", body).await.body;
        let mut conn = world.test.db.read().await.unwrap();
        let events: Vec<(String, String)> =
            hanse_store::query("SELECT action, target FROM audit_events").all(&mut conn).await.unwrap();
        let ids: Vec<&str> = (0..2).map(|place| made["networks"][place]["id"].as_str().unwrap()).collect();
        assert_eq!(events, [("create_network".to_owned(), ids.join(","))]);
    }
}
