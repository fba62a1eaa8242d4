//! Keys that a project manages, and objects that are encrypted under them.

use hanse_core::hex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use serde_json::{Value, json};

use crate::client::{Answer, Client, Request};
use crate::cloud::Cloud;
use crate::objects::bytes;

const MIB: usize = 1 << 20;
const DAY: Duration = Duration::from_secs(86_400);

fn action(cloud: &Cloud, name: &str, input: &Value) -> Request {
    let mut request = Request::new("POST", "/")
        .header("x-amz-target", &format!("TrentService.{name}"))
        .header("content-type", "application/x-amz-json-1.1")
        .body(input.to_string().as_bytes());
    request.time = Some(cloud.now());
    request
}

/// Asks the key manager.
async fn ask(cloud: &Cloud, access: &str, name: &str, input: Value) -> Answer {
    cloud.client(access).of_service("kms").send(action(cloud, name, &input)).await
}

async fn done(cloud: &Cloud, name: &str, input: Value) -> Value {
    let answer = ask(cloud, "member-mine", name, input).await.expect(200);
    if answer.body.is_empty() { Value::Null } else { serde_json::from_slice(&answer.body).unwrap() }
}

#[track_caller]
fn refused(answer: &Answer, status: u16, kind: &str) {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, body["__type"].as_str()), (status, Some(kind)), "{body}");
    assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()));
}

async fn key(cloud: &Cloud) -> String {
    let made = done(cloud, "CreateKey", json!({ "Description": "of a test" })).await;
    made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
}

fn under(request: Request, key: &str) -> Request {
    request
        .header("x-amz-server-side-encryption", "aws:kms")
        .header("x-amz-server-side-encryption-aws-kms-key-id", key)
}

#[tokio::test]
async fn a_project_makes_names_and_lists_its_keys() {
    let cloud = Cloud::start().await;
    let id = key(&cloud).await;
    let shown = done(&cloud, "DescribeKey", json!({ "KeyId": id })).await["KeyMetadata"].clone();
    assert_eq!((&shown["KeyState"], &shown["Description"]), (&json!("Enabled"), &json!("of a test")));
    let arn = shown["Arn"].as_str().unwrap().to_owned();
    assert!(arn.starts_with("arn:aws:kms:regionone:mine:key/"), "{arn}");
    let other = key(&cloud).await;
    done(&cloud, "CreateAlias", json!({ "AliasName": "alias/one", "TargetKeyId": arn })).await;
    done(&cloud, "UpdateKeyDescription", json!({ "KeyId": "alias/one", "Description": "changed" })).await;
    let by_name = done(&cloud, "DescribeKey", json!({ "KeyId": "alias/one" })).await;
    assert_eq!(by_name["KeyMetadata"]["Description"], "changed");
    done(&cloud, "UpdateAlias", json!({ "AliasName": "alias/one", "TargetKeyId": other })).await;
    let aliases = done(&cloud, "ListAliases", json!({ "KeyId": other })).await;
    assert_eq!(aliases["Aliases"][0]["AliasName"], "alias/one");
    assert_eq!(done(&cloud, "ListAliases", json!({ "KeyId": id })).await["Aliases"], json!([]));
    let first = done(&cloud, "ListKeys", json!({ "Limit": 1 })).await;
    assert_eq!(first["Truncated"], true);
    let second = done(&cloud, "ListKeys", json!({ "Limit": 1, "Marker": first["NextMarker"] })).await;
    assert_eq!(second["Truncated"], false);
    let mut both = [&first, &second].map(|page| page["Keys"][0]["KeyId"].as_str().unwrap().to_owned());
    let mut expected = [id.clone(), other];
    both.sort();
    expected.sort();
    assert_eq!(both, expected);
    done(&cloud, "DeleteAlias", json!({ "AliasName": "alias/one" })).await;
    for (name, input, kind) in [
        ("DescribeKey", json!({ "KeyId": "alias/one" }), "NotFoundException"),
        ("DescribeKey", json!({ "KeyId": "arn:aws:kms:regionone:other:key/x" }), "NotFoundException"),
        ("DescribeKey", json!({}), "ValidationException"),
        ("CreateKey", json!({ "KeySpec": "RSA_2048" }), "UnsupportedOperationException"),
        ("CreateKey", json!({ "Policy": "{}" }), "ValidationException"),
        ("CreateAlias", json!({ "AliasName": "one", "TargetKeyId": id }), "ValidationException"),
        ("CreateAlias", json!({ "AliasName": "alias/aws/x", "TargetKeyId": id }), "NotAuthorizedException"),
        ("ListKeys", json!({ "Limit": 0 }), "ValidationException"),
        ("ScheduleKeyDeletion", json!({ "KeyId": id, "PendingWindowInDays": 1 }), "ValidationException"),
        ("CancelKeyDeletion", json!({ "KeyId": id }), "KMSInvalidStateException"),
    ] {
        refused(&ask(&cloud, "member-mine", name, input).await, 400, kind);
    }
    refused(&ask(&cloud, "member-mine", "Encrypt", json!({})).await, 501, "UnsupportedOperationException");
}

#[tokio::test]
async fn who_may_not_is_refused() {
    let cloud = Cloud::start().await;
    let id = key(&cloud).await;
    let one = json!({ "KeyId": id });
    refused(&ask(&cloud, "reader-mine", "CreateKey", json!({})).await, 400, "AccessDeniedException");
    refused(&ask(&cloud, "reader-mine", "DisableKey", one.clone()).await, 400, "AccessDeniedException");
    assert_eq!(ask(&cloud, "reader-mine", "DescribeKey", one.clone()).await.status, 200);
    refused(&ask(&cloud, "member-other", "DescribeKey", one.clone()).await, 400, "NotFoundException");
    refused(&ask(&cloud, "nobody", "DescribeKey", one.clone()).await, 403, "UnrecognizedClientException");
    // Signed for S3, unsigned, with another body, and an hour ago.
    let request = action(&cloud, "DescribeKey", &one);
    let member = cloud.client("member-mine");
    refused(&member.send(request.clone()).await, 403, "IncompleteSignatureException");
    let member = member.of_service("kms");
    refused(&member.send_presigned(&request, "").await, 403, "MissingAuthenticationTokenException");
    let mut old = request.clone();
    old.time = old.time.map(|time| hanse_core::Timestamp(time.0 - 3_600_000_000));
    refused(&member.send(old).await, 403, "InvalidSignatureException");
    let forger = Client::new(cloud.address, "member-mine", "another secret").of_service("kms");
    refused(&forger.send(request.clone()).await, 403, "InvalidSignatureException");
    let headers = member.sign(&request);
    let forged = request.body(br#"{"KeyId":"another"}"#);
    refused(&member.raw(&forged, "", &headers).await, 403, "InvalidSignatureException");
}

#[tokio::test]
async fn an_object_lives_and_dies_with_its_key() {
    let cloud = Cloud::start().await;
    let client = cloud.member("kms").await;
    let (id, body) = (key(&cloud).await, bytes(200_000));
    done(&cloud, "CreateAlias", json!({ "AliasName": "alias/one", "TargetKeyId": id })).await;
    let put = client.send(under(Request::new("PUT", "/kms/key"), "alias/one").body(&body)).await.expect(200);
    let arn = format!("arn:aws:kms:regionone:mine:key/{id}");
    assert_eq!(put.header("x-amz-server-side-encryption"), "aws:kms");
    assert_eq!(put.header("x-amz-server-side-encryption-aws-kms-key-id"), arn);
    let md5 = hex(Md5::digest(&body));
    assert!(!put.header("etag").contains(&md5), "lists show it to everybody");
    let got = client.get("/kms/key").await.expect(200);
    assert_eq!(got.header("x-amz-server-side-encryption-aws-kms-key-id"), arn);
    assert!(got.body == body);
    done(&cloud, "DisableKey", json!({ "KeyId": id })).await;
    client.get("/kms/key").await.refused(400, "KMS.DisabledException");
    client.send(under(Request::new("PUT", "/kms/b"), &id)).await.refused(400, "KMS.DisabledException");
    assert_eq!(client.send(Request::new("HEAD", "/kms/key")).await.status, 200, "it is there all the same");
    done(&cloud, "EnableKey", json!({ "KeyId": id })).await;
    client.get("/kms/key").await.expect(200);
    done(&cloud, "ScheduleKeyDeletion", json!({ "KeyId": id, "PendingWindowInDays": 7 })).await;
    client.get("/kms/key").await.refused(400, "KMS.KMSInvalidStateException");
    let cancelled = done(&cloud, "CancelKeyDeletion", json!({ "KeyId": id })).await;
    assert_eq!(cancelled["KeyId"], arn);
    client.get("/kms/key").await.refused(400, "KMS.DisabledException");
    done(&cloud, "ScheduleKeyDeletion", json!({ "KeyId": id, "PendingWindowInDays": 7 })).await;
    cloud.clock.advance(DAY * 6);
    assert_eq!(cloud.service.expire().await.unwrap(), 0);
    cloud.clock.advance(DAY * 2);
    client.get("/kms/key").await.refused(400, "KMS.NotFoundException");
    assert_eq!(cloud.service.expire().await.unwrap(), 1);
    client.get("/kms/key").await.refused(400, "KMS.NotFoundException");
    refused(
        &ask(&cloud, "member-mine", "DescribeKey", json!({ "KeyId": "alias/one" })).await,
        400,
        "NotFoundException",
    );
    assert_eq!(done(&cloud, "ListAliases", json!({})).await["Aliases"], json!([]), "its names went with it");
    client.send(Request::new("DELETE", "/kms/key")).await.expect(204);
}

#[tokio::test]
async fn a_bucket_has_a_default_that_writes_may_change() {
    let cloud = Cloud::start().await;
    let client = cloud.member("kms").await;
    let configuration = |key: &str| {
        format!(
            "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>\
             {key}</ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled></Rule>\
             </ServerSideEncryptionConfiguration>"
        )
    };
    let set = |key: &str| Request::new("PUT", "/kms?encryption").body(configuration(key).as_bytes());
    client.send(set("<KMSMasterKeyID>none</KMSMasterKeyID>")).await.refused(400, "KMS.NotFoundException");
    client.send(set("")).await.expect(200);
    let shown = client.send(Request::new("GET", "/kms?encryption")).await.expect(200);
    assert_eq!(
        (shown.element("SSEAlgorithm"), shown.element("BucketKeyEnabled")),
        ("aws:kms".into(), "true".into())
    );
    let put = client.put("/kms/default", b"bytes").await.expect(200);
    let arn = put.header("x-amz-server-side-encryption-aws-kms-key-id").to_owned();
    assert_eq!(put.header("x-amz-server-side-encryption-bucket-key-enabled"), "true");
    let default =
        done(&cloud, "DescribeKey", json!({ "KeyId": "alias/aws/s3" })).await["KeyMetadata"].clone();
    assert_eq!((&default["Arn"], &default["KeyManager"]), (&json!(arn), &json!("AWS")));
    for (name, input) in [
        ("DisableKey", json!({ "KeyId": "alias/aws/s3" })),
        ("ScheduleKeyDeletion", json!({ "KeyId": "alias/aws/s3" })),
    ] {
        refused(&ask(&cloud, "member-mine", name, input).await, 400, "UnsupportedOperationException");
    }
    let plain = Request::new("PUT", "/kms/plain").header("x-amz-server-side-encryption", "AES256");
    let plain = client.send(plain.body(b"bytes")).await.expect(200);
    assert_eq!(plain.header("x-amz-server-side-encryption"), "AES256");
    // A copy has what its target says, and not what its source has.
    let copy = |target: &str, source: &str| Request::new("PUT", target).header("x-amz-copy-source", source);
    let copied = client.send(copy("/kms/copy", "kms/plain")).await.expect(200);
    assert_eq!(copied.header("x-amz-server-side-encryption-aws-kms-key-id"), arn);
    assert_eq!(client.get("/kms/copy").await.expect(200).body, b"bytes");
    let id = key(&cloud).await;
    client.send(under(copy("/kms/copy", "kms/copy"), &id)).await.expect(200);
    assert_eq!(client.get("/kms/copy").await.expect(200).body, b"bytes");
    done(&cloud, "DisableKey", json!({ "KeyId": id })).await;
    client.send(copy("/kms/other", "kms/copy")).await.refused(400, "KMS.DisabledException");
    let swift = cloud.swift("member-mine");
    assert_eq!(swift.get("/kms/default").await.status, 400, "Swift knows no such keys");
    assert_eq!(swift.put("/kms/swift", b"x").await.status, 501);
    client.send(Request::new("DELETE", "/kms?encryption")).await.expect(204);
    let put = client.put("/kms/default", b"bytes").await.expect(200);
    assert_eq!(put.header("x-amz-server-side-encryption"), "AES256");
}

#[tokio::test]
async fn uploads_in_parts_have_the_key_that_they_began_with() {
    let cloud = Cloud::start().await;
    let client = cloud.member("kms").await;
    let (id, one, two) = (key(&cloud).await, bytes(5 * MIB), bytes(6 * MIB));
    client.send(under(Request::new("PUT", "/kms/source"), &id).body(&two)).await.expect(200);
    let context = BASE64.encode(r#"{"department":"7"}"#);
    let begin = under(Request::new("POST", "/kms/key?uploads"), &id)
        .header("x-amz-server-side-encryption-context", &context);
    let begun = client.send(begin).await.expect(200);
    assert_eq!(begun.header("x-amz-server-side-encryption-context"), context);
    let upload = begun.element("UploadId");
    let part = |number: i32| Request::new("PUT", &format!("/kms/key?partNumber={number}&uploadId={upload}"));
    let first = client.send(part(1).body(&one)).await.expect(200);
    assert_eq!(first.header("x-amz-server-side-encryption"), "aws:kms");
    let second = client.send(part(2).header("x-amz-copy-source", "kms/source")).await.expect(200);
    let list: String = [(1, first.header("etag").to_owned()), (2, second.element("ETag"))]
        .iter()
        .map(|(number, tag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"))
        .collect();
    let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    let complete = Request::new("POST", &format!("/kms/key?uploadId={upload}")).body(list.as_bytes());
    let completed = client.send(complete).await.expect(200);
    assert!(completed.header("x-amz-server-side-encryption-aws-kms-key-id").ends_with(&id));
    assert!(client.get("/kms/key").await.expect(200).body == [one, two].concat());
}

#[tokio::test]
async fn what_asks_for_half_a_key_is_refused_and_so_are_strangers() {
    let cloud = Cloud::start().await;
    let client = cloud.member("kms").await;
    let id = key(&cloud).await;
    let theirs = ask(&cloud, "member-other", "CreateKey", json!({})).await.expect(200);
    let theirs: Value = serde_json::from_slice(&theirs.body).unwrap();
    let put = || Request::new("PUT", "/kms/key").body(b"x");
    let context = "x-amz-server-side-encryption-context";
    for (request, code) in [
        (under(put(), "no such key"), "KMS.NotFoundException"),
        (under(put(), theirs["KeyMetadata"]["Arn"].as_str().unwrap()), "KMS.NotFoundException"),
        (put().header("x-amz-server-side-encryption-aws-kms-key-id", &id), "InvalidArgument"),
        (put().header(context, &BASE64.encode("{}")), "InvalidArgument"),
        (under(put(), &id).header(context, &BASE64.encode("[1]")), "InvalidArgument"),
        (under(put(), &id).header(context, "not base64"), "InvalidArgument"),
    ] {
        client.send(request).await.refused(400, code);
    }
    client.send(under(put(), &id)).await.expect(200);
    // A policy opens the bucket, and not what is under a key of the project.
    client.put("/kms/open", b"x").await.expect(200);
    let block = Request::new("DELETE", "/kms?publicAccessBlock");
    client.send(block).await.expect(204);
    let policy = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::kms/*"
    }]});
    client.send(Request::new("PUT", "/kms?policy").body(policy.to_string().as_bytes())).await.expect(204);
    let stranger = cloud.client("member-other");
    stranger.get("/kms/open").await.expect(200);
    stranger.get("/kms/key").await.refused(403, "AccessDenied");
    stranger.send(under(Request::new("PUT", "/kms/new"), &id)).await.refused(403, "AccessDenied");
    assert_eq!(client.send_presigned(&Request::new("GET", "/kms/key"), "").await.status, 403);
}
