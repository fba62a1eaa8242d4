use std::time::Duration;

use hanse_core::Uuid;
use hanse_node::documents::{Kind, Power, Reboots};
use hanse_node::reports::State;
use serde_json::{Value, json};

use crate::agent::Pretend;
use crate::harness::{Bench, benches};

async fn refused(bench: &Bench, id: Uuid, action: Value) {
    let answer = bench.act("member@p1", id, action.clone()).await;
    assert_eq!(answer.status, 409, "{action}: {}", answer.text());
    assert!(answer.text().contains("conflictingRequest"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_stopped_started_and_rebooted() {
    for bench in benches().await {
        let id = bench.active("member@p1", json!({})).await;
        refused(&bench, id, json!({"os-start": null})).await;
        bench.act("member@p1", id, json!({"os-stop": null})).await.expect(202);
        assert_eq!(bench.show(id).await["OS-EXT-STS:task_state"], "powering-off");
        refused(&bench, id, json!({"reboot": {"type": "SOFT"}})).await;
        bench.reaches(id, "SHUTOFF").await;
        assert_eq!(bench.agent.guest(id).unwrap().power, Power::Stopped { grace_seconds: 60 });
        assert_eq!(bench.show(id).await["OS-EXT-STS:power_state"], 4);
        refused(&bench, id, json!({"os-stop": null})).await;
        refused(&bench, id, json!({"reboot": {"type": "SOFT"}})).await;
        bench.act("member@p1", id, json!({"os-start": null})).await.expect(202);
        bench.reaches(id, "ACTIVE").await;
        assert_eq!(bench.agent.guest(id).unwrap().power, Power::Running);
        bench.act("member@p1", id, json!({"reboot": {"type": "soft"}})).await.expect(202);
        assert_eq!(bench.show(id).await["status"], "REBOOT");
        bench.reaches(id, "ACTIVE").await;
        bench.act("member@p1", id, json!({"reboot": {"type": "HARD"}})).await.expect(202);
        assert_eq!(bench.show(id).await["status"], "HARD_REBOOT");
        bench.reaches(id, "ACTIVE").await;
        assert_eq!(bench.agent.guest(id).unwrap().reboots, Reboots { soft: 1, hard: 1 });
        let path = format!("/compute/v2.1/servers/{id}/os-instance-actions");
        let events = bench.client.get(&path, "reader@p1").await.expect(200).json();
        let actions: Vec<&str> = events["instanceActions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["action"].as_str().unwrap())
            .collect();
        assert_eq!(actions.len(), 5);
        let request = events["instanceActions"][0]["request_id"].as_str().unwrap();
        let one = bench.client.get(&format!("{path}/{request}"), "reader@p1").await.expect(200).json();
        assert_eq!(one["instanceAction"]["instance_uuid"], id.to_string());
        bench.client.get(&format!("{path}/req-nothing"), "reader@p1").await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_switches_itself_off_stays_off_until_it_is_started() {
    for bench in benches().await {
        let id = bench.active("member@p1", json!({})).await;
        bench.agent.say(Kind::Guest, id, State::Stopped);
        bench.reaches(id, "SHUTOFF").await;
        bench
            .eventually("the node is told to leave it off", async || {
                matches!(bench.agent.guest(id).unwrap().power, Power::Stopped { .. })
            })
            .await;
        bench.act("member@p1", id, json!({"os-start": null})).await.expect(202);
        bench.reaches(id, "ACTIVE").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_breaks_is_in_error_and_a_hard_reboot_brings_it_back() {
    for bench in benches().await {
        let id = bench.active("member@p1", json!({})).await;
        bench.agent.say(Kind::Guest, id, State::Failed { reason: "QEMU has died".to_owned() });
        bench.reaches(id, "ERROR").await;
        assert_eq!(bench.show(id).await["fault"]["message"], "QEMU has died");
        bench.act("member@p1", id, json!({"reboot": {"type": "HARD"}})).await.expect(202);
        bench.reaches(id, "ACTIVE").await;
        assert!(bench.show(id).await.get("fault").is_none());
        bench.act("admin@ops", id, json!({"os-resetState": {"state": "error"}})).await.expect(202);
        bench.reaches(id, "ERROR").await;
        bench.act("admin@ops", id, json!({"os-resetState": {"state": "active"}})).await.expect(202);
        bench.reaches(id, "ACTIVE").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_too_long_ends_in_error_and_says_what_was_awaited() {
    for bench in benches().await {
        bench.agent.answer(Kind::Guest, Some(State::Pending { reason: "QEMU starts".to_owned() }));
        let id = bench.create("member@p1", json!({})).await;
        // Not before the report is written down: without it nobody can say why the guest is awaited.
        let reported = format!("node_reports WHERE kind = 'guest' AND id = '{id}'");
        bench.eventually("the guest is pending", async || bench.count(&reported).await == 1).await;
        assert_eq!(bench.show(id).await["status"], "BUILD");
        bench.clock.advance(Duration::from_secs(3601));
        bench.wake_all().await;
        bench.reaches(id, "ERROR").await;
        let fault = bench.show(id).await["fault"]["message"].as_str().unwrap().to_owned();
        assert_eq!(fault, "It took too long: still waiting for the guest: QEMU starts.");
        bench.agent.answer(Kind::Guest, None);
        bench.client.delete(&format!("/compute/v2.1/servers/{id}"), "member@p1").await.expect(204);
        bench.gone(id).await;
        bench.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_deleted_in_whatever_state_it_is() {
    for bench in benches().await {
        let delete = async |id: Uuid| {
            let path = format!("/compute/v2.1/servers/{id}");
            bench.client.delete(&path, "member@p1").await.expect(204);
            let again = bench.client.delete(&path, "member@p1").await.status.as_u16();
            assert!(again == 204 || again == 404, "{again}");
            refused(&bench, id, json!({"os-stop": null})).await;
            bench.gone(id).await;
        };
        // Before anything was done for it; while its disk is made; while it reboots for ever.
        delete(bench.create("member@p1", json!({})).await).await;
        bench.agent.answer(Kind::Disk, Some(State::Pending { reason: "copying".to_owned() }));
        let id = bench.create("member@p1", json!({})).await;
        bench.eventually("the disk is asked for", async || bench.agent.spec(Kind::Disk, id).is_some()).await;
        delete(id).await;
        bench.agent.answer(Kind::Disk, None);
        let id = bench.active("member@p1", json!({})).await;
        bench.agent.answer(Kind::Guest, Some(State::Pending { reason: "shutting down".to_owned() }));
        bench.act("member@p1", id, json!({"os-stop": null})).await.expect(202);
        delete(id).await;
        bench.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_away_finds_its_work_when_it_comes_back() {
    for bench in benches().await {
        // Node 2 has more room, so the server goes there; its agent leaves at once.
        let away = Pretend::new("node-2", 65_536);
        let session = bench.connect(away.clone()).await;
        let id = bench.create("member@p1", json!({})).await;
        session.abort();
        assert_eq!(bench.show(id).await["OS-EXT-SRV-ATTR:host"], "node-2");
        bench.eventually("it is away", async || bench.count("nodes WHERE connected = 0").await == 1).await;
        bench.connect(away).await;
        bench.reaches(id, "ACTIVE").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_are_checked() {
    for bench in benches().await {
        let id = bench.active("member@p1", json!({})).await;
        for (action, status) in [
            (json!({}), 400),
            (json!({"os-stop": null, "os-start": null}), 400),
            (json!({"dance": null}), 400),
            (json!({"reboot": {}}), 400),
            (json!({"reboot": {"type": "GENTLE"}}), 400),
            (json!({"createImage": {"name": "x"}}), 501),
            (json!({"resize": {"flavorRef": "1"}}), 501),
            (json!({"os-getConsoleOutput": {"length": "many"}}), 400),
            (json!({"os-resetState": {"state": "error"}}), 403),
            (json!({"addSecurityGroup": {"name": "nothing"}}), 404),
            (json!({"addSecurityGroup": {}}), 400),
        ] {
            let answer = bench.act("member@p1", id, action.clone()).await;
            assert_eq!(answer.status.as_u16(), status, "{action}: {}", answer.text());
        }
        for (length, output) in [
            (json!({}), "line 1\nline 2\nlogin: \n"),
            (json!({"length": null}), "line 1\nline 2\nlogin: \n"),
            (json!({"length": -1}), "line 1\nline 2\nlogin: \n"),
            (json!({"length": "2"}), "line 2\nlogin: \n"),
            (json!({"length": 0}), ""),
        ] {
            let answer = bench.act("member@p1", id, json!({"os-getConsoleOutput": length})).await;
            assert_eq!(answer.expect(200).json(), json!({ "output": output }));
        }
        bench.act("member@p1", id, json!({"addSecurityGroup": {"name": "web"}})).await.expect(202);
        assert_eq!(bench.neighbours.groups.lock().unwrap().len(), 1);
        bench.act("member@p1", id, json!({"removeSecurityGroup": {"name": "web"}})).await.expect(202);
        assert!(bench.neighbours.groups.lock().unwrap().is_empty());
    }
}
