//! Servers that want the same volume, beside the real volume service.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hanse_compute::Config;
use hanse_compute::ports::{VolumeUse, Volumes};
use hanse_core::{CrashPoints, Cx, Result, Uuid};
use hanse_policy::Caller;
use hanse_store::Db;
use hanse_testkit::{Answer, Client};
use hanse_volume::{Use, Volume, ports::Servers};
use hanse_work::Turn;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::crashes::{at_last, saboteur};
use crate::harness::{Bench, Beside, benches_beside};

const ADA: &str = "member@p1";

/// Where a call that attaches a volume stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Nowhere,
    /// The attachment is written, the volume not asked for.
    Begun,
    /// The volume has answered, the client not.
    Answered,
}

/// The real volumes, asked by callers that can be held up.
struct Keeper {
    volume: Volume,
    stop: watch::Sender<Stop>,
    at: watch::Sender<Stop>,
}

impl Keeper {
    async fn pass(&self, place: Stop) {
        self.at.send_replace(place);
        self.stop.subscribe().wait_for(|stop| *stop != place).await.unwrap();
    }
}

fn known(wanted: &VolumeUse) -> Use {
    Use {
        id: wanted.attachment_id,
        volume_id: wanted.volume_id,
        server_id: wanted.server_id,
        project_id: wanted.project_id.clone(),
        node: wanted.node.clone(),
        device: wanted.device.clone(),
    }
}

#[async_trait]
impl Volumes for Keeper {
    async fn validate(&self, _: &Cx, caller: &Caller, volume_id: Uuid) -> Result<()> {
        self.volume.validate(caller, volume_id).await.map(drop)
    }

    async fn reserve(&self, cx: &Cx, caller: &Caller, wanted: &VolumeUse) -> Result<()> {
        self.pass(Stop::Begun).await;
        let reserved = self.volume.reserve(cx, caller, &known(wanted)).await.map(drop);
        self.pass(Stop::Answered).await;
        reserved
    }

    async fn ensure_reserved(&self, turn: &Turn, wanted: &VolumeUse) -> Result<()> {
        self.volume.ensure_reserved(&turn.cx, &known(wanted)).await
    }

    async fn ensure_attached(&self, turn: &Turn, wanted: &VolumeUse) -> Result<()> {
        self.volume.ensure_attached(&turn.cx, &known(wanted)).await
    }

    async fn release(&self, cx: &Cx, volume_id: Uuid, attachment_id: Uuid) -> Result<()> {
        self.volume.release(cx, volume_id, attachment_id).await
    }
}

/// What volumes ask of compute.
struct Standing(Db);

#[async_trait]
impl Servers for Standing {
    async fn standing(&self, _: &Cx, attachments: &[Uuid]) -> Result<BTreeSet<Uuid>> {
        hanse_compute::standing(&self.0, attachments).await
    }
}

/// Servers and volumes, side by side.
struct Town {
    bench: Bench,
    keeper: Arc<Keeper>,
    volumes: Client,
}

async fn towns(crash: CrashPoints) -> Vec<Town> {
    let mut keepers = VecDeque::new();
    let config = Config { cpu_allocation_ratio: 16.0, ..Config::default() };
    let benches = benches_beside(config, crash, 65_536, |db, documents, _| {
        let config = hanse_volume::Config::default();
        let volume = Volume::new(db.clone(), documents.clone(), "https://cloud.example", config);
        let service = hanse_volume::service(&volume, Arc::new(Standing(db.clone())));
        let (stop, at) = (watch::Sender::new(Stop::Nowhere), watch::Sender::new(Stop::Nowhere));
        let keeper = Arc::new(Keeper { volume, stop, at });
        keepers.push_back(keeper.clone());
        Beside { volumes: keeper, reconcilers: service.reconcilers }
    })
    .await;
    let town = |(bench, keeper): (Bench, Arc<Keeper>)| {
        let standing = Arc::new(Standing(bench.test.db.clone()));
        let volumes = Client::new(&bench.cx, &hanse_volume::service(&keeper.volume, standing));
        Town { bench, keeper, volumes }
    };
    benches.into_iter().zip(keepers).map(town).collect()
}

fn path(server: Uuid) -> String {
    format!("/compute/v2.1/servers/{server}/os-volume_attachments")
}

fn body(volume: Uuid) -> Value {
    json!({"volumeAttachment": {"volumeId": volume}})
}

impl Town {
    /// Works until it is so.
    async fn until(&self, what: &str, check: impl AsyncFnMut() -> bool) {
        at_last(&self.bench, what, check).await;
    }

    async fn server(&self) -> Uuid {
        let id = self.bench.create(ADA, json!({})).await;
        self.until("the server runs", async || self.bench.show(id).await["status"] == "ACTIVE").await;
        id
    }

    async fn volume(&self) -> Uuid {
        let wanted = json!({"volume": {"size": 1}});
        let made = self.volumes.post("/volume/v3/p1/volumes", ADA, wanted).await.expect(202).json();
        let id = made["volume"]["id"].as_str().unwrap().parse().unwrap();
        self.until("the volume is there", async || self.status(id).await == "available").await;
        id
    }

    async fn status(&self, volume: Uuid) -> String {
        let shown = self.volumes.get(&format!("/volume/v3/p1/volumes/{volume}"), ADA).await;
        match shown.status.as_u16() {
            404 => "gone".to_owned(),
            _ => shown.expect(200).json()["volume"]["status"].as_str().unwrap().to_owned(),
        }
    }

    async fn say(&self, volume: Uuid, status: &str) {
        let path = format!("/volume/v3/p1/volumes/{volume}/action");
        let said = json!({"os-reset_status": {"status": status}});
        self.volumes.post(&path, "admin@p1", said).await.expect(202);
    }

    async fn delete_server(&self, id: Uuid) {
        let path = format!("/compute/v2.1/servers/{id}");
        self.bench.client.delete(&path, ADA).await.expect(204);
        self.until("the server is gone", async || {
            self.bench.client.get(&path, "admin@ops").await.status == 404
        })
        .await;
    }

    /// A call that attaches a volume, and is held up at a place.
    async fn held_up(&self, server: Uuid, volume: Uuid, place: Stop) -> JoinHandle<Answer> {
        self.keeper.at.send_replace(Stop::Nowhere);
        self.keeper.stop.send_replace(place);
        let client = self.bench.client.clone();
        let call = tokio::spawn(async move { client.post(&path(server), ADA, body(volume)).await });
        self.arrives(place).await;
        call
    }

    async fn arrives(&self, place: Stop) {
        let mut at = self.keeper.at.subscribe();
        let arrival = at.wait_for(|at| *at == place);
        tokio::time::timeout(Duration::from_secs(60), arrival).await.unwrap().unwrap();
    }

    /// The process dies in the middle of the call.
    async fn kill(&self, call: JoinHandle<Answer>) {
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled(), "the call was still going on");
        self.keeper.stop.send_replace(Stop::Nowhere);
    }

    /// The server has the volume, in the eyes of everybody.
    async fn has(&self, server: Uuid, volume: Uuid) {
        self.until("the server has the volume", async || {
            let disks = self.bench.agent.guest(server).unwrap().disks;
            self.bench.count("attachments WHERE state = 'attached'").await == 1
                && self.status(volume).await == "in-use"
                && disks.iter().any(|disk| disk.id == volume)
        })
        .await;
    }

    /// No server has a volume, or waits for one.
    async fn is_free(&self, volume: Uuid, status: &str) {
        self.until("nobody has the volume", async || {
            self.bench.count("attachments").await == 0
                && self.bench.count("volume_attachments").await == 0
                && self.status(volume).await == status
        })
        .await;
        self.until("no work is left", async || self.bench.count("work_items").await == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_servers_that_race_for_a_volume_one_gets_it_and_the_others_hear_so_at_once() {
    for town in towns(CrashPoints::none()).await {
        let bench = &town.bench;
        let mut servers = Vec::new();
        for _ in 0..20 {
            servers.push(bench.create(ADA, json!({})).await);
        }
        for server in &servers {
            bench.reaches(*server, "ACTIVE").await;
        }
        let volume = town.volume().await;
        let mut racers = JoinSet::new();
        for server in servers.clone() {
            let client = bench.client.clone();
            racers.spawn(async move { (server, client.post(&path(server), ADA, body(volume)).await) });
        }
        let (won, lost): (Vec<_>, Vec<_>) =
            racers.join_all().await.into_iter().partition(|(_, answer)| answer.status == 200);
        assert_eq!((won.len(), lost.len()), (1, 19), "{}", bench.test.engine);
        for (_, refused) in lost {
            let (status, said) = (refused.status.as_u16(), refused.text());
            assert!(matches!(status, 400 | 409), "{status} {said}");
            assert!(said.contains(&format!("Volume {volume} ")), "{said}");
        }
        // No reconciler has done anything yet.
        assert_eq!(town.status(volume).await, "attaching");
        let winner = won[0].0;
        town.has(winner, volume).await;
        for server in servers {
            let disks = bench.agent.guest(server).unwrap().disks.len();
            assert_eq!(disks, if server == winner { 2 } else { 1 });
        }
        let shown = town.volumes.get(&format!("/volume/v3/p1/volumes/{volume}"), ADA).await.json();
        assert_eq!(shown["volume"]["attachments"][0]["server_id"], winner.to_string());
        let said = bench.client.post(&path(winner), ADA, body(volume)).await.expect(400).text();
        assert!(
            said.contains("Invalid volume: Volume") && said.contains("status must be available"),
            "{said}"
        );
        bench.client.delete(&format!("{}/{volume}", path(winner)), ADA).await.expect(202);
        town.is_free(volume, "available").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_began_before_it_died_is_finished() {
    for place in [Stop::Begun, Stop::Answered] {
        let (crash, seen) = saboteur();
        for town in towns(crash).await {
            seen.lock().unwrap().clear();
            let (server, volume) = (town.server().await, town.volume().await);
            let call = town.held_up(server, volume, place).await;
            town.kill(call).await;
            let expected = if place == Stop::Begun { "available" } else { "attaching" };
            assert_eq!(town.status(volume).await, expected);
            town.has(server, volume).await;
            assert!(seen.lock().unwrap().contains(&("compute.volume_reserved", true)));
            town.delete_server(server).await;
            town.is_free(volume, "available").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_began_before_it_died_is_undone_if_the_volume_is_gone() {
    for town in towns(saboteur().0).await {
        let (server, volume) = (town.server().await, town.volume().await);
        let call = town.held_up(server, volume, Stop::Begun).await;
        town.kill(call).await;
        town.volumes.delete(&format!("/volume/v3/p1/volumes/{volume}"), ADA).await.expect(202);
        town.is_free(volume, "gone").await;
        assert_eq!(town.bench.agent.guest(server).unwrap().disks.len(), 1);
        let actions = format!("/compute/v2.1/servers/{server}/os-instance-actions");
        let actions = town.bench.client.get(&actions, ADA).await.expect(200).json();
        let attach = actions["instanceActions"].as_array().unwrap();
        let attach = attach.iter().find(|action| action["action"] == "attach_volume").unwrap();
        assert_eq!(attach["message"], "Error");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_was_promised_to_a_server_that_is_gone_is_free_again() {
    for place in [Stop::Begun, Stop::Answered] {
        let (crash, seen) = saboteur();
        for town in towns(crash).await {
            seen.lock().unwrap().clear();
            let (server, volume) = (town.server().await, town.volume().await);
            let call = town.held_up(server, volume, Stop::Begun).await;
            if place == Stop::Answered {
                town.keeper.stop.send_replace(Stop::Answered);
                town.arrives(Stop::Answered).await;
                assert_eq!(town.status(volume).await, "attaching");
            }
            town.delete_server(server).await;
            // The promise comes when nobody wants it any more, and the call dies before it can say so.
            town.keeper.stop.send_replace(Stop::Answered);
            town.arrives(Stop::Answered).await;
            town.kill(call).await;
            let late = place == Stop::Begun;
            assert_eq!(town.status(volume).await, if late { "attaching" } else { "available" });
            town.is_free(volume, "available").await;
            assert_eq!(seen.lock().unwrap().contains(&("volume.promise_void", true)), late);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promise_that_comes_too_late_is_given_back_by_the_call_itself() {
    for town in towns(CrashPoints::none()).await {
        let (server, volume) = (town.server().await, town.volume().await);
        let call = town.held_up(server, volume, Stop::Begun).await;
        town.bench.client.delete(&format!("{}/{volume}", path(server)), ADA).await.expect(202);
        town.until("it is detached", async || town.bench.count("attachments").await == 0).await;
        town.keeper.stop.send_replace(Stop::Nowhere);
        call.await.unwrap().expect(409);
        assert_eq!(town.status(volume).await, "available");
        town.is_free(volume, "available").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_call_takes_its_attachment_away_unless_the_reconciler_was_promised_the_volume() {
    for town in towns(CrashPoints::none()).await {
        let (server, volume) = (town.server().await, town.volume().await);
        let call = town.held_up(server, volume, Stop::Begun).await;
        town.say(volume, "maintenance").await;
        town.keeper.stop.send_replace(Stop::Nowhere);
        let said = call.await.unwrap().expect(400).text();
        assert!(said.contains("current status is maintenance"), "{said}");
        assert_eq!(town.bench.count("attachments").await, 0, "at once");
        town.say(volume, "available").await;

        let call = town.held_up(server, volume, Stop::Begun).await;
        town.say(volume, "maintenance").await;
        town.keeper.stop.send_replace(Stop::Answered);
        town.arrives(Stop::Answered).await;
        town.say(volume, "available").await;
        town.has(server, volume).await;
        town.keeper.stop.send_replace(Stop::Nowhere);
        call.await.unwrap().expect(200);
        town.has(server, volume).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_in_error_waits_for_no_volume() {
    for town in towns(CrashPoints::none()).await {
        let (server, volume) = (town.server().await, town.volume().await);
        let call = town.held_up(server, volume, Stop::Begun).await;
        let error = json!({"os-resetState": {"state": "error"}});
        town.bench.act("admin@p1", server, error).await.expect(202);
        town.kill(call).await;
        town.is_free(volume, "available").await;
    }
}
