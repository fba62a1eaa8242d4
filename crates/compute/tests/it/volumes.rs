use hanse_core::Uuid;
use hanse_node::documents::Kind;
use hanse_node::reports::State;
use serde_json::json;

use crate::harness::benches;
use crate::ports::{IMAGE, VOLUME};

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_attached_listed_and_detached() {
    for bench in benches().await {
        let id = bench.active("member@p1", json!({})).await;
        let path = format!("/compute/v2.1/servers/{id}/os-volume_attachments");
        let body = json!({"volumeAttachment": {"volumeId": VOLUME}});
        let made = bench.client.post(&path, "member@p1", body.clone()).await.expect(200).json();
        assert_eq!(made["volumeAttachment"]["device"], "/dev/vdb");
        bench.client.post(&path, "member@p1", body).await.expect(409);
        bench
            .eventually("it is attached", async || {
                bench.count("attachments WHERE state = 'attached'").await == 1
            })
            .await;
        let disk = &bench.agent.guest(id).unwrap().disks[1];
        assert_eq!((disk.id, disk.serial.as_str()), (VOLUME, VOLUME.to_string().as_str()));
        assert_eq!(bench.neighbours.volumes.lock().unwrap()[&VOLUME].server_id, id);
        let listed = bench.client.get(&path, "reader@p1").await.expect(200).json();
        assert_eq!(listed["volumeAttachments"][0]["volumeId"], VOLUME.to_string());
        bench.client.get(&format!("{path}/{VOLUME}"), "reader@p1").await.expect(200);
        assert_eq!(bench.show(id).await["os-extended-volumes:volumes_attached"][0]["id"], VOLUME.to_string());
        let second = Uuid::from_u128(0x5501);
        let body = json!({"volumeAttachment": {"volumeId": second, "device": "/dev/vdz"}});
        let made = bench.client.post(&path, "member@p1", body).await.expect(200).json();
        assert_eq!(made["volumeAttachment"]["device"], "/dev/vdc");
        for volume in [VOLUME, second] {
            bench.client.delete(&format!("{path}/{volume}"), "member@p1").await.expect(202);
        }
        bench.eventually("both are free", async || bench.neighbours.volumes.lock().unwrap().is_empty()).await;
        bench.eventually("both are detached", async || bench.count("attachments").await == 0).await;
        assert_eq!(bench.agent.guest(id).unwrap().disks.len(), 1);
        bench.client.delete(&format!("{path}/{VOLUME}"), "member@p1").await.expect(404);
        bench.client.get(&format!("{path}/{VOLUME}"), "member@p1").await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_attached_is_refused_or_let_go_again() {
    for bench in benches().await {
        let id = bench.active("member@p1", json!({})).await;
        let path = format!("/compute/v2.1/servers/{id}/os-volume_attachments");
        for (body, status) in [
            (json!({"volumeAttachment": {"volumeId": IMAGE}}), 404),
            (json!({"volumeAttachment": {"volumeId": "seven"}}), 400),
            (json!({"volumeAttachment": {}}), 400),
        ] {
            bench.client.post(&path, "member@p1", body).await.expect(status);
        }
        let failed = State::Failed { reason: "broken".to_owned() };
        bench.agent.answer(Kind::Guest, Some(failed));
        bench.act("member@p1", id, json!({"reboot": {"type": "HARD"}})).await.expect(202);
        bench.reaches(id, "ERROR").await;
        bench
            .client
            .post(&path, "member@p1", json!({"volumeAttachment": {"volumeId": VOLUME}}))
            .await
            .expect(409);
        bench.agent.answer(Kind::Guest, None);
        bench.act("member@p1", id, json!({"reboot": {"type": "HARD"}})).await.expect(202);
        bench.reaches(id, "ACTIVE").await;
        // A server that goes takes none of its volumes with it.
        bench
            .client
            .post(&path, "member@p1", json!({"volumeAttachment": {"volumeId": VOLUME}}))
            .await
            .expect(200);
        bench
            .eventually("it is attached", async || {
                bench.count("attachments WHERE state = 'attached'").await == 1
            })
            .await;
        bench.client.delete(&format!("/compute/v2.1/servers/{id}"), "member@p1").await.expect(204);
        bench.gone(id).await;
        bench.assert_nothing_left().await;
    }
}
