//! The store beside a plain map: after any sequence of changes, reopenings and losses of power they agree.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hanse_core::Cx;
use hanse_logstore::{Sim, Store};
use proptest::prelude::*;

use crate::scratch::{bytes, delete, options, put, read};

#[derive(Clone, Debug)]
enum Step {
    Put(u8, usize),
    Delete(u8),
    /// Completes an upload: the payload of one key goes to another.
    Move(u8, u8),
    Reopen,
    /// Loses what was not synced, which may be nothing that was answered.
    Crash(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..20u8, prop_oneof![0..100usize, 0..20_000usize, 60_000..140_000usize]).prop_map(|(k, n)| Step::Put(k, n)),
        3 => (0..20u8).prop_map(Step::Delete),
        2 => (0..20u8, 0..20u8).prop_map(|(from, to)| Step::Move(from, to)),
        1 => Just(Step::Reopen),
        1 => any::<u64>().prop_map(Step::Crash),
    ]
}

fn open(sim: &Sim) -> Store {
    Store::open(&Cx::system(), Path::new("/store"), options(Arc::new(sim.clone()))).unwrap()
}

async fn agree(store: &Store, model: &BTreeMap<String, Bytes>) {
    let view = store.view().unwrap();
    let keys: Vec<String> =
        view.scan(..).unwrap().map(|item| String::from_utf8(item.unwrap().0).unwrap()).collect();
    assert_eq!(keys, model.keys().cloned().collect::<Vec<_>>());
    for (key, content) in model {
        assert!(read(&view, key).await.unwrap().unwrap() == *content, "{key}");
    }
    assert_eq!(store.damaged().unwrap(), []);
}

async fn run(steps: Vec<Step>) {
    let mut sim = Sim::new();
    let mut store = open(&sim);
    let mut model = BTreeMap::new();
    for (n, step) in steps.into_iter().enumerate() {
        match step {
            Step::Put(key, len) => {
                let content = bytes(n as u64, len);
                put(&store, &key.to_string(), "value", content.clone()).await.unwrap();
                model.insert(key.to_string(), content);
            }
            Step::Delete(key) => {
                delete(&store, &key.to_string()).await.unwrap();
                model.remove(&key.to_string());
            }
            Step::Move(from, to) => {
                let (from, to) = (from.to_string(), to.to_string());
                let keys = (from.clone().into_bytes(), to.clone().into_bytes());
                store
                    .write(move |change| {
                        if let Some(record) = change.get(&keys.0)? {
                            change.delete(&keys.0)?;
                            change.put(&keys.1, record.value, &record.payloads)?;
                        }
                        Ok(())
                    })
                    .await
                    .unwrap();
                if let Some(content) = model.remove(&from) {
                    model.insert(to, content);
                }
            }
            Step::Reopen => {
                store.close().await;
                store = open(&sim);
            }
            Step::Crash(seed) => {
                let mut state = seed;
                sim = sim.reboot(|below| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 33) % below
                });
                store = open(&sim);
                agree(&store, &model).await;
            }
        }
    }
    agree(&store, &model).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_store_agrees_with_a_map(steps in proptest::collection::vec(step(), 1..60)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(steps));
    }
}
