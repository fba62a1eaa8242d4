use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use hanse_core::{CrashPoints, Error};
use hanse_work::backlog;
use http::Method;
use serde_json::json;

use crate::harness::{Bench, benches, benches_with, id};

async fn clean(bench: &Bench) {
    bench.settle().await;
    assert!(backlog(&mut bench.test.db.read().await.unwrap()).await.unwrap().is_empty(), "work is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_uploaded_comes_back_and_goes_with_its_image() {
    for bench in benches().await {
        let image = bench.create("member@p1", json!({})).await;
        let path = format!("/image/v2/images/{}", id(&image));
        bench.client.get(&format!("{path}/file"), "member@p1").await.expect(204);
        let bytes: Vec<u8> = (0..100_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        bench.upload("member@p1", id(&image), bytes.clone()).await.expect(204);
        let shown = bench.client.get(&path, "member@p1").await.expect(200).json();
        assert_eq!(
            (&shown["status"], &shown["size"], &shown["virtual_size"]),
            (&json!("active"), &json!(100_000), &json!(200_000))
        );
        assert_eq!((&shown["checksum"], &shown["os_hash_algo"]), (&json!("md5-100000"), &json!("sha512")));
        let file = bench.client.get(&format!("{path}/file"), "reader@p1").await.expect(200);
        assert_eq!(
            (file.body == bytes, &file.headers["content-md5"]),
            (true, &"md5-100000".parse().unwrap())
        );
        assert_eq!(file.headers["content-length"], "100000");
        bench.upload("member@p1", id(&image), vec![1]).await.expect(409);
        bench.client.post(&format!("{path}/actions/deactivate"), "member@p1", json!(null)).await.expect(204);
        bench.client.get(&format!("{path}/file"), "member@p1").await.expect(403);
        bench.client.post(&format!("{path}/actions/reactivate"), "member@p1", json!(null)).await.expect(204);
        clean(&bench).await;
        assert_eq!(bench.store.kept.lock().unwrap().len(), 1);
        bench.client.delete(&path, "member@p1").await.expect(204);
        clean(&bench).await;
        assert!(bench.store.kept.lock().unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_leaves_the_image_queued_and_no_litter() {
    for bench in benches().await {
        let image = bench.create("member@p1", json!({"disk_format": "qcow2"})).await;
        let path = format!("/image/v2/images/{}/file", id(&image));
        bench.upload("member@p1", id(&image), b"not qcow2".to_vec()).await.expect(400);
        assert_eq!(bench.status(id(&image)).await, "queued");
        bench.upload("member@p1", id(&image), vec![0; (1 << 20) + 1]).await.expect(413);
        let kind = [("content-type", "text/plain")];
        bench.client.send(Method::PUT, &path, "member@p1", &kind, Body::from("x")).await.expect(415);
        let broken =
            futures_util::stream::iter([Ok(b"QFI\xfb".to_vec()), Err(std::io::Error::other("hung up"))]);
        let kind = [("content-type", "application/octet-stream")];
        bench
            .client
            .send(Method::PUT, &path, "member@p1", &kind, Body::from_stream(broken))
            .await
            .expect(400);
        assert_eq!(bench.status(id(&image)).await, "queued");
        clean(&bench).await;
        assert!(bench.store.kept.lock().unwrap().is_empty(), "{}", bench.test.engine);
        bench.upload("member@p1", id(&image), b"QFI\xfb and more".to_vec()).await.expect(204);
        assert_eq!(bench.status(id(&image)).await, "active");
        let bare = bench.client.post("/image/v2/images", "member@p1", json!({})).await.expect(201).json();
        bench.upload("member@p1", id(&bare), vec![1]).await.expect(400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_uploads_at_once_one_wins() {
    for bench in benches().await {
        let image = bench.create("member@p1", json!({})).await;
        let mut uploads = tokio::task::JoinSet::new();
        for number in 0..8_u8 {
            let (client, path) = (bench.client.clone(), format!("/image/v2/images/{}/file", id(&image)));
            uploads.spawn(async move {
                let kind = [("content-type", "application/octet-stream")];
                let body = Body::from(vec![number; 1000]);
                client.send(Method::PUT, &path, "member@p1", &kind, body).await.status.as_u16()
            });
        }
        let mut results = uploads.join_all().await;
        results.sort_unstable();
        assert_eq!(results, [204, 409, 409, 409, 409, 409, 409, 409], "{}", bench.test.engine);
        assert_eq!(bench.store.kept.lock().unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_dies_is_queued_again_and_leaves_nothing() {
    for point in ["image.upload_begun", "image.bytes_stored"] {
        let died = Arc::new(AtomicBool::new(false));
        let hook = died.clone();
        let crash = CrashPoints::new(move |passed| {
            assert!(passed != point || hook.swap(true, Ordering::SeqCst), "killed at {passed}");
            Ok(())
        });
        for bench in benches_with(crash).await {
            died.store(false, Ordering::SeqCst);
            let image = bench.create("member@p1", json!({})).await;
            bench.upload("member@p1", id(&image), vec![1; 10]).await.expect(500);
            assert_eq!(bench.status(id(&image)).await, "saving", "{point}");
            bench.settle().await;
            assert_eq!(bench.status(id(&image)).await, "saving", "it may still be running elsewhere");
            bench.clock.advance(Duration::from_secs(301));
            bench.wake_all().await;
            clean(&bench).await;
            assert_eq!(bench.status(id(&image)).await, "queued", "{point} on {}", bench.test.engine);
            assert!(bench.store.kept.lock().unwrap().is_empty());
            bench.upload("member@p1", id(&image), vec![1; 10]).await.expect(204);
            clean(&bench).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_interrupted_goes_on() {
    let failed = Arc::new(AtomicBool::new(false));
    let hook = failed.clone();
    let crash = CrashPoints::new(move |passed| {
        if passed == "image.data_deleted" && !hook.swap(true, Ordering::SeqCst) {
            return Err(Error::unavailable("injected"));
        }
        Ok(())
    });
    for bench in benches_with(crash).await {
        failed.store(false, Ordering::SeqCst);
        let image = bench.create("member@p1", json!({})).await;
        bench.upload("member@p1", id(&image), vec![1; 10]).await.expect(204);
        bench.client.delete(&format!("/image/v2/images/{}", id(&image)), "member@p1").await.expect(204);
        bench.settle().await;
        bench.wake_all().await;
        clean(&bench).await;
        assert!(bench.store.kept.lock().unwrap().is_empty());
        assert!(failed.load(Ordering::SeqCst), "the point was passed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_deleted_during_its_upload_leaves_nothing() {
    for bench in benches().await {
        let image = bench.create("member@p1", json!({})).await;
        let path = format!("/image/v2/images/{}", id(&image));
        let (mut feed, body) = tokio::io::duplex(16);
        let body = Body::from_stream(tokio_util::io::ReaderStream::new(body));
        let (client, file) = (bench.client.clone(), format!("{path}/file"));
        let upload = tokio::spawn(async move {
            let kind = [("content-type", "application/octet-stream")];
            client.send(Method::PUT, &file, "member@p1", &kind, body).await.status.as_u16()
        });
        tokio::io::AsyncWriteExt::write_all(&mut feed, b"some").await.unwrap();
        while bench.status(id(&image)).await != "saving" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bench.client.delete(&path, "member@p1").await.expect(204);
        bench.settle().await;
        drop(feed);
        assert_eq!(upload.await.unwrap(), 404);
        bench.wake_all().await;
        clean(&bench).await;
        assert!(bench.store.kept.lock().unwrap().is_empty(), "{}", bench.test.engine);
    }
}
