//! Swift for those who have no token of the project: access control lists and temporary URLs.

use hanse_core::Cx;
use ring::hmac;

use crate::client::{Request, hex};
use crate::cloud::Cloud;

#[tokio::test]
async fn access_control_lists_open_containers_to_others() {
    let cloud = Cloud::start().await;
    let member = cloud.swift("member-mine");
    member.put("/cont", b"").await.expect(201);
    member.put("/cont/key", b"x").await.expect(201);
    let other = cloud.swift("member-other");
    // Read list, write list, and what a member of another project and nobody get of: get, list, put, delete, and the container's
    // settings.
    for (read, write, theirs, nobodys) in [
        ("", "", [403, 403, 403, 403, 403], [401, 401, 401, 401, 401]),
        (".r:*", "", [200, 403, 403, 403, 403], [200, 401, 401, 401, 401]),
        (".r:*,.rlistings", "", [200, 200, 403, 403, 403], [200, 200, 401, 401, 401]),
        ("other:*", "", [200, 200, 403, 403, 403], [401, 401, 401, 401, 401]),
        ("other:user-member-reader", "", [200, 200, 403, 403, 403], [401, 401, 401, 401, 401]),
        ("other:nobody,third:*", "", [403, 403, 403, 403, 403], [401, 401, 401, 401, 401]),
        ("", "other:*", [403, 403, 201, 204, 403], [401, 401, 401, 401, 401]),
        ("*:*", "*:*", [200, 200, 201, 204, 403], [401, 401, 401, 401, 401]),
    ] {
        member.post("/cont", &[("x-container-read", read), ("x-container-write", write)]).await.expect(204);
        let nobody = cloud.swift("");
        for (who, statuses) in [(&other, theirs), (&nobody, nobodys)] {
            let calls = [
                ("GET", "/cont/key"),
                ("GET", "/cont"),
                ("PUT", "/cont/new"),
                ("DELETE", "/cont/new"),
                ("POST", "/cont"),
            ];
            for ((method, path), status) in calls.into_iter().zip(statuses) {
                let answer = who.send(method, path, &[], b"").await;
                assert_eq!(answer.status, status, "{read} {write}: {:?} {method} {path}", who.token);
            }
        }
    }
    // S3 goes by its own rules.
    cloud.client("member-other").get("/cont/key").await.refused(403, "AccessDenied");
}

fn signature(algorithm: hmac::Algorithm, key: &str, text: &str) -> String {
    hex(hmac::sign(&hmac::Key::new(algorithm, key.as_bytes()), text.as_bytes()).as_ref())
}

#[tokio::test]
async fn temporary_urls_do_what_is_signed_and_no_more() {
    let cloud = Cloud::start().await;
    let (member, nobody) = (cloud.swift("member-mine"), cloud.swift(""));
    member.put("/cont", b"").await.expect(201);
    member.put("/second", b"").await.expect(201);
    let headers = [("x-object-meta-secret", "s"), ("x-object-meta-public-a", "p")];
    member.send("PUT", "/cont/dir/key", &headers, b"x").await.expect(201);
    member.put("/second/key", b"x").await.expect(201);
    member.post("", &[("x-account-meta-temp-url-key", "of account")]).await.expect(204);
    member.post("/cont", &[("x-container-meta-temp-url-key-2", "of container")]).await.expect(204);
    // Owners see keys, others do not, and at rest there are none.
    assert_eq!(member.head("").await.header("x-account-meta-temp-url-key"), "of account");
    assert_eq!(cloud.swift("reader-mine").head("").await.header("x-account-meta-temp-url-key"), "");
    let end = Cx::system().now().seconds() + 60;
    let url = |key: &str, method: &str, path: &str, end: i64| {
        let text = format!("{method}\n{end}\n/v1/AUTH_mine{path}");
        let sig = signature(hmac::HMAC_SHA256, key, &text);
        format!("temp_url_sig={sig}&temp_url_expires={end}")
    };
    let key = "/cont/dir/key";
    // Signed with which key, for which method and path; sent with which method and to which path.
    for (signer, method, path, sent, to, status) in [
        ("of account", "GET", key, "GET", key, 200),
        ("of container", "GET", key, "GET", key, 200),
        ("of account", "GET", key, "HEAD", key, 200),
        ("of account", "PUT", key, "HEAD", key, 200),
        ("of account", "GET", key, "PUT", key, 401),
        ("of account", "PUT", key, "GET", key, 401),
        ("of account", "GET", key, "DELETE", key, 401),
        ("another", "GET", key, "GET", key, 401),
        ("of account", "GET", "/cont/other", "GET", key, 401),
        ("of account", "GET", "/cont", "GET", "/cont", 401),
        ("of container", "GET", "/second/key", "GET", "/second/key", 401),
        ("of account", "GET", "/second/key", "GET", "/second/key", 200),
        ("of container", "PUT", "/cont/new", "PUT", "/cont/new", 201),
        ("of container", "POST", "/cont/new", "POST", "/cont/new", 202),
        ("of container", "DELETE", "/cont/new", "DELETE", "/cont/new", 204),
        ("of account", "COPY", key, "COPY", key, 401),
    ] {
        let query = url(signer, method, path, end);
        let answer = nobody.send(sent, &format!("{to}?{query}"), &[], b"").await;
        assert_eq!(answer.status, status, "{signer} {method} {path} {sent} {to}");
    }
    let got = nobody.get(&format!("{key}?{}", url("of account", "GET", key, end))).await.expect(200);
    assert_eq!(got.header("content-disposition"), "attachment; filename=\"key\"; filename*=UTF-8''key");
    assert_eq!((got.header("x-object-meta-secret"), got.header("x-object-meta-public-a")), ("", "p"));
    let past = url("of account", "GET", key, 1_700_000_000);
    nobody.get(&format!("{key}?{past}")).await.expect(401);
    let put = url("of account", "PUT", "/cont/new", end);
    for (more, headers) in [
        ("", &[("x-object-manifest", "second/key")][..]),
        ("", &[("x-copy-from", "second/key")]),
        ("&multipart-manifest=put", &[]),
    ] {
        nobody.send("PUT", &format!("/cont/new?{put}{more}"), headers, b"").await.expect(400);
    }
    // Other digests, a prefix, a range of addresses.
    let text = format!("GET\n{end}\n/v1/AUTH_mine{key}");
    for algorithm in [hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA512] {
        let sig = signature(algorithm, "of account", &text);
        nobody.get(&format!("{key}?temp_url_sig={sig}&temp_url_expires={end}")).await.expect(200);
    }
    let sig =
        signature(hmac::HMAC_SHA256, "of account", &format!("GET\n{end}\nprefix:/v1/AUTH_mine/cont/dir/"));
    let by_prefix = format!("temp_url_sig={sig}&temp_url_expires={end}&temp_url_prefix=dir/");
    nobody.get(&format!("{key}?{by_prefix}")).await.expect(200);
    member.put("/cont/outside", b"x").await.expect(201);
    nobody.get(&format!("/cont/outside?{by_prefix}")).await.expect(401);
    for (range, status) in [("127.0.0.0/8", 200), ("192.0.2.0/24", 401), ("x", 401)] {
        let sig = signature(hmac::HMAC_SHA256, "of account", &format!("ip={range}\n{text}"));
        let query = format!("temp_url_sig={sig}&temp_url_expires={end}&temp_url_ip_range={range}");
        nobody.get(&format!("{key}?{query}")).await.expect(status);
    }
    // A key that is taken away opens nothing any more.
    member.post("", &[("x-remove-account-meta-temp-url-key", "x")]).await.expect(204);
    nobody.get(&format!("{key}?{}", url("of account", "GET", key, end))).await.expect(401);
}

#[tokio::test]
async fn what_s3_forbids_swift_does_not_open() {
    let cloud = Cloud::start().await;
    let (s3, member, nobody) =
        (cloud.member("made-by-s3").await, cloud.swift("member-mine"), cloud.swift(""));
    s3.put("/made-by-s3/key", b"x").await.expect(200);
    let path = "/made-by-s3/key";
    // The block of public access holds, until it is taken away, and again once it is back.
    for list in [".r:*", "*:*"] {
        member.post("/made-by-s3", &[("x-container-read", list)]).await.expect(403);
    }
    member.post("/made-by-s3", &[("x-container-read", "other:*")]).await.expect(204);
    s3.delete("/made-by-s3?publicAccessBlock").await.expect(204);
    member.post("/made-by-s3", &[("x-container-read", ".r:*")]).await.expect(204);
    nobody.get(path).await.expect(200);
    let block = b"<PublicAccessBlockConfiguration><IgnorePublicAcls>true</IgnorePublicAcls></PublicAccessBlockConfiguration>";
    s3.put("/made-by-s3?publicAccessBlock", block).await.expect(200);
    nobody.get(path).await.expect(401);
    member.get(path).await.expect(200);
    // Swift knows no policies: what one denies somebody it opens to nobody.
    let policy = b"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"s3:PutObject\",\
\"Resource\":\"arn:aws:s3:::made-by-s3/*\"}]}";
    s3.put("/made-by-s3?policy", policy).await.expect(204);
    for (method, path) in
        [("GET", path), ("PUT", path), ("DELETE", path), ("GET", "/made-by-s3"), ("DELETE", "/made-by-s3")]
    {
        member.send(method, path, &[], b"").await.expect(403);
    }
    s3.delete("/made-by-s3?policy").await.expect(204);
    member.get(path).await.expect(200);
    // What is locked stays, whichever API is asked to delete it.
    let locks = Request::new("PUT", "/locked").header("x-amz-bucket-object-lock-enabled", "true");
    s3.send(locks).await.expect(200);
    let held = Request::new("PUT", "/locked/key").header("x-amz-object-lock-legal-hold", "ON").body(b"held");
    let version = s3.send(held).await.expect(200).header("x-amz-version-id").to_owned();
    member.delete("/locked/key").await.expect(204);
    member.put("/locked/key", b"new").await.expect(201);
    assert_eq!(s3.get(&format!("/locked/key?versionId={version}")).await.expect(200).body, b"held");
}

/// A temporary URL of a path, for a minute.
pub fn signed(method: &str, path: &str, key: &str) -> String {
    let end = Cx::system().now().seconds() + 60;
    let sig = signature(hmac::HMAC_SHA256, key, &format!("{method}\n{end}\n{path}"));
    format!("{path}?temp_url_sig={sig}&temp_url_expires={end}")
}
