//! What happens to objects, as a receiver learns of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hanse_core::{Cx, Secret};
use hanse_crypto::{CertificateAuthority, server_config};
use hanse_objectstore::Webhook;
use hanse_web::{Limits, Listener, Metrics};
use http::{HeaderMap, Request as HttpRequest};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use ring::hmac;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{Answer, Client, Request, hex};
use crate::cloud::{Cloud, WAITING};

const SECRET: &str = "a secret of sixteen and more";

/// What came.
#[derive(Clone)]
struct Seen {
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

/// A webhook.
struct Receiver {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// What it answers.
    status: Arc<AtomicU16>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Receiver {
    async fn start() -> Receiver {
        Receiver::at("127.0.0.1:0".parse().unwrap(), None).await
    }

    async fn at(address: SocketAddr, tls: Option<Arc<rustls::ServerConfig>>) -> Receiver {
        let listener = Listener::bind(address, "webhook", tls, Limits::default(), Metrics::default()).await;
        let listener = listener.unwrap();
        let (address, stop) = (listener.address().unwrap(), CancellationToken::new());
        let (seen, status) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU16::new(204)));
        let (into, answer) = (seen.clone(), status.clone());
        let handle = move |request: HttpRequest<Incoming>, _| {
            let (into, answer) = (into.clone(), answer.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let status = answer.load(Relaxed);
                into.lock().unwrap().push(Seen {
                    target: parts.uri.to_string(),
                    headers: parts.headers,
                    body,
                });
                let answer = http::Response::builder().status(status).header("location", "/elsewhere");
                answer.body(Empty::<Bytes>::new()).unwrap()
            }
        };
        let running = tokio::spawn(listener.serve(handle, stop.clone()));
        Receiver { address, seen, status, stop, running }
    }

    fn webhook(&self, name: &str) -> Webhook {
        Webhook {
            name: name.to_owned(),
            url: format!("http://{}/hook?x=y", self.address),
            projects: Vec::new(),
            secret: Some(Secret::new(SECRET.to_owned())),
            token: Some(Secret::new("token".to_owned())),
            authorities: None,
        }
    }

    async fn end(self) -> SocketAddr {
        self.stop.cancel();
        self.running.await.unwrap();
        self.address
    }

    /// The first so many messages.
    async fn messages(&self, count: usize) -> Vec<Seen> {
        for _ in 0..600 {
            let seen = self.seen.lock().unwrap().clone();
            if seen.len() >= count {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} of {count} messages came", self.seen.lock().unwrap().len());
    }

    /// The records of the first so many messages, which are one each.
    async fn records(&self, count: usize) -> Vec<Value> {
        let records = self.messages(count).await.into_iter().map(|seen| {
            let mut message: Value = serde_json::from_slice(&seen.body).unwrap();
            assert_eq!(message["Records"].as_array().unwrap().len(), 1);
            message["Records"][0].take()
        });
        records.collect()
    }

    /// Event and key of the first so many messages.
    async fn told(&self, count: usize) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let records = self.records(count).await;
        records
            .iter()
            .map(|record| (text(&record["eventName"]), text(&record["s3"]["object"]["key"])))
            .collect()
    }
}

impl Receiver {
    /// The keys of all messages until the last one is about this.
    async fn told_until(&self, last: &str) -> Vec<String> {
        for _ in 0..600 {
            let seen = self.seen.lock().unwrap().len();
            let keys: Vec<String> = self.told(seen).await.into_iter().map(|(_, key)| key).collect();
            if keys.last().is_some_and(|key| key == last) {
                return keys;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{last} is not told");
    }
}

fn topic(name: &str, events: &[&str], inside: &str) -> String {
    let events: String = events.iter().map(|event| format!("<Event>s3:{event}</Event>")).collect();
    format!(
        "<TopicConfiguration><Topic>arn:aws:sns:regionone::{name}</Topic>{events}{inside}</TopicConfiguration>"
    )
}

fn filter(name: &str, value: &str) -> String {
    format!(
        "<Filter><S3Key><FilterRule><Name>{name}</Name><Value>{value}</Value></FilterRule></S3Key></Filter>"
    )
}

async fn configure(client: &Client, topics: &str) -> Answer {
    let text = format!("<NotificationConfiguration>{topics}</NotificationConfiguration>");
    client.put("/bucket?notification", text.as_bytes()).await
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(event, key)| ((*event).to_owned(), (*key).to_owned())).collect()
}

/// Waits until so many events are counted as lost: that is done after a round of sending.
async fn lost(cloud: &Cloud, count: u32) {
    let line = format!("hanse_lost_total{{kind=\"notifications\"}} {count}\n");
    for _ in 0..600 {
        if cloud.metrics.render().contains(&line) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not {count} are lost: {}", cloud.metrics.render());
}

#[tokio::test]
async fn a_put_is_told_to_the_webhook_with_what_it_did() {
    let receiver = Receiver::start().await;
    let cloud = Cloud::with_webhooks(vec![receiver.webhook("hook")]).await;
    let client = cloud.member("bucket").await;
    let with_id = topic("hook", &["ObjectCreated:*"], &format!("<Id>mine</Id>{}", filter("prefix", "in/")));
    configure(&client, &with_id).await.expect(200);
    let shown = client.get("/bucket?notification").await.expect(200);
    assert_eq!(shown.element("Topic"), "arn:aws:sns:regionone::hook");
    assert_eq!((shown.element("Event"), shown.element("Value")), ("s3:ObjectCreated:*".into(), "in/".into()));
    client.put("/bucket/out/a", b"not told").await.expect(200);
    let put = client.put("/bucket/in/a b\u{fc}", b"12345").await.expect(200);
    client.put("/bucket/in/second", b"").await.expect(200);
    let records = receiver.records(2).await;
    let (record, object) = (&records[0], &records[0]["s3"]["object"]);
    assert_eq!(record["eventName"], "ObjectCreated:Put");
    assert_eq!(record["eventSource"], "aws:s3");
    assert_eq!(record["awsRegion"], "regionone");
    assert!(record["eventVersion"].as_str().unwrap().starts_with("2."));
    assert_eq!(record["eventTime"].as_str().unwrap().len(), "1970-01-01T00:00:00.000Z".len());
    assert_eq!(record["userIdentity"]["principalId"], "user-member-reader");
    assert_eq!(record["requestParameters"]["sourceIPAddress"], "127.0.0.1");
    assert_eq!(record["responseElements"]["x-amz-request-id"], put.header("x-amz-request-id"));
    assert_eq!(record["s3"]["configurationId"], "mine");
    assert_eq!(record["s3"]["bucket"]["name"], "bucket");
    assert_eq!(record["s3"]["bucket"]["arn"], "arn:aws:s3:::bucket");
    assert_eq!(record["s3"]["bucket"]["ownerIdentity"]["principalId"], "mine");
    assert_eq!(object["key"], "in/a+b%C3%BC");
    assert_eq!(object["size"], 5);
    assert_eq!(format!("\"{}\"", object["eTag"].as_str().unwrap()), put.header("etag"));
    assert!(object.get("versionId").is_none());
    assert!(object["sequencer"].as_str() < records[1]["s3"]["object"]["sequencer"].as_str());
    // The receiver can tell that it is from us.
    let seen = &receiver.messages(1).await[0];
    assert_eq!(seen.target, "/hook?x=y");
    assert_eq!(seen.headers["content-type"], "application/json");
    assert_eq!(seen.headers["authorization"], "Bearer token");
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = format!("sha256={}", hex(hmac::sign(&key, &seen.body).as_ref()));
    assert_eq!(seen.headers["x-hub-signature-256"], signature);
    // No more, once it is taken back.
    configure(&client, "").await.expect(200);
    client.put("/bucket/in/third", b"").await.expect(200);
    configure(&client, &with_id).await.expect(200);
    client.put("/bucket/in/fourth", b"").await.expect(200);
    assert_eq!(receiver.told(3).await[2].1, "in/fourth");
}

#[tokio::test]
async fn each_change_has_its_event() {
    let receiver = Receiver::start().await;
    let cloud = Cloud::with_webhooks(vec![receiver.webhook("hook")]).await;
    let client = cloud.member("bucket").await;
    let all = ["ObjectCreated:*", "ObjectRemoved:*", "ObjectTagging:*", "LifecycleExpiration:*"];
    configure(&client, &topic("hook", &all, "")).await.expect(200);
    client.put("/bucket/a", b"1").await.expect(200);
    client.send(Request::new("PUT", "/bucket/b").header("x-amz-copy-source", "/bucket/a")).await.expect(200);
    client.form("bucket", &[("key", "c")], b"x").await.expect(204);
    let id = client.post("/bucket/d?uploads", b"").await.expect(200).element("UploadId");
    let part = client.put(&format!("/bucket/d?partNumber=1&uploadId={id}"), b"x").await.expect(200);
    let parts = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
        part.header("etag")
    );
    client.post(&format!("/bucket/d?uploadId={id}"), parts.as_bytes()).await.expect(200);
    let tags = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    client.put("/bucket/a?tagging", tags).await.expect(200);
    client.delete("/bucket/a?tagging").await.expect(204);
    client.delete("/bucket/a").await.expect(204);
    // Nothing was there, so that nothing has happened; nor has it where a condition does not hold.
    client.delete("/bucket/a").await.expect(204);
    client.send(Request::new("PUT", "/bucket/b").header("if-none-match", "*").body(b"x")).await.expect(412);
    client.post("/bucket?delete", b"<Delete><Object><Key>b</Key></Object></Delete>").await.expect(200);
    let on = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    client.put("/bucket?versioning", on).await.expect(200);
    let version = client.put("/bucket/v", b"1").await.expect(200).header("x-amz-version-id").to_owned();
    let marker = client.delete("/bucket/v").await.expect(204).header("x-amz-version-id").to_owned();
    client.delete(&format!("/bucket/v?versionId={version}")).await.expect(204);
    let rule = b"<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter><Prefix>c</Prefix></Filter><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>";
    client.put("/bucket?lifecycle", rule).await.expect(200);
    cloud.clock.advance(Duration::from_secs(2 * 86_400));
    assert_eq!(cloud.service.expire().await.unwrap(), 1);
    let expected = [
        ("ObjectCreated:Put", "a"),
        ("ObjectCreated:Copy", "b"),
        ("ObjectCreated:Post", "c"),
        ("ObjectCreated:CompleteMultipartUpload", "d"),
        ("ObjectTagging:Put", "a"),
        ("ObjectTagging:Delete", "a"),
        ("ObjectRemoved:Delete", "a"),
        ("ObjectRemoved:Delete", "b"),
        ("ObjectCreated:Put", "v"),
        ("ObjectRemoved:DeleteMarkerCreated", "v"),
        ("ObjectRemoved:Delete", "v"),
        ("LifecycleExpiration:DeleteMarkerCreated", "c"),
    ];
    assert_eq!(receiver.told(expected.len()).await, pairs(&expected));
    let records = receiver.records(expected.len()).await;
    assert_eq!(records[8]["s3"]["object"]["versionId"], version);
    assert_eq!(records[9]["s3"]["object"]["versionId"], marker);
    assert_eq!(records[10]["s3"]["object"]["versionId"], version);
    assert_eq!(records[11]["userIdentity"]["principalId"], "s3.amazonaws.com");
}

#[tokio::test]
async fn what_swift_does_and_the_cloud_by_itself_is_told_too() {
    let receiver = Receiver::start().await;
    let cloud = Cloud::with_webhooks(vec![receiver.webhook("hook")]).await;
    let client = cloud.member("bucket").await;
    configure(&client, &topic("hook", &["ObjectCreated:*", "ObjectRemoved:*"], "")).await.expect(200);
    let swift = |method: &str, object: &str, name: &str, value: &str| {
        let request = Request::new(method, &format!("/v1/AUTH_mine/bucket/{object}"));
        request.header("x-auth-token", "member-mine").header(name, value)
    };
    let send = async |request: Request| client.send_presigned(&request, "").await;
    send(swift("PUT", "a", "content-type", "text/plain").body(b"x")).await.expect(201);
    send(swift("COPY", "a", "destination", "bucket/b")).await.expect(201);
    send(swift("DELETE", "a", "accept", "*/*")).await.expect(204);
    let logging = "<BucketLoggingStatus><LoggingEnabled><TargetBucket>bucket</TargetBucket><TargetPrefix>log/</TargetPrefix></LoggingEnabled></BucketLoggingStatus>";
    client.put("/bucket?logging", logging.as_bytes()).await.expect(200);
    client.get("/bucket").await.expect(200);
    assert_eq!(cloud.service.deliver_logs().await, 1);
    let expected = [("ObjectCreated:Put", "a"), ("ObjectCreated:Copy", "b"), ("ObjectRemoved:Delete", "a")];
    let told = receiver.told(4).await;
    assert_eq!(told[..3], pairs(&expected));
    assert!(told[3].1.starts_with("log/"));
    let records = receiver.records(4).await;
    assert_eq!(records[0]["userIdentity"]["principalId"], "user-member-reader");
    assert_eq!(records[3]["userIdentity"]["principalId"], "s3.amazonaws.com");
}

#[tokio::test]
async fn events_go_by_prefix_and_suffix_to_their_webhook() {
    let (one, other) = (Receiver::start().await, Receiver::start().await);
    let cloud = Cloud::with_webhooks(vec![one.webhook("one"), other.webhook("other")]).await;
    let client = cloud.member("bucket").await;
    let topics = [
        topic("one", &["ObjectCreated:*"], &filter("suffix", ".jpg")),
        topic("other", &["ObjectCreated:Put"], &filter("Suffix", ".png")),
    ];
    configure(&client, &topics.concat()).await.expect(200);
    for key in ["a.jpg", "b.png", "c.gif", "d.jpg"] {
        client.put(&format!("/bucket/{key}"), b"").await.expect(200);
    }
    assert_eq!(one.told(2).await, pairs(&[("ObjectCreated:Put", "a.jpg"), ("ObjectCreated:Put", "d.jpg")]));
    assert_eq!(other.told(1).await, pairs(&[("ObjectCreated:Put", "b.png")]));
}

#[tokio::test]
async fn what_a_receiver_missed_it_gets_when_both_are_back() {
    let receiver = Receiver::start().await;
    let webhook = receiver.webhook("hook");
    let cloud = Cloud::with_webhooks(vec![webhook]).await;
    let client = cloud.member("bucket").await;
    configure(&client, &topic("hook", &["ObjectCreated:*", "ObjectRemoved:*"], "")).await.expect(200);
    client.put("/bucket/before", b"").await.expect(200);
    receiver.messages(1).await;
    let address = receiver.end().await;
    for key in ["a", "b", "c"] {
        client.put(&format!("/bucket/{key}"), b"").await.expect(200);
    }
    client.delete("/bucket/a").await.expect(204);
    let cloud = cloud.restarted().await;
    let receiver = Receiver::at(address, None).await;
    let expected = [
        ("ObjectCreated:Put", "a"),
        ("ObjectCreated:Put", "b"),
        ("ObjectCreated:Put", "c"),
        ("ObjectRemoved:Delete", "a"),
    ];
    assert_eq!(receiver.told(4).await, pairs(&expected));
    // What was taken is forgotten, and what comes next is a later event than all.
    let cloud = cloud.restarted().await;
    cloud.client("member-mine").put("/bucket/after", b"").await.expect(200);
    let records = receiver.records(5).await;
    assert_eq!(records[4]["s3"]["object"]["key"], "after");
    assert!(
        records[4]["s3"]["object"]["sequencer"].as_str() > records[3]["s3"]["object"]["sequencer"].as_str()
    );
    assert_eq!(receiver.seen.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn events_of_a_bucket_that_is_gone_are_sent_all_the_same() {
    let receiver = Receiver::start().await;
    let cloud = Cloud::with_webhooks(vec![receiver.webhook("hook")]).await;
    receiver.status.store(503, Relaxed);
    let client = cloud.member("bucket").await;
    configure(&client, &topic("hook", &["ObjectRemoved:*"], "")).await.expect(200);
    client.put("/bucket/a", b"").await.expect(200);
    client.delete("/bucket/a").await.expect(204);
    client.delete("/bucket").await.expect(204);
    receiver.messages(1).await;
    receiver.status.store(200, Relaxed);
    let told = receiver.told(2).await;
    assert_eq!(told[1], ("ObjectRemoved:Delete".to_owned(), "a".to_owned()));
}

#[tokio::test]
async fn redirections_are_not_followed_and_refusals_do_not_hold_up_the_rest() {
    let receiver = Receiver::start().await;
    let cloud = Cloud::with_webhooks(vec![receiver.webhook("hook")]).await;
    receiver.status.store(307, Relaxed);
    let client = cloud.member("bucket").await;
    configure(&client, &topic("hook", &["ObjectCreated:*"], "")).await.expect(200);
    client.put("/bucket/a", b"").await.expect(200);
    // It is tried again, and nowhere else.
    receiver.messages(2).await;
    receiver.status.store(400, Relaxed);
    let before = receiver.seen.lock().unwrap().len();
    receiver.messages(before + 3).await;
    receiver.status.store(200, Relaxed);
    client.put("/bucket/b", b"").await.expect(200);
    receiver.told_until("b").await;
    let seen = receiver.messages(1).await;
    assert!(seen.iter().all(|seen| seen.target == "/hook?x=y"));
}

#[tokio::test]
async fn what_nobody_takes_for_three_days_is_given_up() {
    let receiver = Receiver::start().await;
    let cloud = Cloud::with_webhooks(vec![receiver.webhook("hook")]).await;
    receiver.status.store(503, Relaxed);
    let client = cloud.member("bucket").await;
    configure(&client, &topic("hook", &["ObjectCreated:*"], "")).await.expect(200);
    client.put("/bucket/old", b"").await.expect(200);
    receiver.messages(1).await;
    cloud.clock.advance(Duration::from_secs(73 * 3600));
    receiver.status.store(200, Relaxed);
    client.put("/bucket/new", b"").await.expect(200);
    receiver.told_until("new").await;
    lost(&cloud, 1).await;
}

#[tokio::test]
async fn of_too_many_events_the_newest_are_lost_and_counted() {
    let receiver = Receiver::start().await;
    let cloud = Cloud::with_webhooks(vec![receiver.webhook("hook")]).await;
    receiver.status.store(503, Relaxed);
    let client = cloud.member("bucket").await;
    configure(&client, &topic("hook", &["ObjectCreated:*"], "")).await.expect(200);
    for number in 0..WAITING + 3 {
        client.put(&format!("/bucket/{number:02}"), b"").await.expect(200);
    }
    receiver.messages(1).await;
    receiver.status.store(200, Relaxed);
    let mut keys = receiver.told_until(&format!("{:02}", WAITING - 1)).await;
    // The first was tried more than once.
    keys.dedup();
    assert_eq!(keys, (0..WAITING).map(|number| format!("{number:02}")).collect::<Vec<_>>());
    // Now there is room again.
    client.put("/bucket/later", b"").await.expect(200);
    assert!(receiver.told_until("later").await.iter().all(|key| key != "20"));
    lost(&cloud, 3).await;
}

#[tokio::test]
async fn what_another_webhook_is_told_takes_no_room() {
    let (down, up) = (Receiver::start().await, Receiver::start().await);
    let cloud = Cloud::with_webhooks(vec![down.webhook("down"), up.webhook("up")]).await;
    down.status.store(503, Relaxed);
    let client = cloud.member("bucket").await;
    let topics = [
        topic("down", &["ObjectCreated:*"], &filter("prefix", "a")),
        topic("up", &["ObjectCreated:*"], &filter("prefix", "b")),
    ];
    configure(&client, &topics.concat()).await.expect(200);
    client.put("/bucket/a1", b"").await.expect(200);
    for number in 0..2 * WAITING {
        client.put(&format!("/bucket/b{number:02}"), b"").await.expect(200);
        // So that none of these is one too many itself.
        up.told_until(&format!("b{number:02}")).await;
    }
    client.put("/bucket/a2", b"").await.expect(200);
    down.status.store(200, Relaxed);
    assert!(down.told_until("a2").await.contains(&"a1".to_owned()));
}

#[tokio::test]
async fn a_server_of_https_is_known_by_its_authority() {
    let cx = Cx::system();
    let place = tempfile::tempdir().unwrap();
    let authority = |name: &str| CertificateAuthority::load_or_create(&place.path().join(name), &cx).unwrap();
    for name in ["ours", "another"] {
        hanse_crypto::secret_file::private_dir(&place.path().join(name)).unwrap();
    }
    let (ours, another) = (authority("ours"), authority("another"));
    let cert = ours.issue_server(&cx, &["127.0.0.1".to_owned()]).unwrap();
    let tls = server_config(&cx, &cert.chain_pem, &cert.key_pem).unwrap();
    let receiver = Receiver::at("127.0.0.1:0".parse().unwrap(), Some(tls)).await;
    let webhook = |name: &str, ca: &CertificateAuthority| Webhook {
        url: format!("https://{}/", receiver.address),
        authorities: Some(ca.ca_pem().to_owned()),
        ..receiver.webhook(name)
    };
    let cloud = Cloud::with_webhooks(vec![webhook("known", &ours), webhook("unknown", &another)]).await;
    let client = cloud.member("bucket").await;
    let topics = [
        topic("unknown", &["ObjectCreated:*"], &filter("prefix", "a")),
        topic("known", &["ObjectCreated:*"], &filter("prefix", "b")),
    ];
    configure(&client, &topics.concat()).await.expect(200);
    client.put("/bucket/a", b"").await.expect(200);
    client.put("/bucket/b", b"").await.expect(200);
    assert_eq!(receiver.told(1).await, pairs(&[("ObjectCreated:Put", "b")]));
}

#[tokio::test]
async fn configurations_name_webhooks_that_there_are_and_events_that_can_be() {
    let receiver = Receiver::start().await;
    let others = Webhook { projects: vec!["other".to_owned()], ..receiver.webhook("others") };
    let cloud = Cloud::with_webhooks(vec![receiver.webhook("hook"), others]).await;
    let client = cloud.member("bucket").await;
    let created = ["ObjectCreated:*"];
    let of = |arn: &str| {
        let event = "<Event>s3:ObjectCreated:Put</Event>";
        format!("<TopicConfiguration><Topic>{arn}</Topic>{event}</TopicConfiguration>")
    };
    for arn in [
        "arn:aws:sns:regionone::nothing",
        "arn:aws:sns:regionone::others",
        "arn:aws:sns:elsewhere::hook",
        "arn:aws:sns:regionone:other:hook",
        "arn:aws:sqs:regionone::hook",
        "http://127.0.0.1/",
        "hook",
    ] {
        configure(&client, &of(arn)).await.refused(400, "InvalidArgument");
    }
    let queue = "<QueueConfiguration><Queue>arn:aws:sqs:regionone::hook</Queue><Event>s3:ObjectCreated:Put</Event></QueueConfiguration>";
    let twice = topic("hook", &created, "").repeat(2);
    let same_id =
        ["ObjectCreated:Put", "ObjectRemoved:Delete"].map(|event| topic("hook", &[event], "<Id>a</Id>"));
    for wrong in [
        queue,
        &topic("hook", &["ObjectRestore:Post"], ""),
        &topic("hook", &["Nonsense"], ""),
        &topic("hook", &created, &filter("middle", "x")),
        &topic("hook", &created, &filter("prefix", &"x".repeat(1025))),
        &twice,
        &same_id.concat(),
    ] {
        configure(&client, wrong).await.refused(400, "InvalidArgument");
    }
    configure(&client, "<EventBridgeConfiguration/>").await.refused(501, "NotImplemented");
    configure(&client, &topic("hook", &[], "")).await.refused(400, "MalformedXML");
    assert!(client.get("/bucket?notification").await.expect(200).elements("Topic").is_empty());
    configure(&client, &of("arn:aws:sns:regionone:mine:hook")).await.expect(200);
}
