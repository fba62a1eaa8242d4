//! The promises of the store, on both engines.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hanse_core::{Cx, Direction, Error, Kind, Page};
use hanse_policy::{Grant, Rule, Verb};
use hanse_store::audit::{LEFT_OUT, STRANGERS_PER_MINUTE, STRANGERS_PER_SOURCE};
use hanse_store::{Db, Engine, Flag, Json, MIGRATIONS, Migration, Migrations, Select, query};
use hanse_testkit::{context, databases};

const THINGS: Migrations = Migrations {
    service: "things",
    steps: &[Migration {
        version: 1,
        name: "things",
        sql: "CREATE TABLE things (id TEXT PRIMARY KEY, created_at BIGINT NOT NULL, name TEXT, size DOUBLE PRECISION,
                  flag BIGINT NOT NULL, body BYTEA);
              CREATE UNIQUE INDEX things_name ON things (name);
              CREATE TABLE slots (id TEXT PRIMARY KEY)",
    }],
};
const ALL: &[Migrations] = &[MIGRATIONS, THINGS];
const WRITE: Verb = Verb::new("things:write", Rule::Admin);

async fn insert(db: &Db, cx: &Cx, id: &str, at: i64, name: Option<&str>) -> Result<u64, Error> {
    db.write(cx, &Grant::operator(cx, WRITE, id), |tx| {
        Box::pin(async move {
            query(
                "INSERT INTO things (id, created_at, name, size, flag, body) VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(id)
            .bind(at)
            .bind(name)
            .bind(2.5)
            .bind(Flag(true))
            .bind(vec![0_u8, 255])
            .execute_unique(tx, "the name is taken")
            .await
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_read_back_in_every_column_type() {
    let (cx, _) = context();
    for test in databases(&cx, ALL).await {
        insert(&test.db, &cx, "a", 1, None).await.unwrap();
        let mut conn = test.db.read().await.unwrap();
        let row: (Option<String>, f64, bool, Vec<u8>) =
            query("SELECT name, size, flag, body FROM things").one(&mut conn).await.unwrap();
        assert_eq!(row, (None, 2.5, true, vec![0, 255]), "{}", test.engine);
        let (json,): (Json<Vec<u32>>,) =
            query("SELECT CAST($1 AS TEXT)").bind(Json(vec![1_u32, 2])).one(&mut conn).await.unwrap();
        assert_eq!(json.0, [1, 2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_with_a_nul_is_refused_before_an_engine_sees_it() {
    let (cx, _) = context();
    for test in databases(&cx, ALL).await {
        let refused = insert(&test.db, &cx, "a", 1, Some("a\0b")).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::BadRequest, "{}", test.engine);
        let mut conn = test.db.read().await.unwrap();
        let looked = Select::from("slots", "id").eq("id", "\0").exists(&mut conn).await.unwrap_err();
        assert_eq!(looked.kind(), Kind::BadRequest, "{}", test.engine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_leaves_nothing_and_a_done_one_leaves_its_audit_event() {
    let (cx, _) = context();
    for test in databases(&cx, ALL).await {
        let failed: Result<(), Error> = test
            .db
            .write(&cx, &Grant::operator(&cx, WRITE, "x"), |tx| {
                Box::pin(async move {
                    query("INSERT INTO slots (id) VALUES ('x')").execute(tx).await?;
                    Err(Error::conflict("changed my mind"))
                })
            })
            .await;
        assert_eq!(failed.unwrap_err().kind(), Kind::Conflict);
        insert(&test.db, &cx, "a", 1, Some("one")).await.unwrap();
        let taken = insert(&test.db, &cx, "b", 2, Some("one")).await.unwrap_err();
        assert_eq!((taken.kind(), taken.message()), (Kind::Conflict, "the name is taken"), "{}", test.engine);
        let mut conn = test.db.read().await.unwrap();
        assert!(!Select::from("slots", "id").exists(&mut conn).await.unwrap());
        let events: Vec<(String, String, String)> =
            query("SELECT initiator, action, target FROM audit_events").all(&mut conn).await.unwrap();
        assert_eq!(
            events,
            [("operator".to_owned(), "things:write".to_owned(), "a".to_owned())],
            "{}",
            test.engine
        );
    }
}

/// The targets, outcomes, sources and counts of all events, by time.
async fn trail(db: &Db) -> Vec<(String, String, Option<String>, i64)> {
    let sql = "SELECT target, outcome, source, times FROM audit_events ORDER BY at, id";
    query(sql).all(&mut db.read().await.unwrap()).await.unwrap()
}

async fn refuse(db: &Db, cx: &Cx, account: &str, source: &str) {
    let cx = cx.clone().from_source(Some(source.parse().unwrap()));
    let grant = Grant::refused(&cx, WRITE, account);
    db.write(&cx, &grant, |_| Box::pin(async { Ok(()) })).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_leave_so_many_rows_a_minute_and_a_count_of_the_others() {
    let (cx, clock) = context();
    for test in databases(&cx, ALL).await {
        let db = &test.db;
        for number in 0..STRANGERS_PER_SOURCE + 3 {
            refuse(db, &cx, &format!("loud {number}"), "192.0.2.1").await;
        }
        refuse(db, &cx, "quiet", "::ffff:192.0.2.2").await;
        insert(db, &cx, "a", 1, None).await.unwrap();
        let seen = trail(db).await;
        let left_out = |seen: &[(String, String, Option<String>, i64)]| {
            seen.iter().filter(|event| event.0 == LEFT_OUT).map(|event| event.3).collect::<Vec<_>>()
        };
        assert_eq!(left_out(&seen), [3], "{}", test.engine);
        assert_eq!(seen.len(), usize::try_from(STRANGERS_PER_SOURCE).unwrap() + 3);
        let quiet = ("quiet".to_owned(), "failure".to_owned(), Some("192.0.2.2".to_owned()), 1);
        assert!(seen.contains(&quiet), "one source does not silence another: {seen:?}");
        assert!(seen.contains(&("a".to_owned(), "success".to_owned(), None, 1)));

        for number in 0..STRANGERS_PER_MINUTE {
            refuse(db, &cx, "many", &format!("198.51.100.{number}")).await;
        }
        let rows = i64::try_from(trail(db).await.len()).unwrap();
        assert_eq!(rows, STRANGERS_PER_MINUTE + 2, "with the change and the count");
        assert_eq!(left_out(&trail(db).await), [3 + STRANGERS_PER_SOURCE + 1]);
        insert(db, &cx, "b", 2, None).await.unwrap();
        clock.advance(Duration::from_secs(60));
        refuse(db, &cx, "next minute", "192.0.2.1").await;
        let seen: Vec<String> = trail(db).await.into_iter().map(|event| event.0).collect();
        assert!(seen.contains(&"b".to_owned()) && seen.contains(&"next minute".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_stranger_made_up_is_kept_short_and_printable() {
    let (cx, _) = context();
    for test in databases(&cx, ALL).await {
        refuse(&test.db, &cx, &"ä".repeat(100_000), "192.0.2.1").await;
        refuse(&test.db, &cx, "a\0b\n\u{1b}[2J", "192.0.2.1").await;
        let mut names: Vec<String> = trail(&test.db).await.into_iter().map(|event| event.0).collect();
        names.sort();
        let expected = ["a\u{fffd}b\u{fffd}\u{fffd}[2J".to_owned(), "ä".repeat(256) + "…"];
        assert_eq!(names, expected, "{}", test.engine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_many_others_get_in_the_way_of_runs_until_it_is_through_or_says_why() {
    let (cx, _) = context();
    for test in databases(&cx, ALL).await {
        if test.db.engine() != Engine::Postgres {
            continue;
        }
        for (failures, expected) in [(25, Ok(())), (u32::MAX, Err(Kind::Unavailable))] {
            let ran = AtomicU32::new(0);
            let ran = &ran;
            let grant = Grant::operator(&cx, WRITE, "x");
            let written = test.db.write(&cx, &grant, |tx| {
                Box::pin(async move {
                    if ran.fetch_add(1, Ordering::Relaxed) < failures {
                        query("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$").execute(tx).await?;
                    }
                    Ok(())
                })
            });
            assert_eq!(written.await.map_err(|error| error.kind()), expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_the_database_itself_rolls_back_breaks_no_later_one() {
    let (cx, _) = context();
    for test in databases(&cx, ALL).await {
        insert(&test.db, &cx, "a", 1, Some("one")).await.unwrap();
        // What a full disk makes SQLite do; PostgreSQL goes on in a transaction that has failed.
        let broken = match test.engine {
            "sqlite" => "INSERT OR ROLLBACK INTO slots (id) VALUES ('x'), ('x')",
            _ => "INSERT INTO slots (id) VALUES ('x'), ('x')",
        };
        for _ in 0..3 {
            let failed = test
                .db
                .write(&cx, &Grant::operator(&cx, WRITE, "x"), |tx| Box::pin(query(broken).execute(tx)))
                .await;
            assert_eq!(failed.unwrap_err().kind(), Kind::Conflict, "{}", test.engine);
        }
        insert(&test.db, &cx, "b", 2, Some("two")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_rollback_of_the_database_itself_in_the_same_transaction_is_not_done() {
    let (cx, _) = context();
    for test in databases(&cx, ALL).await {
        if test.db.engine() != Engine::Sqlite {
            continue;
        }
        let grant = Grant::operator(&cx, WRITE, "x");
        let written = test.db.write(&cx, &grant, |tx| {
            Box::pin(async move {
                // Whoever goes on all the same.
                let broken = "INSERT OR ROLLBACK INTO slots (id) VALUES ('x'), ('x')";
                assert!(query(broken).execute(tx).await.is_err());
                query("INSERT INTO slots (id) VALUES ('y')").execute(tx).await.map(drop)
            })
        });
        assert_eq!(written.await.unwrap_err().kind(), Kind::Internal);
        let mut conn = test.db.read().await.unwrap();
        let slots: Vec<(String,)> = query("SELECT id FROM slots").all(&mut conn).await.unwrap();
        assert_eq!(slots, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_nobody_waits_for_any_more_leaves_nothing_and_holds_nobody_up() {
    let (cx, _) = context();
    for test in databases(&cx, ALL).await {
        let grant = Grant::operator(&cx, WRITE, "x");
        let endless = test.db.write(&cx, &grant, |tx| {
            Box::pin(async move {
                query("INSERT INTO slots (id) VALUES ('x')").execute(tx).await?;
                std::future::pending::<Result<(), Error>>().await
            })
        });
        assert!(tokio::time::timeout(Duration::from_millis(200), endless).await.is_err());
        insert(&test.db, &cx, "a", 1, None).await.unwrap();
        let mut conn = test.db.read().await.unwrap();
        let slots: Vec<(String,)> = query("SELECT id FROM slots").all(&mut conn).await.unwrap();
        assert_eq!(slots, [], "{}", test.engine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_go_by_their_numbers_and_not_by_their_order() {
    let (cx, _) = context();
    for test in databases(&cx, ALL).await {
        let mut conn = test.db.read().await.unwrap();
        let sql = "SELECT CAST($2 AS TEXT), CAST($1 AS BIGINT), CAST($2 AS TEXT)";
        let row: (String, i64, String) = query(sql).bind(7).bind("two").one(&mut conn).await.unwrap();
        assert_eq!(row, ("two".to_owned(), 7, "two".to_owned()), "{}", test.engine);
        let missing = query("SELECT CAST($1 AS BIGINT)").one::<(i64,)>(&mut conn).await;
        assert!(missing.is_err(), "{}", test.engine);
    }
}

/// What `hanse admin` does beside a cloud that runs.
#[tokio::test]
async fn who_waits_for_another_process_to_end_its_write_keeps_no_thread_from_other_work() {
    let (cx, _) = context();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let (one, other) =
        (Db::sqlite(&cx, &path, ALL).await.unwrap(), Db::sqlite(&cx, &path, ALL).await.unwrap());
    let (locked, release) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
    let (locked, release) = (&locked, &release);
    let grant = Grant::operator(&cx, WRITE, "x");
    let long = one.write(&cx, &grant, |tx| {
        Box::pin(async move {
            query("INSERT INTO slots (id) VALUES ('x')").execute(tx).await?;
            locked.notify_one();
            release.notified().await;
            Ok(())
        })
    });
    let waits = async {
        locked.notified().await;
        let (insert, release) = tokio::join!(insert(&other, &cx, "a", 1, None), async {
            // Runs on the only thread there is.
            tokio::time::sleep(Duration::from_millis(50)).await;
            release.notify_one();
        });
        let () = release;
        insert
    };
    let (long, waits) = tokio::join!(long, waits);
    long.unwrap();
    assert_eq!(waits.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_that_race_for_the_last_unit_one_wins() {
    let (cx, _) = context();
    for test in databases(&cx, ALL).await {
        let wins = Arc::new(AtomicU32::new(0));
        let mut racers = tokio::task::JoinSet::new();
        for racer in 0..50 {
            let (db, cx, wins) = (test.db.clone(), cx.clone(), wins.clone());
            racers.spawn(async move {
                let id = format!("slot-{racer}");
                let (id, grant) = (&id, Grant::operator(&cx, WRITE, "slots"));
                let claim = db.write(&cx, &grant, |tx| {
                    Box::pin(async move {
                        let (used,): (i64,) = query("SELECT COUNT(*) FROM slots").one(tx).await?;
                        if used >= 1 {
                            return Err(Error::over_quota("none left"));
                        }
                        query("INSERT INTO slots (id) VALUES ($1)").bind(id).execute(tx).await
                    })
                });
                match claim.await {
                    Ok(_) => _ = wins.fetch_add(1, Ordering::SeqCst),
                    Err(error) => assert_eq!(error.kind(), Kind::OverQuota, "{error}"),
                }
            });
        }
        while let Some(done) = racers.join_next().await {
            done.unwrap();
        }
        assert_eq!(wins.load(Ordering::SeqCst), 1, "{}", test.engine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_without_gap_or_repetition() {
    let (cx, _) = context();
    for test in databases(&cx, ALL).await {
        for number in 0..7 {
            // Equal times, so that the id must decide.
            insert(&test.db, &cx, &format!("id-{number}"), number / 3, None).await.unwrap();
        }
        let mut conn = test.db.read().await.unwrap();
        let mut seen: Vec<String> = Vec::new();
        loop {
            let page = Page { limit: 3, marker: seen.last().cloned(), direction: Direction::Ascending };
            let (rows, more) =
                Select::from("things", "id").page::<(String,)>(&mut conn, &page).await.unwrap();
            seen.extend(rows.into_iter().map(|row| row.0));
            if !more {
                break;
            }
        }
        assert_eq!(seen, ["id-0", "id-1", "id-2", "id-3", "id-4", "id-5", "id-6"], "{}", test.engine);
        let lost = Page { marker: Some("nobody".to_owned()), ..Page::default() };
        let error = Select::from("things", "id").page::<(String,)>(&mut conn, &lost).await.unwrap_err();
        assert_eq!(error.kind(), Kind::BadRequest);
        let few: Vec<(String,)> =
            Select::from("things", "id").any("id", ["id-1", "id-5"]).all(&mut conn).await.unwrap();
        assert_eq!(few.len(), 2);
        let none: Vec<(String,)> =
            Select::from("things", "id").any::<&str>("id", []).all(&mut conn).await.unwrap();
        assert!(none.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_a_newer_release_or_with_another_past_is_refused() {
    let (cx, _) = context();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    Db::sqlite(&cx, &path, ALL).await.unwrap().close().await;

    let older = Migrations { service: "things", steps: &[] };
    let error = Db::sqlite(&cx, &path, &[MIGRATIONS, older]).await.map(|_| ()).unwrap_err();
    assert!(error.message().contains("newer release"), "{error}");

    let edited = Migration { version: 1, name: "things", sql: "SELECT 1" };
    let edited: &'static [Migration] = Box::leak(Box::new([edited]));
    let error = Db::sqlite(&cx, &path, &[MIGRATIONS, Migrations { service: "things", steps: edited }]).await;
    assert!(error.map(|_| ()).unwrap_err().message().contains("another content"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_taken_before_a_migration() {
    let (cx, _) = context();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    Db::sqlite(&cx, &path, &[MIGRATIONS]).await.unwrap().close().await;
    Db::sqlite(&cx, &path, ALL).await.unwrap().close().await;
    let copies = std::fs::read_dir(directory.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("before-"))
        .count();
    assert_eq!(copies, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_never_answered_is_given_up_and_its_connection_is_not_missed() {
    let (cx, _) = context();
    for test in databases(&cx, ALL).await {
        if test.db.engine() != hanse_store::Engine::Postgres {
            continue;
        }
        // As many as there are connections, so that one which stayed would be missed.
        let sleepers: Vec<_> = (0..16)
            .map(|_| {
                let db = test.db.clone();
                tokio::spawn(async move {
                    query("SELECT CAST(1 AS BIGINT) FROM pg_sleep(3600)")
                        .all::<(i64,)>(&mut db.read().await?)
                        .await
                })
            })
            .collect();
        for sleeper in sleepers {
            let answer = tokio::time::timeout(std::time::Duration::from_secs(60), sleeper).await;
            assert_eq!(answer.unwrap().unwrap().unwrap_err().kind(), Kind::Unavailable);
        }
        insert(&test.db, &cx, "a", 1, None).await.unwrap();
    }
}
