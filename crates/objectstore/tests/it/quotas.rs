//! What a project may have.

use hanse_objectstore::ports::Quota;

use crate::client::Request;
use crate::cloud::Cloud;

/// Limits hold for a second.
fn limit(cloud: &Cloud, quota: Quota) {
    cloud.keys.limit("mine", quota);
    cloud.clock.advance(std::time::Duration::from_secs(1));
}

#[tokio::test]
async fn what_would_be_too_much_is_refused_and_nothing_of_it_kept() {
    let cloud = Cloud::start().await;
    let client = cloud.member("quota").await;
    client.put("/quota/a", &[0; 600]).await.expect(200);
    limit(&cloud, Quota { bytes: Some(1000), objects: Some(3), ..Quota::default() });
    client.put("/quota/b", &[0; 401]).await.refused(403, "QuotaExceeded");
    client.get("/quota/b").await.refused(404, "NoSuchKey");
    client.put("/quota/b", &[0; 400]).await.expect(200);
    // Copies and parts of uploads take room, too.
    let copy = Request::new("PUT", "/quota/c").header("x-amz-copy-source", "quota/a");
    client.send(copy).await.refused(403, "QuotaExceeded");
    let id = client.post("/quota/c?uploads", b"").await.expect(200).element("UploadId");
    let part = format!("/quota/c?partNumber=1&uploadId={id}");
    client.put(&part, b"x").await.refused(403, "QuotaExceeded");
    client.delete("/quota/a").await.expect(204);
    let tag = client.put(&part, &[0; 600]).await.expect(200).header("etag").to_owned();
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part></CompleteMultipartUpload>"
    );
    client.post(&format!("/quota/c?uploadId={id}"), list.as_bytes()).await.expect(200);
    client.put("/quota/d", b"").await.expect(200);
    client.put("/quota/e", b"").await.refused(403, "QuotaExceeded");
    // Of another project nothing is asked.
    let other = cloud.client("member-other");
    other.put("/theirs", b"").await.expect(200);
    other.put("/theirs/key", &[0; 5000]).await.expect(200);
    // Whoever has too much can still read, and delete.
    limit(&cloud, Quota { bytes: Some(1), ..Quota::default() });
    assert_eq!(client.get("/quota/c").await.expect(200).body.len(), 600);
    // What adds nothing is done, and what is refused for another reason says that.
    client.put("/quota/d", b"").await.expect(200);
    let only_new = Request::new("PUT", "/quota/d").header("if-none-match", "*");
    client.send(only_new).await.refused(412, "PreconditionFailed");
    let answer = client.put("/quota/d", b"x").await.expect(403);
    assert!(answer.text().contains("The project may have 1 bytes"), "{}", answer.text());
    for key in ["b", "c", "d"] {
        client.delete(&format!("/quota/{key}")).await.expect(204);
    }
    client.put("/quota/a", b"x").await.expect(200);
}

#[tokio::test]
async fn the_number_of_buckets_is_limited() {
    let cloud = Cloud::start().await;
    let client = cloud.member("one").await;
    limit(&cloud, Quota { buckets: Some(2), ..Quota::default() });
    client.put("/two", b"").await.expect(200);
    client.put("/three", b"").await.refused(400, "TooManyBuckets");
    client.delete("/one").await.expect(204);
    client.put("/three", b"").await.expect(200);
}
