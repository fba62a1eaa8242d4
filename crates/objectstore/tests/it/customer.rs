//! Encryption with a key of the client's own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hanse_core::hex;
use md5::{Digest as _, Md5};

use crate::client::{Client, Request};
use crate::cloud::Cloud;
use crate::objects::bytes;

const MIB: usize = 1 << 20;

/// The headers of a key that consists of this byte.
fn headers(prefix: &str, byte: u8) -> [(String, String); 3] {
    let key = [byte; 32];
    let name = |what: &str| format!("{prefix}server-side-encryption-customer-{what}");
    [
        (name("algorithm"), "AES256".to_owned()),
        (name("key"), BASE64.encode(key)),
        (name("key-md5"), BASE64.encode(Md5::digest(key))),
    ]
}

fn with(request: Request, byte: u8) -> Request {
    headers("x-amz-", byte).iter().fold(request, |request, (name, value)| request.header(name, value))
}

fn from(request: Request, byte: u8) -> Request {
    headers("x-amz-copy-source-", byte)
        .iter()
        .fold(request, |request, (name, value)| request.header(name, value))
}

async fn read(client: &Client, target: &str, byte: u8) -> Vec<u8> {
    client.send(with(Request::new("GET", target), byte)).await.expect(200).body
}

#[tokio::test]
async fn who_has_the_key_reads_and_nobody_else_does() {
    let cloud = Cloud::start().await;
    let client = cloud.member("sse").await;
    for body in [bytes(200_000), Vec::new()] {
        let put = client.send(with(Request::new("PUT", "/sse/key"), 1).body(&body)).await.expect(200);
        assert_eq!(put.header("x-amz-server-side-encryption-customer-algorithm"), "AES256");
        assert_eq!(put.header("x-amz-server-side-encryption"), "");
        let md5 = hex(Md5::digest(&body));
        assert!(!put.header("etag").contains(&md5), "lists show it to everybody");
        assert!(read(&client, "/sse/key", 1).await == body);
        for (method, target) in [("GET", "/sse/key"), ("HEAD", "/sse/key"), ("GET", "/sse/key?attributes")] {
            let request = Request::new(method, target).header("x-amz-object-attributes", "ObjectSize");
            assert_eq!(client.send(request.clone()).await.status, 400, "without a key: {method} {target}");
            assert_eq!(
                client.send(with(request.clone(), 2)).await.status,
                403,
                "another key: {method} {target}"
            );
            assert_eq!(client.send(with(request, 1)).await.status, 200, "{method} {target}");
        }
        client.send(Request::new("GET", "/sse/key")).await.refused(400, "InvalidRequest");
        client.send(with(Request::new("GET", "/sse/key"), 2)).await.refused(403, "AccessDenied");
    }
    client.put("/sse/plain", b"x").await.expect(200);
    client.send(with(Request::new("GET", "/sse/plain"), 1)).await.refused(400, "InvalidRequest");
}

#[tokio::test]
async fn half_a_key_and_wrong_ones_are_refused() {
    let cloud = Cloud::start().await;
    let client = cloud.member("sse").await;
    let fine = headers("x-amz-", 1);
    for (index, value, code) in [
        (0, "DES", "InvalidEncryptionAlgorithmError"),
        (1, "AAAA", "InvalidArgument"),
        (1, "not base64", "InvalidArgument"),
        (2, "AAAAAAAAAAAAAAAAAAAAAA==", "InvalidArgument"),
    ] {
        let mut wrong = fine.clone();
        wrong[index].1 = value.to_owned();
        let put = Request::new("PUT", "/sse/key").body(b"x");
        let put = wrong.iter().fold(put, |put, (name, value)| put.header(name, value));
        client.send(put).await.refused(400, code);
        let half = fine.iter().enumerate().filter(|(at, _)| *at != index);
        let put =
            half.fold(Request::new("PUT", "/sse/key"), |put, (_, (name, value))| put.header(name, value));
        client.send(put).await.refused(400, "InvalidArgument");
    }
    client.get("/sse/key").await.refused(404, "NoSuchKey");
}

#[tokio::test]
async fn copies_change_keys_and_move_no_bytes() {
    let cloud = Cloud::start().await;
    let client = cloud.member("sse").await;
    let body = bytes(100_000);
    client.send(with(Request::new("PUT", "/sse/key"), 1).body(&body)).await.expect(200);
    let copy = |target: &str, source: &str| Request::new("PUT", target).header("x-amz-copy-source", source);
    client.send(copy("/sse/b", "sse/key")).await.refused(400, "InvalidRequest");
    client.send(from(copy("/sse/b", "sse/key"), 2)).await.refused(403, "AccessDenied");
    // From one key to another, to none, and back.
    client.send(with(from(copy("/sse/b", "sse/key"), 1), 2)).await.expect(200);
    assert!(read(&client, "/sse/b", 2).await == body);
    client.send(from(copy("/sse/c", "sse/b"), 2)).await.expect(200);
    assert!(client.get("/sse/c").await.expect(200).body == body);
    client.send(with(copy("/sse/c", "sse/c"), 3)).await.expect(200);
    assert!(read(&client, "/sse/c", 3).await == body);
    client.send(from(copy("/sse/plain", "sse/b"), 2)).await.expect(200);
    client.send(from(copy("/sse/d", "sse/plain"), 2)).await.refused(400, "InvalidRequest");
    let files = std::fs::read_dir(cloud.directory().join("objects/extents")).unwrap().count();
    assert!(files <= 1, "five objects have one payload: {files} files");
}

#[tokio::test]
async fn all_parts_of_an_upload_have_the_key_that_it_began_with() {
    let cloud = Cloud::start().await;
    let client = cloud.member("sse").await;
    let (one, two) = (bytes(5 * MIB), bytes(6 * MIB));
    client.put("/sse/source", &two).await.expect(200);
    let id =
        client.send(with(Request::new("POST", "/sse/key?uploads"), 1)).await.expect(200).element("UploadId");
    let part = |number: i32| Request::new("PUT", &format!("/sse/key?partNumber={number}&uploadId={id}"));
    client.send(part(1).body(b"x")).await.refused(400, "InvalidRequest");
    client.send(with(part(1).body(b"x"), 2)).await.refused(403, "AccessDenied");
    let first = client.send(with(part(1).body(&one), 1)).await.expect(200).header("etag").to_owned();
    let copied = part(2).header("x-amz-copy-source", "sse/source");
    client.send(copied.clone()).await.refused(400, "InvalidRequest");
    let second = client.send(with(copied, 1)).await.expect(200).element("ETag");
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{first}</ETag></Part>\
<Part><PartNumber>2</PartNumber><ETag>{second}</ETag></Part></CompleteMultipartUpload>"
    );
    client.post(&format!("/sse/key?uploadId={id}"), list.as_bytes()).await.expect(200);
    client.get("/sse/key").await.refused(400, "InvalidRequest");
    assert!(read(&client, "/sse/key", 1).await == [one, two].concat());
}
