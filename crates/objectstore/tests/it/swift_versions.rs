//! Versions in Swift's words: kept in the container itself, or in another one.

use serde_json::{Value, json};

use crate::client::Request;
use crate::cloud::Cloud;
use crate::swift::{Swift, json_of};

/// Name, id, whether it is the latest one, and size of each version.
async fn listed(swift: &Swift, query: &str) -> Vec<(String, String, bool, u64)> {
    let lines = json_of(&swift.get(&format!("/cont?versions=true&format=json{query}")).await.expect(200));
    let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    let line = |line: &Value| {
        let is_latest = line["is_latest"].as_bool().unwrap();
        (text(line, "name"), text(line, "version_id"), is_latest, line["bytes"].as_u64().unwrap())
    };
    lines.as_array().unwrap().iter().map(line).collect()
}

#[tokio::test]
async fn a_container_keeps_versions_when_it_is_told_to() {
    let cloud = Cloud::start().await;
    let (member, s3) = (cloud.swift("member-mine"), cloud.client("member-mine"));
    member.put("/cont", b"").await.expect(201);
    assert!(!member.head("/cont").await.headers.contains_key("x-versions-enabled"));
    let before = member.put("/cont/a", b"before").await.expect(201);
    assert!(!before.headers.contains_key("x-object-version-id"));
    cloud.swift("reader-mine").post("/cont", &[("x-versions-enabled", "true")]).await.expect(403);
    member.post("/cont", &[("x-versions-enabled", "true")]).await.expect(204);
    assert_eq!(member.head("/cont").await.header("x-versions-enabled"), "True");
    let put = async |body: &[u8]| {
        member.put("/cont/a", body).await.expect(201).header("x-object-version-id").to_owned()
    };
    let (first, second) = (put(b"1").await, put(b"22").await);
    let marker = member.delete("/cont/a").await.expect(204).header("x-object-version-id").to_owned();
    member.get("/cont/a").await.expect(404);
    assert_eq!(member.get("/cont").await.expect(204).text(), "");
    let version = |id: &str, is_latest: bool, size: u64| ("a".to_owned(), id.to_owned(), is_latest, size);
    let all = [
        version(&marker, true, 0),
        version(&second, false, 2),
        version(&first, false, 1),
        version("null", false, 6),
    ];
    assert_eq!(listed(&member, "").await, all);
    assert_eq!(listed(&member, "&limit=1").await, all[..1]);
    assert_eq!(listed(&member, &format!("&limit=2&marker=a&version_marker={marker}")).await, all[1..3]);
    let lines = json_of(&member.get("/cont?versions=true&format=json").await);
    assert_eq!(lines[0]["content_type"], "application/x-deleted;swift_versions_deleted=1");
    assert_eq!(lines[0]["hash"], "d41d8cd98f00b204e9800998ecf8427e");
    // They are S3's.
    assert_eq!(
        s3.get("/cont?versions").await.elements("VersionId"),
        [&marker, &second, &first, "null"].map(|id| id.to_owned())
    );
    for (id, body) in [(first.as_str(), "1"), (&second, "22"), ("null", "before")] {
        let get = member.get(&format!("/cont/a?version-id={id}")).await.expect(200);
        assert_eq!((get.text().as_str(), get.header("x-object-version-id")), (body, id));
        assert_eq!(cloud.swift("reader-mine").head(&format!("/cont/a?version-id={id}")).await.status, 200);
        cloud.swift("member-other").get(&format!("/cont/a?version-id={id}")).await.expect(403);
    }
    for (id, status) in [(marker.as_str(), 404), (&"0".repeat(32), 404), ("x", 400)] {
        member.get(&format!("/cont/a?version-id={id}")).await.expect(status);
        let expected = if id == marker { 200 } else { status };
        let deleted = cloud.swift("reader-mine").delete(&format!("/cont/a?version-id={id}")).await;
        assert_eq!(deleted.status, 403, "{id} {expected}");
    }
    // One is copied, and one is made the current one again.
    let copy = [("destination", "cont/b")];
    member.send("COPY", &format!("/cont/a?version-id={first}"), &copy, b"").await.expect(201);
    assert_eq!(member.get("/cont/b").await.text(), "1");
    member.put(&format!("/cont/a?version-id={first}"), b"").await.expect(201);
    assert_eq!(member.get("/cont/a").await.expect(200).text(), "1");
    member.put(&format!("/cont/a?version-id={first}"), b"x").await.expect(400);
    member.put(&format!("/cont/a?version-id={marker}"), b"").await.expect(404);
    member.post(&format!("/cont/a?version-id={first}"), &[]).await.expect(501);
    member.get(&format!("/cont/a?version-id={first}&multipart-manifest=get")).await.expect(501);
    // One goes for good; the next one takes the place of the current one.
    let current = member.head("/cont/a").await.header("x-object-version-id").to_owned();
    let deleted = member.delete(&format!("/cont/a?version-id={current}")).await.expect(204);
    assert_eq!(deleted.header("x-object-current-version-id"), marker);
    member.delete(&format!("/cont/a?version-id={current}")).await.expect(404);
    member.get("/cont/a").await.expect(404);
    member.delete(&format!("/cont/a?version-id={marker}")).await.expect(204);
    assert_eq!(member.get("/cont/a").await.expect(200).text(), "22");
    // Turned off, what there is stays, and what comes is one.
    member.post("/cont", &[("x-versions-enabled", "false")]).await.expect(204);
    assert_eq!(member.head("/cont").await.header("x-versions-enabled"), "False");
    member.put("/cont/a", b"333").await.expect(201);
    let ids: Vec<String> = listed(&member, "&prefix=a").await.into_iter().map(|line| line.1).collect();
    assert_eq!(ids, ["null", &second, &first]);
    member.delete("/cont").await.expect(409);
    // What can be locked keeps its versions.
    let locked = Request::new("PUT", "/locked").header("x-amz-bucket-object-lock-enabled", "true");
    s3.send(locked).await.expect(200);
    member.post("/locked", &[("x-versions-enabled", "false")]).await.expect(409);
}

#[tokio::test]
async fn a_container_takes_what_is_overwritten_in_another() {
    let cloud = Cloud::start().await;
    let (member, s3) = (cloud.swift("member-mine"), cloud.client("member-mine"));
    for (name, value, status) in [
        ("x-versions-location", "a/b", 412),
        ("x-history-location", "a/", 412),
        ("x-versions-location", "%ff", 400),
    ] {
        member.send("PUT", "/cont", &[(name, value)], b"").await.expect(status);
    }
    let both = [("x-versions-location", "old"), ("x-history-location", "old")];
    member.send("PUT", "/cont", &both, b"").await.expect(400);
    let both = [("x-versions-location", "old"), ("x-versions-enabled", "true")];
    member.send("PUT", "/cont", &both, b"").await.expect(400);
    member.send("PUT", "/cont", &[("x-versions-location", "old")], b"").await.expect(201);
    assert_eq!(member.head("/cont").await.header("x-versions-location"), "old");
    member.put("/cont/a", b"1").await.expect(201);
    // Nothing is lost for want of a place.
    member.put("/cont/a", b"22").await.expect(412);
    member.delete("/cont/a").await.expect(412);
    s3.put("/cont/a", b"22").await.refused(412, "PreconditionFailed");
    assert_eq!(member.get("/cont/a").await.text(), "1");
    member.put("/old", b"").await.expect(201);
    cloud.clock.advance(std::time::Duration::from_secs(1));
    member.send("PUT", "/cont/a", &[("x-object-meta-color", "red")], b"22").await.expect(201);
    s3.put("/cont/a", b"333").await.expect(200);
    member.put("/cont/ab", b"other").await.expect(201);
    let names = member.get("/old").await.expect(200).text();
    let names: Vec<&str> = names.lines().collect();
    assert!(
        names.len() == 2 && names.iter().all(|name| name.starts_with("001a/") && name.len() == 21),
        "{names:?}"
    );
    assert_eq!(member.get(&format!("/old/{}", names[0])).await.expect(200).text(), "1");
    let counts = async || {
        let of = async |path: &str, kind: &str| {
            let head = member.head(path).await;
            let header = |what: &str| head.header(&format!("x-{kind}-{what}")).to_owned();
            header("object-count") + " " + &header("bytes-used")
        };
        [of("/cont", "container").await, of("/old", "container").await, of("", "account").await]
    };
    assert_eq!(counts().await, ["2 8", "2 3", "4 11"]);
    // Whatever is deleted, the one before it comes back, whoever deletes it.
    s3.delete("/cont/a").await.expect(204);
    let get = member.get("/cont/a").await.expect(200);
    assert_eq!((get.text().as_str(), get.header("x-object-meta-color")), ("22", "red"));
    member.delete("/cont/a").await.expect(204);
    assert_eq!(member.get("/cont/a").await.expect(200).text(), "1");
    assert_eq!(counts().await, ["2 6", "0 0", "2 6"]);
    member.delete("/cont/a").await.expect(204);
    member.get("/cont/a").await.expect(404);
    // The two kinds of versions exclude each other.
    member.post("/cont", &[("x-versions-enabled", "true")]).await.expect(409);
    let versioning = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    s3.put("/cont?versioning", versioning).await.refused(409, "InvalidBucketState");
    // A history keeps deletions, too.
    member.post("/cont", &[("x-history-location", "old")]).await.expect(204);
    let head = member.head("/cont").await;
    assert_eq!((head.header("x-history-location"), head.header("x-versions-location")), ("old", ""));
    member.put("/cont/a", b"4444").await.expect(201);
    member.delete("/cont/a").await.expect(204);
    member.get("/cont/a").await.expect(404);
    member.delete("/cont/a").await.expect(404);
    let lines = json_of(&member.get("/old?format=json").await.expect(200));
    let kinds = [&lines[0]["bytes"], &lines[1]["bytes"], &lines[1]["content_type"]];
    assert_eq!(kinds, [&json!(4), &json!(0), &json!("application/x-deleted;swift_versions_deleted=1")]);
    assert_eq!(counts().await, ["1 5", "2 4", "3 9"]);
    // Over the end of the process, too.
    let cloud = cloud.restarted().await;
    let member = cloud.swift("member-mine");
    let name = lines[0]["name"].as_str().unwrap();
    assert_eq!(member.get(&format!("/old/{name}")).await.expect(200).text(), "4444");
    member.post("/cont", &[("x-remove-history-location", "x")]).await.expect(204);
    member.put("/cont/ab", b"new").await.expect(201);
    assert_eq!(json_of(&member.get("/old?format=json").await).as_array().unwrap().len(), 2);
    let long = format!("/cont/{}", "o".repeat(1010));
    member.put(&long, b"x").await.expect(201);
    member.post("/cont", &[("x-versions-location", "old")]).await.expect(204);
    member.put(&long, b"y").await.expect(400);
    assert_eq!(member.get(&long).await.text(), "x");
}
