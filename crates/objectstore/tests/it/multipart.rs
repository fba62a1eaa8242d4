//! Uploads in parts.

use crate::client::{Client, Request};
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
