//! Who may do what.

use hanse_core::Cx;

use crate::client::{Client, Request};
use crate::cloud::{Cloud, secret};

/// Each operation with what a member, a reader, a stranger and nobody get.
const CALLS: &[(&str, &str, [u16; 2])] = &[
    // method, target, [member, reader]
    ("GET", "/", [200, 200]),
    ("HEAD", "/bucket", [200, 200]),
    ("GET", "/bucket", [200, 200]),
    ("GET", "/bucket?list-type=2", [200, 200]),
    ("GET", "/bucket?location", [200, 200]),
    ("GET", "/bucket?uploads", [200, 200]),
    ("GET", "/bucket?versions", [200, 200]),
    ("GET", "/bucket?versioning", [200, 200]),
    ("PUT", "/bucket?versioning", [400, 403]),
    ("GET", "/bucket?acl", [200, 200]),
    ("GET", "/bucket?encryption", [200, 200]),
    ("GET", "/bucket?ownershipControls", [200, 200]),
    ("GET", "/bucket?cors", [404, 404]),
    ("GET", "/bucket?tagging", [404, 404]),
    ("DELETE", "/bucket?cors", [204, 403]),
    ("DELETE", "/bucket?tagging", [204, 403]),
    ("GET", "/bucket?policy", [404, 404]),
    ("GET", "/bucket?policyStatus", [404, 404]),
    ("PUT", "/bucket?policy", [400, 403]),
    ("DELETE", "/bucket?policy", [204, 403]),
    ("GET", "/bucket?publicAccessBlock", [200, 200]),
    ("PUT", "/bucket?publicAccessBlock", [400, 403]),
    ("PUT", "/bucket?acl", [400, 403]),
    ("PUT", "/bucket/key?acl", [400, 403]),
    ("PUT", "/bucket?encryption", [400, 403]),
    ("DELETE", "/bucket?encryption", [204, 403]),
    ("PUT", "/bucket?ownershipControls", [400, 403]),
    ("GET", "/bucket?lifecycle", [404, 404]),
    ("PUT", "/bucket?lifecycle", [400, 403]),
    ("DELETE", "/bucket?lifecycle", [204, 403]),
    ("GET", "/bucket?logging", [200, 200]),
    ("PUT", "/bucket?logging", [400, 403]),
    ("GET", "/bucket?notification", [200, 200]),
    ("PUT", "/bucket?notification", [400, 403]),
    ("GET", "/bucket?website", [404, 404]),
    ("PUT", "/bucket?website", [400, 403]),
    ("DELETE", "/bucket?website", [204, 403]),
    ("GET", "/bucket?object-lock", [404, 404]),
    ("PUT", "/bucket?object-lock", [400, 403]),
    ("GET", "/bucket/key?retention", [400, 400]),
    ("PUT", "/bucket/key?retention", [400, 403]),
    ("GET", "/bucket/key?legal-hold", [400, 400]),
    ("PUT", "/bucket/key?legal-hold", [400, 403]),
    ("GET", "/bucket/key", [200, 200]),
    ("HEAD", "/bucket/key", [200, 200]),
    ("GET", "/bucket/key?tagging", [200, 200]),
    ("GET", "/bucket/key?acl", [200, 200]),
    ("PUT", "/bucket/key", [200, 403]),
    ("DELETE", "/bucket/key?tagging", [204, 403]),
    ("POST", "/bucket/key?uploads", [200, 403]),
    ("PUT", "/bucket/key?partNumber=1&uploadId=0", [404, 403]),
    ("DELETE", "/bucket/key?uploadId=0", [404, 403]),
    ("GET", "/bucket/key?uploadId=0", [404, 404]),
    ("DELETE", "/bucket/nothing", [204, 403]),
    ("DELETE", "/bucket", [409, 403]),
    // Not offered.
    ("GET", "/bucket?replication", [501, 501]),
    ("GET", "/bucket/key?torrent", [501, 501]),
];

#[tokio::test]
async fn every_operation_asks_who_it_is_for() {
    let cloud = Cloud::start().await;
    let client = cloud.member("bucket").await;
    client.put("/bucket/key", b"x").await.expect(200);
    cloud.keys.give("gone", &["member", "reader"], "mine");
    let gone = cloud.client("gone");
    gone.get("/bucket/key").await.expect(200);
    cloud.keys.take("gone");
    for (method, target, [member, reader]) in CALLS {
        let request = Request::new(method, target);
        let status = async |client: Client| client.send(request.clone()).await.status;
        assert_eq!(status(client.clone()).await, *member, "a member: {method} {target}");
        assert_eq!(status(cloud.client("reader-mine")).await, *reader, "a reader: {method} {target}");
        assert_eq!(status(gone.clone()).await, 403, "a key that is gone: {method} {target}");
        assert_eq!(
            status(Client::new(cloud.address, "member-mine", "wrong")).await,
            403,
            "a wrong secret: {method} {target}"
        );
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let nobody = client.send_presigned(&request, query).await;
        assert!([403, 501].contains(&nobody.status), "nobody: {method} {target}: {}", nobody.status);
        if *target == "/" {
            continue;
        }
        // What is not offered is told before whose it is, or after: in no case is it done.
        for stranger in ["member-other", "admin-admin", "nothing-mine"] {
            let status = status(cloud.client(stranger)).await;
            assert!(
                status == 403 || (*member == 501 && status == 501),
                "{stranger}: {method} {target}: {status}"
            );
        }
    }
    assert_eq!(client.get("/bucket/key").await.expect(200).body, b"");
}

#[tokio::test]
async fn an_unknown_key_a_wrong_secret_and_no_signature_are_told_apart() {
    let cloud = Cloud::start().await;
    let client = cloud.member("bucket").await;
    Client::new(cloud.address, "doesnotexist", "doesnotexist")
        .get("/")
        .await
        .refused(403, "InvalidAccessKeyId");
    Client::new(cloud.address, "member-mine", "wrong").get("/").await.refused(403, "SignatureDoesNotMatch");
    client.send_presigned(&Request::new("GET", "/"), "").await.refused(403, "AccessDenied");
    cloud.client("member-other").get("/bucket").await.refused(403, "AccessDenied");
    cloud.client("member-other").get("/nothing").await.refused(404, "NoSuchBucket");
    let mut old = Request::new("GET", "/");
    old.time = Some(hanse_core::Timestamp(Cx::system().now().0 - 3_600_000_000));
    client.send(old).await.refused(403, "RequestTimeTooSkewed");
}

#[tokio::test]
async fn a_copy_needs_the_right_to_read_its_source() {
    let cloud = Cloud::start().await;
    let client = cloud.member("mine").await;
    let other = cloud.client("member-other");
    other.put("/theirs", b"").await.expect(200);
    other.put("/theirs/key", b"secret").await.expect(200);
    let copy = Request::new("PUT", "/mine/key").header("x-amz-copy-source", "/theirs/key");
    client.send(copy).await.refused(403, "AccessDenied");
    let id = client.post("/mine/key?uploads", b"").await.expect(200).element("UploadId");
    let part = Request::new("PUT", &format!("/mine/key?partNumber=1&uploadId={id}"))
        .header("x-amz-copy-source", "/theirs/key");
    client.send(part).await.refused(403, "AccessDenied");
    // An upload of one project is none of another's.
    other.put(&format!("/theirs/key?partNumber=1&uploadId={id}"), b"x").await.refused(404, "NoSuchUpload");
}

#[tokio::test]
async fn a_presigned_url_does_what_was_signed_and_nothing_else() {
    let cloud = Cloud::start().await;
    let client = cloud.member("bucket").await;
    client.put("/bucket/private", b"private").await.expect(200);
    let get = Request::new("GET", "/bucket/private");
    let query = client.presign(&get, 60);
    assert_eq!(client.send_presigned(&get, &query).await.expect(200).body, b"private");
    let elsewhere = Request::new("GET", "/bucket/other");
    client.send_presigned(&elsewhere, &query).await.refused(403, "SignatureDoesNotMatch");
    let put = Request::new("PUT", "/bucket/upload").body(b"uploaded");
    let query = client.presign(&put, 60);
    // The hole of CVE-2026-97731: a header that nobody signed makes a copy of an upload.
    for (name, value) in [
        ("x-amz-copy-source", "/bucket/private"),
        ("x-amz-acl", "public-read"),
        ("x-amz-meta-a", "b"),
        ("x-amz-tagging", "a=b"),
    ] {
        let extra = put.clone().header(name, value);
        client.send_presigned(&extra, &query).await.refused(403, "AccessDenied");
    }
    client.get("/bucket/upload").await.refused(404, "NoSuchKey");
    client.send_presigned(&put, &query).await.expect(200);
    assert_eq!(client.get("/bucket/upload").await.body, b"uploaded");
    let mut old = get.clone();
    old.time = Some(hanse_core::Timestamp(Cx::system().now().0 - 120_000_000));
    client.send_presigned(&get, &client.presign(&old, 60)).await.refused(403, "AccessDenied");
    client
        .send_presigned(&get, &client.presign(&get, 604_801))
        .await
        .refused(400, "AuthorizationQueryParametersError");
    let reader = cloud.client("reader-mine");
    let query = reader.presign(&put, 60);
    client.send_presigned(&put, &query).await.refused(403, "AccessDenied");
    cloud.keys.take("reader-mine");
    let query = reader.presign(&get, 60);
    client.send_presigned(&get, &query).await.refused(403, "InvalidAccessKeyId");
}

#[tokio::test]
async fn each_way_to_send_a_payload_needs_the_secret() {
    let cloud = Cloud::start().await;
    let client = cloud.member("bucket").await;
    let wrong = Client::new(cloud.address, "member-mine", &secret("somebody else"));
    for hash in [
        "UNSIGNED-PAYLOAD",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    ] {
        let mut request = Request::new("PUT", "/bucket/key")
            .header("content-encoding", "aws-chunked")
            .header("x-amz-decoded-content-length", "3")
            .header("x-amz-trailer", "x-amz-checksum-crc32")
            .body(b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n");
        request.hash = Some(hash.to_owned());
        wrong.send(request).await.refused(403, "SignatureDoesNotMatch");
        client.get("/bucket/key").await.refused(404, "NoSuchKey");
    }
}

#[tokio::test]
async fn what_changes_a_bucket_is_in_the_audit_trail() {
    let cloud = Cloud::start().await;
    let client = cloud.member("bucket").await;
    let later = || cloud.clock.advance(std::time::Duration::from_secs(1));
    later();
    client
        .put(
            "/bucket?tagging",
            b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
        )
        .await
        .expect(200);
    later();
    client.delete("/bucket").await.expect(204);
    let mut conn = cloud.db.read().await.unwrap();
    let events: Vec<(String, String, String)> =
        hanse_store::query("SELECT action, target, project_id FROM audit_events ORDER BY at")
            .all(&mut conn)
            .await
            .unwrap();
    let event = |action: &str| (action.to_owned(), "bucket".to_owned(), "mine".to_owned());
    assert_eq!(
        events,
        [
            event("objectstore:bucket:create"),
            event("objectstore:bucket:update"),
            event("objectstore:bucket:delete")
        ]
    );
}
