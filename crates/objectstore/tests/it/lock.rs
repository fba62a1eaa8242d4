//! Object lock.

use std::time::Duration;

use crate::client::{Answer, Client, Request};
use crate::cloud::Cloud;

const DAY: Duration = Duration::from_secs(86_400);

/// A bucket with locks.
async fn locks(cloud: &Cloud) -> Client {
    let client = cloud.client("member-mine");
    client
        .send(Request::new("PUT", "/locks").header("x-amz-bucket-object-lock-enabled", "true"))
        .await
        .expect(200);
    client
}

fn in_days(cloud: &Cloud, days: u32) -> String {
    use hanse_core::Clock as _;
    cloud.clock.now().plus(days * DAY).iso_seconds()
}

fn put(cloud: &Cloud, mode: &str, days: u32) -> Request {
    Request::new("PUT", "/locks/key")
        .body(b"kept")
        .header("x-amz-object-lock-mode", mode)
        .header("x-amz-object-lock-retain-until-date", &in_days(cloud, days))
}

async fn delete(client: &Client, version: &str, bypasses: bool) -> Answer {
    let request = Request::new("DELETE", &format!("/locks/key?versionId={version}"));
    let bypass = ("x-amz-bypass-governance-retention", "true");
    client.send(if bypasses { request.header(bypass.0, bypass.1) } else { request }).await
}

fn retention(mode: &str, until: &str) -> Vec<u8> {
    format!("<Retention><Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>")
        .into_bytes()
}

#[tokio::test]
async fn what_is_kept_in_compliance_mode_nobody_deletes_before_its_day() {
    let cloud = Cloud::start().await;
    let client = locks(&cloud).await;
    let version =
        client.send(put(&cloud, "COMPLIANCE", 3)).await.expect(200).header("x-amz-version-id").to_owned();
    let shown = client.head("/locks/key").await.expect(200);
    assert_eq!(shown.header("x-amz-object-lock-mode"), "COMPLIANCE");
    let target = format!("/locks/key?retention&versionId={version}");
    for who in ["member-mine", "manager-mine"] {
        for bypasses in [false, true] {
            delete(&cloud.client(who), &version, bypasses).await.refused(403, "AccessDenied");
        }
        let client = cloud.client(who);
        client.put(&target, &retention("COMPLIANCE", &in_days(&cloud, 2))).await.refused(403, "AccessDenied");
        client.put(&target, &retention("GOVERNANCE", &in_days(&cloud, 9))).await.refused(403, "AccessDenied");
        client.put(&target, b"<Retention/>").await.refused(403, "AccessDenied");
    }
    // A delete marker hides it, and a new version takes its place: it stays beneath.
    client.delete("/locks/key").await.expect(204);
    client.put("/locks/key", b"new").await.expect(200);
    assert_eq!(client.get(&format!("/locks/key?versionId={version}")).await.expect(200).body, b"kept");
    let body = format!("<Delete><Object><Key>key</Key><VersionId>{version}</VersionId></Object></Delete>");
    assert_eq!(
        client.post("/locks?delete", body.as_bytes()).await.expect(200).elements("Code"),
        ["AccessDenied"]
    );
    client.delete("/locks").await.refused(409, "BucketNotEmpty");
    client.put(&target, &retention("COMPLIANCE", &in_days(&cloud, 5))).await.expect(200);
    cloud.clock.advance(4 * DAY);
    delete(&client, &version, false).await.refused(403, "AccessDenied");
    cloud.clock.advance(2 * DAY);
    delete(&client, &version, false).await.expect(204);
    client.get(&format!("/locks/key?versionId={version}")).await.refused(404, "NoSuchVersion");
}

#[tokio::test]
async fn governance_mode_gives_way_to_who_has_the_right_and_says_so() {
    let cloud = Cloud::start().await;
    let (client, manager) = (locks(&cloud).await, cloud.client("manager-mine"));
    let version =
        client.send(put(&cloud, "GOVERNANCE", 3)).await.expect(200).header("x-amz-version-id").to_owned();
    delete(&client, &version, true).await.refused(403, "AccessDenied");
    delete(&manager, &version, false).await.refused(403, "AccessDenied");
    let shorter = Request::new("PUT", &format!("/locks/key?retention&versionId={version}"))
        .body(&retention("GOVERNANCE", &in_days(&cloud, 1)));
    manager.send(shorter.clone()).await.refused(403, "AccessDenied");
    manager.send(shorter.header("x-amz-bypass-governance-retention", "true")).await.expect(200);
    delete(&manager, &version, true).await.expect(204);
}

#[tokio::test]
async fn a_legal_hold_holds_until_it_is_taken_away() {
    let cloud = Cloud::start().await;
    let client = locks(&cloud).await;
    let request = Request::new("PUT", "/locks/key").header("x-amz-object-lock-legal-hold", "ON");
    let version = client.send(request).await.expect(200).header("x-amz-version-id").to_owned();
    assert_eq!(client.get("/locks/key?legal-hold").await.expect(200).element("Status"), "ON");
    assert_eq!(client.head("/locks/key").await.header("x-amz-object-lock-legal-hold"), "ON");
    cloud.clock.advance(10_000 * DAY);
    delete(&cloud.client("manager-mine"), &version, true).await.refused(403, "AccessDenied");
    client.put("/locks/key?legal-hold", b"<LegalHold><Status>OFF</Status></LegalHold>").await.expect(200);
    delete(&client, &version, false).await.expect(204);
}

#[tokio::test]
async fn a_bucket_may_lock_all_that_comes() {
    let cloud = Cloud::start().await;
    let client = locks(&cloud).await;
    assert_eq!(client.get("/locks?object-lock").await.expect(200).element("ObjectLockEnabled"), "Enabled");
    client.put("/locks/before", b"x").await.expect(200);
    let rule =
        b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
<Mode>COMPLIANCE</Mode><Days>2</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
    client.put("/locks?object-lock", rule).await.expect(200);
    assert_eq!(client.get("/locks?object-lock").await.expect(200).element("Days"), "2");
    let version = client.put("/locks/key", b"x").await.expect(200).header("x-amz-version-id").to_owned();
    client.get("/locks/before?retention").await.refused(404, "NoSuchObjectLockConfiguration");
    assert_eq!(client.get("/locks/key?retention").await.expect(200).element("Mode"), "COMPLIANCE");
    delete(&client, &version, false).await.refused(403, "AccessDenied");
    let copy = Request::new("PUT", "/locks/copy").header("x-amz-copy-source", "locks/before");
    client.send(copy).await.expect(200);
    client.get("/locks/copy?retention").await.expect(200);
    let id = client.post("/locks/parts?uploads", b"").await.expect(200).element("UploadId");
    let tag = client
        .put(&format!("/locks/parts?partNumber=1&uploadId={id}"), b"x")
        .await
        .expect(200)
        .header("etag")
        .to_owned();
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part></CompleteMultipartUpload>"
    );
    client.post(&format!("/locks/parts?uploadId={id}"), list.as_bytes()).await.expect(200);
    client.get("/locks/parts?retention").await.expect(200);
    let suspend = b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
    client.put("/locks?versioning", suspend).await.refused(409, "InvalidBucketState");
}

#[tokio::test]
async fn locks_that_cannot_be_are_refused() {
    let cloud = Cloud::start().await;
    let client = locks(&cloud).await;
    client.put("/plain", b"").await.expect(200);
    let mut plain = put(&cloud, "COMPLIANCE", 3);
    plain.path = "/plain/key".to_owned();
    client.send(plain).await.refused(400, "InvalidRequest");
    client.get("/plain?object-lock").await.refused(404, "ObjectLockConfigurationNotFoundError");
    let enabled =
        b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
    client.put("/plain?object-lock", enabled).await.refused(409, "InvalidBucketState");
    client.put("/plain/key", b"x").await.expect(200);
    client
        .put("/plain/key?retention", &retention("COMPLIANCE", &in_days(&cloud, 1)))
        .await
        .refused(400, "InvalidRequest");
    client.get("/plain/key?legal-hold").await.refused(400, "InvalidRequest");
    client.send(put(&cloud, "FOREVER", 3)).await.refused(400, "MalformedXML");
    let half = Request::new("PUT", "/locks/key").header("x-amz-object-lock-mode", "COMPLIANCE");
    client.send(half).await.refused(400, "InvalidArgument");
    let past = Request::new("PUT", "/locks/key")
        .header("x-amz-object-lock-mode", "COMPLIANCE")
        .header("x-amz-object-lock-retain-until-date", "2020-01-01T00:00:00Z");
    client.send(past).await.refused(400, "InvalidArgument");
    for wrong in ["<Days>0</Days>", "<Days>1</Days><Years>1</Years>", "", "<Years>101</Years>"] {
        let rule = format!(
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode>{wrong}</DefaultRetention></Rule></ObjectLockConfiguration>"
        );
        assert_eq!(client.put("/locks?object-lock", rule.as_bytes()).await.status, 400, "{wrong}");
    }
    client.get("/locks/key").await.refused(404, "NoSuchKey");
}
