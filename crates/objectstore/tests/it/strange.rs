//! What no client should send.

use crate::client::Request;
use crate::cloud::Cloud;

#[tokio::test]
async fn a_trailer_is_compared_with_what_came() {
    let cloud = Cloud::start().await;
    let client = cloud.member("bucket").await;
    let send = |crc: &str| {
        let mut request = Request::new("PUT", "/bucket/key")
            .header("content-encoding", "aws-chunked")
            .header("x-amz-decoded-content-length", "9")
            .header("x-amz-trailer", "x-amz-checksum-crc32")
            .body(format!("9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:{crc}\r\n\r\n").as_bytes());
        request.hash = Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned());
        client.send(request)
    };
    send("AAAAAA==").await.refused(400, "BadDigest");
    client.get("/bucket/key").await.refused(404, "NoSuchKey");
    send("y/Q5Jg==").await.expect(200);
    let got = client.get("/bucket/key").await.expect(200);
    assert_eq!(got.body, b"123456789");
    assert_eq!(got.header("content-encoding"), "", "how it came is not what it is");
}

#[tokio::test]
async fn the_fields_of_a_form_count_as_headers_do() {
    let cloud = Cloud::start().await;
    let client = cloud.member("bucket").await;
    let form = |fields: &'static [(&'static str, &'static str)]| {
        let fields = [&[("key", "form")][..], fields].concat();
        let client = client.clone();
        async move { client.form("bucket", &fields, b"123456789").await }
    };
    form(&[("x-amz-checksum-crc32", "AAAAAA==")]).await.refused(400, "BadDigest");
    form(&[("x-amz-checksum-crc32", "nonsense")]).await.refused(400, "InvalidRequest");
    form(&[("x-amz-acl", "public-read")]).await.refused(400, "AccessControlListNotSupported");
    form(&[("x-amz-storage-class", "GLACIER")]).await.refused(400, "InvalidStorageClass");
    form(&[("x-amz-website-redirect-location", "x")]).await.refused(400, "InvalidRedirectLocation");
    form(&[("x-amz-server-side-encryption", "aws:kms:dsse")]).await.refused(501, "NotImplemented");
    client.get("/bucket/form").await.refused(404, "NoSuchKey");
    let fine: &[_] =
        &[("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-meta-a", "b"), ("Content-Type", "text/x")];
    form(fine).await.expect(204);
    let got = client.get("/bucket/form").await.expect(200);
    assert_eq!(
        (&got.body[..], got.header("content-type"), got.header("x-amz-meta-a")),
        (&b"123456789"[..], "text/x", "b")
    );
}

#[tokio::test]
async fn headers_that_stand_twice_and_old_signatures_are_refused() {
    let cloud = Cloud::start().await;
    let client = cloud.member("bucket").await;
    let request = Request::new("GET", "/bucket");
    for (name, value) in [("host", "elsewhere"), ("authorization", "x"), ("x-amz-date", "x")] {
        let mut headers = client.sign(&request);
        headers.push((name.to_owned(), value.to_owned()));
        client.raw(&request, "", &headers).await.refused(400, "InvalidRequest");
    }
    let old =
        [("host".to_owned(), cloud.address.to_string()), ("authorization".to_owned(), "AWS a:b".to_owned())];
    client.raw(&request, "", &old).await.refused(400, "InvalidRequest");
    client
        .raw(&request, "AWSAccessKeyId=a&Signature=b&Expires=99999999999", &old[..1])
        .await
        .refused(400, "InvalidRequest");
}

/// What aws does with an empty file. botocore takes the next answer on the connection for that of before, if it is answered
/// where it waited for 100 (Continue) and the connection goes on.
#[tokio::test]
async fn who_is_answered_instead_of_told_to_continue_gets_no_further_answer_on_that_connection() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let cloud = Cloud::start().await;
    let client = cloud.member("bucket").await;
    let nobody = crate::client::Client::new(cloud.address, "nobody", "nothing");
    for (sender, body, status) in
        [(&client, &b""[..], "200"), (&nobody, b"some bytes", "403"), (&client, b"some bytes", "100")]
    {
        let request = Request::new("PUT", "/bucket/key").header("expect", "100-continue").body(body);
        let mut text = "PUT /bucket/key HTTP/1.1\r\n".to_owned();
        for (name, value) in sender.sign(&request) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let mut stream = tokio::net::TcpStream::connect(cloud.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(std::str::from_utf8(&first).unwrap(), format!("HTTP/1.1 {status}"));
        let mut rest = String::new();
        if status != "100" {
            // It ends.
            stream.read_to_string(&mut rest).await.unwrap();
            assert!(rest.contains("connection: close"), "{rest}");
            continue;
        }
        stream.write_all(body).await.unwrap();
        while !rest.contains("HTTP/1.1 200 OK") || !rest.ends_with("\r\n\r\n") {
            let mut piece = [0; 1024];
            let size = stream.read(&mut piece).await.unwrap();
            assert!(size > 0, "{rest}");
            rest.push_str(std::str::from_utf8(&piece[..size]).unwrap());
        }
        assert!(!rest.contains("connection: close"), "{rest}");
    }
    assert_eq!(client.get("/bucket/key").await.expect(200).body, b"some bytes");
}

#[tokio::test]
async fn nonsense_is_a_clear_error_and_the_service_goes_on() {
    let cloud = Cloud::start().await;
    let client = cloud.member("bucket").await;
    for body in [
        &b""[..],
        b"<",
        b"<Delete>",
        b"<a></b>",
        b"\xff\xfe",
        b"<!DOCTYPE x [<!ENTITY a \"b\">]><Delete>&a;</Delete>",
        &[b'<'; 10_000],
    ] {
        for target in ["/bucket?delete", "/bucket/key?uploadId=00000000000000000000000000000000"] {
            let answer = client.post(target, body).await;
            assert!((400..500).contains(&answer.status), "{target} {body:?}: {}", answer.text());
        }
        for target in ["/bucket?cors", "/bucket?tagging", "/bucket/key?tagging"] {
            let answer = client.put(target, body).await;
            assert!((400..500).contains(&answer.status), "{target} {body:?}: {}", answer.text());
        }
    }
    let long = format!("/bucket/{}", "k".repeat(1025));
    client.put(&long, b"").await.refused(400, "KeyTooLongError");
    client.put(&long[..long.len() - 1], b"").await.expect(200);
    for target in ["/bucket/../other/key", "/bucket/./key", "/bucket//", "/bucket/a//b"] {
        // Keys are no paths: what is written is what is read.
        let put = client.put(target, target.as_bytes()).await;
        if put.status == 200 {
            assert_eq!(client.get(target).await.expect(200).body, target.as_bytes(), "{target}");
        } else {
            assert!((400..500).contains(&put.status), "{target}");
        }
    }
    for (name, value) in [
        ("range", "bytes=x"),
        ("if-match", "\u{7f}"),
        ("x-amz-checksum-mode", "x"),
        ("if-modified-since", "yesterday"),
    ] {
        let answer = client.send(Request::new("GET", "/bucket/nothing").header(name, value)).await;
        assert!((400..500).contains(&answer.status), "{name}: {}", answer.text());
    }
    for (name, value) in [
        ("x-amz-server-side-encryption", "rot13"),
        ("x-amz-storage-class", "SHOEBOX"),
        ("x-amz-acl", "public-read"),
        ("x-amz-grant-read", "id=1"),
        ("x-amz-tagging", "a=1&a=2"),
    ] {
        let answer = client.send(Request::new("PUT", "/bucket/refused").header(name, value)).await;
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
    }
    let kms = Request::new("PUT", "/bucket/refused").header("x-amz-server-side-encryption", "aws:kms:dsse");
    client.send(kms).await.refused(501, "NotImplemented");
    client.get("/bucket/refused").await.refused(404, "NoSuchKey");
    for bytes in [
        &b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET /%zz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ] {
        let mut stream = tokio::net::TcpStream::connect(cloud.address).await.unwrap();
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/1.1 5"), "{}", String::from_utf8_lossy(&answer));
    }
    client.get("/").await.expect(200);
}
