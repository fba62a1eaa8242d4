//! Swift over the listener of S3.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use serde_json::{Value, json};

use crate::client::{Answer, Client, Request, hex};
use crate::cloud::Cloud;

/// A client of Swift with a token, or none.
pub struct Swift {
    pub client: Client,
    pub token: String,
}

impl Cloud {
    pub fn swift(&self, token: &str) -> Swift {
        Swift { client: self.client(token), token: token.to_owned() }
    }
}

impl Swift {
    /// The path is below the account of the project `mine`, unless it is a whole one.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let path = match path.starts_with("/v1") || path.starts_with("/info") {
            true => path.to_owned(),
            false => format!("/v1/AUTH_mine{path}"),
        };
        let mut request = Request::new(method, &path).body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if !self.token.is_empty() {
            request = request.header("x-auth-token", &self.token);
        }
        self.client.send_presigned(&request, query).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"").await
    }

    pub async fn head(&self, path: &str) -> Answer {
        self.send("HEAD", path, &[], b"").await
    }

    pub async fn put(&self, path: &str, body: &[u8]) -> Answer {
        self.send("PUT", path, &[], body).await
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("POST", path, headers, b"").await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], b"").await
    }
}

pub fn md5(bytes: &[u8]) -> String {
    hex(Md5::digest(bytes))
}

pub fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

/// Method, path, headers, and what a member of the project and a reader get.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)], [u16; 2]);

/// Each operation with what a member of the project and a reader get.
const CALLS: &[Case] = &[
    ("GET", "", &[], [200, 200]),
    ("HEAD", "", &[], [204, 204]),
    ("POST", "", &[("x-account-meta-a", "1")], [204, 403]),
    ("PUT", "/new", &[], [201, 403]),
    ("PUT", "/cont", &[], [202, 403]),
    ("GET", "/cont", &[], [200, 200]),
    ("HEAD", "/cont", &[], [204, 204]),
    ("POST", "/cont", &[("x-container-meta-a", "1")], [204, 403]),
    ("PUT", "/cont/other", &[], [201, 403]),
    ("GET", "/cont/key", &[], [200, 200]),
    ("HEAD", "/cont/key", &[], [200, 200]),
    ("GET", "/cont/nothing", &[], [404, 404]),
    ("GET", "/nothing", &[], [404, 404]),
    ("POST", "/cont/key", &[("x-object-meta-a", "1")], [202, 403]),
    ("COPY", "/cont/key", &[("destination", "cont/copy")], [201, 403]),
    ("PUT", "/cont/copy", &[("x-copy-from", "cont/key")], [201, 403]),
    ("PUT", "/cont/slo?multipart-manifest=put", &[], [400, 403]),
    ("GET", "/cont/key?multipart-manifest=get", &[], [200, 200]),
    ("DELETE", "/cont/key?multipart-manifest=delete", &[], [400, 400]),
    ("DELETE", "/cont/nothing", &[], [404, 403]),
    ("DELETE", "/cont/other", &[], [204, 403]),
    ("DELETE", "/cont", &[], [409, 403]),
    ("DELETE", "/new", &[], [204, 403]),
    ("PUT", "", &[], [405, 405]),
    ("DELETE", "", &[], [405, 405]),
    ("PATCH", "/cont/key", &[], [405, 405]),
    // Not offered.
    ("PUT", "?extract-archive=zip", &[], [400, 400]),
    ("PUT", "/cont/x", &[("x-open-expired", "true")], [501, 403]),
    ("POST", "/cont", &[("x-container-sync-to", "v")], [501, 403]),
    ("POST", "/cont", &[("x-container-meta-access-control-max-age", "long")], [400, 403]),
    ("PUT", "/web", &[("x-container-meta-web-index", "i")], [501, 403]),
    ("GET", "?states=listing", &[], [501, 501]),
];

#[tokio::test]
async fn every_operation_asks_who_it_is_for() {
    let cloud = Cloud::start().await;
    let member = cloud.swift("member-mine");
    member.put("/cont", b"").await.expect(201);
    member.put("/cont/key", b"x").await.expect(201);
    for (method, path, headers, [own, reader]) in CALLS {
        let status = async |token: &str| cloud.swift(token).send(method, path, headers, b"").await;
        assert_eq!(status("reader-mine").await.status, *reader, "a reader: {method} {path} {headers:?}");
        if *own == 405 || path.contains("extract") {
            continue;
        }
        for stranger in ["member-other", "admin-admin", "nothing-mine"] {
            let status = status(stranger).await.status;
            assert_eq!(status, 403, "{stranger}: {method} {path} {headers:?}");
        }
        for token in ["", "wrong", &"x".repeat(5000)] {
            let answer = status(token).await;
            assert_eq!(answer.status, 401, "{token}: {method} {path} {headers:?}");
            assert_eq!(answer.header("www-authenticate"), "Swift realm=\"AUTH_mine\"");
        }
        let answer = status("member-mine").await;
        assert_eq!(answer.status, *own, "a member: {method} {path} {headers:?}: {}", answer.text());
        let (id, second) = answer.header("x-trans-id").split_once('-').unwrap();
        assert!(id.starts_with("tx") && id.len() == 23 && second.len() == 10, "{id}-{second}");
    }
    // Bulk deletion says one by one what was not allowed.
    let bulk = async |token: &str| {
        let headers = [("accept", "application/json")];
        cloud.swift(token).send("POST", "?bulk-delete", &headers, b"cont/key").await
    };
    for stranger in ["reader-mine", "member-other"] {
        let summary = json_of(&bulk(stranger).await.expect(200));
        assert_eq!(summary["Errors"], json!([["/cont/key", "403 Forbidden"]]), "{stranger}");
    }
    bulk("").await.expect(401);
    member.get("/cont/key").await.expect(200);
}

#[tokio::test]
async fn paths_that_lead_nowhere_are_not_found() {
    let cloud = Cloud::start().await;
    let member = cloud.swift("member-mine");
    for (path, status) in [
        ("/v1/mine/cont", 404),
        ("/v1/AUTH_/cont", 404),
        ("/v1/AUTH_mine!/cont", 404),
        ("/v1/AUTH_other/cont", 403),
        (&format!("/{}", "c".repeat(257)), 400),
        (&format!("/c/{}", "o".repeat(1025)), 400),
    ] {
        member.get(path).await.expect(status);
    }
    let info = json_of(&cloud.swift("").get("/info").await.expect(200));
    assert_eq!(info["slo"]["max_manifest_segments"], 1000);
    assert_eq!(info["tempurl"]["allowed_digests"], json!(["sha1", "sha256", "sha512"]));
    let healthy = member.client.send_presigned(&Request::new("GET", "/healthcheck"), "").await.expect(200);
    assert_eq!(healthy.text(), "OK");
    // S3 is where it was.
    member.client.get("/").await.expect(200);
    member.client.put("/healthcheck", b"").await.refused(400, "InvalidBucketName");
}

#[tokio::test]
async fn accounts_count_what_is_theirs() {
    let cloud = Cloud::start().await;
    let member = cloud.swift("member-mine");
    for container in ["b-second", "Upper_case", "a-first", "ünïcode"] {
        member.put(&format!("/{container}"), b"").await.expect(201);
        member.put(&format!("/{container}"), b"").await.expect(202);
    }
    member.put("/a-first/o", b"12345").await.expect(201);
    member.put("/Upper_case/o", b"123").await.expect(201);
    member.post("", &[("x-account-meta-color", "red"), ("x-account-meta-size", "big")]).await.expect(204);
    member.post("", &[("x-remove-account-meta-size", "x")]).await.expect(204);
    let head = member.head("").await.expect(204);
    for (name, value) in [
        ("x-account-container-count", "4"),
        ("x-account-object-count", "2"),
        ("x-account-bytes-used", "8"),
        ("x-account-meta-color", "red"),
        ("x-account-meta-size", ""),
    ] {
        assert_eq!(head.header(name), value, "{name}");
    }
    let text = member.get("").await.expect(200);
    assert_eq!(text.text(), "Upper_case\na-first\nb-second\nünïcode\n");
    assert_eq!(member.get("?limit=1&marker=Upper_case").await.text(), "a-first\n");
    assert_eq!(member.get("?end_marker=b&prefix=a").await.text(), "a-first\n");
    member.get("?limit=10001").await.expect(412);
    let listed = json_of(&member.get("?format=json").await.expect(200));
    assert_eq!(listed[0]["name"], "Upper_case");
    assert_eq!((&listed[0]["count"], &listed[0]["bytes"]), (&json!(1), &json!(3)));
    assert!(
        member.get("?format=xml").await.text().contains("<container><name>a-first</name><count>1</count>")
    );
    // What S3 could not name, it does not see. Other projects have names of their own.
    let names = cloud.client("member-mine").get("/").await.expect(200).elements("Name");
    assert_eq!(names, ["a-first", "b-second"]);
    let other = cloud.swift("member-other");
    assert_eq!(other.get("/v1/AUTH_other").await.expect(204).text(), "");
    other.put("/v1/AUTH_other/Upper_case", b"").await.expect(201);
    other.get("/v1/AUTH_other/Upper_case/o").await.expect(404);
    other.put("/v1/AUTH_other/a-first", b"").await.expect(409);
    for container in ["Upper_case", "a-first"] {
        member.delete(&format!("/{container}")).await.expect(409);
        member.delete(&format!("/{container}/o")).await.expect(204);
        member.delete(&format!("/{container}")).await.expect(204);
        member.delete(&format!("/{container}")).await.expect(404);
    }
    assert_eq!(member.get("").await.text(), "b-second\nünïcode\n");
}

#[tokio::test]
async fn containers_list_what_is_in_them() {
    let cloud = Cloud::start().await;
    let member = cloud.swift("member-mine");
    member.put("/cont", b"").await.expect(201);
    assert_eq!(member.get("/cont").await.expect(204).text(), "");
    assert_eq!(json_of(&member.get("/cont?format=json").await.expect(200)), json!([]));
    for object in ["a", "dir/b", "dir/c", "dir/deep/d", "e&f"] {
        member.put(&format!("/cont/{object}"), b"12345").await.expect(201);
    }
    for (query, expected) in [
        ("", "a\ndir/b\ndir/c\ndir/deep/d\ne&f\n"),
        ("?delimiter=/", "a\ndir/\ne&f\n"),
        ("?delimiter=/&prefix=dir/", "dir/b\ndir/c\ndir/deep/\n"),
        ("?delimiter=/&marker=dir/", "e&f\n"),
        ("?limit=2", "a\ndir/b\n"),
        ("?limit=2&marker=dir/b", "dir/c\ndir/deep/d\n"),
        ("?end_marker=dir/c", "a\ndir/b\n"),
        ("?prefix=x", ""),
        ("?limit=0", ""),
        ("?versions=true&limit=1", "a\n"),
    ] {
        assert_eq!(member.get(&format!("/cont{query}")).await.text(), expected, "{query}");
    }
    let listed = json_of(&member.get("/cont?format=json&delimiter=/").await.expect(200));
    assert_eq!(listed[0]["hash"], md5(b"12345"));
    assert_eq!(listed[0]["bytes"], 5);
    assert_eq!(listed[0]["content_type"], "application/octet-stream");
    assert_eq!(listed[1], json!({ "subdir": "dir/" }));
    let xml = member.send("GET", "/cont", &[("accept", "application/xml")], b"").await.expect(200).text();
    assert!(xml.contains("<name>e&amp;f</name>"), "{xml}");
    let headers =
        [("x-container-meta-a", "1"), ("x-container-read", ".r:*,.rlistings"), ("x-container-meta-b", "2")];
    member.post("/cont", &headers).await.expect(204);
    member.post("/cont", &[("x-container-meta-b", "")]).await.expect(204);
    let head = member.head("/cont").await.expect(204);
    for (name, value) in [
        ("x-container-object-count", "5"),
        ("x-container-bytes-used", "25"),
        ("x-container-meta-a", "1"),
        ("x-container-meta-b", ""),
        ("x-container-read", ".r:*,.rlistings"),
        ("x-storage-policy", "default"),
    ] {
        assert_eq!(head.header(name), value, "{name}");
    }
    assert_eq!(cloud.swift("reader-mine").head("/cont").await.expect(204).header("x-container-read"), "");
    member.post("/cont", &[("x-container-read", "someone")]).await.expect(400);
    member.post("/cont", &[("x-storage-policy", "gold")]).await.expect(400);
    member.post("/cont", &[("x-container-meta-quota-bytes", "many")]).await.expect(400);
    let long = "v".repeat(257);
    member.post("/cont", &[("x-container-meta-a", &long)]).await.expect(400);
}

#[tokio::test]
async fn objects_come_back_as_they_were_put() {
    let cloud = Cloud::start().await;
    let member = cloud.swift("member-mine");
    member.put("/cont", b"").await.expect(201);
    let body: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let tag = md5(&body);
    let headers = [
        ("content-type", "text/x"),
        ("x-object-meta-color", "red"),
        ("x-object-meta-nothing", ""),
        ("etag", tag.as_str()),
        ("content-disposition", "inline"),
        ("content-encoding", "x-own"),
    ];
    let put = member.send("PUT", "/cont/dir/a b", &headers, &body).await.expect(201);
    assert_eq!(put.header("etag"), tag);
    let get = member.get("/cont/dir/a b").await.expect(200);
    assert_eq!(get.body, body);
    for (name, value) in headers {
        assert!(get.headers.contains_key(name), "{name}");
        assert_eq!(get.header(name), value, "{name}");
    }
    assert_eq!(member.head("/cont/dir/a b").await.expect(200).header("content-length"), "200000");
    let ask =
        async |name: &str, value: &str| member.send("GET", "/cont/dir/a b", &[(name, value)], b"").await;
    let part = ask("range", "bytes=65530-65540").await.expect(206);
    assert_eq!(part.body, body[65530..=65540]);
    assert_eq!(part.header("content-range"), "bytes 65530-65540/200000");
    assert_eq!(ask("range", "bytes=-5").await.expect(206).body, body[199_995..]);
    assert_eq!(ask("range", "bytes=200000-").await.expect(416).header("content-range"), "bytes */200000");
    let modified = get.header("last-modified");
    for (name, value, status) in [
        ("if-match", tag.as_str(), 200),
        ("if-match", "\"x\"", 412),
        ("if-none-match", &format!("\"x\", \"{tag}\""), 304),
        ("if-none-match", "x", 200),
        ("if-modified-since", modified, 304),
        ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT", 412),
    ] {
        ask(name, value).await.expect(status);
    }
    // Posting replaces what stands beside the bytes, but for the type.
    member.post("/cont/dir/a b", &[("x-object-meta-size", "big")]).await.expect(202);
    let head = member.head("/cont/dir/a b").await.expect(200);
    assert_eq!((head.header("x-object-meta-color"), head.header("x-object-meta-size")), ("", "big"));
    assert_eq!((head.header("content-type"), head.header("content-disposition")), ("text/x", ""));
    member.post("/cont/nothing", &[]).await.expect(404);
    // What is wrong of a write.
    for (headers, status) in [
        (&[("etag", "d41d8cd98f00b204e9800998ecf8427e")][..], 422),
        (&[("etag", "x")], 422),
        (&[("if-none-match", "*")], 412),
        (&[("if-none-match", "x")], 400),
        (&[("x-object-meta-a", "ü")], 400),
        (&[("x-object-meta-", "x")], 400),
        (&[("expires", "soon")], 400),
        (&[("x-object-manifest", "nowhere")], 400),
    ] {
        member.send("PUT", "/cont/dir/a b", headers, b"other").await.expect(status);
    }
    assert_eq!(member.get("/cont/dir/a b").await.body, body);
    member.put("/nowhere/o", b"x").await.expect(404);
    let no_length = "PUT /v1/AUTH_mine/cont/o HTTP/1.1\r\nhost: x\r\nx-auth-token: member-mine\r\nconnection: close\r\n\r\n";
    member.client.bytes(no_length.as_bytes(), false).await.expect(411);
    let chunked = "PUT /v1/AUTH_mine/cont/o HTTP/1.1\r\nhost: x\r\nx-auth-token: member-mine\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    member.client.bytes(chunked.as_bytes(), false).await.expect(201);
    assert_eq!(member.get("/cont/o").await.text(), "abc");
    let large = "PUT /v1/AUTH_mine/cont/o HTTP/1.1\r\nhost: x\r\nx-auth-token: member-mine\r\ncontent-length: 5368709121\r\nconnection: close\r\n\r\n";
    member.client.bytes(large.as_bytes(), false).await.expect(413);
}

#[tokio::test]
async fn a_body_may_come_in_pieces_of_any_size() {
    let cloud = Cloud::start().await;
    let member = cloud.swift("member-mine");
    member.put("/cont", b"").await.expect(201);
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let head = "PUT /v1/AUTH_mine/cont/o HTTP/1.1\r\nhost: x\r\nx-auth-token: member-mine\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    // The first object is small, the others are streams; what is tiny comes before, between and behind what is not.
    for (len, sizes) in [
        (70_000, &[1, 2047, 2048, 3, 9000, 1][..]),
        (400_000, &[7]),
        (3_000_000, &[1, 100_000, 1, 1, 65_536, 2047, 2049]),
    ] {
        let (mut request, mut rest, mut sizes) =
            (head.as_bytes().to_vec(), &body[..len], sizes.iter().cycle());
        while let Some(size) = sizes.next().filter(|_| !rest.is_empty()) {
            let (now, later) = rest.split_at(rest.len().min(*size));
            request.extend_from_slice(format!("{:x}\r\n", now.len()).as_bytes());
            request.extend_from_slice(now);
            request.extend_from_slice(b"\r\n");
            rest = later;
        }
        request.extend_from_slice(b"0\r\n\r\n");
        let put = member.client.bytes(&request, false).await.expect(201);
        assert_eq!(put.header("etag"), md5(&body[..len]));
        assert!(member.get("/cont/o").await.body == body[..len], "{len}");
    }
}

#[tokio::test]
async fn copies_take_their_metadata_along() {
    let cloud = Cloud::start().await;
    let member = cloud.swift("member-mine");
    member.put("/from", b"").await.expect(201);
    member.put("/onto", b"").await.expect(201);
    let headers = [("content-type", "text/x"), ("x-object-meta-color", "red")];
    member.send("PUT", "/from/a b", &headers, b"12345").await.expect(201);
    let headers = [("destination", "/onto/c%20d"), ("x-object-meta-size", "big")];
    let copied = member.send("COPY", "/from/a b", &headers, b"").await.expect(201);
    assert_eq!(copied.header("x-object-meta-color"), "red");
    assert_eq!((copied.header("x-copied-from"), copied.header("etag")), ("from/a b", md5(b"12345").as_str()));
    let get = member.get("/onto/c d").await.expect(200);
    assert_eq!(get.text(), "12345");
    for (name, value) in
        [("content-type", "text/x"), ("x-object-meta-color", "red"), ("x-object-meta-size", "big")]
    {
        assert_eq!(get.header(name), value, "{name}");
    }
    let headers = [("x-copy-from", "onto/c%20d"), ("x-fresh-metadata", "true"), ("x-object-meta-new", "1")];
    member.send("PUT", "/onto/e", &headers, b"").await.expect(201);
    let get = member.get("/onto/e").await.expect(200);
    assert_eq!((get.header("x-object-meta-color"), get.header("x-object-meta-new")), ("", "1"));
    member.send("PUT", "/onto/e", &headers, b"x").await.expect(400);
    for (headers, status) in [
        (&[("destination", "onto")][..], 412),
        (&[], 412),
        (&[("destination", "nowhere/o")], 404),
        (&[("destination", "onto/e"), ("if-none-match", "*")], 412),
        (&[("destination", "onto/e"), ("if-match", "x")], 412),
        (&[("destination", "onto/e"), ("destination-account", "AUTH_other")], 403),
        (&[("destination", "onto/e"), ("destination-account", "other")], 412),
    ] {
        member.send("COPY", "/from/a b", headers, b"").await.expect(status);
    }
    member.send("COPY", "/from/nothing", &[("destination", "onto/x")], b"").await.expect(404);
}

#[tokio::test]
async fn each_api_reads_what_the_other_wrote() {
    let cloud = Cloud::start().await;
    let (s3, swift) = (cloud.member("bucket").await, cloud.swift("member-mine"));
    let written = Request::new("PUT", "/bucket/dir/by-s3")
        .header("content-type", "text/x")
        .header("x-amz-meta-color", "red")
        .body(b"of S3");
    s3.send(written).await.expect(200);
    let read = swift.get("/bucket/dir/by-s3").await.expect(200);
    assert_eq!(read.text(), "of S3");
    assert_eq!((read.header("content-type"), read.header("x-object-meta-color")), ("text/x", "red"));
    assert_eq!(read.header("etag"), md5(b"of S3"));
    let headers = [("content-type", "text/y"), ("x-object-meta-color", "blue")];
    swift.send("PUT", "/bucket/by-swift", &headers, b"of Swift").await.expect(201);
    let read = s3.get("/bucket/by-swift").await.expect(200);
    assert_eq!(read.text(), "of Swift");
    assert_eq!((read.header("content-type"), read.header("x-amz-meta-color")), ("text/y", "blue"));
    assert_eq!(read.header("etag"), format!("\"{}\"", md5(b"of Swift")));
    assert_eq!(s3.get("/bucket?list-type=2").await.elements("Key"), ["by-swift", "dir/by-s3"]);
    assert_eq!(swift.get("/bucket").await.text(), "by-swift\ndir/by-s3\n");
    // Settings of either stay when the other one changes its own.
    swift.post("/bucket", &[("x-container-meta-a", "1")]).await.expect(204);
    let versioning = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    s3.put("/bucket?versioning", versioning).await.expect(200);
    assert_eq!(swift.head("/bucket").await.header("x-container-meta-a"), "1");
    swift.delete("/bucket/by-swift").await.expect(204);
    swift.get("/bucket/by-swift").await.expect(404);
    swift.delete("/bucket/by-swift").await.expect(404);
    let versions = s3.get("/bucket?versions").await;
    assert_eq!(versions.elements("DeleteMarker").len(), 1, "{}", versions.text());
    // What a client's key encrypts is not for Swift to read.
    let key = [7_u8; 32];
    let secret = Request::new("PUT", "/bucket/secret")
        .header("x-amz-server-side-encryption-customer-algorithm", "AES256")
        .header("x-amz-server-side-encryption-customer-key", &BASE64.encode(key))
        .header("x-amz-server-side-encryption-customer-key-md5", &BASE64.encode(Md5::digest(key)))
        .body(b"x");
    s3.send(secret).await.expect(200);
    swift.get("/bucket/secret").await.expect(400);
    swift.send("COPY", "/bucket/secret", &[("destination", "bucket/copy")], b"").await.expect(400);
}
