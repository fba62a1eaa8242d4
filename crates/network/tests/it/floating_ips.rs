use serde_json::{Value, json};

use crate::world::{ADA, ADMIN, World};

/// An external network, and a router from a subnet to it: (external, network, subnet, router).
async fn connected(world: &World) -> (Value, Value, Value, Value) {
    let external = world.external().await;
    let (network, subnet) = world.subnet(ADA, "10.0.0.0/24").await;
    let body = json!({"external_gateway_info": {"network_id": external}});
    let router = world.make(ADA, "routers", body).await["id"].take();
    assert_eq!(world.interface(ADA, &router, "add", json!({"subnet_id": subnet})).await.status, 200);
    (external, network, subnet, router)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_floating_ip_is_claimed_led_to_a_port_and_given_back() {
    for world in World::all().await {
        let (external, network, subnet, router) = connected(&world).await;
        let port = world.make(ADA, "ports", json!({"network_id": network})).await;
        let floating = world.make(ADA, "floatingips", json!({"floating_network_id": external})).await;
        let id = &floating["id"];
        assert_eq!(
            (&floating["floating_ip_address"], &floating["status"]),
            (&json!("172.24.4.11"), &json!("DOWN"))
        );
        assert_eq!(floating["port_id"], Value::Null);
        let hidden = world.get(ADMIN, "/ports?device_owner=network:floatingip").await;
        assert_eq!((&hidden["ports"][0]["device_id"], &hidden["ports"][0]["project_id"]), (id, &json!("")));
        let led = world.changed(ADA, "floatingips", id, json!({"port_id": port["id"]})).await;
        assert_eq!(
            (&led["fixed_ip_address"], &led["router_id"]),
            (&port["fixed_ips"][0]["ip_address"], &router)
        );
        let gateway = world.change(ADA, "routers", &router, json!({"external_gateway_info": null})).await;
        assert_eq!(gateway.fault(), (409, "RouterExternalGatewayInUseByFloatingIp"));
        let inside = world.interface(ADA, &router, "remove", json!({"subnet_id": subnet})).await;
        assert_eq!(inside.fault(), (409, "RouterInterfaceInUseByFloatingIP"));
        let second = json!({"floatingip": {"floating_network_id": external, "port_id": port["id"]}});
        let second = world.call(ADA, "POST", "/floatingips", second).await;
        assert_eq!(second.fault(), (409, "FloatingIPPortAlreadyAssociated"));
        let described = world.changed(ADA, "floatingips", id, json!({"description": "web"})).await;
        assert_eq!((&described["port_id"], &described["description"]), (&port["id"], &json!("web")));
        let off = world.changed(ADA, "floatingips", id, json!({"port_id": null})).await;
        assert_eq!(
            (&off["port_id"], &off["router_id"], &off["status"]),
            (&Value::Null, &Value::Null, &json!("DOWN"))
        );
        world.changed(ADA, "floatingips", id, json!({"port_id": port["id"]})).await;
        assert_eq!(world.delete(ADA, "ports", &port["id"]).await.status, 204);
        assert_eq!(world.show(ADA, "floatingips", id).await["port_id"], Value::Null, "the port took it off");
        assert_eq!(world.delete(ADA, "floatingips", id).await.status, 204);
        assert_eq!(world.delete(ADA, "floatingips", id).await.fault(), (404, "FloatingIPNotFound"));
        assert_eq!(world.get(ADMIN, "/ports?device_owner=network:floatingip").await["ports"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_with_several_addresses_needs_to_be_told_which() {
    for world in World::all().await {
        let (external, network, _, _) = connected(&world).await;
        let body = json!({"network_id": network, "fixed_ips": [{"ip_address": "10.0.0.5"}, {"ip_address": "10.0.0.6"}]});
        let port = world.make(ADA, "ports", body).await;
        let floating = world.make(ADA, "floatingips", json!({"floating_network_id": external})).await;
        let id = &floating["id"];
        let vague = world.change(ADA, "floatingips", id, json!({"port_id": port["id"]})).await;
        assert_eq!(vague.fault(), (400, "BadRequest"));
        for address in ["10.0.0.5", "10.0.0.6"] {
            let exact = json!({"port_id": port["id"], "fixed_ip_address": address});
            let led = world.changed(ADA, "floatingips", id, exact).await;
            assert_eq!(led["fixed_ip_address"], address);
        }
        let moved = json!({"fixed_ips": [{"ip_address": "10.0.0.5"}]});
        world.changed(ADA, "ports", &port["id"], moved).await;
        assert_eq!(world.show(ADA, "floatingips", id).await["port_id"], Value::Null, "its address is gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_floating_ips_are_refused_in_neutrons_words() {
    for world in World::all().await {
        let (external, _, _, _) = connected(&world).await;
        let (island, _) = world.subnet(ADA, "10.5.0.0/24").await;
        let port = world.make(ADA, "ports", json!({"network_id": island})).await;
        let bare = world.make(ADA, "ports", json!({"network_id": island, "fixed_ips": []})).await;
        for (change, status, fault) in [
            (json!({"floating_network_id": island}), 400, "BadRequest"),
            (json!({"floating_network_id": "nowhere"}), 404, "NetworkNotFound"),
            (json!({"port_id": port["id"]}), 404, "ExternalGatewayForFloatingIPNotFound"),
            (json!({"port_id": bare["id"]}), 400, "BadRequest"),
            (json!({"port_id": "nowhere"}), 404, "PortNotFound"),
            (json!({"port_id": port["id"], "fixed_ip_address": "10.5.0.99"}), 400, "BadRequest"),
            (json!({"fixed_ip_address": "10.5.0.9"}), 400, "BadRequest"),
            (json!({"floating_ip_address": "172.24.4.99"}), 403, "PolicyNotAuthorized"),
            (json!({"project_id": "p2"}), 403, "PolicyNotAuthorized"),
        ] {
            let mut body = json!({"floating_network_id": external});
            body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let answer = world.call(ADA, "POST", "/floatingips", json!({"floatingip": body})).await;
            assert_eq!(answer.fault(), (status, fault), "{change}: {}", answer.body);
        }
        assert_eq!(world.get(ADA, "/floatingips").await["floatingips"], json!([]));
        let chosen = json!({"floating_network_id": external, "floating_ip_address": "172.24.4.99"});
        let chosen = world.make(ADMIN, "floatingips", chosen).await;
        assert_eq!(chosen["floating_ip_address"], "172.24.4.99");
    }
}
