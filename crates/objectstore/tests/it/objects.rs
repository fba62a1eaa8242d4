//! Buckets and objects, from the first byte to the last.

use crate::client::{Request, sha256};
use crate::cloud::{Cloud, DOMAIN};

/// Bytes that differ from place to place.
pub fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at / 251 + at * 7) as u8).collect()
}

fn md5(bytes: &[u8]) -> String {
    use md5::Digest;
    crate::client::hex(md5::Md5::digest(bytes))
}

#[tokio::test]
async fn buckets_are_made_shown_listed_and_deleted() {
    let cloud = Cloud::start().await;
    let (mine, other) = (cloud.client("member-mine"), cloud.client("member-other"));
    assert_eq!(mine.put("/one", b"").await.expect(200).header("location"), "/one");
    mine.put("/two", b"").await.expect(200);
    mine.put("/one", b"").await.refused(409, "BucketAlreadyOwnedByYou");
    other.put("/one", b"").await.refused(409, "BucketAlreadyExists");
    other.put("/three", b"").await.expect(200);
    assert_eq!(mine.get("/").await.expect(200).elements("Name"), ["one", "two"]);
    assert_eq!(mine.get("/?prefix=t").await.expect(200).elements("Name"), ["two"]);
    let page = mine.get("/?max-buckets=1").await.expect(200);
    assert_eq!(page.elements("Name"), ["one"]);
    let token = page.element("ContinuationToken");
    assert_eq!(mine.get(&format!("/?continuation-token={token}")).await.elements("Name"), ["two"]);
    mine.head("/one").await.expect(200);
    mine.head("/nothing").await.expect(404);
    mine.head("/three").await.expect(403);
    assert!(mine.get("/one?location").await.expect(200).text().contains(">regionone</LocationConstraint>"));
    for name in ["/info", "/v1", "/Upper", "/a..b"] {
        mine.put(name, b"").await.refused(400, "InvalidBucketName");
    }
    let region = b"<CreateBucketConfiguration><LocationConstraint>mars</LocationConstraint></CreateBucketConfiguration>";
    mine.put("/four", region).await.refused(400, "InvalidLocationConstraint");
    mine.put("/one/key", b"x").await.expect(200);
    mine.delete("/one").await.refused(409, "BucketNotEmpty");
    mine.delete("/one/key").await.expect(204);
    mine.delete("/one").await.expect(204);
    mine.delete("/one").await.refused(404, "NoSuchBucket");
    mine.get("/one").await.refused(404, "NoSuchBucket");
    // Whoever makes it next finds nothing of what was in it.
    other.put("/one", b"").await.expect(200);
    other.get("/one/key").await.refused(404, "NoSuchKey");
}

#[tokio::test]
async fn an_object_comes_back_as_it_was_sent_whatever_its_size_and_after_a_restart() {
    let mut cloud = Cloud::start().await;
    let sizes = [0, 1, 100, 65_535, 65_536, 65_537, 131_072, 131_073, 1 << 20, (5 << 20) + 17];
    let client = cloud.member("sizes").await;
    for size in sizes {
        let body = bytes(size);
        let put = client.put(&format!("/sizes/{size}"), &body).await.expect(200);
        assert_eq!(put.header("etag"), format!("\"{}\"", md5(&body)));
        assert_eq!(put.header("x-amz-server-side-encryption"), "AES256");
    }
    for round in 0..2 {
        let client = cloud.client("member-mine");
        for size in sizes {
            let body = bytes(size);
            let got = client.get(&format!("/sizes/{size}")).await.expect(200);
            assert!(got.body == body, "{size} bytes, round {round}");
            assert_eq!(got.header("content-length"), size.to_string());
            assert_eq!(got.header("content-type"), "binary/octet-stream");
            let head = client.head(&format!("/sizes/{size}")).await.expect(200);
            assert_eq!(head.header("content-length"), size.to_string());
            assert_eq!(head.header("etag"), got.header("etag"));
            assert!(!head.header("last-modified").is_empty());
            for (first, last) in [
                (0, 0),
                (size / 2, size / 2 + 70_000),
                (65_530, 65_540),
                (1_000, 700_001),
                (400_000, 999_999),
                (size.saturating_sub(5), size + 9),
            ] {
                if first >= size {
                    continue;
                }
                let wanted = &body[first..(last + 1).min(size)];
                let range = Request::new("GET", &format!("/sizes/{size}"))
                    .header("range", &format!("bytes={first}-{last}"));
                let got = client.send(range).await.expect(206);
                assert!(got.body == wanted, "{first} to {last} of {size}");
                assert_eq!(
                    got.header("content-range"),
                    format!("bytes {first}-{}/{size}", (last).min(size - 1))
                );
            }
        }
        let suffix = Request::new("GET", "/sizes/65537").header("range", "bytes=-3");
        assert_eq!(client.send(suffix).await.expect(206).body, &bytes(65_537)[65_534..]);
        let behind = Request::new("GET", "/sizes/100").header("range", "bytes=100-");
        client.send(behind).await.refused(416, "InvalidRange");
        cloud = cloud.restarted().await;
    }
}

#[tokio::test]
async fn nothing_lies_on_the_disk_in_clear() {
    let cloud = Cloud::start().await;
    let client = cloud.member("sealed").await;
    let text = b"nobody shall read this on the disk ".repeat(10);
    client.put("/sealed/small", &text).await.expect(200);
    client.put("/sealed/large", &text.repeat(1000)).await.expect(200);
    let mut looked = 0;
    let mut directories = vec![cloud.directory().join("objects")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            looked += bytes.len();
            let found = bytes.windows(20).any(|window| window == &text[..20]);
            assert!(!found, "{}", path.display());
        }
    }
    assert!(looked > text.len() * 1000, "the objects lie somewhere else");
}

#[tokio::test]
async fn what_stands_beside_the_bytes_is_kept() {
    let cloud = Cloud::start().await;
    let client = cloud.member("meta").await;
    let request = Request::new("PUT", "/meta/a b/ü+%")
        .body(b"x")
        .header("content-type", "text/plain; charset=utf-8")
        .header("cache-control", "no-cache")
        .header("content-disposition", "attachment")
        .header("content-encoding", "gzip")
        .header("content-language", "de")
        .header("expires", "Wed, 21 Oct 2026 07:28:00 GMT")
        .header("x-amz-meta-color", "blue")
        .header("x-amz-tagging", "a=b&c=d");
    client.send(request).await.expect(200);
    let got = client.get("/meta/a b/ü+%").await.expect(200);
    for (name, value) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("content-disposition", "attachment"),
        ("content-encoding", "gzip"),
        ("content-language", "de"),
        ("x-amz-meta-color", "blue"),
        ("x-amz-tagging-count", "2"),
    ] {
        assert_eq!(got.header(name), value, "{name}");
    }
    assert_eq!(got.header("expires"), "Wed, 21 Oct 2026 07:28:00 GMT");
    let tags = client.get("/meta/a b/ü+%?tagging").await.expect(200);
    assert_eq!(
        (tags.elements("Key"), tags.elements("Value")),
        (vec!["a".into(), "c".into()], vec!["b".into(), "d".into()])
    );
    let changed = b"<Tagging><TagSet><Tag><Key>e</Key><Value>f</Value></Tag></TagSet></Tagging>";
    client.put("/meta/a b/ü+%?tagging", changed).await.expect(200);
    assert_eq!(client.get("/meta/a b/ü+%?tagging").await.elements("Key"), ["e"]);
    client.delete("/meta/a b/ü+%?tagging").await.expect(204);
    assert_eq!(client.get("/meta/a b/ü+%?tagging").await.elements("Key"), Vec::<String>::new());
    let other =
        client.get("/meta/a b/ü+%?response-content-type=image/png&response-cache-control=private").await;
    assert_eq!((other.header("content-type"), other.header("cache-control")), ("image/png", "private"));
    let large = Request::new("PUT", "/meta/x").header("x-amz-meta-a", &"a".repeat(2100));
    client.send(large).await.refused(400, "MetadataTooLarge");
}

#[tokio::test]
async fn conditions_decide_who_reads_and_who_writes() {
    let cloud = Cloud::start().await;
    let client = cloud.member("cond").await;
    let put = |header: &'static str, value: String| {
        let request = Request::new("PUT", "/cond/key").body(b"two").header(header, &value);
        client.send(request)
    };
    let tag = client.put("/cond/key", b"one").await.expect(200).header("etag").to_owned();
    put("if-none-match", "*".to_owned()).await.refused(412, "PreconditionFailed");
    put("if-match", "\"00\"".to_owned()).await.refused(412, "PreconditionFailed");
    assert_eq!(client.get("/cond/key").await.body, b"one");
    let get = |header: &str, value: &str| client.send(Request::new("GET", "/cond/key").header(header, value));
    get("if-match", &tag).await.expect(200);
    get("if-match", "\"00\"").await.refused(412, "PreconditionFailed");
    let not_modified = get("if-none-match", &tag).await.expect(304);
    assert_eq!((&not_modified.body[..], not_modified.header("etag")), (&b""[..], tag.as_str()));
    put("if-match", tag.clone()).await.expect(200);
    assert_eq!(client.get("/cond/key").await.body, b"two");
    let gone = Request::new("DELETE", "/cond/key").header("if-match", &tag);
    client.send(gone).await.refused(412, "PreconditionFailed");
    client.delete("/cond/key").await.expect(204);
    client.delete("/cond/key").await.expect(204);
    put("if-match", tag).await.refused(404, "NoSuchKey");
    // Of many who all want to be first, one is.
    let racing = (0..20)
        .map(|_| client.send(Request::new("PUT", "/cond/new").body(b"x").header("if-none-match", "*")));
    let mut statuses: Vec<u16> =
        futures_util::future::join_all(racing).await.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses[0], 200);
    assert!(statuses[1..].iter().all(|status| *status == 412), "{statuses:?}");
}

#[tokio::test]
async fn bytes_that_differ_from_what_was_said_are_never_kept() {
    let cloud = Cloud::start().await;
    let client = cloud.member("sums").await;
    let put =
        |header: &str, value: &str| Request::new("PUT", "/sums/key").body(b"123456789").header(header, value);
    for (header, right) in [
        ("content-md5", "JfnnlDI7RTiF9RgfG2JNCw=="),
        ("x-amz-checksum-crc32", "y/Q5Jg=="),
        ("x-amz-checksum-crc32c", "4waSgw=="),
        ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
        ("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
        ("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
    ] {
        let mut wrong = right.to_owned();
        let first = if right.starts_with('A') { "B" } else { "A" };
        wrong.replace_range(..1, first);
        client.send(put(header, &wrong)).await.refused(400, "BadDigest");
        client.get("/sums/key").await.refused(404, "NoSuchKey");
        client.send(put(header, right)).await.expect(200);
        let got = client
            .send(Request::new("GET", "/sums/key").header("x-amz-checksum-mode", "ENABLED"))
            .await
            .expect(200);
        if header != "content-md5" {
            assert_eq!(got.header(header), right);
            assert_eq!(got.header("x-amz-checksum-type"), "FULL_OBJECT");
            let shown = Request::new("GET", "/sums/key?attributes")
                .header("x-amz-object-attributes", "Checksum,ObjectSize,ETag");
            let shown = client.send(shown).await.expect(200);
            assert!(shown.text().contains(right), "{}", shown.text());
            assert_eq!(shown.element("ObjectSize"), "9");
        }
        client.delete("/sums/key").await.expect(204);
    }
    client.send(put("content-md5", "nonsense")).await.refused(400, "InvalidDigest");
    // What the signature says of the payload.
    let mut request = Request::new("PUT", "/sums/key").body(b"123456789");
    request.hash = Some(sha256(b"something else"));
    client.send(request).await.refused(400, "XAmzContentSHA256Mismatch");
    client.get("/sums/key").await.refused(404, "NoSuchKey");
}

#[tokio::test]
async fn a_copy_has_the_bytes_of_its_source_and_lives_without_it() {
    let cloud = Cloud::start().await;
    let client = cloud.member("from").await;
    client.put("/target", b"").await.expect(200);
    let body = bytes(200_000);
    let request = Request::new("PUT", "/from/a/ü")
        .body(&body)
        .header("content-type", "text/x")
        .header("x-amz-meta-a", "1");
    let tag = client.send(request).await.expect(200).header("etag").to_owned();
    let copy = |target: &str| Request::new("PUT", target).header("x-amz-copy-source", "/from/a/%C3%BC");
    let copied = client.send(copy("/target/b")).await.expect(200);
    assert_eq!(copied.element("ETag"), tag);
    client.send(copy("/from/a/ü")).await.refused(400, "InvalidRequest");
    let replaced =
        copy("/target/c").header("x-amz-metadata-directive", "REPLACE").header("x-amz-meta-b", "2");
    client.send(replaced).await.expect(200);
    let failed = copy("/target/d").header("x-amz-copy-source-if-match", "\"00\"");
    client.send(failed).await.refused(412, "PreconditionFailed");
    client.delete("/from/a/ü").await.expect(204);
    client.send(copy("/target/d")).await.refused(404, "NoSuchKey");
    let got = client.get("/target/b").await.expect(200);
    assert!(got.body == body);
    assert_eq!((got.header("content-type"), got.header("x-amz-meta-a")), ("text/x", "1"));
    let got = client.get("/target/c").await.expect(200);
    assert!(got.body == body);
    assert_eq!(
        (got.header("content-type"), got.header("x-amz-meta-b"), got.header("x-amz-meta-a")),
        ("binary/octet-stream", "2", "")
    );
}

#[tokio::test]
async fn a_copy_keeps_tags_and_meets_conditions_unless_told_otherwise() {
    let cloud = Cloud::start().await;
    let client = cloud.member("from").await;
    let put = Request::new("PUT", "/from/key").header("x-amz-tagging", "a=1").header("x-amz-meta-m", "1");
    client.send(put).await.expect(200);
    let copy = |headers: &[(&str, &str)]| {
        let request = Request::new("PUT", "/from/copy").header("x-amz-copy-source", "from/key");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        client.send(request)
    };
    let tags = async || client.get("/from/copy?tagging").await.expect(200).elements("Key");
    let meta = async || client.head("/from/copy").await.expect(200).header("x-amz-meta-m").to_owned();
    let (other_meta, other_tags) =
        (("x-amz-metadata-directive", "REPLACE"), ("x-amz-tagging-directive", "REPLACE"));
    copy(&[other_meta, ("x-amz-meta-m", "2")]).await.expect(200);
    assert_eq!((tags().await, meta().await), (vec!["a".to_owned()], "2".to_owned()));
    copy(&[other_tags, ("x-amz-tagging", "b=1")]).await.expect(200);
    assert_eq!((tags().await, meta().await), (vec!["b".to_owned()], "1".to_owned()));
    copy(&[("x-amz-tagging-directive", "SHRED")]).await.refused(400, "InvalidArgument");
    // About what it would take the place of.
    let tag = client.head("/from/copy").await.header("etag").to_owned();
    copy(&[("if-none-match", "*")]).await.refused(412, "PreconditionFailed");
    copy(&[("if-match", "\"00\"")]).await.refused(412, "PreconditionFailed");
    copy(&[("if-match", &tag)]).await.expect(200);
}

#[tokio::test]
async fn a_client_may_say_whose_bucket_it_expects() {
    let cloud = Cloud::start().await;
    let client = cloud.member("mine").await;
    client.put("/mine/key", b"x").await.expect(200);
    for (method, target) in
        [("GET", "/mine/key"), ("PUT", "/mine/key"), ("GET", "/mine"), ("DELETE", "/mine/key")]
    {
        let expect = |owner: &str| {
            client.send(Request::new(method, target).header("x-amz-expected-bucket-owner", owner))
        };
        expect("other").await.refused(403, "AccessDenied");
        let answer = expect("mine").await;
        assert!(answer.status < 300, "{method} {target}: {}", answer.text());
    }
    client.put("/mine/key", b"x").await.expect(200);
    let copy = |owner: &str| {
        let request = Request::new("PUT", "/mine/copy").header("x-amz-copy-source", "mine/key");
        client.send(request.header("x-amz-source-expected-bucket-owner", owner))
    };
    copy("other").await.refused(403, "AccessDenied");
    copy("mine").await.expect(200);
}

#[tokio::test]
async fn many_are_deleted_at_once() {
    let cloud = Cloud::start().await;
    let client = cloud.member("many").await;
    for key in ["a", "b", "c&d"] {
        client.put(&format!("/many/{key}"), b"x").await.expect(200);
    }
    let body = b"<Delete><Object><Key>a</Key></Object><Object><Key>c&amp;d</Key></Object><Object><Key>nothing</Key></Object></Delete>";
    let answer = client.post("/many?delete", body).await.expect(200);
    assert_eq!(answer.elements("Key"), ["a", "c&d", "nothing"]);
    assert_eq!(client.get("/many?list-type=2").await.elements("Key"), ["b"]);
    let quiet = b"<Delete><Quiet>true</Quiet><Object><Key>b</Key></Object></Delete>";
    assert_eq!(client.post("/many?delete", quiet).await.expect(200).elements("Key"), Vec::<String>::new());
    client.post("/many?delete", b"<Delete></Delete>").await.refused(400, "MalformedXML");
}

#[tokio::test]
async fn a_bucket_may_stand_in_the_name_of_the_host() {
    let cloud = Cloud::start().await;
    let client = cloud.member("by-name").await;
    let at = |method: &str, path: &str| {
        let mut request = Request::new(method, path);
        request.host = Some(format!("by-name.{DOMAIN}"));
        request
    };
    client.send(at("PUT", "/key").body(b"x")).await.expect(200);
    assert_eq!(client.get("/by-name/key").await.expect(200).body, b"x");
    assert_eq!(client.send(at("GET", "/")).await.expect(200).element("Name"), "by-name");
    assert_eq!(client.send(at("GET", "/key")).await.expect(200).body, b"x");
}

#[tokio::test]
async fn browsers_are_let_in_where_a_bucket_says_so() {
    let cloud = Cloud::start().await;
    let client = cloud.member("cors").await;
    let preflight = |origin: &str, method: &str| {
        Request::new("OPTIONS", "/cors/key")
            .header("origin", origin)
            .header("access-control-request-method", method)
    };
    let send = async |request: Request| client.send_presigned(&request, "").await;
    send(preflight("https://a.test", "PUT")).await.refused(403, "AccessForbidden");
    client.get("/cors?cors").await.refused(404, "NoSuchCORSConfiguration");
    let rules = b"<CORSConfiguration><CORSRule><AllowedOrigin>https://*.test</AllowedOrigin><AllowedMethod>PUT</AllowedMethod>\
<AllowedMethod>GET</AllowedMethod><AllowedHeader>*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule></CORSConfiguration>";
    client.put("/cors?cors", rules).await.expect(200);
    assert_eq!(client.get("/cors?cors").await.expect(200).elements("AllowedMethod"), ["PUT", "GET"]);
    let answer =
        send(preflight("https://a.test", "PUT").header("access-control-request-headers", "x-amz-date"))
            .await
            .expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), "https://a.test");
    assert_eq!(answer.header("access-control-max-age"), "60");
    assert_eq!(answer.header("access-control-allow-headers"), "x-amz-date");
    send(preflight("https://a.test", "DELETE")).await.refused(403, "AccessForbidden");
    send(preflight("https://evil.example", "PUT")).await.refused(403, "AccessForbidden");
    client.put("/cors/key", b"x").await.expect(200);
    let got =
        client.send(Request::new("GET", "/cors/key").header("origin", "https://a.test")).await.expect(200);
    assert_eq!(got.header("access-control-allow-origin"), "https://a.test");
    assert_eq!(got.header("access-control-expose-headers"), "ETag");
    client.delete("/cors?cors").await.expect(204);
    let got =
        client.send(Request::new("GET", "/cors/key").header("origin", "https://a.test")).await.expect(200);
    assert_eq!(got.header("access-control-allow-origin"), "");
    let wrong = b"<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>BREW</AllowedMethod></CORSRule></CORSConfiguration>";
    client.put("/cors?cors", wrong).await.refused(400, "InvalidRequest");
}
