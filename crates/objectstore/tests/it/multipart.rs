//! Uploads in parts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

use crate::client::{Answer, Client, Request};
use crate::cloud::Cloud;
use crate::objects::bytes;

const MIB: usize = 1 << 20;

async fn begin(client: &Client, target: &str) -> String {
    client.post(&format!("{target}?uploads"), b"").await.expect(200).element("UploadId")
}

fn listing(parts: &[(i32, &str)]) -> Vec<u8> {
    let parts: String = parts
        .iter()
        .map(|(number, tag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"))
        .collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>").into_bytes()
}

#[tokio::test]
async fn parts_become_an_object_in_one_go() {
    let cloud = Cloud::start().await;
    let client = cloud.member("parts").await;
    let id = begin(&client, "/parts/key").await;
    let pieces = [bytes(5 * MIB), bytes(5 * MIB + 1), bytes(17)];
    let mut tags = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        let target = format!("/parts/key?partNumber={}&uploadId={id}", number + 1);
        // Sent twice: the second one counts.
        client.put(&target, b"something else").await.expect(200);
        tags.push(client.put(&target, piece).await.expect(200).header("etag").to_owned());
    }
    client.get("/parts/key").await.refused(404, "NoSuchKey");
    let listed = client.get(&format!("/parts/key?uploadId={id}&max-parts=2")).await.expect(200);
    assert_eq!(listed.elements("PartNumber"), ["1", "2"]);
    assert_eq!(listed.element("NextPartNumberMarker"), "2");
    let rest = client.get(&format!("/parts/key?uploadId={id}&part-number-marker=2")).await.expect(200);
    assert_eq!(rest.elements("PartNumber"), ["3"]);
    let uploads = client.get("/parts?uploads").await.expect(200);
    assert_eq!((uploads.element("Key"), uploads.element("UploadId")), ("key".to_owned(), id.clone()));

    let complete = |parts: &[(i32, &str)]| {
        client.send(Request::new("POST", &format!("/parts/key?uploadId={id}")).body(&listing(parts)))
    };
    let (one, two, three) = (tags[0].as_str(), tags[1].as_str(), tags[2].as_str());
    complete(&[(2, two), (1, one)]).await.refused(400, "InvalidPartOrder");
    complete(&[(1, two)]).await.refused(400, "InvalidPart");
    complete(&[(4, one)]).await.refused(400, "InvalidPart");
    complete(&[(1, one), (3, three), (4, one)]).await.refused(400, "EntityTooSmall");
    complete(&[]).await.refused(400, "MalformedXML");
    let done = complete(&[(1, one), (2, two), (3, three)]).await.expect(200);
    let tag = done.element("ETag");
    assert!(tag.ends_with("-3\""), "{tag}");
    complete(&[(1, one)]).await.refused(404, "NoSuchUpload");
    let whole = pieces.concat();
    let got = client.get("/parts/key").await.expect(200);
    assert!(got.body == whole);
    assert_eq!(got.header("etag"), tag);
    let second = client.get("/parts/key?partNumber=2").await.expect(206);
    assert!(second.body == pieces[1]);
    assert_eq!(second.header("x-amz-mp-parts-count"), "3");
    let over =
        Request::new("GET", "/parts/key").header("range", &format!("bytes={}-{}", 5 * MIB - 2, 10 * MIB + 3));
    assert!(client.send(over).await.expect(206).body == whole[5 * MIB - 2..10 * MIB + 4]);
    assert_eq!(client.get("/parts?uploads").await.elements("UploadId"), Vec::<String>::new());
}

#[tokio::test]
async fn a_part_may_be_a_copy_and_an_upload_may_be_given_up() {
    let cloud = Cloud::start().await;
    let client = cloud.member("parts").await;
    let body = bytes(6 * MIB);
    client.put("/parts/source", &body).await.expect(200);
    let id = begin(&client, "/parts/key").await;
    let copy = |number: i32| {
        Request::new("PUT", &format!("/parts/key?partNumber={number}&uploadId={id}"))
            .header("x-amz-copy-source", "parts/source")
    };
    let one = client.send(copy(1)).await.expect(200).element("ETag");
    let two = client
        .send(copy(2).header("x-amz-copy-source-range", "bytes=100-200099"))
        .await
        .expect(200)
        .element("ETag");
    client
        .send(copy(3).header("x-amz-copy-source-range", "bytes=5-99999999"))
        .await
        .refused(416, "InvalidRange");
    client.send(copy(3).header("x-amz-copy-source-range", "x")).await.refused(400, "InvalidArgument");
    client.send(copy(0)).await.refused(400, "InvalidArgument");
    let parts = listing(&[(1, &one), (2, &two)]);
    client.post(&format!("/parts/key?uploadId={id}"), &parts).await.expect(200);
    let got = client.get("/parts/key").await.expect(200);
    assert!(got.body == [&body[..], &body[100..200_100]].concat());

    let id = begin(&client, "/parts/other").await;
    client.put(&format!("/parts/other?partNumber=1&uploadId={id}"), b"x").await.expect(200);
    client.delete(&format!("/parts/other?uploadId={id}")).await.expect(204);
    client.delete(&format!("/parts/other?uploadId={id}")).await.refused(404, "NoSuchUpload");
    client.put(&format!("/parts/other?partNumber=1&uploadId={id}"), b"x").await.refused(404, "NoSuchUpload");
    client.put("/parts/other?partNumber=1&uploadId=nonsense", b"x").await.refused(404, "NoSuchUpload");
    // A bucket goes with the uploads that were never ended.
    for key in ["key", "source"] {
        client.delete(&format!("/parts/{key}")).await.expect(204);
    }
    begin(&client, "/parts/left").await;
    client.delete("/parts").await.expect(204);
}

/// Uploads two parts and completes them; answers with what completing came to.
async fn upload(client: &Client, begin: &[(&str, &str)], parts: &[&[u8]], end: &[(&str, &str)]) -> Answer {
    let with = |request: Request, headers: &[(&str, &str)]| {
        headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    };
    let begun = client.send(with(Request::new("POST", "/sums/key?uploads"), begin)).await.expect(200);
    let id = begun.element("UploadId");
    let mut listed = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let target = format!("/sums/key?partNumber={}&uploadId={id}", index + 1);
        listed
            .push((index as i32 + 1, client.put(&target, part).await.expect(200).header("etag").to_owned()));
    }
    let listed: Vec<_> = listed.iter().map(|(number, tag)| (*number, tag.as_str())).collect();
    let complete = Request::new("POST", &format!("/sums/key?uploadId={id}")).body(&listing(&listed));
    client.send(with(complete, end)).await
}

/// Source: S3 User Guide, "Checking object integrity for data at rest in Amazon S3".
#[tokio::test]
async fn the_checksum_of_a_whole_is_known_without_reading_it_again() {
    let cloud = Cloud::start().await;
    let client = cloud.member("sums").await;
    let (one, two) = (bytes(5 * MIB), bytes(1000));
    let whole = [&one[..], &two[..]].concat();
    for algorithm in ["CRC32", "CRC32C", "CRC64NVME"] {
        let header = format!("x-amz-checksum-{}", algorithm.to_lowercase());
        // What it is, the service says of the same bytes in one request.
        let put =
            Request::new("PUT", "/sums/whole").body(&whole).header("x-amz-checksum-algorithm", algorithm);
        let right = client.send(put).await.expect(200).header(&header).to_owned();
        let begin = [("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", "FULL_OBJECT")];
        let wrong = format!("{}{}", if right.starts_with('A') { "B" } else { "A" }, &right[1..]);
        upload(&client, &begin, &[&one, &two], &[(&header, &wrong)]).await.refused(400, "BadDigest");
        let done = upload(&client, &begin, &[&one, &two], &[(&header, &right)]).await.expect(200);
        assert_eq!(done.element(&format!("Checksum{algorithm}")), right);
        assert_eq!(done.element("ChecksumType"), "FULL_OBJECT");
        let get = Request::new("HEAD", "/sums/key").header("x-amz-checksum-mode", "ENABLED");
        let got = client.send(get).await.expect(200);
        assert_eq!((got.header(&header), got.header("x-amz-checksum-type")), (right.as_str(), "FULL_OBJECT"));
    }
}

#[tokio::test]
async fn a_checksum_may_be_one_of_the_checksums_of_the_parts_which_are_shown() {
    let cloud = Cloud::start().await;
    let client = cloud.member("sums").await;
    let (one, two) = (bytes(5 * MIB), bytes(1000));
    let sha = |bytes: &[u8]| Sha256::digest(bytes);
    let expected = BASE64.encode(sha(&[&sha(&one)[..], &sha(&two)[..]].concat())) + "-2";
    let begin = [("x-amz-checksum-algorithm", "SHA256")];
    let other = [("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=")];
    upload(&client, &begin, &[&one, &two], &other).await.refused(400, "BadDigest");
    let done =
        upload(&client, &begin, &[&one, &two], &[("x-amz-checksum-type", "COMPOSITE")]).await.expect(200);
    assert_eq!(
        (done.element("ChecksumSHA256"), done.element("ChecksumType")),
        (expected, "COMPOSITE".to_owned())
    );
    let show = |headers: &[(&str, &str)]| {
        let request =
            Request::new("GET", "/sums/key?attributes").header("x-amz-object-attributes", "ObjectParts");
        client.send(headers.iter().fold(request, |request, (name, value)| request.header(name, value)))
    };
    let parts = show(&[]).await.expect(200);
    assert_eq!(parts.elements("ChecksumSHA256"), [BASE64.encode(sha(&one)), BASE64.encode(sha(&two))]);
    assert_eq!(parts.elements("Size"), [one.len().to_string(), two.len().to_string()]);
    // s3s spells the count so.
    assert!(parts.text().contains("<PartsCount>2</PartsCount>"), "{}", parts.text());
    let first = show(&[("x-amz-max-parts", "1")]).await.expect(200);
    assert_eq!(
        (first.elements("PartNumber"), first.element("IsTruncated")),
        (vec!["1".into()], "true".into())
    );
    let rest =
        show(&[("x-amz-part-number-marker", &first.element("NextPartNumberMarker"))]).await.expect(200);
    assert_eq!(
        (rest.elements("PartNumber"), rest.element("IsTruncated")),
        (vec!["2".into()], "false".into())
    );
}

#[tokio::test]
async fn checksums_that_do_not_go_together_are_refused() {
    let cloud = Cloud::start().await;
    let client = cloud.member("sums").await;
    let begin = |headers: &[(&str, &str)]| {
        let request = Request::new("POST", "/sums/key?uploads");
        client.send(headers.iter().fold(request, |request, (name, value)| request.header(name, value)))
    };
    for wrong in [
        &[("x-amz-checksum-algorithm", "SHA256"), ("x-amz-checksum-type", "FULL_OBJECT")][..],
        &[("x-amz-checksum-algorithm", "CRC64NVME"), ("x-amz-checksum-type", "COMPOSITE")],
        &[("x-amz-checksum-algorithm", "CRC32"), ("x-amz-checksum-type", "WHOLE")],
        &[("x-amz-checksum-type", "COMPOSITE")],
    ] {
        begin(wrong).await.refused(400, "InvalidRequest");
    }
    let id = begin(&[("x-amz-checksum-algorithm", "CRC32")]).await.expect(200).element("UploadId");
    let part = Request::new("PUT", &format!("/sums/key?partNumber=1&uploadId={id}")).body(b"123456789");
    client
        .send(part.clone().header("x-amz-checksum-crc32c", "4waSgw=="))
        .await
        .refused(400, "InvalidRequest");
    let put = client.send(part.header("x-amz-checksum-crc32", "y/Q5Jg==")).await.expect(200);
    assert_eq!(put.header("x-amz-checksum-crc32"), "y/Q5Jg==");
}
