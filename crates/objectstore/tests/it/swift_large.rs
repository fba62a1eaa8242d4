//! Swift's large objects, quotas and deletions of many things.

use hanse_objectstore::ports::Quota;
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::swift::{json_of, md5};

#[tokio::test]
async fn quotas_of_containers_hold_for_both_apis() {
    let cloud = Cloud::start().await;
    let (member, s3) = (cloud.swift("member-mine"), cloud.client("member-mine"));
    let headers = [("x-container-meta-quota-bytes", "10"), ("x-container-meta-quota-count", "2")];
    member.send("PUT", "/cont", &headers, b"").await.expect(201);
    member.put("/cont/a", b"12345").await.expect(201);
    member.put("/cont/b", b"123456").await.expect(413);
    s3.put("/cont/b", b"123456").await.refused(403, "QuotaExceeded");
    member.put("/cont/b", b"12345").await.expect(201);
    member.put("/cont/c", b"").await.expect(413);
    member.send("COPY", "/cont/a", &[("destination", "cont/c")], b"").await.expect(413);
    member.put("/cont/b", b"1").await.expect(201);
    member.delete("/cont/a").await.expect(204);
    member.put("/cont/c", b"123456789").await.expect(201);
    let head = member.head("/cont").await;
    assert_eq!((head.header("x-container-object-count"), head.header("x-container-bytes-used")), ("2", "10"));
    // An upload in parts counts once when it becomes an object.
    let headers = [("x-container-meta-quota-bytes", "1000000")];
    member.send("PUT", "/parts", &headers, b"").await.expect(201);
    for (size, status) in [(600_000, 200), (500_000, 403)] {
        let begun = s3.post("/parts/large?uploads", b"").await.expect(200).element("UploadId");
        let part = s3.put(&format!("/parts/large?partNumber=1&uploadId={begun}"), &vec![1; size]).await;
        assert_eq!(part.status, status, "{}", part.text());
        if status == 200 {
            let tag = part.header("etag");
            let list = format!(
                "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part></CompleteMultipartUpload>"
            );
            s3.post(&format!("/parts/large?uploadId={begun}"), list.as_bytes()).await.expect(200);
        }
    }
    assert_eq!(member.head("/parts").await.header("x-container-bytes-used"), "600000");
    // And the project's own limits for both, too.
    cloud.keys.limit("mine", Quota { bytes: Some(10), ..Quota::default() });
    cloud.clock.advance(std::time::Duration::from_secs(1));
    member.put("/free", b"").await.expect(201);
    member.put("/free/o", b"x").await.expect(413);
}

#[tokio::test]
async fn many_things_are_deleted_in_one_request() {
    let cloud = Cloud::start().await;
    let member = cloud.swift("member-mine");
    for container in ["one", "two"] {
        member.put(&format!("/{container}"), b"").await.expect(201);
        member.put(&format!("/{container}/a b"), b"x").await.expect(201);
    }
    let bulk = async |accept: &str, body: &str| {
        let headers = [("accept", accept), ("content-type", "text/plain")];
        member.send("POST", "?bulk-delete", &headers, body.as_bytes()).await
    };
    let done = json_of(&bulk("application/json", "one/a%20b\n/one\ntwo\n/nowhere/x\n").await.expect(200));
    assert_eq!(
        done,
        json!({
            "Number Deleted": 2,
            "Number Not Found": 1,
            "Response Status": "400 Bad Request",
            "Response Body": "",
            "Errors": [["/two", "409 Conflict"]],
        })
    );
    assert_eq!(member.get("").await.text(), "two\n");
    let text = bulk("*/*", "/two/a%20b\n").await.expect(200).text();
    assert!(text.starts_with("Number Deleted: 1\nNumber Not Found: 0\n"), "{text}");
    bulk("*/*", &"x\n".repeat(1001)).await.expect(413);
}

#[tokio::test]
async fn static_large_objects_are_read_as_one() {
    let cloud = Cloud::start().await;
    let member = cloud.swift("member-mine");
    member.put("/cont", b"").await.expect(201);
    member.put("/cont_segments", b"").await.expect(201);
    let parts: Vec<Vec<u8>> = (0..3_u8).map(|n| vec![b'a' + n; 100_000 + usize::from(n)]).collect();
    let mut manifest = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        member.put(&format!("/cont_segments/{number}"), part).await.expect(201);
        manifest.push(json!({
            "path": format!("/cont_segments/{number}"), "etag": md5(part), "size_bytes": part.len(),
        }));
    }
    let put = async |manifest: &Value, headers: &[(&str, &str)]| {
        let body = manifest.to_string();
        member.send("PUT", "/cont/large?multipart-manifest=put", headers, body.as_bytes()).await
    };
    let tag = md5(parts.iter().map(|part| md5(part)).collect::<String>().as_bytes());
    let change = |field: &str, value: Value| {
        let mut wrong = manifest.clone();
        wrong[1][field] = value;
        Value::from(wrong)
    };
    for (manifest, status) in [
        (json!([]), 400),
        (json!({}), 400),
        (change("etag", json!(md5(b"x"))), 400),
        (change("size_bytes", json!(1)), 400),
        (change("path", json!("/cont_segments/9")), 400),
        (change("path", json!("/nowhere/9")), 404),
        (change("path", json!("/cont_segments")), 400),
        (change("path", json!("/cont_segments/0")), 400),
        (change("range", json!("100001-")), 400),
        (change("range", json!("first")), 400),
        (json!([{ "data": "YWJj" }]), 400),
        (change("data", json!("YWJj")), 400),
        (change("other", json!(1)), 400),
    ] {
        let answer = put(&manifest, &[]).await;
        // A container that is not there is a segment that is not there.
        let expected = if status == 404 { 400 } else { status };
        assert_eq!(answer.status, expected, "{manifest}: {}", answer.text());
    }
    let manifest = Value::from(manifest.clone());
    put(&manifest, &[("etag", &md5(b"x"))]).await.expect(422);
    let headers = [("content-type", "text/x"), ("x-object-meta-a", "1"), ("etag", tag.as_str())];
    assert_eq!(put(&manifest, &headers).await.expect(201).header("etag"), format!("\"{tag}\""));
    let whole = parts.concat();
    let get = member.get("/cont/large").await.expect(200);
    assert!(get.body == whole);
    for (name, value) in [
        ("x-static-large-object", "True"),
        ("content-type", "text/x"),
        ("x-object-meta-a", "1"),
        ("etag", &format!("\"{tag}\"")),
    ] {
        assert_eq!(get.header(name), value, "{name}");
    }
    let part = member.send("GET", "/cont/large", &[("range", "bytes=99999-200001")], b"").await.expect(206);
    assert!(part.body == whole[99_999..=200_001]);
    assert!(cloud.client("member-mine").get("/cont/large").await.expect(200).body == whole);
    let listed = json_of(&member.get("/cont/large?multipart-manifest=get").await.expect(200));
    assert_eq!((&listed[2]["name"], &listed[2]["bytes"]), (&json!("/cont_segments/2"), &json!(100_002)));
    assert_eq!(json_of(&member.get("/cont/large?multipart-manifest=get&format=raw").await), manifest);
    // A segment may stand in it twice.
    let twice = json!([{ "path": "cont_segments/0" }, { "path": "/cont_segments/0" }]).to_string();
    member.put("/cont/twice?multipart-manifest=put", twice.as_bytes()).await.expect(201);
    assert!(member.get("/cont/twice").await.expect(200).body == parts[0].repeat(2));
    member.delete("/cont/twice").await.expect(204);
    // It stays what it is when a segment changes, and over a restart.
    member.put("/cont_segments/1", b"other").await.expect(201);
    let cloud = cloud.restarted().await;
    let member = cloud.swift("member-mine");
    assert!(member.get("/cont/large").await.expect(200).body == whole);
    let done = member
        .send("DELETE", "/cont/large?multipart-manifest=delete", &[("accept", "application/json")], b"")
        .await
        .expect(200);
    assert_eq!(json_of(&done)["Number Deleted"], 4);
    assert_eq!(member.get("/cont_segments").await.text(), "");
    member.get("/cont/large").await.expect(404);
}

#[tokio::test]
async fn dynamic_large_objects_follow_their_segments() {
    let cloud = Cloud::start().await;
    let member = cloud.swift("member-mine");
    member.put("/cont", b"").await.expect(201);
    member.put("/parts", b"").await.expect(201);
    member.send("PUT", "/cont/large", &[("x-object-manifest", "parts/a%2F")], b"").await.expect(201);
    assert_eq!(member.get("/cont/large").await.expect(200).text(), "");
    for (name, body) in [("a/1", "one"), ("a/2", "two"), ("b/1", "not")] {
        member.put(&format!("/parts/{name}"), body.as_bytes()).await.expect(201);
    }
    let get = member.get("/cont/large").await.expect(200);
    assert_eq!((get.text().as_str(), get.header("x-object-manifest")), ("onetwo", "parts/a/"));
    let tag = md5(format!("{}{}", md5(b"one"), md5(b"two")).as_bytes());
    assert_eq!(get.header("etag"), format!("\"{tag}\""));
    assert_eq!(member.head("/cont/large").await.expect(200).header("content-length"), "6");
    let part = member.send("GET", "/cont/large", &[("range", "bytes=2-3")], b"").await.expect(206);
    assert_eq!(part.text(), "et");
    assert_eq!(member.get("/cont/large?multipart-manifest=get").await.expect(200).text(), "");
    // Who may read the manifest may not for that read what it leads to.
    member.post("/cont", &[("x-container-read", ".r:*")]).await.expect(204);
    cloud.swift("").get("/cont/large").await.expect(401);
    member.post("/parts", &[("x-container-read", ".r:*")]).await.expect(204);
    assert_eq!(cloud.swift("").get("/cont/large").await.expect(200).text(), "onetwo");
}
