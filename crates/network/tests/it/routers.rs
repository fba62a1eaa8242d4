use serde_json::{Value, json};

use crate::world::{ADA, ADMIN, BOB, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_router_connects_subnets_and_leads_out() {
    for world in World::all().await {
        let external = world.external().await;
        let (network, subnet) = world.subnet(ADA, "10.0.0.0/24").await;
        let body = json!({"name": "r", "external_gateway_info": {"network_id": external}});
        let router = world.make(ADA, "routers", body).await;
        let id = &router["id"];
        let gateway = &router["external_gateway_info"];
        assert_eq!((&router["status"], &gateway["enable_snat"]), (&json!("ACTIVE"), &json!(true)));
        assert_eq!(gateway["external_fixed_ips"][0]["ip_address"], "172.24.4.10");
        let added = world.interface(ADA, id, "add", json!({"subnet_id": subnet})).await;
        assert_eq!((added.status, &added.body["subnet_id"], &added.body["id"]), (200, &subnet, id));
        assert_eq!(added.body["network_id"], network);
        let port = world.show(ADA, "ports", &added.body["port_id"]).await;
        assert_eq!(port["device_owner"], "network:router_interface");
        assert_eq!(port["fixed_ips"][0]["ip_address"], "10.0.0.1");
        assert_eq!(world.delete(ADA, "ports", &port["id"]).await.fault(), (409, "ServicePortInUse"));
        assert_eq!(world.delete(ADA, "routers", id).await.fault(), (409, "RouterInUse"));
        assert_eq!(world.delete(ADA, "subnets", &subnet).await.fault(), (409, "SubnetInUse"));
        let moved = world.change(ADA, "subnets", &subnet, json!({"gateway_ip": null})).await;
        assert_eq!(moved.fault(), (409, "GatewayIpInUse"));
        let routes = json!([{"destination": "10.8.0.0/16", "nexthop": "10.0.0.7"}]);
        let routed = world.changed(ADA, "routers", id, json!({"routes": routes})).await;
        assert_eq!(routed["routes"], routes);
        let removed = world.interface(ADA, id, "remove", json!({"subnet_id": subnet})).await;
        assert_eq!(removed.fault(), (409, "RouterInterfaceInUseByRoute"));
        world.changed(ADA, "routers", id, json!({"routes": []})).await;
        let removed = world.interface(ADA, id, "remove", json!({"port_id": port["id"]})).await;
        assert_eq!(removed.status, 200, "{}", removed.body);
        let cleared = world.changed(ADA, "routers", id, json!({"external_gateway_info": null})).await;
        assert_eq!(cleared["external_gateway_info"], Value::Null);
        let set = world
            .changed(ADA, "routers", id, json!({"external_gateway_info": {"network_id": external}}))
            .await;
        assert_eq!(set["external_gateway_info"]["external_fixed_ips"][0]["ip_address"], "172.24.4.10");
        assert_eq!(world.delete(ADA, "routers", id).await.status, 204);
        assert_eq!(world.get(ADMIN, "/ports?device_owner=network:router_gateway").await["ports"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_gateways_and_interfaces_are_refused_in_neutrons_words() {
    for world in World::all().await {
        let external = world.external().await;
        let (network, subnet) = world.subnet(ADA, "10.0.0.0/24").await;
        let (twin, twin_subnet) = world.subnet(ADA, "10.0.0.0/25").await;
        let (foreign, foreign_subnet) = world.subnet(BOB, "10.9.0.0/24").await;
        let without = json!({"network_id": twin, "cidr": "10.7.0.0/24", "ip_version": 4, "gateway_ip": null});
        let without = world.make(ADA, "subnets", without).await;
        let outside = json!({"network_id": twin, "cidr": "172.24.0.0/16", "ip_version": 4});
        let outside = world.make(ADA, "subnets", outside).await;
        for (gateway, status, fault) in [
            (json!({"network_id": network}), 400, "BadRequest"),
            (json!({"network_id": foreign}), 404, "NetworkNotFound"),
            (json!({"network_id": external, "enable_snat": false}), 403, "PolicyNotAuthorized"),
            (
                json!({"network_id": external, "external_fixed_ips": [{"ip_address": "172.24.4.50"}]}),
                403,
                "PolicyNotAuthorized",
            ),
            (json!({"network_id": external, "colour": 1}), 400, "HTTPBadRequest"),
        ] {
            let body = json!({"router": {"external_gateway_info": gateway}});
            let answer = world.call(ADA, "POST", "/routers", body).await;
            assert_eq!(answer.fault(), (status, fault), "{gateway}: {}", answer.body);
        }
        let router =
            world.make(ADA, "routers", json!({"external_gateway_info": {"network_id": external}})).await;
        let id = &router["id"];
        let used = world.make(ADA, "ports", json!({"network_id": network, "device_id": "server"})).await;
        assert_eq!(world.interface(ADA, id, "add", json!({"subnet_id": subnet})).await.status, 200);
        for (verb, body, status, fault) in [
            ("add", json!({}), 400, "BadRequest"),
            ("add", json!({"subnet_id": subnet, "port_id": used["id"]}), 400, "BadRequest"),
            ("add", json!({"subnet_id": subnet}), 400, "BadRequest"),
            ("add", json!({"subnet_id": twin_subnet}), 400, "BadRequest"),
            ("add", json!({"subnet_id": outside["id"]}), 400, "BadRequest"),
            ("add", json!({"subnet_id": without["id"]}), 400, "BadRequest"),
            ("add", json!({"subnet_id": foreign_subnet}), 404, "SubnetNotFound"),
            ("add", json!({"port_id": used["id"]}), 409, "PortInUse"),
            ("remove", json!({}), 400, "BadRequest"),
            ("remove", json!({"subnet_id": twin_subnet}), 404, "RouterInterfaceNotFoundForSubnet"),
            ("remove", json!({"port_id": used["id"]}), 404, "RouterInterfaceNotFound"),
        ] {
            let answer = world.interface(ADA, id, verb, body.clone()).await;
            assert_eq!(answer.fault(), (status, fault), "{verb} {body}: {}", answer.body);
        }
        let hop = json!({"routes": [{"destination": "10.8.0.0/16", "nexthop": "10.200.0.7"}]});
        assert_eq!(world.change(ADA, "routers", id, hop).await.fault(), (400, "InvalidRoutes"));
        let own = world
            .make(ADA, "ports", json!({"network_id": twin, "fixed_ips": [{"subnet_id": without["id"]}]}))
            .await;
        assert_eq!(world.interface(ADA, id, "add", json!({"port_id": own["id"]})).await.status, 200);
        assert_eq!(world.show(ADA, "ports", &own["id"]).await["device_id"], *id);
    }
}
