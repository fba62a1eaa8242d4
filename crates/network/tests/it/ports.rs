use serde_json::{Value, json};

use crate::world::{ADA, ADMIN, BOB, World};

const NOWHERE: &str = "00000000-0000-0000-0000-000000000000";

#[tokio::test(flavor = "multi_thread")]
async fn a_port_gets_an_address_a_mac_and_the_default_group() {
    for world in World::all().await {
        let (network, subnet) = world.subnet(ADA, "10.0.0.0/24").await;
        let port = world.make(ADA, "ports", json!({"network_id": network, "name": "eth0"})).await;
        assert_eq!(port["fixed_ips"], json!([{"subnet_id": subnet, "ip_address": "10.0.0.3"}]));
        assert!(port["mac_address"].as_str().unwrap().starts_with("fa:16:3e:"));
        let groups = world.get(ADA, "/security-groups").await;
        assert_eq!(port["security_groups"], json!([groups["security_groups"][0]["id"]]));
        assert_eq!((&port["status"], &port["device_id"]), (&json!("DOWN"), &json!("")));
        assert_eq!(port["binding:host_id"], Value::Null, "only admins see where it is bound");
        assert_eq!(world.show(ADMIN, "ports", &port["id"]).await["binding:vif_type"], "unbound");
        let change =
            json!({"name": "eth1", "admin_state_up": false, "device_id": "d", "device_owner": "mine"});
        let port = world.changed(ADA, "ports", &port["id"], change).await;
        assert_eq!((&port["name"], &port["admin_state_up"]), (&json!("eth1"), &json!(false)));
        assert_eq!(world.delete(ADA, "ports", &port["id"]).await.status, 204);
        assert_eq!(world.delete(ADA, "ports", &port["id"]).await.fault(), (404, "PortNotFound"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_chosen_kept_added_and_given_back() {
    for world in World::all().await {
        let (network, first) = world.subnet(ADA, "10.0.0.0/24").await;
        let second = json!({"network_id": network, "cidr": "10.1.0.0/24", "ip_version": 4});
        let second = world.make(ADA, "subnets", second).await["id"].take();
        let both = json!([{"subnet_id": first, "ip_address": "10.0.0.50"}, {"subnet_id": second}, {"subnet_id": second}]);
        let port = world.make(ADA, "ports", json!({"network_id": network, "fixed_ips": both})).await;
        assert_eq!(
            port["fixed_ips"],
            json!([
                {"subnet_id": first, "ip_address": "10.0.0.50"},
                {"subnet_id": second, "ip_address": "10.1.0.3"},
                {"subnet_id": second, "ip_address": "10.1.0.4"},
            ])
        );
        let change = json!({"fixed_ips": [{"ip_address": "10.0.0.50"}, {"ip_address": "10.0.0.60"}]});
        let port = world.changed(ADA, "ports", &port["id"], change).await;
        assert_eq!(port["fixed_ips"][1]["ip_address"], "10.0.0.60");
        let other = world
            .make(ADA, "ports", json!({"network_id": network, "fixed_ips": [{"subnet_id": second}]}))
            .await;
        assert_eq!(other["fixed_ips"][0]["ip_address"], "10.1.0.3", "what was given back is free again");
        let kept =
            world.changed(ADA, "ports", &port["id"], json!({"fixed_ips": [{"subnet_id": first}]})).await;
        assert_eq!(kept["fixed_ips"][0]["ip_address"], "10.0.0.50", "an own address of the subnet is kept");
        let none = world.make(ADA, "ports", json!({"network_id": network, "fixed_ips": []})).await;
        assert_eq!(none["fixed_ips"], json!([]));
        let found = world.get(ADA, "/ports?fixed_ips=ip_address=10.1.0.3&fields=id").await;
        assert_eq!(found["ports"], json!([{"id": other["id"]}]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_ports_are_refused_in_neutrons_words() {
    for world in World::all().await {
        let (network, subnet) = world.subnet(ADA, "10.0.0.0/24").await;
        let (other, _) = world.subnet(BOB, "10.0.0.0/24").await;
        let taken = world.make(ADA, "ports", json!({"network_id": network})).await;
        let with = |key: &str, value: Value| {
            let mut body = json!({"network_id": network});
            body[key] = value;
            body
        };
        let address = |text: &str| with("fixed_ips", json!([{"ip_address": text}]));
        let six: Vec<Value> = (0..6).map(|_| json!({"subnet_id": subnet})).collect();
        let pair = |text: &str| with("allowed_address_pairs", json!([{"ip_address": text}]));
        let eleven: Vec<Value> = (0..11).map(|n| json!({"ip_address": format!("10.0.0.{n}")})).collect();
        let mut unsafe_pair = pair("10.0.0.9");
        unsafe_pair["port_security_enabled"] = json!(false);
        for (body, status, fault) in [
            (json!({}), 400, "HTTPBadRequest"),
            (json!({"network_id": NOWHERE}), 404, "NetworkNotFound"),
            (json!({"network_id": other}), 404, "NetworkNotFound"),
            (with("colour", json!("red")), 400, "HTTPBadRequest"),
            (address("10.1.0.5"), 400, "InvalidIpForNetwork"),
            (address("fd00::1"), 400, "InvalidIpForNetwork"),
            (address("10.0.0.255"), 400, "InvalidIpForSubnet"),
            (address("10.0.0"), 400, "InvalidInput"),
            (address("10.0.0.3"), 409, "IpAddressAlreadyAllocated"),
            (with("fixed_ips", json!([{}])), 400, "InvalidInput"),
            (with("fixed_ips", json!([{"subnet_id": NOWHERE}])), 400, "InvalidInput"),
            (
                with("fixed_ips", json!([{"ip_address": "10.0.0.7"}, {"ip_address": "10.0.0.7"}])),
                400,
                "InvalidInput",
            ),
            (with("fixed_ips", Value::Array(six)), 400, "InvalidInput"),
            (with("mac_address", json!("aa:bb")), 400, "HTTPBadRequest"),
            (with("mac_address", json!("01:00:5e:00:00:01")), 400, "InvalidInput"),
            (with("mac_address", taken["mac_address"].clone()), 409, "MacAddressInUse"),
            (with("security_groups", json!([NOWHERE])), 404, "SecurityGroupNotFound"),
            (with("security_groups", json!(["default"])), 404, "SecurityGroupNotFound"),
            (pair("10.0.0"), 400, "InvalidInput"),
            (pair("fd00::1"), 501, "HTTPNotImplemented"),
            (with("allowed_address_pairs", Value::Array(eleven)), 400, "InvalidInput"),
            (unsafe_pair, 409, "AddressPairAndPortSecurityRequired"),
            (with("device_id", json!("x".repeat(256))), 400, "HTTPBadRequest"),
            (with("binding:host_id", json!("n1")), 403, "PolicyNotAuthorized"),
            (with("binding:vnic_type", json!("direct")), 400, "InvalidInput"),
            (with("project_id", json!("p2")), 403, "PolicyNotAuthorized"),
        ] {
            let answer = world.call(ADA, "POST", "/ports", json!({"port": body})).await;
            assert_eq!(answer.fault(), (status, fault), "{body}: {}", answer.body);
        }
        let dhcp = world.get(ADA, "/ports?device_owner=network:dhcp").await["ports"][0]["id"].take();
        assert_eq!(world.delete(ADA, "ports", &dhcp).await.fault(), (409, "ServicePortInUse"));
        let moved = world.change(ADA, "ports", &dhcp, json!({"fixed_ips": []})).await;
        assert_eq!(moved.fault(), (409, "ServicePortInUse"));
        let left = world.get(ADA, "/ports").await;
        assert_eq!(left["ports"].as_array().unwrap().len(), 2, "nothing of what was refused is there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn security_of_a_port_is_switched_off_only_without_groups() {
    for world in World::all().await {
        let (network, _) = world.subnet(ADA, "10.0.0.0/24").await;
        let port = world.make(ADA, "ports", json!({"network_id": network})).await;
        let id = &port["id"];
        let off = world.change(ADA, "ports", id, json!({"port_security_enabled": false})).await;
        assert_eq!(off.fault(), (409, "PortSecurityPortHasSecurityGroup"));
        let change = json!({"port_security_enabled": false, "security_groups": []});
        let off = world.changed(ADA, "ports", id, change).await;
        assert_eq!((&off["security_groups"], &off["port_security_enabled"]), (&json!([]), &json!(false)));
        let pairs =
            json!({"allowed_address_pairs": [{"ip_address": "10.0.0.0/28"}], "port_security_enabled": true});
        let on = world.changed(ADA, "ports", id, pairs).await;
        assert_eq!(
            on["allowed_address_pairs"][0]["mac_address"], port["mac_address"],
            "its own MAC by default"
        );
        let open =
            world.make(ADA, "ports", json!({"network_id": network, "port_security_enabled": false})).await;
        assert_eq!(open["security_groups"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_pool_says_so() {
    for world in World::all().await {
        let network = world.make(ADA, "networks", json!({"name": "small"})).await;
        let bare = world.make(ADA, "ports", json!({"network_id": network["id"]})).await;
        assert_eq!(bare["fixed_ips"], json!([]), "without subnets there are no addresses");
        let body = json!({
            "network_id": network["id"], "cidr": "10.0.0.0/29", "ip_version": 4, "enable_dhcp": false,
            "allocation_pools": [{"start": "10.0.0.2", "end": "10.0.0.3"}, {"start": "10.0.0.6", "end": "10.0.0.6"}],
        });
        world.make(ADA, "subnets", body).await;
        let bulk = |count: usize| json!({"ports": vec![json!({"network_id": network["id"]}); count]});
        let many = world.call(ADA, "POST", "/ports", bulk(4)).await;
        assert_eq!(many.fault(), (409, "IpAddressGenerationFailure"));
        let many = world.call(ADA, "POST", "/ports", bulk(3)).await;
        assert_eq!(many.status, 201);
        let addresses: Vec<&Value> = many.body["ports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|port| &port["fixed_ips"][0]["ip_address"])
            .collect();
        assert_eq!(addresses, ["10.0.0.2", "10.0.0.3", "10.0.0.6"]);
    }
}
