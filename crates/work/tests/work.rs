//! The promises of durable work, on both engines.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hanse_core::{CrashPoints, Cx, Error, Result};
use hanse_policy::{Grant, Rule, Verb};
use hanse_store::{Db, Migrations};
use hanse_testkit::{context, databases};
use hanse_work::{Outcome, Reconciler, Runner, Turn, backlog, wake};

const ALL: &[Migrations] = &[hanse_store::MIGRATIONS, hanse_work::MIGRATIONS];
const KIND: &str = "test.things";

type Script = Box<dyn Fn(u32) -> Result<Outcome> + Send + Sync>;

/// Does what the script says for the n-th step, and counts.
struct Scripted {
    script: Script,
    steps: AtomicU32,
    seen: Mutex<Vec<String>>,
}

#[async_trait]
impl Reconciler for Scripted {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn step(&self, turn: &Turn, id: &str) -> Result<Outcome> {
        self.seen.lock().unwrap().push(id.to_owned());
        turn.write(|_| Box::pin(async { Ok(()) })).await?;
        (self.script)(self.steps.fetch_add(1, Ordering::SeqCst))
    }
}

fn scripted(script: impl Fn(u32) -> Result<Outcome> + Send + Sync + 'static) -> Arc<Scripted> {
    Arc::new(Scripted { script: Box::new(script), steps: AtomicU32::new(0), seen: Mutex::default() })
}

async fn wake_one(db: &Db, cx: &Cx, id: &str) {
    let grant = Grant::operator(cx, Verb::new("test:wake", Rule::Admin), id);
    db.write(cx, &grant, |tx| Box::pin(wake(tx, cx, KIND, id))).await.unwrap();
}

fn runner(db: &Db, cx: &Cx, reconciler: &Arc<Scripted>) -> Runner {
    Runner::new(db.clone(), cx, vec![reconciler.clone()], CrashPoints::none())
}

#[tokio::test(flavor = "multi_thread")]
async fn work_goes_on_until_it_is_done_and_then_leaves_no_row() {
    let (cx, clock) = context();
    for test in databases(&cx, ALL).await {
        let reconciler = scripted(|step| match step {
            0 => Ok(Outcome::Again),
            1 => Ok(Outcome::wait(Duration::from_secs(5), "for the disk")),
            _ => Ok(Outcome::Done),
        });
        let runner = runner(&test.db, &cx, &reconciler);
        wake_one(&test.db, &cx, "a").await;
        clock.advance(Duration::from_secs(1));
        if test.engine == "postgres" {
            // PostgreSQL has a clock of its own, which does not jump.
            assert_eq!(runner.drain().await.unwrap(), 2);
            wake_one(&test.db, &cx, "a").await;
        } else {
            assert_eq!(runner.drain().await.unwrap(), 2, "{}", test.engine);
            clock.advance(Duration::from_secs(6));
        }
        assert_eq!(runner.drain().await.unwrap(), 1, "{}", test.engine);
        assert!(backlog(&mut test.db.read().await.unwrap()).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wake_during_a_step_is_not_lost() {
    let (cx, _) = context();
    for test in databases(&cx, ALL).await {
        let (db, inner) = (test.db.clone(), cx.clone());
        let reconciler = scripted(move |step| {
            if step == 0 {
                // Someone changes the object while its step runs.
                let (db, cx) = (db.clone(), inner.clone());
                tokio::task::block_in_place(|| {
                    tokio::runtime::Handle::current().block_on(async { wake_one(&db, &cx, "a").await });
                });
            }
            Ok(Outcome::Done)
        });
        wake_one(&test.db, &cx, "a").await;
        assert_eq!(runner(&test.db, &cx, &reconciler).drain().await.unwrap(), 2, "{}", test.engine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_or_panics_is_tried_again_later() {
    let (cx, clock) = context();
    let test = databases(&cx, ALL).await.remove(0);
    let reconciler = scripted(|step| match step {
        0 => Err(Error::unavailable("the switch is on fire")),
        1 => panic!("a bug"),
        _ => Ok(Outcome::Done),
    });
    let runner = runner(&test.db, &cx, &reconciler);
    wake_one(&test.db, &cx, "a").await;
    assert_eq!(runner.drain().await.unwrap(), 1, "a failed step waits before it runs again");
    assert_eq!(backlog(&mut test.db.read().await.unwrap()).await.unwrap()[0].failing, 1);
    clock.advance(Duration::from_secs(2));
    assert_eq!(runner.drain().await.unwrap(), 1);
    clock.advance(Duration::from_secs(2));
    assert_eq!(runner.drain().await.unwrap(), 1);
    assert!(backlog(&mut test.db.read().await.unwrap()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_the_lease_writes_nothing() {
    struct Sleeper(Db, Cx, Arc<hanse_core::ManualClock>, Arc<Scripted>, Mutex<Option<Error>>);
    #[async_trait]
    impl Reconciler for Sleeper {
        fn kind(&self) -> &'static str {
            KIND
        }
        async fn step(&self, turn: &Turn, _: &str) -> Result<Outcome> {
            // The process is suspended; meanwhile the lease runs out and another one does the work.
            self.2.advance(Duration::from_secs(120));
            runner(&self.0, &self.1, &self.3).drain().await?;
            let late = turn.write(|_| Box::pin(async { Ok(()) })).await;
            *self.4.lock().unwrap() = late.err();
            Ok(Outcome::Done)
        }
    }
    let (cx, clock) = context();
    let test = databases(&cx, ALL).await.remove(0);
    let other = scripted(|_| Ok(Outcome::wait(Duration::from_secs(3600), "far away")));
    let sleeper = Arc::new(Sleeper(test.db.clone(), cx.clone(), clock, other.clone(), Mutex::default()));
    wake_one(&test.db, &cx, "a").await;
    Runner::new(test.db.clone(), &cx, vec![sleeper.clone()], CrashPoints::none()).drain().await.unwrap();
    assert_eq!(other.seen.lock().unwrap().len(), 1);
    assert!(sleeper.4.lock().unwrap().as_ref().unwrap().message().contains("lease"));
    let left = backlog(&mut test.db.read().await.unwrap()).await.unwrap();
    assert_eq!(left.len(), 1, "the late one must not finish what the other one still waits for");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_objects_and_eight_workers_do_each_step_once() {
    let (cx, _) = context();
    for test in databases(&cx, ALL).await {
        let reconciler = scripted(|_| Ok(Outcome::Done));
        for number in 0..50 {
            wake_one(&test.db, &cx, &format!("id-{number}")).await;
        }
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let runner = runner(&test.db, &cx, &reconciler);
            workers.spawn(async move { runner.drain().await.unwrap() });
        }
        let mut steps = 0;
        while let Some(done) = workers.join_next().await {
            steps += done.unwrap();
        }
        let mut seen = reconciler.seen.lock().unwrap().clone();
        seen.sort();
        seen.dedup();
        assert_eq!((steps, seen.len()), (50, 50), "{}", test.engine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_does_not_wait_for_the_leases_of_one_that_died() {
    struct Hangs(tokio::sync::Notify);
    #[async_trait]
    impl Reconciler for Hangs {
        fn kind(&self) -> &'static str {
            KIND
        }
        async fn step(&self, _: &Turn, _: &str) -> Result<Outcome> {
            self.0.notify_one();
            std::future::pending().await
        }
    }
    let (cx, _) = context();
    // PostgreSQL is shared by processes: there a lease must run out.
    let test = databases(&cx, ALL).await.remove(0);
    let hangs = Arc::new(Hangs(tokio::sync::Notify::new()));
    wake_one(&test.db, &cx, "a").await;
    let dying = Runner::new(test.db.clone(), &cx, vec![hangs.clone()], CrashPoints::none());
    let dying = tokio::spawn(async move { dying.drain().await });
    hangs.0.notified().await;
    dying.abort();

    // The clock stands still: no lease runs out by itself.
    let reconciler = scripted(|_| Ok(Outcome::Done));
    let (stop, runner) = (tokio_util::sync::CancellationToken::new(), runner(&test.db, &cx, &reconciler));
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { runner.run(1, stop).await }
    });
    for _ in 0..1000 {
        if reconciler.steps.load(Ordering::SeqCst) == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    running.await.unwrap();
    assert_eq!(reconciler.steps.load(Ordering::SeqCst), 1);
}
