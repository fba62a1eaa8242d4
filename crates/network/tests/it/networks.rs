use serde_json::{Value, json};

use crate::world::{ADA, ADMIN, BOB, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_network_and_its_subnet_live_from_create_to_delete() {
    for world in World::all().await {
        let network = world.make(ADA, "networks", json!({"name": "lan", "description": "mine"})).await;
        assert_eq!((&network["status"], &network["mtu"]), (&json!("ACTIVE"), &json!(1500)));
        assert_eq!(network["project_id"], "p1");
        assert_eq!((&network["tenant_id"], &network["router:external"]), (&json!("p1"), &json!(false)));
        let id = &network["id"];
        let subnet = world
            .make(ADA, "subnets", json!({"network_id": id, "cidr": "10.0.0.0/24", "ip_version": 4}))
            .await;
        assert_eq!(subnet["gateway_ip"], "10.0.0.1");
        assert_eq!(subnet["allocation_pools"], json!([{"start": "10.0.0.2", "end": "10.0.0.254"}]));
        assert_eq!(world.show(ADA, "networks", id).await["subnets"], json!([subnet["id"]]));
        let renamed = world.changed(ADA, "networks", id, json!({"name": "wan", "mtu": 1400})).await;
        assert_eq!((&renamed["name"], &renamed["mtu"]), (&json!("wan"), &json!(1400)));
        assert_eq!(renamed["revision_number"], 2);
        assert_eq!(world.delete(ADA, "networks", id).await.status, 204);
        for (collection, id) in [("networks", id), ("subnets", &subnet["id"])] {
            let gone = world.delete(ADA, collection, id).await;
            assert_eq!(gone.status, 404, "{collection}");
        }
        let left = world.get(ADMIN, "/ports").await;
        assert_eq!(left["ports"], json!([]), "the service port went with its network");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subnet_takes_all_attributes_and_changes_them() {
    for world in World::all().await {
        let network = world.make(ADA, "networks", json!({"name": "n"})).await;
        let routes = json!([{"destination": "10.20.0.0/24", "nexthop": "10.0.0.100"}]);
        let body = json!({
            "network_id": network["id"], "cidr": "10.0.0.0/24", "ip_version": 4, "name": "s", "gateway_ip": "10.0.0.2",
            "allocation_pools": [{"start": "10.0.0.10", "end": "10.0.0.20"}], "enable_dhcp": true,
            "dns_nameservers": ["8.8.4.4", "8.8.8.8"], "host_routes": routes,
        });
        let subnet = world.make(ADA, "subnets", body).await;
        assert_eq!((&subnet["gateway_ip"], &subnet["host_routes"]), (&json!("10.0.0.2"), &routes));
        let ports = world.get(ADA, "/ports?device_owner=network:dhcp").await;
        assert_eq!(
            ports["ports"][0]["fixed_ips"][0]["ip_address"], "10.0.0.10",
            "the DHCP service has an address"
        );
        let change = json!({
            "gateway_ip": "10.0.0.3", "dns_nameservers": ["7.8.8.8"], "enable_dhcp": false, "host_routes": [],
        });
        let subnet = world.changed(ADA, "subnets", &subnet["id"], change).await;
        assert_eq!(subnet["gateway_ip"], "10.0.0.3");
        assert_eq!(
            (&subnet["dns_nameservers"], &subnet["enable_dhcp"]),
            (&json!(["7.8.8.8"]), &json!(false))
        );
        assert_eq!(world.get(ADA, "/ports").await["ports"], json!([]), "without DHCP its port is gone");
        let subnet = world
            .changed(ADA, "subnets", &subnet["id"], json!({"gateway_ip": null, "enable_dhcp": true}))
            .await;
        assert_eq!(subnet["gateway_ip"], Value::Null);
        assert_eq!(world.get(ADA, "/ports").await["ports"].as_array().unwrap().len(), 1);
        let without = json!({"network_id": network["id"], "cidr": "10.1.0.0/24", "ip_version": "4", "gateway_ip": null});
        let without = world.make(ADA, "subnets", without).await;
        assert_eq!(without["allocation_pools"], json!([{"start": "10.1.0.1", "end": "10.1.0.254"}]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_networks_and_subnets_are_refused_in_neutrons_words() {
    for world in World::all().await {
        let (network, _) = world.subnet(ADA, "10.0.0.0/24").await;
        let cases: Vec<(&str, Value, u16, &str)> = vec![
            ("networks", json!({"nmae": "x"}), 400, "HTTPBadRequest"),
            ("networks", json!({"name": "x".repeat(256)}), 400, "HTTPBadRequest"),
            ("networks", json!({"name": 7}), 400, "HTTPBadRequest"),
            ("networks", json!({"mtu": 100}), 400, "InvalidInput"),
            ("networks", json!({"mtu": 9000}), 400, "InvalidInput"),
            ("networks", json!({"availability_zone_hints": ["mars"]}), 404, "AvailabilityZoneNotFound"),
            ("networks", json!({"project_id": "a", "tenant_id": "b"}), 400, "InvalidInput"),
            ("networks", json!({"shared": true}), 403, "PolicyNotAuthorized"),
            ("networks", json!({"router:external": true}), 403, "PolicyNotAuthorized"),
            ("networks", json!({"project_id": "p2"}), 403, "PolicyNotAuthorized"),
            ("subnets", json!({"cidr": "10.1.0.0/24", "ip_version": 4}), 400, "HTTPBadRequest"),
            ("subnets", json!({"network_id": network, "ip_version": 4}), 400, "InvalidInput"),
            (
                "subnets",
                json!({"network_id": network, "cidr": "10.1.0.0/24", "ip_version": 5}),
                400,
                "InvalidInput",
            ),
            (
                "subnets",
                json!({"network_id": network, "cidr": "10.1.0.1/24", "ip_version": 4}),
                400,
                "InvalidInput",
            ),
            (
                "subnets",
                json!({"network_id": network, "cidr": "10.0.0.128/25", "ip_version": 4}),
                400,
                "InvalidInput",
            ),
            (
                "subnets",
                json!({"network_id": network, "cidr": "2001:db8::/64", "ip_version": 6}),
                501,
                "HTTPNotImplemented",
            ),
            (
                "subnets",
                json!({"network_id": network, "cidr": "10.1.0.0/24", "ip_version": 4, "gateway_ip": "10.2.0.1"}),
                400,
                "InvalidInput",
            ),
            (
                "subnets",
                json!({"network_id": network, "cidr": "10.1.0.0/24", "ip_version": 4,
                    "allocation_pools": [{"start": "10.1.0.1", "end": "10.1.0.9"}]}),
                409,
                "GatewayConflictWithAllocationPools",
            ),
            (
                "subnets",
                json!({"network_id": network, "cidr": "10.1.0.0/24", "ip_version": 4,
                    "allocation_pools": [{"start": "10.1.0.2", "end": "10.1.0.9"}, {"start": "10.1.0.9", "end": "10.1.0.12"}]}),
                409,
                "OverlappingAllocationPools",
            ),
            (
                "subnets",
                json!({"network_id": network, "cidr": "10.1.0.0/24", "ip_version": 4,
                    "allocation_pools": [{"start": "10.1.1.2", "end": "10.1.1.9"}]}),
                400,
                "OutOfBoundsAllocationPool",
            ),
            (
                "subnets",
                json!({"network_id": network, "cidr": "10.1.0.0/24", "ip_version": 4, "dns_nameservers": ["x"]}),
                400,
                "HTTPBadRequest",
            ),
            (
                "subnets",
                json!({"network_id": "00000000-0000-0000-0000-000000000000", "cidr": "10.1.0.0/24", "ip_version": 4}),
                404,
                "NetworkNotFound",
            ),
            (
                "subnets",
                json!({"network_id": "x", "cidr": "10.1.0.0/24", "ip_version": 4}),
                404,
                "NetworkNotFound",
            ),
        ];
        for (collection, body, status, fault) in cases {
            let name = collection.strip_suffix('s').unwrap();
            let answer = world.call(ADA, "POST", &format!("/{collection}"), json!({name: body})).await;
            assert_eq!(answer.fault(), (status, fault), "{collection} {body}: {}", answer.body);
        }
        for body in [json!({}), json!({"network": {}, "networks": []}), json!({"networks": []}), json!([])] {
            assert_eq!(world.call(ADA, "POST", "/networks", body.clone()).await.status, 400, "{body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_networks_are_made_at_once_or_none() {
    for world in World::all().await {
        let answer =
            world.call(ADA, "POST", "/networks", json!({"networks": [{"name": "a"}, {"name": "b"}]})).await;
        assert_eq!(answer.status, 201);
        let (a, b) = (&answer.body["networks"][0]["id"], &answer.body["networks"][1]["id"]);
        let subnets = |second: &str| {
            json!({"subnets": [
                {"network_id": a, "cidr": "10.0.0.0/24", "ip_version": 4},
                {"network_id": b, "cidr": "10.1.0.0/24", "ip_version": 4},
                {"network_id": b, "cidr": second, "ip_version": 4},
            ]})
        };
        assert_eq!(world.call(ADA, "POST", "/subnets", subnets("10.1.0.0/25")).await.status, 400);
        assert_eq!(world.get(ADA, "/subnets").await["subnets"], json!([]), "one failed, so none is there");
        let made = world.call(ADA, "POST", "/subnets", subnets("10.2.0.0/24")).await;
        assert_eq!((made.status, made.body["subnets"].as_array().unwrap().len()), (201, 3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_use_is_not_deleted() {
    for world in World::all().await {
        let (network, subnet) = world.subnet(ADA, "10.0.0.0/24").await;
        let port = world.make(ADA, "ports", json!({"network_id": network})).await;
        assert_eq!(world.delete(ADA, "networks", &network).await.fault(), (409, "NetworkInUse"));
        assert_eq!(world.delete(ADA, "subnets", &subnet).await.fault(), (409, "SubnetInUse"));
        assert_eq!(world.delete(ADA, "ports", &port["id"]).await.status, 204);
        assert_eq!(world.delete(ADA, "subnets", &subnet).await.status, 204);
        assert_eq!(world.delete(ADA, "networks", &network).await.status, 204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_network_is_everybodys_and_the_external_one_is_seen_by_all() {
    for world in World::all().await {
        let shared = world.make(ADMIN, "networks", json!({"name": "common", "shared": true})).await;
        let body = json!({"network_id": shared["id"], "cidr": "10.9.0.0/24", "ip_version": 4});
        let subnet = world.make(ADMIN, "subnets", body).await;
        let external = world.external().await;
        assert_eq!(external, world.external().await, "seeding again changes nothing");
        let seen = world.get(ADA, "/networks?router:external=True").await;
        assert_eq!(seen["networks"][0]["id"], external);
        let outside = &world.show(ADA, "networks", &external).await["subnets"][0];
        let hidden =
            world.call(ADA, "GET", &format!("/subnets/{}", outside.as_str().unwrap()), Value::Null).await;
        assert_eq!(hidden.status, 404, "the subnets of an external network are the admin's");
        assert_eq!(world.get(ADA, "/subnets").await["subnets"][0]["id"], subnet["id"]);
        let port = world.make(ADA, "ports", json!({"network_id": shared["id"]})).await;
        assert_eq!(port["fixed_ips"][0]["subnet_id"], subnet["id"]);
        let exact = json!({"port": {"network_id": shared["id"], "fixed_ips": [{"ip_address": "10.9.0.77"}]}});
        assert_eq!(
            world.call(ADA, "POST", "/ports", exact).await.status,
            403,
            "only its owner chooses addresses"
        );
        let outside = world.call(ADA, "POST", "/ports", json!({"port": {"network_id": external}})).await;
        assert_eq!(outside.status, 403, "nobody plugs into the external network");
        let answer = world.change(ADMIN, "networks", &shared["id"], json!({"shared": false})).await;
        assert_eq!(answer.fault(), (409, "InvalidSharedSetting"));
        assert_eq!(world.change(ADA, "networks", &shared["id"], json!({"name": "mine"})).await.status, 403);
        assert_eq!(world.delete(ADA, "ports", &port["id"]).await.status, 204);
        world.changed(ADMIN, "networks", &shared["id"], json!({"shared": false})).await;
        assert_eq!(world.delete(BOB, "networks", &shared["id"]).await.status, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_finds_out_what_is_there() {
    for world in World::all().await {
        for path in ["!/network", "!/network/v2.0", "!/network/v2.0/"] {
            let answer = world.call("", "GET", path, Value::Null).await;
            assert_eq!(answer.status, 200, "{path} needs no token");
        }
        let versions = world.call("", "GET", "!/network", Value::Null).await.body;
        assert_eq!(versions["versions"][0]["links"][0]["href"], "https://cloud/network/v2.0/");
        let aliases = world.get(ADA, "/extensions").await;
        assert!(aliases["extensions"].as_array().unwrap().iter().any(|it| it["alias"] == "security-group"));
        assert_eq!(world.get(ADA, "/extensions/router").await["extension"]["alias"], "router");
        assert_eq!(world.call(ADA, "GET", "/extensions/trunk", Value::Null).await.status, 404);
        let zones = world.get(ADA, "/availability_zones").await;
        assert_eq!(zones["availability_zones"].as_array().unwrap().len(), 2);
        assert_eq!(world.call(ADA, "GET", "/agents", Value::Null).await.status, 403);
        assert_eq!(world.get(ADMIN, "/agents").await["agents"], json!([]));
        assert_eq!(world.call(ADA, "GET", "/trunks", Value::Null).await.status, 404);
    }
}
