//! Versions of objects.

use crate::client::{Client, Request};
use crate::cloud::Cloud;

async fn switch(client: &Client, bucket: &str, status: &str) {
    let body = format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
    client.put(&format!("/{bucket}?versioning"), body.as_bytes()).await.expect(200);
}

/// Puts an object and returns the id of its version.
async fn put(client: &Client, target: &str, body: &[u8]) -> String {
    client.put(target, body).await.expect(200).header("x-amz-version-id").to_owned()
}

#[tokio::test]
async fn every_version_stays_until_it_is_deleted_by_its_id() {
    let cloud = Cloud::start().await;
    let client = cloud.member("vers").await;
    assert_eq!(put(&client, "/vers/key", b"before").await, "", "a bucket without versions names none");
    assert_eq!(client.get("/vers?versioning").await.expect(200).element("Status"), "");
    switch(&client, "vers", "Enabled").await;
    assert_eq!(client.get("/vers?versioning").await.expect(200).element("Status"), "Enabled");
    let one = put(&client, "/vers/key", b"one").await;
    let two = put(&client, "/vers/key", b"two").await;
    for (version, body) in [("null", "before"), (one.as_str(), "one"), (two.as_str(), "two")] {
        let got = client.get(&format!("/vers/key?versionId={version}")).await.expect(200);
        assert_eq!((got.text().as_str(), got.header("x-amz-version-id")), (body, version));
        client.head(&format!("/vers/key?versionId={version}")).await.expect(200);
    }
    assert_eq!(client.get("/vers/key").await.expect(200).body, b"two");
    let tagged = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    client.put(&format!("/vers/key?tagging&versionId={one}"), tagged).await.expect(200);
    assert_eq!(client.get(&format!("/vers/key?tagging&versionId={one}")).await.element("Key"), "a");
    assert_eq!(client.get("/vers/key?tagging").await.element("Key"), "");

    // Deleting puts a marker in front.
    let marker = client.delete("/vers/key").await.expect(204);
    assert_eq!(marker.header("x-amz-delete-marker"), "true");
    let marker = marker.header("x-amz-version-id").to_owned();
    let gone = client.get("/vers/key").await;
    assert_eq!(
        (gone.status, gone.header("x-amz-delete-marker"), gone.element("Code").as_str()),
        (404, "true", "NoSuchKey")
    );
    let by_id = client.get(&format!("/vers/key?versionId={marker}")).await;
    assert_eq!((by_id.status, by_id.element("Code").as_str()), (405, "MethodNotAllowed"));
    assert_eq!(client.get("/vers?list-type=2").await.elements("Key"), Vec::<String>::new());
    let listed = client.get("/vers?versions").await.expect(200);
    assert_eq!(listed.elements("DeleteMarker").len(), 1);
    assert_eq!(listed.elements("Version").len(), 3);
    assert!(listed.elements("DeleteMarker")[0].contains("<IsLatest>true</IsLatest>"));
    client.delete("/vers").await.refused(409, "BucketNotEmpty");

    // Without the marker it is there again, and without its newest version the one before is.
    let undone = client.delete(&format!("/vers/key?versionId={marker}")).await.expect(204);
    assert_eq!(undone.header("x-amz-delete-marker"), "true");
    assert_eq!(client.get("/vers/key").await.expect(200).body, b"two");
    client.delete(&format!("/vers/key?versionId={two}")).await.expect(204);
    assert_eq!(client.get("/vers/key").await.expect(200).body, b"one");
    client.delete("/vers/key?versionId=null").await.expect(204);
    client.get("/vers/key?versionId=null").await.refused(404, "NoSuchVersion");
    client.delete(&format!("/vers/key?versionId={one}")).await.expect(204);
    client.get("/vers/key").await.refused(404, "NoSuchKey");
    client.get("/vers/key?versionId=nonsense").await.refused(400, "InvalidArgument");
    client.delete("/vers").await.expect(204);
}

#[tokio::test]
async fn a_suspended_bucket_writes_the_version_without_an_id() {
    let cloud = Cloud::start().await;
    let client = cloud.member("vers").await;
    switch(&client, "vers", "Enabled").await;
    let kept = put(&client, "/vers/key", b"kept").await;
    switch(&client, "vers", "Suspended").await;
    put(&client, "/vers/key", b"first").await;
    put(&client, "/vers/key", b"second").await;
    assert_eq!(client.get("/vers/key?versionId=null").await.expect(200).body, b"second");
    assert_eq!(client.get(&format!("/vers/key?versionId={kept}")).await.expect(200).body, b"kept");
    switch(&client, "vers", "Enabled").await;
    put(&client, "/vers/key", b"third").await;
    assert_eq!(client.get("/vers/key?versionId=null").await.expect(200).body, b"second");
    switch(&client, "vers", "Suspended").await;
    // The marker takes the place of the version without an id, wherever that lies.
    let marker = client.delete("/vers/key").await.expect(204);
    assert_eq!(marker.header("x-amz-version-id"), "null");
    let listed = client.get("/vers?versions").await.expect(200);
    assert_eq!((listed.elements("Version").len(), listed.elements("DeleteMarker").len()), (2, 1));
}

#[tokio::test]
async fn conditions_and_copies_know_versions() {
    let cloud = Cloud::start().await;
    let client = cloud.member("vers").await;
    switch(&client, "vers", "Enabled").await;
    let one = put(&client, "/vers/key", b"one").await;
    client.delete("/vers/key").await.expect(204);
    // What is deleted is not there.
    let new = Request::new("PUT", "/vers/key").body(b"two").header("if-none-match", "*");
    client.send(new.clone()).await.expect(200);
    client.send(new).await.refused(412, "PreconditionFailed");
    let copy =
        Request::new("PUT", "/vers/copy").header("x-amz-copy-source", &format!("/vers/key?versionId={one}"));
    let copied = client.send(copy).await.expect(200);
    assert_eq!(copied.header("x-amz-copy-source-version-id"), one);
    assert_eq!(client.get("/vers/copy").await.expect(200).body, b"one");
    // An old version is brought back by a copy onto itself.
    let back =
        Request::new("PUT", "/vers/key").header("x-amz-copy-source", &format!("/vers/key?versionId={one}"));
    client.send(back).await.expect(200);
    assert_eq!(client.get("/vers/key").await.expect(200).body, b"one");
    let wrong = Request::new("PUT", "/vers/copy")
        .header("x-amz-copy-source", &format!("/vers/key?versionId={}", "0".repeat(32)));
    client.send(wrong).await.refused(404, "NoSuchVersion");
    let body = format!(
        "<Delete><Object><Key>key</Key><VersionId>{one}</VersionId></Object><Object><Key>copy</Key></Object></Delete>"
    );
    let deleted = client.post("/vers?delete", body.as_bytes()).await.expect(200);
    assert_eq!(deleted.elements("VersionId"), [one]);
    assert_eq!(deleted.elements("DeleteMarker"), ["true"]);
}

#[tokio::test]
async fn lists_of_versions_come_in_pages_of_any_size() {
    let cloud = Cloud::start().await;
    let client = cloud.member("vers").await;
    switch(&client, "vers", "Enabled").await;
    let mut all = Vec::new();
    for key in ["a/1", "a/2", "b", "c"] {
        let mut ids = Vec::new();
        for number in 0..3 {
            ids.push((key.to_owned(), put(&client, &format!("/vers/{key}"), &[number]).await));
        }
        ids.reverse();
        all.extend(ids);
    }
    for most in 1..5 {
        let (mut seen, mut marker) = (Vec::new(), String::new());
        loop {
            let page = client.get(&format!("/vers?versions&max-keys={most}{marker}")).await.expect(200);
            seen.extend(page.elements("Key").into_iter().zip(page.elements("VersionId")));
            if page.element("IsTruncated") == "false" {
                break;
            }
            let (key, id) = (page.element("NextKeyMarker"), page.element("NextVersionIdMarker"));
            marker = format!("&key-marker={key}&version-id-marker={id}");
        }
        assert_eq!(seen, all, "{most} to a page");
    }
    let page = client.get("/vers?versions&delimiter=/&max-keys=2").await.expect(200);
    assert_eq!((page.elements("CommonPrefixes").len(), page.elements("Key")), (1, vec!["b".to_owned()]));
    let page = client.get("/vers?versions&prefix=a/&key-marker=a/1").await.expect(200);
    assert_eq!(page.elements("Key"), ["a/2"; 3]);
}
