//! Symbolic links.

use serde_json::json;

use crate::client::Request;
use crate::cloud::Cloud;
use crate::swift::{json_of, md5};

#[tokio::test]
async fn a_link_is_read_as_what_it_leads_to() {
    let cloud = Cloud::start().await;
    let (member, s3) = (cloud.swift("member-mine"), cloud.client("member-mine"));
    for container in ["cont", "Else where"] {
        member.put(&format!("/{container}"), b"").await.expect(201);
    }
    let link = async |name: &str, target: &str| {
        let headers = [("x-symlink-target", target), ("content-type", "application/symlink")];
        member.send("PUT", &format!("/cont/{name}"), &headers, b"").await
    };
    link("link", "Else%20where/a%20b").await.expect(201);
    let nowhere = member.get("/cont/link").await.expect(404);
    assert_eq!(nowhere.header("content-location"), "/v1/AUTH_mine/Else%20where/a%20b");
    let headers = [("content-type", "text/x"), ("x-object-meta-color", "red")];
    member.send("PUT", "/Else where/a b", &headers, b"12345").await.expect(201);
    for (name, value) in [
        ("content-type", "text/x"),
        ("x-object-meta-color", "red"),
        ("etag", md5(b"12345").as_str()),
        ("content-length", "5"),
        ("content-location", "/v1/AUTH_mine/Else%20where/a%20b"),
        ("x-symlink-target", ""),
    ] {
        assert_eq!(member.head("/cont/link").await.expect(200).header(name), value, "{name}");
    }
    assert_eq!(member.get("/cont/link").await.expect(200).text(), "12345");
    let part = member.send("GET", "/cont/link", &[("range", "bytes=1-2")], b"").await.expect(206);
    assert_eq!(part.text(), "23");
    // The link itself.
    let itself = member.get("/cont/link?symlink=get").await.expect(200);
    for (name, value) in [
        ("content-type", "application/symlink"),
        ("x-symlink-target", "Else%20where/a%20b"),
        ("x-symlink-target-account", "AUTH_mine"),
        ("content-length", "0"),
    ] {
        assert_eq!(itself.header(name), value, "{name}");
    }
    let listed = json_of(&member.get("/cont?format=json").await.expect(200));
    assert_eq!(listed[0]["symlink_path"], "/v1/AUTH_mine/Else where/a b");
    assert_eq!((&listed[0]["bytes"], &listed[0]["content_type"]), (&json!(0), &json!("application/symlink")));
    assert_eq!(s3.get("/cont/link").await.expect(200).text(), "");
    // Two one after the other, and no more.
    link("second", "cont/link").await.expect(201);
    link("third", "cont/second").await.expect(201);
    assert_eq!(member.get("/cont/second").await.expect(200).text(), "12345");
    member.get("/cont/third").await.expect(409);
    link("round", "cont/about").await.expect(201);
    link("about", "cont/round").await.expect(201);
    member.get("/cont/round").await.expect(409);
    // Metadata are the link's; the target's are for the client to change there.
    let posted = member.post("/cont/link", &[("x-object-meta-a", "1")]).await.expect(307);
    assert_eq!(posted.header("location"), "/v1/AUTH_mine/Else%20where/a%20b");
    assert_eq!(member.head("/cont/link?symlink=get").await.header("x-object-meta-a"), "1");
    assert_eq!(member.head("/cont/link").await.header("x-object-meta-a"), "");
    // A copy is one of the target, or of the link.
    member.send("COPY", "/cont/second", &[("destination", "cont/copy")], b"").await.expect(201);
    member
        .send("COPY", "/cont/link?symlink=get", &[("destination", "cont/copied-link")], b"")
        .await
        .expect(201);
    // A large object may be the target, and a link is no segment of one.
    member.send("PUT", "/cont/dlo", &[("x-object-manifest", "Else where/a")], b"").await.expect(201);
    link("to-dlo", "cont/dlo").await.expect(201);
    assert_eq!(member.get("/cont/to-dlo").await.expect(200).text(), "12345");
    member.send("PUT", "/cont/of-links", &[("x-object-manifest", "cont/link")], b"").await.expect(201);
    member.get("/cont/of-links").await.expect(409);
    let manifest = br#"[{"path": "cont/link"}]"#;
    member.put("/cont/slo?multipart-manifest=put", manifest).await.expect(400);
    member.delete("/cont/link").await.expect(204);
    assert_eq!(member.get("/Else where/a b").await.expect(200).text(), "12345");
    member.delete("/Else where/a b").await.expect(204);
    assert_eq!(member.get("/cont/copy").await.expect(200).text(), "12345");
    member.get("/cont/copied-link").await.expect(404);
    for (target, status) in [("cont", 412), ("", 400), ("cont/self", 400), ("%ff", 412)] {
        assert_eq!(link("self", target).await.status, status, "{target}");
    }
    let with_bytes = member.send("PUT", "/cont/x", &[("x-symlink-target", "cont/copy")], b"x").await;
    with_bytes.expect(400);
    member.post("/cont/copy", &[("x-symlink-target", "cont/x")]).await.expect(400);
}

#[tokio::test]
async fn a_link_may_lead_to_one_certain_object() {
    let cloud = Cloud::start().await;
    let member = cloud.swift("member-mine");
    member.put("/cont", b"").await.expect(201);
    let link = async |etag: &str| {
        let headers = [("x-symlink-target", "cont/a"), ("x-symlink-target-etag", etag)];
        member.send("PUT", "/cont/link", &headers, b"").await
    };
    link(&md5(b"1")).await.expect(409);
    member.put("/cont/a", b"1").await.expect(201);
    link(&md5(b"2")).await.expect(409);
    link(&md5(b"1")).await.expect(201);
    assert_eq!(member.get("/cont/link").await.expect(200).text(), "1");
    assert_eq!(member.head("/cont/link?symlink=get").await.header("x-symlink-target-etag"), md5(b"1"));
    assert_eq!(json_of(&member.get("/cont?format=json").await)[1]["symlink_etag"], md5(b"1"));
    member.put("/cont/a", b"2").await.expect(201);
    member.get("/cont/link").await.expect(409);
}

#[tokio::test]
async fn a_link_gives_nobody_a_right() {
    let cloud = Cloud::start().await;
    let (mine, other) = (cloud.swift("member-mine"), cloud.swift("member-other"));
    for container in ["open", "closed"] {
        mine.put(&format!("/{container}"), b"").await.expect(201);
    }
    mine.put("/closed/a", b"secret").await.expect(201);
    mine.post("/open", &[("x-container-read", ".r:*,other:*"), ("x-container-meta-temp-url-key", "key")])
        .await
        .expect(204);
    mine.send("PUT", "/open/link", &[("x-symlink-target", "closed/a")], b"").await.expect(201);
    assert_eq!(mine.get("/open/link").await.expect(200).text(), "secret");
    other.get("/open/link").await.expect(403);
    other.get("/open/link?symlink=get").await.expect(200);
    cloud.swift("").get("/open/link").await.expect(401);
    // Nor may they copy what they may not read.
    other.put("/v1/AUTH_other/theirs", b"").await.expect(201);
    let pull = [("x-copy-from", "open/link"), ("x-copy-from-account", "AUTH_mine")];
    other.send("PUT", "/v1/AUTH_other/theirs/copy", &pull, b"").await.expect(403);
    // Into another account, for those who may read there.
    let link = [("x-symlink-target", "closed/a"), ("x-symlink-target-account", "AUTH_mine")];
    other.send("PUT", "/v1/AUTH_other/theirs/link", &link, b"").await.expect(201);
    other.get("/v1/AUTH_other/theirs/link").await.expect(403);
    mine.post("/closed", &[("x-container-read", "other:*")]).await.expect(204);
    assert_eq!(other.get("/v1/AUTH_other/theirs/link").await.expect(200).text(), "secret");
    other.send("PUT", "/v1/AUTH_other/theirs/copy", &pull, b"").await.expect(201);
    assert_eq!(other.get("/v1/AUTH_other/theirs/copy").await.expect(200).text(), "secret");
    let wrong = [("x-symlink-target", "closed/a"), ("x-symlink-target-account", "mine")];
    other.send("PUT", "/v1/AUTH_other/theirs/link", &wrong, b"").await.expect(412);
    // A temporary URL of one account does not reach into another, nor one of a container into another.
    other.post("/v1/AUTH_other", &[("x-account-meta-temp-url-key", "key")]).await.expect(204);
    cloud
        .swift("")
        .get(&crate::swift_sharing::signed("GET", "/v1/AUTH_mine/open/link", "key"))
        .await
        .expect(401);
    cloud
        .swift("")
        .get(&crate::swift_sharing::signed("GET", "/v1/AUTH_other/theirs/link", "key"))
        .await
        .expect(401);
    cloud
        .swift("")
        .get(&crate::swift_sharing::signed("GET", "/v1/AUTH_other/theirs/copy", "key"))
        .await
        .expect(200);
    // S3 copies the empty object and nothing else.
    let copy = Request::new("PUT", "/theirs/by-s3").header("x-amz-copy-source", "theirs/link");
    cloud.client("member-other").send(copy).await.expect(200);
}
