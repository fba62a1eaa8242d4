//! Objects that end by themselves.

use std::time::Duration;

use crate::client::Request;
use crate::cloud::Cloud;

const VERSIONING: &[u8] = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";

fn seconds(cloud: &Cloud) -> i64 {
    use hanse_core::Clock as _;
    cloud.clock.now().seconds()
}

#[tokio::test]
async fn an_object_is_not_seen_once_its_time_has_come() {
    let cloud = Cloud::start().await;
    let (member, s3) = (cloud.swift("member-mine"), cloud.client("member-mine"));
    member.put("/cont", b"").await.expect(201);
    let at = (seconds(&cloud) + 100).to_string();
    member.send("PUT", "/cont/a", &[("x-delete-at", &at)], b"12345").await.expect(201);
    member.put("/cont/b", b"12345").await.expect(201);
    assert_eq!(member.head("/cont/a").await.expect(200).header("x-delete-at"), at);
    assert!(!member.head("/cont/b").await.headers.contains_key("x-delete-at"));
    cloud.clock.advance(Duration::from_secs(99));
    assert_eq!(member.get("/cont/a").await.expect(200).text(), "12345");
    assert_eq!(cloud.service.expire().await.unwrap(), 0);
    cloud.clock.advance(Duration::from_secs(1));
    // It lies there still, and is gone for everyone.
    assert_eq!(member.head("/cont").await.header("x-container-object-count"), "2");
    for method in ["GET", "HEAD", "POST", "DELETE"] {
        member.send(method, "/cont/a", &[], b"").await.expect(404);
    }
    member.send("COPY", "/cont/a", &[("destination", "cont/c")], b"").await.expect(404);
    s3.get("/cont/a").await.refused(404, "NoSuchKey");
    s3.get("/cont/a?tagging").await.refused(404, "NoSuchKey");
    let copy = Request::new("PUT", "/cont/c").header("x-amz-copy-source", "cont/a");
    s3.send(copy).await.refused(404, "NoSuchKey");
    s3.send(Request::new("PUT", "/cont/a").header("if-match", "*")).await.refused(404, "NoSuchKey");
    assert_eq!(member.get("/cont").await.text(), "b\n");
    assert_eq!(member.get("/cont?reverse=true").await.text(), "b\n");
    assert_eq!(s3.get("/cont?list-type=2").await.elements("Key"), ["b"]);
    let manifest = br#"[{"path": "cont/a"}]"#;
    member.put("/cont/slo?multipart-manifest=put", manifest).await.expect(400);
    member.send("PUT", "/cont/dlo", &[("x-object-manifest", "cont/a")], b"").await.expect(201);
    assert_eq!(member.get("/cont/dlo").await.expect(200).text(), "");
    member.delete("/cont/dlo").await.expect(204);
    assert_eq!(cloud.service.expire().await.unwrap(), 1);
    let head = member.head("/cont").await;
    assert_eq!((head.header("x-container-object-count"), head.header("x-container-bytes-used")), ("1", "5"));
    assert_eq!(cloud.service.expire().await.unwrap(), 0);
    assert_eq!(member.get("/cont/b").await.expect(200).text(), "12345");
}

#[tokio::test]
async fn an_end_may_be_said_anew_and_taken_back() {
    let cloud = Cloud::start().await;
    let (member, s3) = (cloud.swift("member-mine"), cloud.client("member-mine"));
    member.put("/cont", b"").await.expect(201);
    let now = seconds(&cloud);
    for (name, value) in [
        ("x-delete-at", "soon"),
        ("x-delete-at", "1000"),
        ("x-delete-at", "10000000000"),
        ("x-delete-after", "-1"),
        ("x-delete-after", "0"),
        ("x-delete-after", "9223372036854775807"),
    ] {
        member.send("PUT", "/cont/a", &[(name, value)], b"x").await.expect(400);
    }
    let ending = [("x-delete-after", "100")];
    for object in ["posted", "longer", "overwritten", "by-s3", "fresh", "deleted"] {
        let path = format!("/cont/{object}");
        member.send("PUT", &path, &ending, b"x").await.expect(201);
        assert_eq!(member.head(&path).await.header("x-delete-at"), (now + 100).to_string());
    }
    member.post("/cont/posted", &[("x-object-meta-a", "1")]).await.expect(202);
    member.post("/cont/longer", &[("x-delete-after", "200"), ("x-delete-at", "1")]).await.expect(202);
    member.put("/cont/overwritten", b"y").await.expect(201);
    s3.put("/cont/by-s3", b"y").await.expect(200);
    member.delete("/cont/deleted").await.expect(204);
    // A copy of Swift's ends as its source does, unless it says otherwise; S3 knows of no end.
    let copy = async |onto: &str, header: (&str, &str)| {
        member.send("COPY", "/cont/fresh", &[("destination", onto), header], b"").await.expect(201);
    };
    copy("cont/copy", ("x-object-meta-a", "1")).await;
    copy("cont/copy-later", ("x-delete-after", "200")).await;
    copy("cont/copy-fresh", ("x-fresh-metadata", "true")).await;
    s3.send(Request::new("PUT", "/cont/copy-s3").header("x-amz-copy-source", "cont/fresh")).await.expect(200);
    member.put("/cont/segment", b"x").await.expect(201);
    let manifest = br#"[{"path": "cont/segment"}]"#;
    member.send("PUT", "/cont/slo?multipart-manifest=put", &ending, manifest).await.expect(201);
    cloud.clock.advance(Duration::from_secs(100));
    let list = "by-s3 copy-fresh copy-later copy-s3 longer overwritten posted segment";
    let listed = async || member.get("/cont").await.text().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(listed().await, list);
    // What is written in the place of one that has ended is new, and stays.
    member.send("PUT", "/cont/fresh", &[("if-none-match", "*")], b"new").await.expect(201);
    assert_eq!(cloud.service.expire().await.unwrap(), 2);
    assert_eq!(member.get("/cont/fresh").await.expect(200).text(), "new");
    cloud.clock.advance(Duration::from_secs(100));
    assert_eq!(cloud.service.expire().await.unwrap(), 2);
    assert_eq!(
        listed().await,
        list.replace("copy-later ", "").replace("longer ", "").replacen("copy-s3", "copy-s3 fresh", 1)
    );
    // The index of the ends keeps nothing.
    let left = cloud.store.view().unwrap().scan_prefix(b"d/").unwrap().count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn what_has_ended_does_not_keep_a_container() {
    let cloud = Cloud::start().await;
    let member = cloud.swift("member-mine");
    member.put("/cont", b"").await.expect(201);
    for object in 0..250 {
        member.send("PUT", &format!("/cont/{object}"), &[("x-delete-after", "5")], b"x").await.expect(201);
    }
    member.delete("/cont").await.expect(409);
    cloud.clock.advance(Duration::from_secs(5));
    member.delete("/cont").await.expect(204);
    let head = member.head("").await.expect(204);
    assert_eq!((head.header("x-account-object-count"), head.header("x-account-bytes-used")), ("0", "0"));
}

#[tokio::test]
async fn with_versions_an_end_is_a_delete_marker() {
    let cloud = Cloud::start().await;
    let (member, s3) = (cloud.swift("member-mine"), cloud.member("bucket").await);
    s3.put("/bucket?versioning", VERSIONING).await.expect(200);
    member.send("PUT", "/bucket/a", &[("x-delete-after", "50")], b"first").await.expect(201);
    let first = s3.head("/bucket/a").await.header("x-amz-version-id").to_owned();
    let version = format!("/bucket/a?versionId={first}");
    cloud.clock.advance(Duration::from_secs(50));
    s3.get("/bucket/a").await.refused(404, "NoSuchKey");
    assert_eq!(s3.get(&version).await.expect(200).text(), "first");
    assert_eq!(cloud.service.expire().await.unwrap(), 1);
    s3.get("/bucket/a").await.refused(404, "NoSuchKey");
    assert_eq!(s3.get(&version).await.expect(200).text(), "first");
    assert_eq!(s3.get("/bucket?versions").await.elements("DeleteMarker").len(), 1);
    // A version that is not the current one stays, and ends as soon as it is the current one again.
    let second = s3.put("/bucket/b", b"x").await.expect(200);
    drop(second);
    member.send("PUT", "/bucket/c", &[("x-delete-after", "50")], b"first").await.expect(201);
    let second = s3.put("/bucket/c", b"second").await.expect(200).header("x-amz-version-id").to_owned();
    cloud.clock.advance(Duration::from_secs(50));
    assert_eq!(cloud.service.expire().await.unwrap(), 0);
    s3.delete(&format!("/bucket/c?versionId={second}")).await.expect(204);
    s3.get("/bucket/c").await.refused(404, "NoSuchKey");
    assert_eq!(cloud.service.expire().await.unwrap(), 1);
    assert_eq!(s3.get("/bucket?versions").await.elements("DeleteMarker").len(), 2);
}
