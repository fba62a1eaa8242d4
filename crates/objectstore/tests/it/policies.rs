//! Policies of buckets.

use hanse_core::Cx;

use crate::client::{Answer, Client, Request};
use crate::cloud::Cloud;

const GUESTS: &str = "ffffffffffffffffffffffffffffffff";
const ADA: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const BOB: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A bucket `shared` with a few objects, and two guests: a member, and one who may only read at home.
async fn shared() -> (Cloud, Client) {
    let cloud = Cloud::start().await;
    cloud.keys.give_to("ada", ADA, &["member", "reader"], GUESTS);
    cloud.keys.give_to("bob", BOB, &["reader"], GUESTS);
    let owner = cloud.member("shared").await;
    owner.put("/shared/open/a", b"a").await.expect(200);
    owner.put("/shared/closed/b", b"b").await.expect(200);
    (cloud, owner)
}

/// Puts a policy of these statements; `P` stands for the resource of all objects.
async fn policy(owner: &Client, statements: &[&str]) {
    put(owner, statements).await.expect(204);
}

async fn put(owner: &Client, statements: &[&str]) -> Answer {
    let text = format!("{{\"Version\":\"2012-10-17\",\"Statement\":[{}]}}", statements.join(","));
    owner.put("/shared?policy", text.as_bytes()).await
}

fn statement(effect: &str, principal: &str, actions: &str, resource: &str, condition: &str) -> String {
    let principal =
        if principal == "*" { "\"*\"".to_owned() } else { format!("{{\"AWS\":\"{principal}\"}}") };
    let condition = if condition.is_empty() { String::new() } else { format!(",\"Condition\":{condition}") };
    format!(
        "{{\"Effect\":\"{effect}\",\"Principal\":{principal},\"Action\":{actions},\"Resource\":\"arn:aws:s3:::shared{resource}\"{condition}}}"
    )
}

async fn open_to_the_public(owner: &Client) {
    owner.delete("/shared?publicAccessBlock").await.expect(204);
}

#[tokio::test]
async fn a_policy_lets_in_whom_it_names_as_far_as_it_says() {
    let (cloud, owner) = shared().await;
    let (ada, bob) = (cloud.client("ada"), cloud.client("bob"));
    ada.get("/shared/open/a").await.refused(403, "AccessDenied");
    let user = format!("arn:aws:iam::{GUESTS}:user/{ADA}");
    policy(
        &owner,
        &[
            &statement("Allow", GUESTS, "\"s3:GetObject\"", "/open/*", ""),
            &statement("Allow", &user, "[\"s3:PutObject\",\"s3:DeleteObject\"]", "/open/*", ""),
        ],
    )
    .await;
    for guest in [&ada, &bob] {
        assert_eq!(guest.get("/shared/open/a").await.expect(200).body, b"a");
        guest.get("/shared/closed/b").await.refused(403, "AccessDenied");
        guest.get("/shared").await.refused(403, "AccessDenied");
        // Whoever may not list does not learn what there is.
        guest.get("/shared/open/nothing").await.refused(403, "AccessDenied");
        guest.get("/shared/open/a?tagging").await.refused(403, "AccessDenied");
        for (method, target) in
            [("GET", "/shared?policy"), ("DELETE", "/shared?policy"), ("DELETE", "/shared")]
        {
            guest.send(Request::new(method, target)).await.refused(403, "AccessDenied");
        }
    }
    ada.put("/shared/open/c", b"of ada").await.expect(200);
    ada.put("/shared/closed/c", b"of ada").await.refused(403, "AccessDenied");
    bob.put("/shared/open/d", b"x").await.refused(403, "AccessDenied");
    // What a guest writes is the owner's, in every way.
    assert_eq!(owner.get("/shared/open/c").await.expect(200).body, b"of ada");
    assert!(owner.get("/shared?list-type=2&fetch-owner=true").await.text().contains("<ID>mine</ID>"));
    ada.delete("/shared/open/c").await.expect(204);
    let tagged = Request::new("PUT", "/shared/open/e").header("x-amz-tagging", "a=b");
    ada.send(tagged).await.refused(403, "AccessDenied");
    cloud.client("member-other").get("/shared/open/a").await.refused(403, "AccessDenied");
    owner.delete("/shared?policy").await.expect(204);
    ada.get("/shared/open/a").await.refused(403, "AccessDenied");
}

/// As across accounts in S3: the other side has to agree.
#[tokio::test]
async fn from_another_project_a_role_is_needed_too() {
    let (cloud, owner) = shared().await;
    policy(&owner, &[&statement("Allow", GUESTS, "\"s3:*\"", "/*", "")]).await;
    cloud.client("ada").put("/shared/new", b"x").await.expect(200);
    cloud.client("bob").get("/shared/new").await.expect(200);
    cloud.client("bob").put("/shared/new", b"x").await.refused(403, "AccessDenied");
    cloud.keys.give_to("eve", BOB, &["other"], GUESTS);
    cloud.client("eve").get("/shared/new").await.refused(403, "AccessDenied");
}

#[tokio::test]
async fn a_denial_beats_every_permission_and_every_role() {
    let (cloud, owner) = shared().await;
    policy(
        &owner,
        &[
            &statement("Allow", GUESTS, "\"s3:GetObject\"", "/*", ""),
            &statement("Deny", "*", "\"s3:*\"", "/closed/*", ""),
        ],
    )
    .await;
    cloud.client("ada").get("/shared/open/a").await.expect(200);
    for client in [&owner, &cloud.client("ada"), &cloud.client("manager-mine")] {
        client.get("/shared/closed/b").await.refused(403, "AccessDenied");
    }
    let copy = Request::new("PUT", "/shared/open/copy").header("x-amz-copy-source", "shared/closed/b");
    owner.send(copy).await.refused(403, "AccessDenied");
    let body = b"<Delete><Object><Key>closed/b</Key></Object><Object><Key>open/a</Key></Object></Delete>";
    let deleted = owner.post("/shared?delete", body).await.expect(200);
    assert_eq!(
        (deleted.elements("Code"), deleted.elements("Key").len()),
        (vec!["AccessDenied".to_owned()], 2)
    );
    let form = owner.form("shared", &[("key", "closed/form")], b"x").await;
    form.refused(403, "AccessDenied");
    // Nobody locks themselves out for good.
    policy(
        &owner,
        &[&format!(
            "{},{}",
            statement("Deny", "*", "\"s3:*\"", "", ""),
            statement("Deny", "*", "\"s3:*\"", "/*", "")
        )],
    )
    .await;
    owner.get("/shared").await.refused(403, "AccessDenied");
    assert!(owner.get("/shared?policy").await.expect(200).text().contains("Deny"));
    owner.delete("/shared?policy").await.expect(204);
    assert_eq!(owner.get("/shared/closed/b").await.expect(200).body, b"b");
}

#[tokio::test]
async fn the_public_gets_in_only_where_the_block_was_taken_away() {
    let (cloud, owner) = shared().await;
    let nobody = async |method: &str, target: &str| {
        let query = target.split_once('?').map_or("", |(_, query)| query);
        owner.send_presigned(&Request::new(method, target), query).await
    };
    let public = [statement("Allow", "*", "\"s3:GetObject\"", "/open/*", "")];
    let public: Vec<&str> = public.iter().map(String::as_str).collect();
    put(&owner, &public).await.refused(403, "AccessDenied");
    let blocked = owner.get("/shared?publicAccessBlock").await.expect(200);
    assert_eq!(blocked.element("BlockPublicPolicy"), "true");
    let block = |policy: bool, restrict: bool| {
        let text = format!(
            "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls>\
<BlockPublicPolicy>{policy}</BlockPublicPolicy><RestrictPublicBuckets>{restrict}</RestrictPublicBuckets></PublicAccessBlockConfiguration>"
        );
        let owner = owner.clone();
        async move { owner.put("/shared?publicAccessBlock", text.as_bytes()).await.expect(200) }
    };
    block(false, true).await;
    policy(&owner, &public).await;
    assert_eq!(owner.get("/shared?policyStatus").await.expect(200).element("IsPublic"), "true");
    nobody("GET", "/shared/open/a").await.refused(403, "AccessDenied");
    cloud.client("ada").get("/shared/open/a").await.refused(403, "AccessDenied");
    owner.get("/shared/open/a").await.expect(200);
    block(false, false).await;
    assert_eq!(nobody("GET", "/shared/open/a").await.expect(200).body, b"a");
    cloud.client("ada").get("/shared/open/a").await.expect(200);
    nobody("GET", "/shared/open/nothing").await.refused(403, "AccessDenied");
    for (method, target) in [
        ("GET", "/shared/closed/b"),
        ("GET", "/shared"),
        ("PUT", "/shared/open/a"),
        ("DELETE", "/shared/open/a"),
        ("GET", "/shared?policy"),
        ("GET", "/shared/open/a?acl"),
        ("GET", "/"),
    ] {
        nobody(method, target).await.refused(403, "AccessDenied");
    }
    open_to_the_public(&owner).await;
    owner.get("/shared?publicAccessBlock").await.refused(404, "NoSuchPublicAccessBlockConfiguration");
    nobody("GET", "/shared/open/a").await.expect(200);
}

#[tokio::test]
async fn conditions_are_about_the_request_and_the_object() {
    let (cloud, owner) = shared().await;
    let ada = cloud.client("ada");
    let allow = |actions: &str, resource: &str, condition: &str| {
        statement("Allow", GUESTS, actions, resource, condition)
    };
    owner
        .send(Request::new("PUT", "/shared/tagged").header("x-amz-tagging", "open=yes").body(b"t"))
        .await
        .expect(200);
    let secure =
        statement("Deny", "*", "\"s3:DeleteObject\"", "/*", "{\"Bool\":{\"aws:SecureTransport\":\"false\"}}");
    policy(
        &owner,
        &[
            &allow("\"s3:ListBucket\"", "", "{\"StringLike\":{\"s3:prefix\":\"open/*\"}}"),
            &allow("\"s3:GetObject\"", "/*", "{\"StringEquals\":{\"s3:ExistingObjectTag/open\":\"yes\"}}"),
            &allow(
                "[\"s3:PutObject\",\"s3:PutObjectTagging\"]",
                "/new/*",
                "{\"StringEquals\":{\"s3:RequestObjectTag/a\":\"b\"}}",
            ),
            &allow("\"s3:GetObjectTagging\"", "/*", "{\"IpAddress\":{\"aws:SourceIp\":\"127.0.0.0/8\"}}"),
            &allow("\"s3:GetObjectAcl\"", "/*", "{\"NotIpAddress\":{\"aws:SourceIp\":\"127.0.0.0/8\"}}"),
            &secure,
        ],
    )
    .await;
    ada.get("/shared?prefix=open/x").await.expect(200);
    ada.get("/shared?list-type=2&prefix=closed/").await.refused(403, "AccessDenied");
    ada.get("/shared").await.refused(403, "AccessDenied");
    ada.get("/shared/tagged").await.expect(200);
    ada.get("/shared/open/a").await.refused(403, "AccessDenied");
    ada.put("/shared/new/a", b"x").await.refused(403, "AccessDenied");
    let tagged = |tags: &str| Request::new("PUT", "/shared/new/a").header("x-amz-tagging", tags);
    ada.send(tagged("a=c")).await.refused(403, "AccessDenied");
    ada.send(tagged("a=b")).await.expect(200);
    let tags = |value: &str| {
        format!("<Tagging><TagSet><Tag><Key>a</Key><Value>{value}</Value></Tag></TagSet></Tagging>")
            .into_bytes()
    };
    ada.put("/shared/new/a?tagging", &tags("b")).await.expect(200);
    ada.put("/shared/new/a?tagging", &tags("c")).await.refused(403, "AccessDenied");
    ada.get("/shared/open/a?tagging").await.expect(200);
    ada.get("/shared/open/a?acl").await.refused(403, "AccessDenied");
    owner.delete("/shared/open/a").await.refused(403, "AccessDenied");
    owner.get("/shared/open/a").await.expect(200);
}

#[tokio::test]
async fn copies_go_between_projects_where_both_sides_agree() {
    let (cloud, owner) = shared().await;
    let ada = cloud.client("ada");
    ada.put("/guests", b"").await.expect(200);
    let copy = Request::new("PUT", "/guests/copy").header("x-amz-copy-source", "shared/open/a");
    ada.send(copy.clone()).await.refused(403, "AccessDenied");
    policy(&owner, &[&statement("Allow", GUESTS, "\"s3:GetObject\"", "/open/*", "")]).await;
    ada.send(copy).await.expect(200);
    // Whoever may not list does not learn what there is, by copying either.
    let nothing = Request::new("PUT", "/guests/nothing").header("x-amz-copy-source", "shared/open/nothing");
    ada.send(nothing).await.refused(403, "AccessDenied");
    let id = ada.post("/guests/parts?uploads", b"").await.expect(200).element("UploadId");
    let nothing = Request::new("PUT", &format!("/guests/parts?partNumber=1&uploadId={id}"));
    ada.send(nothing.header("x-amz-copy-source", "shared/open/nothing")).await.refused(403, "AccessDenied");
    let part = Request::new("PUT", &format!("/guests/parts?partNumber=1&uploadId={id}"));
    ada.send(part.clone().header("x-amz-copy-source", "shared/open/a")).await.expect(200);
    ada.send(part.header("x-amz-copy-source", "shared/closed/b")).await.refused(403, "AccessDenied");
    // It is theirs: it stays when the source goes, and nobody there reads it.
    owner.delete("/shared/open/a").await.expect(204);
    assert_eq!(ada.get("/guests/copy").await.expect(200).body, b"a");
    owner.get("/guests/copy").await.refused(403, "AccessDenied");
    let cloud = cloud.restarted().await;
    cloud.keys.give_to("ada", ADA, &["member", "reader"], GUESTS);
    assert_eq!(cloud.client("ada").get("/guests/copy").await.expect(200).body, b"a");
}

#[tokio::test]
async fn what_is_no_policy_is_refused_and_the_old_one_stays() {
    let (_cloud, owner) = shared().await;
    owner.get("/shared?policy").await.refused(404, "NoSuchBucketPolicy");
    let fine = statement("Allow", GUESTS, "\"s3:GetObject\"", "/*", "");
    policy(&owner, &[&fine]).await;
    let before = owner.get("/shared?policy").await.expect(200).body;
    for wrong in [
        "{}",
        "[]",
        "not json",
        &statement("Allow", GUESTS, "\"s3:GetObject\"", "/*", ""),
        &format!(
            "{{\"Version\":\"2012-10-17\",\"Statement\":[{}]}}",
            statement("Allow", "nobody", "\"s3:GetObject\"", "/*", "")
        ),
        &format!(
            "{{\"Version\":\"2012-10-17\",\"Statement\":[{}]}}",
            statement("Allow", GUESTS, "\"s3:Fly\"", "/*", "")
        ),
    ] {
        owner.put("/shared?policy", wrong.as_bytes()).await.refused(400, "MalformedPolicy");
    }
    assert_eq!(owner.get("/shared?policy").await.expect(200).body, before);
    assert_eq!(owner.get("/shared?policyStatus").await.expect(200).element("IsPublic"), "false");
}

/// A presigned request is the one who signed it, and a link that is too old is none.
#[tokio::test]
async fn a_policy_may_limit_how_old_a_signature_is() {
    let (_cloud, owner) = shared().await;
    let old = statement(
        "Deny",
        "*",
        "\"s3:GetObject\"",
        "/*",
        "{\"NumericGreaterThan\":{\"s3:signatureAge\":\"60000\"}}",
    );
    policy(&owner, &[&old]).await;
    let mut request = Request::new("GET", "/shared/open/a");
    owner.send_presigned(&request, &owner.presign(&request, 600)).await.expect(200);
    request.time = Some(hanse_core::Timestamp(Cx::system().now().0 - 120_000_000));
    owner.send_presigned(&request, &owner.presign(&request, 600)).await.refused(403, "AccessDenied");
}
