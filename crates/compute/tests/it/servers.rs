use hanse_node::documents::{Kind, Power, Spec};
use hanse_node::reports::State;
use hanse_store::query;
use http::Method;
use serde_json::{Value, json};

use crate::harness::benches;
use crate::ports::{BIG_IMAGE, IMAGE, NETWORK, QUEUED_IMAGE};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE2H0FHGCUAtLIrk8qj+Jcym/EdbmOmt58qq64e1qwMG ada@example";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_built_through_the_agent_and_leaves_nothing_behind() {
    for bench in benches().await {
        let key = json!({"keypair": {"name": "laptop", "public_key": KEY}});
        bench.client.post("/compute/v2.1/os-keypairs", "member@p1", key).await.expect(200);
        let id = bench
            .create(
                "member@p1",
                json!({"key_name": "laptop", "user_data": "I2Nsb3VkLWNvbmZpZwo=", "metadata": {"role": "web"},
                       "networks": [{"uuid": NETWORK, "fixed_ip": "10.0.0.77"}]}),
            )
            .await;
        let building = bench.show(id).await;
        assert_eq!(
            (&building["status"], &building["OS-EXT-STS:task_state"]),
            (&json!("BUILD"), &json!("spawning"))
        );
        bench.reaches(id, "ACTIVE").await;
        let server = bench.show(id).await;
        assert_eq!(server["addresses"]["private"][0]["addr"], "10.0.0.77");
        assert_eq!(server["OS-EXT-SRV-ATTR:host"], "node-1");
        assert_eq!(server["security_groups"], json!([{"name": "default"}]));
        assert!(server["OS-SRV-USG:launched_at"].is_string());
        let guest = bench.agent.guest(id).unwrap();
        assert_eq!((guest.vcpus, guest.memory_mib, guest.power), (1, 1024, Power::Running));
        assert_eq!(guest.identity.public_keys["laptop"], KEY);
        assert_eq!(guest.identity.user_data.unwrap().expose(), b"#cloud-config\n");
        assert_eq!(guest.identity.metadata["role"], "web");
        assert_eq!((guest.nics.len(), guest.disks[0].id), (1, id));
        match bench.agent.spec(Kind::Disk, id).unwrap() {
            // A flavor without a disk: as large as the image, in whole MiB.
            Spec::Disk(disk) => {
                assert_eq!((disk.image.unwrap().id, disk.size_bytes), (IMAGE, 2_000_683_008));
            }
            other => panic!("{other:?}"),
        }
        let rows: Vec<(Option<Vec<u8>>,)> = query("SELECT user_data FROM servers")
            .all(&mut bench.test.db.read().await.unwrap())
            .await
            .unwrap();
        assert!(!rows[0].0.as_ref().unwrap().starts_with(b"#cloud"), "user data is encrypted at rest");
        bench.client.delete(&format!("/compute/v2.1/servers/{id}"), "member@p1").await.expect(204);
        bench.gone(id).await;
        bench.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_cannot_do_ends_in_error_with_its_reason_and_can_be_deleted() {
    for bench in benches().await {
        for (kind, reason) in [(Kind::Disk, "the disk is full"), (Kind::Guest, "QEMU is gone")] {
            bench.agent.answer(kind, Some(State::Failed { reason: reason.to_owned() }));
            let id = bench.create("member@p1", json!({})).await;
            bench.reaches(id, "ERROR").await;
            assert_eq!(bench.show(id).await["fault"]["message"], reason);
            let actions = format!("/compute/v2.1/servers/{id}/os-instance-actions");
            let actions = bench.client.get(&actions, "reader@p1").await;
            assert_eq!(actions.expect(200).json()["instanceActions"][0]["message"], "Error");
            bench.client.delete(&format!("/compute/v2.1/servers/{id}"), "member@p1").await.expect(204);
            bench.gone(id).await;
            bench.agent.answer(kind, None);
        }
        *bench.neighbours.refusal.lock().unwrap() = Some("No more IP addresses available.".to_owned());
        let id = bench.create("member@p1", json!({})).await;
        bench.reaches(id, "ERROR").await;
        assert_eq!(bench.show(id).await["fault"]["message"], "No more IP addresses available.");
        bench.client.delete(&format!("/compute/v2.1/servers/{id}"), "member@p1").await.expect(204);
        bench.gone(id).await;
        bench.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_for_which_no_node_has_room_is_in_error() {
    for bench in benches().await {
        let id = bench.create("member@p1", json!({"flavorRef": "SCS-1V-8"})).await;
        bench.reaches(id, "ACTIVE").await;
        let second = bench.create("member@p1", json!({})).await;
        let server = bench.show(second).await;
        assert_eq!(server["status"], "ERROR");
        assert!(server["fault"]["message"].as_str().unwrap().starts_with("No valid host was found."));
        assert_eq!(server["hostId"], "");
        bench.act("member@p1", second, json!({"os-start": null})).await.expect(409);
        bench.act("member@p1", second, json!({"reboot": {"type": "HARD"}})).await.expect(409);
        bench.client.delete(&format!("/compute/v2.1/servers/{second}"), "member@p1").await.expect(204);
        bench.gone(second).await;
        bench.client.delete(&format!("/compute/v2.1/servers/{id}"), "member@p1").await.expect(204);
        bench.gone(id).await;
        bench.active("member@p1", json!({})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_input_is_refused_and_changes_nothing() {
    for bench in benches().await {
        for (more, status) in [
            (json!({"name": ""}), 400),
            (json!({"name": " "}), 400),
            (json!({"name": 12345}), 400),
            (json!({"name": "x".repeat(256)}), 400),
            (json!({"imageRef": null}), 400),
            (json!({"imageRef": "seven"}), 400),
            (json!({"imageRef": NETWORK}), 400),
            (json!({"imageRef": QUEUED_IMAGE}), 400),
            (json!({"imageRef": BIG_IMAGE, "flavorRef": "SCS-2V-4-20s"}), 400),
            (json!({"imageRef": BIG_IMAGE}), 400),
            (json!({"flavorRef": "nothing"}), 400),
            (json!({"flavorRef": null}), 400),
            (json!({"key_name": "nothing"}), 400),
            (json!({"user_data": "!"}), 400),
            (json!({"user_data": "A".repeat(65_536)}), 400),
            (json!({"metadata": {"": "x"}}), 400),
            (json!({"metadata": {"x".repeat(256): "x"}}), 400),
            (json!({"metadata": {"a": "x".repeat(256)}}), 400),
            (json!({"metadata": {"a": 1}}), 400),
            (
                json!({"metadata": (0..129).map(|n| (n.to_string(), n.to_string())).collect::<std::collections::BTreeMap<_, _>>()}),
                403,
            ),
            (json!({"networks": [{}]}), 400),
            (json!({"networks": [{"uuid": "seven"}]}), 400),
            (json!({"networks": [{"uuid": IMAGE}]}), 400),
            (json!({"networks": [{"uuid": NETWORK, "fixed_ip": "10.0.0.300"}]}), 400),
            (json!({"networks": [{"uuid": NETWORK, "fixed_ip": "10.0.0.3"}], "max_count": 2}), 400),
            (json!({"networks": "auto"}), 400),
            (json!({"availability_zone": "mars"}), 400),
            (json!({"min_count": 0}), 400),
            (json!({"min_count": 3, "max_count": 2}), 400),
            (json!({"min_count": "x"}), 400),
            (json!({"accessIPv4": "1.2.3"}), 400),
            (json!({"accessIPv6": "notvalid"}), 400),
            (json!({"OS-DCF:diskConfig": "SOMETIMES"}), 400),
            (json!({"personality": [{"path": "/a", "contents": ""}]}), 400),
            (json!({"adminPass": "secret"}), 400),
            (json!({"config_drive": "perhaps"}), 400),
            (
                json!({"block_device_mapping_v2": [{"boot_index": 0, "uuid": NETWORK, "source_type": "volume", "destination_type": "volume"}]}),
                400,
            ),
            (json!({"os:scheduler_hints": {"group": "x"}}), 400),
            (json!({"nmae": "x"}), 400),
        ] {
            let answer = bench.try_create("member@p1", more.clone()).await;
            assert_eq!(answer.status.as_u16(), status, "{more}: {}", answer.text());
            assert!(answer.json().as_object().unwrap().values().next().unwrap()["message"].is_string());
        }
        bench.client.post("/compute/v2.1/servers", "member@p1", json!({})).await.expect(400);
        assert_eq!(bench.count("servers").await, 0);
        for wrong in ["seven", "-1", &"x".repeat(300), &NETWORK.to_string()] {
            let path = format!("/compute/v2.1/servers/{wrong}");
            bench.client.get(&path, "member@p1").await.expect(404);
            bench.client.delete(&path, "member@p1").await.expect(404);
            bench
                .client
                .post(&format!("{path}/action"), "member@p1", json!({"os-stop": null}))
                .await
                .expect(404);
            let name = json!({"server": {"name": "x"}});
            bench.client.call(Method::PUT, &path, "member@p1", name).await.expect(404);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_servers_come_with_one_call_and_names_of_their_own() {
    for bench in benches().await {
        let more = json!({"min_count": 2, "max_count": "3", "return_reservation_id": true});
        let answer = bench.try_create("member@p1", more).await.expect(202).json();
        let reservation = answer["reservation_id"].as_str().unwrap();
        let path =
            format!("/compute/v2.1/servers?reservation_id={reservation}&sort_key=display_name&sort_dir=asc");
        let list = bench.client.get(&path, "member@p1").await.expect(200).json();
        let names: Vec<&Value> = list["servers"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["web-1", "web-2", "web-3"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_renamed_and_its_metadata_reach_the_guest() {
    for bench in benches().await {
        let id = bench.active("member@p1", json!({"metadata": {"a": "1"}})).await;
        let path = format!("/compute/v2.1/servers/{id}");
        let change = json!({"server": {"name": " new ", "accessIPv4": "1.1.1.1", "accessIPv6": "::1"}});
        let changed = bench.client.call(Method::PUT, &path, "member@p1", change).await.expect(200).json();
        assert_eq!(
            (&changed["server"]["name"], &changed["server"]["accessIPv4"]),
            (&json!("new"), &json!("1.1.1.1"))
        );
        assert!(changed["server"].get("key_name").is_none());
        let address = changed["server"]["addresses"]["private"][0].as_object().unwrap();
        assert_eq!(address.len(), 2, "what PUT shows has no attributes of extensions");
        for (wrong, status) in [
            (json!({"server": {"name": ""}}), 400),
            (json!({"server": {"name": "x".repeat(256)}}), 400),
            (json!({"server": {"accessIPv6": "x"}}), 400),
            (json!({"server": {"status": "ACTIVE"}}), 400),
            (json!({}), 400),
        ] {
            bench.client.call(Method::PUT, &path, "member@p1", wrong).await.expect(status);
        }
        let metadata = format!("{path}/metadata");
        let merged = bench
            .client
            .post(&metadata, "member@p1", json!({"metadata": {"b": "2"}}))
            .await
            .expect(200)
            .json();
        assert_eq!(merged, json!({"metadata": {"a": "1", "b": "2"}}));
        let one = bench
            .client
            .call(Method::PUT, &format!("{metadata}/c"), "member@p1", json!({"meta": {"c": "3"}}))
            .await;
        assert_eq!(one.expect(200).json(), json!({"meta": {"c": "3"}}));
        bench.client.delete(&format!("{metadata}/a"), "member@p1").await.expect(204);
        bench.client.delete(&format!("{metadata}/a"), "member@p1").await.expect(404);
        assert_eq!(
            bench.client.get(&format!("{metadata}/b"), "reader@p1").await.json(),
            json!({"meta": {"b": "2"}})
        );
        bench
            .eventually("the guest knows", async || {
                let guest = bench.agent.guest(id).unwrap();
                guest.identity.name == "new" && guest.identity.metadata.len() == 2
            })
            .await;
        let replaced =
            bench.client.call(Method::PUT, &metadata, "member@p1", json!({"metadata": {"z": "9"}})).await;
        assert_eq!(replaced.expect(200).json(), json!({"metadata": {"z": "9"}}));
        assert_eq!(bench.show(id).await["status"], "ACTIVE");
    }
}
