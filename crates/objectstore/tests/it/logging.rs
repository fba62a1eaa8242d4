//! Requests that are written down in a bucket.

use std::time::Duration;

use hanse_objectstore::ports::Quota;

use crate::client::{Answer, Client, Request};
use crate::cloud::{Cloud, SITES};

async fn log_to(client: &Client, bucket: &str, inside: &str) -> Answer {
    let text =
        format!("<BucketLoggingStatus><LoggingEnabled>{inside}</LoggingEnabled></BucketLoggingStatus>");
    client.put(&format!("/{bucket}?logging"), text.as_bytes()).await
}

fn target(bucket: &str) -> String {
    format!("<TargetBucket>{bucket}</TargetBucket><TargetPrefix>to/</TargetPrefix>")
}

/// A line, taken apart at the spaces that stand neither in quotes nor in brackets.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut ends) = (vec![String::new()], None);
    for letter in line.chars() {
        match (letter, ends) {
            (' ', None) => fields.push(String::new()),
            ('"', None) => ends = Some('"'),
            ('[', None) => ends = Some(']'),
            (letter, Some(end)) if letter == end => ends = None,
            (letter, _) => fields.last_mut().unwrap().push(letter),
        }
    }
    fields
}

/// What was delivered into a bucket: keys, and lines.
async fn delivered(client: &Client, bucket: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let keys = client.get(&format!("/{bucket}?list-type=2&prefix=to/")).await.expect(200).elements("Key");
    let mut lines = Vec::new();
    for key in &keys {
        let log = client.get(&format!("/{bucket}/{key}")).await.expect(200);
        assert_eq!(log.header("content-type"), "text/plain");
        lines.extend(log.text().lines().map(fields));
    }
    (keys, lines)
}

#[tokio::test]
async fn each_request_is_a_line_in_the_documented_format() {
    let cloud = Cloud::start().await;
    let client = cloud.member("source").await;
    client.put("/logs", b"").await.expect(200);
    log_to(&client, "source", &target("logs")).await.expect(200);
    let shown = client.get("/source?logging").await.expect(200);
    assert_eq!((shown.element("TargetBucket"), shown.element("TargetPrefix")), ("logs".into(), "to/".into()));
    let put = Request::new("PUT", "/source/a key\n")
        .header("user-agent", "evil \"quoted\" \\ agent")
        .body(b"12345");
    client.send(put).await.expect(200);
    client.send(Request::new("GET", "/source/a key\n").header("range", "bytes=1-2")).await.expect(206);
    client.get("/source/nothing").await.refused(404, "NoSuchKey");
    client.head("/source/nothing").await.expect(404);
    let presigned = client.presign(&Request::new("GET", "/source/a key\n"), 60);
    client.send_presigned(&Request::new("GET", "/source/a key\n"), &presigned).await.expect(200);
    client.send_presigned(&Request::new("GET", "/source"), "").await.refused(403, "AccessDenied");
    let keys = b"<Delete><Object><Key>a key&#10;</Key></Object><Object><Key>x</Key></Object></Delete>";
    client.post("/source?delete", keys).await.expect(200);
    assert_eq!(cloud.service.deliver_logs().await, 1);
    assert_eq!(cloud.service.deliver_logs().await, 0, "once is enough, and a delivery is no request");
    let (keys, lines) = delivered(&client, "logs").await;
    let stamp = keys[0].strip_prefix("to/").unwrap();
    assert_eq!((stamp.len(), stamp.matches('-').count()), ("2026-11-29-15-47-06-0123456789ABCDEF".len(), 6));
    let is = |operation: &'static str| {
        lines.iter().filter(|line| line[6] == operation).cloned().collect::<Vec<_>>()
    };
    for line in &lines {
        assert_eq!(line.len(), 27, "{line:?}");
        assert_eq!((line[0].as_str(), line[1].as_str(), line[3].as_str()), ("mine", "source", "127.0.0.1"));
        assert!(!line.concat().contains(&presigned[presigned.len() - 64..]), "the signature of a URL");
    }
    let put = &is("REST.PUT.OBJECT")[0];
    assert_eq!(put[4], "arn:aws:iam::mine:user/user-member-reader");
    assert_eq!(put[7..13], ["a+key%0A", "PUT /source/a%20key%0A HTTP/1.1", "200", "-", "-", "5"]);
    assert_eq!(put[16], "evil %22quoted%22 %5C agent");
    assert_eq!((put[19].as_str(), put[21].as_str()), ("SigV4", "AuthHeader"));
    let gets = is("REST.GET.OBJECT");
    assert_eq!(gets[0][9..13], ["206", "-", "2", "5"]);
    assert_eq!(gets[1][9..11], ["404", "NoSuchKey"]);
    assert_eq!(gets[2][21], "QueryString");
    assert!(gets[2][8].contains("X-Amz-Signature=REDACTED"));
    assert_eq!(is("REST.HEAD.OBJECT")[0][9..12], ["404", "NoSuchKey", "-"]);
    let nobody = &is("REST.GET.BUCKET")[0];
    assert_eq!((nobody[4].as_str(), nobody[10].as_str(), nobody[21].as_str()), ("-", "AccessDenied", "-"));
    assert_eq!(is("REST.POST.MULTI_OBJECT_DELETE").len(), 1);
    let deleted: Vec<String> = is("BATCH.DELETE.OBJECT").into_iter().map(|line| line[7].clone()).collect();
    assert_eq!(deleted, ["a+key%0A", "x"]);
    // Until it is taken back.
    client.put("/source?logging", b"<BucketLoggingStatus/>").await.expect(200);
    client.get("/source").await.expect(200);
    cloud.service.deliver_logs().await;
    assert!(client.get("/source?logging").await.expect(200).element("TargetBucket").is_empty());
}

#[tokio::test]
async fn what_browsers_ask_of_a_website_is_logged_and_a_bucket_may_log_into_itself() {
    let cloud = Cloud::start().await;
    let client = cloud.member("www").await;
    let website =
        b"<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument></WebsiteConfiguration>";
    client.put("/www?website", website).await.expect(200);
    log_to(&client, "www", &target("www")).await.expect(200);
    let browse = Request { host: Some(format!("www.{SITES}")), ..Request::new("GET", "/a/") };
    client.send_presigned(&browse, "").await.expect(403);
    assert_eq!(cloud.service.deliver_logs().await, 1);
    let (_, lines) = delivered(&client, "www").await;
    let asked = lines.iter().find(|line| line[6] == "WEBSITE.GET.OBJECT").unwrap();
    assert_eq!(asked[7..11], ["a/", "GET /a/ HTTP/1.1", "403", "AccessDenied"]);
}

#[tokio::test]
async fn logs_are_in_the_partition_of_their_day() {
    let cloud = Cloud::start().await;
    let client = cloud.member("source").await;
    client.put("/logs", b"").await.expect(200);
    let partitioned = |date: &str| {
        let date = format!("<PartitionDateSource>{date}</PartitionDateSource>");
        let format = format!("<PartitionedPrefix>{date}</PartitionedPrefix>");
        format!("{}<TargetObjectKeyFormat>{format}</TargetObjectKeyFormat>", target("logs"))
    };
    log_to(&client, "source", &partitioned("EventTime")).await.expect(200);
    assert_eq!(client.get("/source?logging").await.expect(200).element("PartitionDateSource"), "EventTime");
    cloud.service.deliver_logs().await;
    let before = delivered(&client, "logs").await.0.len();
    client.get("/source").await.expect(200);
    cloud.clock.advance(Duration::from_secs(86_400));
    client.get("/source").await.expect(200);
    assert_eq!(cloud.service.deliver_logs().await, 2, "one a day");
    let keys = delivered(&client, "logs").await.0;
    assert_eq!(keys.len(), before + 2);
    for key in &keys {
        let parts: Vec<&str> = key.split('/').collect();
        assert_eq!(parts[..4], ["to", "mine", "regionone", "source"]);
        assert!(parts[7].starts_with(&format!("{}-{}-{}-00-00-00-", parts[4], parts[5], parts[6])), "{key}");
    }
    log_to(&client, "source", &partitioned("Someday")).await.refused(400, "MalformedXML");
}

#[tokio::test]
async fn only_buckets_of_the_project_that_the_caller_may_write_to_are_targets() {
    let cloud = Cloud::start().await;
    let client = cloud.member("source").await;
    cloud.client("member-other").put("/theirs", b"").await.expect(200);
    for wrong in ["theirs", "nothing"] {
        log_to(&client, "source", &target(wrong)).await.refused(400, "InvalidTargetBucketForLogging");
    }
    client.put("/closed", b"").await.expect(200);
    let deny = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::closed/*"}]}"#;
    client.put("/closed?policy", deny.as_bytes()).await.expect(204);
    log_to(&client, "source", &target("closed")).await.refused(400, "InvalidTargetBucketForLogging");
    let grants = format!(
        "{}<TargetGrants><Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>other</ID></Grantee><Permission>READ</Permission></Grant></TargetGrants>",
        target("source")
    );
    log_to(&client, "source", &grants).await.refused(400, "AccessControlListNotSupported");
    let long = format!("<TargetBucket>source</TargetBucket><TargetPrefix>{}</TargetPrefix>", "x".repeat(600));
    log_to(&client, "source", &long).await.refused(400, "InvalidArgument");
    assert!(client.get("/source?logging").await.expect(200).element("TargetBucket").is_empty());
}

#[tokio::test]
async fn a_log_that_cannot_be_delivered_fails_no_request() {
    let cloud = Cloud::start().await;
    let client = cloud.member("source").await;
    client.put("/logs", b"").await.expect(200);
    log_to(&client, "source", &target("logs")).await.expect(200);
    // The project has no room.
    cloud.keys.limit("mine", Quota { objects: Some(0), ..Quota::default() });
    cloud.clock.advance(Duration::from_secs(2));
    client.get("/source").await.expect(200);
    assert_eq!(cloud.service.deliver_logs().await, 0);
    cloud.keys.limit("mine", Quota::default());
    cloud.clock.advance(Duration::from_secs(2));
    // The target is gone, and another project has its name.
    client.delete("/logs").await.expect(204);
    cloud.client("member-other").put("/logs", b"").await.expect(200);
    client.get("/source").await.expect(200);
    assert_eq!(cloud.service.deliver_logs().await, 0);
    assert!(cloud.client("member-other").get("/logs").await.expect(200).elements("Key").is_empty());
}

#[tokio::test]
async fn what_was_gathered_is_delivered_when_the_service_ends() {
    let cloud = Cloud::start().await;
    let client = cloud.member("source").await;
    log_to(&client, "source", &target("source")).await.expect(200);
    client.put("/source/key", b"x").await.expect(200);
    let cloud = cloud.restarted().await;
    let (_, lines) = delivered(&cloud.client("member-mine"), "source").await;
    assert!(lines.iter().any(|line| line[6] == "REST.PUT.OBJECT" && line[7] == "key"));
}
