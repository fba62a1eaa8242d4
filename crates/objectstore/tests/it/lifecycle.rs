//! What ends by itself.

use std::time::Duration;

use crate::client::{Client, Request};
use crate::cloud::Cloud;

const DAY: Duration = Duration::from_secs(86_400);

async fn rules(client: &Client, rules: &str) {
    let text = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
    client.put("/life?lifecycle", text.as_bytes()).await.expect(200);
}

fn rule(filter: &str, action: &str) -> String {
    format!("<Rule><Status>Enabled</Status><Filter>{filter}</Filter>{action}</Rule>")
}

async fn keys(client: &Client) -> Vec<String> {
    client.get("/life?list-type=2").await.expect(200).elements("Key")
}

async fn versioned(client: &Client) {
    let on = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    client.put("/life?versioning", on).await.expect(200);
}

#[tokio::test]
async fn objects_go_when_their_days_have_passed() {
    let cloud = Cloud::start().await;
    let client = cloud.member("life").await;
    for (key, tags, size) in
        [("logs/a", "", 10), ("logs/b", "keep=no", 10), ("other", "", 10), ("big", "", 2000)]
    {
        let request = Request::new("PUT", &format!("/life/{key}")).body(&vec![0; size]);
        client
            .send(if tags.is_empty() { request } else { request.header("x-amz-tagging", tags) })
            .await
            .expect(200);
    }
    let all = [
        rule("<Prefix>logs/</Prefix>", "<Expiration><Days>3</Days></Expiration>"),
        rule("<Tag><Key>keep</Key><Value>no</Value></Tag>", "<Expiration><Days>1</Days></Expiration>"),
        rule(
            "<ObjectSizeGreaterThan>1000</ObjectSizeGreaterThan>",
            "<Expiration><Date>2020-01-01T00:00:00Z</Date></Expiration>",
        ),
        "<Rule><Status>Disabled</Status><Filter/><Expiration><Days>1</Days></Expiration></Rule>".to_owned(),
    ];
    rules(&client, &all.concat()).await;
    let shown = client.get("/life?lifecycle").await.expect(200);
    assert_eq!(shown.elements("Days"), ["3", "1", "1"]);
    assert_eq!(cloud.service.expire().await.unwrap(), 1);
    assert_eq!(keys(&client).await, ["logs/a", "logs/b", "other"]);
    cloud.clock.advance(2 * DAY);
    assert_eq!(cloud.service.expire().await.unwrap(), 1);
    assert_eq!(keys(&client).await, ["logs/a", "other"]);
    // Written anew, it lives anew.
    client.put("/life/logs/c", b"").await.expect(200);
    cloud.clock.advance(2 * DAY);
    assert_eq!(cloud.service.expire().await.unwrap(), 1);
    assert_eq!(keys(&client).await, ["logs/c", "other"]);
    client.delete("/life?lifecycle").await.expect(204);
    client.get("/life?lifecycle").await.refused(404, "NoSuchLifecycleConfiguration");
    cloud.clock.advance(100 * DAY);
    assert_eq!(cloud.service.expire().await.unwrap(), 0);
}

#[tokio::test]
async fn versions_go_after_the_next_one_came_and_markers_when_nothing_is_beneath() {
    let cloud = Cloud::start().await;
    let client = cloud.member("life").await;
    versioned(&client).await;
    let shown = async || client.get("/life?versions").await.expect(200);
    for text in [b"1", b"2", b"3", b"4"] {
        client.put("/life/key", text).await.expect(200);
        cloud.clock.advance(DAY);
    }
    let noncurrent = "<NoncurrentVersionExpiration><NoncurrentDays>2</NoncurrentDays><NewerNoncurrentVersions>1</NewerNoncurrentVersions></NoncurrentVersionExpiration>";
    rules(&client, &rule("", noncurrent)).await;
    cloud.clock.advance(3 * DAY);
    assert_eq!(cloud.service.expire().await.unwrap(), 2);
    assert_eq!(shown().await.elements("VersionId").len(), 2, "the current one and the newest of the others");
    // The current one becomes a marker, which goes when it is alone.
    let all = [
        rule("", "<Expiration><Days>1</Days></Expiration>"),
        rule(
            "",
            "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>",
        ),
    ];
    rules(&client, &all.concat()).await;
    cloud.service.expire().await.unwrap();
    let now = shown().await;
    assert!(now.text().contains("<DeleteMarker>"), "{}", now.text());
    client.get("/life/key").await.refused(404, "NoSuchKey");
    cloud.clock.advance(3 * DAY);
    cloud.service.expire().await.unwrap();
    cloud.service.expire().await.unwrap();
    assert_eq!(shown().await.elements("VersionId"), Vec::<String>::new());
    client.delete("/life").await.expect(204);
}

#[tokio::test]
async fn what_is_locked_stays_until_it_is_not() {
    let cloud = Cloud::start().await;
    let client = cloud.client("member-mine");
    client
        .send(Request::new("PUT", "/life").header("x-amz-bucket-object-lock-enabled", "true"))
        .await
        .expect(200);
    let hold = Request::new("PUT", "/life/key").header("x-amz-object-lock-legal-hold", "ON").body(b"held");
    let version = client.send(hold).await.expect(200).header("x-amz-version-id").to_owned();
    client.put("/life/key", b"new").await.expect(200);
    rules(
        &client,
        &rule(
            "",
            "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>",
        ),
    )
    .await;
    cloud.clock.advance(5 * DAY);
    assert_eq!(cloud.service.expire().await.unwrap(), 0);
    let off = b"<LegalHold><Status>OFF</Status></LegalHold>";
    client.put(&format!("/life/key?legal-hold&versionId={version}"), off).await.expect(200);
    assert_eq!(cloud.service.expire().await.unwrap(), 1);
    assert_eq!(client.get("/life/key").await.expect(200).body, b"new");
}

#[tokio::test]
async fn uploads_that_nobody_ends_are_given_up() {
    let cloud = Cloud::start().await;
    let client = cloud.member("life").await;
    let begin = async |key: &str| {
        client.post(&format!("/life/{key}?uploads"), b"").await.expect(200).element("UploadId")
    };
    let id = begin("a").await;
    client.put(&format!("/life/a?partNumber=1&uploadId={id}"), b"x").await.expect(200);
    rules(&client, &rule("", "<AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload>")).await;
    cloud.clock.advance(2 * DAY);
    begin("b").await;
    cloud.clock.advance(DAY);
    assert_eq!(cloud.service.expire().await.unwrap(), 1);
    assert_eq!(client.get("/life?uploads").await.expect(200).elements("Key"), ["b"]);
    client.put(&format!("/life/a?partNumber=1&uploadId={id}"), b"x").await.refused(404, "NoSuchUpload");
}

#[tokio::test]
async fn rules_that_cannot_be_followed_are_refused() {
    let cloud = Cloud::start().await;
    let client = cloud.member("life").await;
    let days = "<Expiration><Days>1</Days></Expiration>";
    for (wrong, status, code) in [
        ("", 400, "MalformedXML"),
        (&*rule("", ""), 400, "InvalidRequest"),
        (&*rule("", "<Expiration><Days>0</Days></Expiration>"), 400, "InvalidArgument"),
        (
            &*rule("", "<Expiration><Days>1</Days><Date>2030-01-01T00:00:00Z</Date></Expiration>"),
            400,
            "MalformedXML",
        ),
        (&*rule("", "<Expiration><Date>2030-01-01T00:00:01Z</Date></Expiration>"), 400, "InvalidArgument"),
        (&*rule("<Prefix>a</Prefix><Tag><Key>a</Key><Value>b</Value></Tag>", days), 400, "MalformedXML"),
        (
            &*rule("", "<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>"),
            501,
            "NotImplemented",
        ),
        (&*format!("<Rule><Status>Perhaps</Status><Filter/>{days}</Rule>"), 400, "MalformedXML"),
        (&*format!("<Rule><Status>Enabled</Status>{days}</Rule>"), 400, "MalformedXML"),
        (
            &*format!("<Rule><ID>a</ID><Status>Enabled</Status><Filter/>{days}</Rule>").repeat(2),
            400,
            "InvalidArgument",
        ),
        (
            &*rule(
                "<Tag><Key>a</Key><Value>b</Value></Tag>",
                "<AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload>",
            ),
            400,
            "InvalidRequest",
        ),
    ] {
        let text = format!("<LifecycleConfiguration>{wrong}</LifecycleConfiguration>");
        client.put("/life?lifecycle", text.as_bytes()).await.refused(status, code);
    }
    client.get("/life?lifecycle").await.refused(404, "NoSuchLifecycleConfiguration");
}
