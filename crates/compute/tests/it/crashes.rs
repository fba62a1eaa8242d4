//! Every crash point of the reconciler fails once, and panics once; every server ends as it should all the same.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use hanse_compute::Config;
use hanse_core::{CrashPoints, Error};
use hanse_work::backlog;
use serde_json::json;

use crate::harness::{Bench, benches_with};
use crate::ports::VOLUME;

/// Points, with whether they have panicked already.
pub type Seen = Arc<Mutex<BTreeSet<(&'static str, bool)>>>;

/// Fails once at each point, then panics once there.
pub fn saboteur() -> (CrashPoints, Seen) {
    let seen = Seen::default();
    let inner = seen.clone();
    let points = CrashPoints::new(move |point| {
        if inner.lock().unwrap().insert((point, false)) {
            return Err(Error::unavailable(format!("injected at {point}")));
        }
        let again = inner.lock().unwrap().insert((point, true));
        assert!(!again, "killed at {point}");
        Ok(())
    });
    (points, seen)
}

/// As [`Bench::eventually`], where failed steps need not wait for their pause to end.
pub async fn at_last(bench: &Bench, what: &str, mut check: impl AsyncFnMut() -> bool) {
    bench
        .eventually(what, async || {
            bench.wake_all().await;
            check().await
        })
        .await;
}

async fn becomes(bench: &Bench, id: hanse_core::Uuid, status: &str) {
    at_last(bench, status, async || {
        let server = bench.show(id).await;
        server["status"] == status && server["OS-EXT-STS:task_state"].is_null()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_delays_a_server_and_breaks_nothing() {
    let (crash, seen) = saboteur();
    for bench in benches_with(Config::default(), crash).await {
        seen.lock().unwrap().clear();
        let id = bench.create("member@p1", json!({})).await;
        becomes(&bench, id, "ACTIVE").await;
        bench.act("member@p1", id, json!({"os-stop": null})).await.expect(202);
        becomes(&bench, id, "SHUTOFF").await;
        bench.act("member@p1", id, json!({"os-start": null})).await.expect(202);
        becomes(&bench, id, "ACTIVE").await;
        let volumes = format!("/compute/v2.1/servers/{id}/os-volume_attachments");
        let body = json!({"volumeAttachment": {"volumeId": VOLUME}});
        bench.client.post(&volumes, "member@p1", body).await.expect(200);
        at_last(&bench, "the volume is attached", async || {
            bench.agent.guest(id).unwrap().disks.len() == 2
                && bench.count("attachments WHERE state = 'attached'").await == 1
        })
        .await;
        bench.client.delete(&format!("{volumes}/{VOLUME}"), "member@p1").await.expect(202);
        at_last(&bench, "the volume is free", async || bench.neighbours.volumes.lock().unwrap().is_empty())
            .await;
        let path = format!("/compute/v2.1/servers/{id}");
        bench.client.delete(&path, "member@p1").await.expect(204);
        at_last(&bench, "the server is gone", async || {
            bench.client.get(&path, "admin@ops").await.status == 404
        })
        .await;
        at_last(&bench, "no work is left", async || {
            backlog(&mut bench.test.db.read().await.unwrap()).await.unwrap().is_empty()
        })
        .await;
        bench.assert_nothing_left().await;
        let points: BTreeSet<&str> = seen.lock().unwrap().iter().map(|(point, _)| *point).collect();
        let expected = [
            "compute.disk_put",
            "compute.forgotten",
            "compute.guest_put",
            "compute.ports_ensured",
            "compute.ports_released",
            "compute.volume_ensured",
            "compute.volume_released",
            "compute.volume_reserved",
            "compute.withdrawn",
        ];
        assert_eq!(points, BTreeSet::from(expected), "{}", bench.test.engine);
        assert_eq!(seen.lock().unwrap().len(), 2 * expected.len(), "each point failed and panicked");
    }
}
