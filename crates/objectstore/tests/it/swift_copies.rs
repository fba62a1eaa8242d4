//! Copies of Swift's beyond those within an account, and manifests that say more than which objects.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

use crate::cloud::Cloud;
use crate::swift::{json_of, md5};

#[tokio::test]
async fn copies_between_accounts_need_rights_on_both_sides() {
    let cloud = Cloud::start().await;
    let (mine, other) = (cloud.swift("member-mine"), cloud.swift("member-other"));
    mine.put("/mine", b"").await.expect(201);
    other.put("/v1/AUTH_other/theirs", b"").await.expect(201);
    let body: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    mine.send("PUT", "/mine/a b", &[("x-object-meta-color", "red")], &body).await.expect(201);
    let push = [("destination", "theirs/a"), ("destination-account", "AUTH_other")];
    let pull = [("x-copy-from", "/mine/a%20b"), ("x-copy-from-account", "AUTH_mine")];
    let onto = "/v1/AUTH_other/theirs/pulled";
    mine.send("COPY", "/mine/a b", &push, b"").await.expect(403);
    other.send("PUT", onto, &pull, b"").await.expect(403);
    // A list of the other side's lets in; for those who are of neither side both have to.
    other.post("/v1/AUTH_other/theirs", &[("x-container-write", "mine:*")]).await.expect(204);
    let copied = mine.send("COPY", "/mine/a b", &push, b"").await.expect(201);
    assert_eq!(
        (copied.header("x-copied-from"), copied.header("x-copied-from-account")),
        ("mine/a b", "AUTH_mine")
    );
    other.send("PUT", onto, &pull, b"").await.expect(403);
    mine.post("/mine", &[("x-container-read", "other:user-member-reader")]).await.expect(204);
    other.send("PUT", onto, &pull, b"").await.expect(201);
    cloud.keys.give("third", &["member", "reader"], "third");
    cloud.swift("third").send("COPY", "/mine/a b", &push, b"").await.expect(403);
    // A reader of the project may not write there, whoever they are.
    cloud.swift("reader-other").send("PUT", onto, &pull, b"").await.expect(403);
    cloud.swift("").send("PUT", onto, &pull, b"").await.expect(401);
    // The copies are the other project's: they stay when the source goes, and count there.
    mine.delete("/mine/a b").await.expect(204);
    let cloud = cloud.restarted().await;
    let other = cloud.swift("member-other");
    for object in ["a", "pulled"] {
        let read = other.get(&format!("/v1/AUTH_other/theirs/{object}")).await.expect(200);
        assert!(read.body == body, "{object}");
        assert_eq!(read.header("x-object-meta-color"), "red");
    }
    assert!(cloud.client("member-other").get("/theirs/pulled").await.expect(200).body == body);
    assert_eq!(other.head("/v1/AUTH_other").await.header("x-account-bytes-used"), "400000");
    assert_eq!(cloud.swift("member-mine").head("").await.header("x-account-bytes-used"), "0");
}

#[tokio::test]
async fn a_large_object_is_copied_whole_or_as_a_manifest() {
    let cloud = Cloud::start().await;
    let (mine, other) = (cloud.swift("member-mine"), cloud.swift("member-other"));
    for container in ["cont", "parts"] {
        mine.put(&format!("/{container}"), b"").await.expect(201);
    }
    other.put("/v1/AUTH_other/theirs", b"").await.expect(201);
    other.post("/v1/AUTH_other/theirs", &[("x-container-write", "mine:*")]).await.expect(204);
    mine.put("/parts/a/1", b"one").await.expect(201);
    mine.put("/parts/a/2", b"two").await.expect(201);
    mine.send("PUT", "/cont/dlo", &[("x-object-manifest", "parts/a/")], b"").await.expect(201);
    let manifest = json!([{ "path": "parts/a/1" }, { "path": "parts/a/2" }]).to_string();
    mine.put("/cont/slo?multipart-manifest=put", manifest.as_bytes()).await.expect(201);
    for kind in ["dlo", "slo"] {
        let copy = async |query: &str, onto: &str, account: &str| {
            let headers = [("destination", onto), ("destination-account", account)];
            mine.send("COPY", &format!("/cont/{kind}{query}"), &headers, b"").await.expect(201);
        };
        copy("", &format!("cont/whole-{kind}"), "AUTH_mine").await;
        copy("?multipart-manifest=get", &format!("cont/manifest-{kind}"), "AUTH_mine").await;
        copy("", &format!("theirs/whole-{kind}"), "AUTH_other").await;
    }
    let read = async |path: &str| mine.get(path).await.expect(200);
    for (object, is_static, place) in [
        ("whole-dlo", "", ""),
        ("whole-slo", "", ""),
        ("manifest-dlo", "", "parts/a/"),
        ("manifest-slo", "True", ""),
    ] {
        let read = read(&format!("/cont/{object}")).await;
        assert_eq!(read.text(), "onetwo", "{object}");
        assert_eq!(read.header("x-static-large-object"), is_static, "{object}");
        assert_eq!(read.header("x-object-manifest"), place, "{object}");
    }
    // The whole ones stay as they are, also for S3, and in the other account.
    mine.put("/parts/a/2", b"three").await.expect(201);
    assert_eq!(read("/cont/whole-dlo").await.text(), "onetwo");
    assert_eq!(read("/cont/manifest-dlo").await.text(), "onethree");
    assert_eq!(cloud.client("member-mine").get("/cont/whole-dlo").await.expect(200).text(), "onetwo");
    for kind in ["dlo", "slo"] {
        let read = other.get(&format!("/v1/AUTH_other/theirs/whole-{kind}")).await.expect(200);
        assert_eq!(read.text(), "onetwo", "{kind}");
    }
    // Whoever may not read the segments may not copy them.
    mine.post("/cont", &[("x-container-read", "other:*")]).await.expect(204);
    let pull = [("x-copy-from", "cont/dlo"), ("x-copy-from-account", "AUTH_mine")];
    other.send("PUT", "/v1/AUTH_other/theirs/pulled", &pull, b"").await.expect(403);
    mine.post("/parts", &[("x-container-read", "other:*")]).await.expect(204);
    other.send("PUT", "/v1/AUTH_other/theirs/pulled", &pull, b"").await.expect(201);
    assert_eq!(other.get("/v1/AUTH_other/theirs/pulled").await.expect(200).text(), "onethree");
}

#[tokio::test]
async fn a_manifest_may_name_ranges_and_hold_bytes_of_its_own() {
    let cloud = Cloud::start().await;
    let member = cloud.swift("member-mine");
    member.put("/cont", b"").await.expect(201);
    let body: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    member.put("/cont/part", &body).await.expect(201);
    let path = "/cont/part";
    let data = BASE64.encode(b"<between>");
    let manifest = json!([
        { "path": path, "range": "10-19" },
        { "data": data },
        { "path": path, "range": "65530-131080", "etag": md5(&body), "size_bytes": 200_000 },
        { "path": path },
        { "path": path, "range": "-5" },
        { "data": BASE64.encode(b"end") },
    ]);
    let put = async |manifest: &serde_json::Value| {
        member.put("/cont/slo?multipart-manifest=put", manifest.to_string().as_bytes()).await
    };
    let tag = md5(&body);
    let tag =
        md5(format!("{tag}:10-19;{}{tag}:65530-131080;{tag}{tag}:-5;{}", md5(b"<between>"), md5(b"end"))
            .as_bytes());
    assert_eq!(put(&manifest).await.expect(201).header("etag"), format!("\"{tag}\""));
    let whole =
        [&body[10..20], b"<between>", &body[65_530..=131_080], &body[..], &body[199_995..], b"end"].concat();
    let read = async |path: &str| member.get(path).await.expect(200).body;
    assert!(read("/cont/slo").await == whole);
    let part = member.send("GET", "/cont/slo", &[("range", "bytes=5-24")], b"").await.expect(206);
    assert_eq!(part.body, whole[5..=24]);
    assert!(cloud.client("member-mine").get("/cont/slo").await.expect(200).body == whole);
    let used = (body.len() + whole.len()).to_string();
    assert_eq!(member.head("/cont").await.header("x-container-bytes-used"), used);
    let raw = json_of(&member.get("/cont/slo?multipart-manifest=get&format=raw").await.expect(200));
    assert_eq!(raw[0], json!({ "path": path, "etag": md5(&body), "size_bytes": 200_000, "range": "10-19" }));
    assert_eq!(raw[1], json!({ "data": data }));
    // What was shown can be put again.
    put(&raw).await.expect(201);
    assert!(read("/cont/slo").await == whole);
    for wrong in [
        json!([{ "path": path, "range": "200000-" }]),
        json!([{ "path": path, "range": "0-1,3-4" }]),
        json!([{ "path": path, "range": "0-1", "size_bytes": 2 }]),
        json!([{ "path": "/cont/nothing", "range": "0-1" }]),
        json!([{ "data": data }]),
        json!([{ "path": path }, { "data": "" }]),
        json!([{ "path": path }, { "data": "*" }]),
        json!([{ "path": path }, { "data": data, "path": path }]),
        json!([{ "path": path }, { "data": BASE64.encode([0; (64 << 10) + 1]) }]),
    ] {
        let answer = put(&wrong).await;
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.text());
    }
    // Its bytes are its own: they stay when the segment goes, and go with it.
    member.delete("/cont/part").await.expect(204);
    let cloud = cloud.restarted().await;
    let member = cloud.swift("member-mine");
    assert!(member.get("/cont/slo").await.expect(200).body == whole);
    let done = member
        .send("DELETE", "/cont/slo?multipart-manifest=delete", &[("accept", "application/json")], b"")
        .await
        .expect(200);
    assert_eq!(
        (json_of(&done)["Number Deleted"].clone(), json_of(&done)["Number Not Found"].clone()),
        (json!(1), json!(1))
    );
    assert_eq!(member.head("/cont").await.header("x-container-bytes-used"), "0");
}
