use serde_json::{Value, json};

use crate::world::{ADA, ADMIN, BOB, World};

const NOWHERE: &str = "00000000-0000-0000-0000-000000000000";

#[tokio::test(flavor = "multi_thread")]
async fn every_project_has_a_default_group_from_the_first_look_on() {
    for world in World::all().await {
        let groups = world.get("p1:reader", "/security-groups").await;
        let group = &groups["security_groups"][0];
        assert_eq!((&group["name"], &group["project_id"]), (&json!("default"), &json!("p1")));
        let rules = group["security_group_rules"].as_array().unwrap();
        let of =
            |direction: &str| rules.iter().filter(|rule| rule["direction"] == direction).collect::<Vec<_>>();
        assert_eq!((of("egress").len(), of("ingress").len()), (2, 2));
        assert!(of("ingress").iter().all(|rule| rule["remote_group_id"] == group["id"]));
        assert!(of("egress").iter().all(|rule| rule["remote_group_id"].is_null()));
        assert_eq!(world.get(ADA, "/security-groups").await["security_groups"].as_array().unwrap().len(), 1);
        assert_eq!(
            world.delete(ADA, "security-groups", &group["id"]).await.fault(),
            (409, "SecurityGroupCannotRemoveDefault")
        );
        let renamed = world.change(ADA, "security-groups", &group["id"], json!({"name": "x"})).await;
        assert_eq!(renamed.fault(), (409, "SecurityGroupCannotUpdateDefault"));
        let second =
            world.call(ADA, "POST", "/security-groups", json!({"security_group": {"name": "default"}})).await;
        assert_eq!(second.fault(), (409, "SecurityGroupDefaultAlreadyExists"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_and_rules_live_from_create_to_delete() {
    for world in World::all().await {
        let group = world.make(ADA, "security-groups", json!({"name": "web", "description": "d"})).await;
        let id = &group["id"];
        assert_eq!(group["security_group_rules"].as_array().unwrap().len(), 2, "what leaves is allowed");
        let rule = |change: Value| {
            let mut body = json!({"security_group_id": id, "direction": "ingress"});
            body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            body
        };
        let ssh = json!({"protocol": "tcp", "port_range_min": 22, "port_range_max": 22, "remote_ip_prefix": "10.0.0.5/8"});
        let made = world.make(ADA, "security-group-rules", rule(ssh)).await;
        assert_eq!((&made["ethertype"], &made["protocol"]), (&json!("IPv4"), &json!("tcp")));
        assert_eq!(
            (&made["remote_ip_prefix"], &made["normalized_cidr"]),
            (&json!("10.0.0.5/8"), &json!("10.0.0.0/8"))
        );
        let twin = json!({"protocol": "6", "port_range_min": "22", "port_range_max": "22", "remote_ip_prefix": "10.0.0.0/8"});
        let twin = json!({"security_group_rule": rule(twin)});
        let answer = world.call(ADA, "POST", "/security-group-rules", twin).await;
        assert_eq!(answer.fault(), (409, "SecurityGroupRuleExists"), "the same in other words");
        let number = world.make(ADA, "security-group-rules", rule(json!({"protocol": 17}))).await;
        assert_eq!(number["protocol"], "17");
        let icmp = json!({"protocol": "icmp", "port_range_min": 8, "port_range_max": 0});
        world.make(ADA, "security-group-rules", rule(icmp)).await;
        let remote = world.make(ADA, "security-group-rules", rule(json!({"remote_group_id": id}))).await;
        assert_eq!(&remote["remote_group_id"], id);
        let listed = world
            .get(
                ADA,
                &format!(
                    "/security-group-rules?security_group_id={}&direction=ingress",
                    id.as_str().unwrap()
                ),
            )
            .await;
        assert_eq!(listed["security_group_rules"].as_array().unwrap().len(), 4);
        assert_eq!(world.show(ADA, "security-group-rules", &made["id"]).await["id"], made["id"]);
        assert_eq!(world.delete(ADA, "security-group-rules", &made["id"]).await.status, 204);
        assert_eq!(
            world.delete(ADA, "security-group-rules", &made["id"]).await.fault(),
            (404, "SecurityGroupRuleNotFound")
        );
        let renamed = world.changed(ADA, "security-groups", id, json!({"name": "www"})).await;
        assert_eq!((&renamed["name"], &renamed["description"]), (&json!("www"), &json!("d")));
        assert_eq!(world.delete(ADA, "security-groups", id).await.status, 204);
        assert_eq!(world.delete(ADA, "security-groups", id).await.fault(), (404, "SecurityGroupNotFound"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_rules_are_refused_in_neutrons_words() {
    for world in World::all().await {
        let id = world.make(ADA, "security-groups", json!({"name": "web"})).await["id"].take();
        let other = world.make(BOB, "security-groups", json!({"name": "web"})).await["id"].take();
        for (change, status, fault) in [
            (json!({"security_group_id": NOWHERE}), 404, "SecurityGroupNotFound"),
            (json!({"security_group_id": other}), 404, "SecurityGroupNotFound"),
            (json!({"remote_group_id": NOWHERE}), 404, "SecurityGroupNotFound"),
            (json!({"remote_group_id": other}), 404, "SecurityGroupNotFound"),
            (json!({"direction": "sideways"}), 400, "InvalidInput"),
            (json!({"ethertype": "bad_ethertype"}), 400, "InvalidInput"),
            (json!({"protocol": "bad_protocol_name"}), 400, "SecurityGroupRuleInvalidProtocol"),
            (json!({"remote_ip_prefix": "192.168.1.1/33"}), 400, "InvalidInput"),
            (json!({"remote_ip_prefix": "::/0"}), 400, "SecurityGroupRuleParameterConflict"),
            (
                json!({"remote_ip_prefix": "10.0.0.0/8", "remote_group_id": id}),
                400,
                "SecurityGroupRemoteGroupAndRemoteIpPrefix",
            ),
            (
                json!({"port_range_min": 1, "port_range_max": 2}),
                400,
                "SecurityGroupProtocolRequiredWithPorts",
            ),
            (json!({"protocol": "tcp", "port_range_min": "x", "port_range_max": 2}), 400, "InvalidInput"),
            (
                json!({"protocol": "tcp", "port_range_min": 3, "port_range_max": 2}),
                400,
                "SecurityGroupInvalidPortRange",
            ),
            (json!({"colour": "red"}), 400, "HTTPBadRequest"),
        ] {
            let mut body = json!({"security_group_id": id, "direction": "ingress"});
            body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let answer =
                world.call(ADA, "POST", "/security-group-rules", json!({"security_group_rule": body})).await;
            assert_eq!(answer.fault(), (status, fault), "{body}: {}", answer.body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_in_use_stays_and_a_port_changes_groups() {
    for world in World::all().await {
        let (network, _) = world.subnet(ADA, "10.0.0.0/24").await;
        let web = world.make(ADA, "security-groups", json!({"name": "web"})).await["id"].take();
        let other = world.make(BOB, "security-groups", json!({"name": "web"})).await["id"].take();
        let port = world.make(ADA, "ports", json!({"network_id": network, "security_groups": [web]})).await;
        assert_eq!(port["security_groups"], json!([web]));
        assert_eq!(world.delete(ADA, "security-groups", &web).await.fault(), (409, "SecurityGroupInUse"));
        let foreign = world.change(ADA, "ports", &port["id"], json!({"security_groups": [other]})).await;
        assert_eq!(foreign.fault(), (404, "SecurityGroupNotFound"), "of another project");
        let found = world.get(ADMIN, &format!("/ports?security_groups={}", web.as_str().unwrap())).await;
        assert_eq!(found["ports"][0]["id"], port["id"]);
        world.changed(ADA, "ports", &port["id"], json!({"security_groups": []})).await;
        assert_eq!(world.delete(ADA, "security-groups", &web).await.status, 204);
    }
}
