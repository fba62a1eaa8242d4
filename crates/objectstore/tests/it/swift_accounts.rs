//! What Swift says of accounts: how much they may hold, and lists in all directions.

use hanse_objectstore::ports::Quota;

use crate::client::Request;
use crate::cloud::Cloud;

#[tokio::test]
async fn an_account_holds_no_more_than_the_operator_lets_it() {
    let cloud = Cloud::start().await;
    let (member, s3) = (cloud.swift("member-mine"), cloud.client("member-mine"));
    let operator = cloud.swift("admin-admin");
    member.put("/quota", b"").await.expect(201);
    // Nobody changes their own quota, and nobody takes it away.
    for header in [
        ("x-account-meta-quota-bytes", "100"),
        ("x-account-meta-quota-bytes", ""),
        ("x-remove-account-meta-quota-bytes", "x"),
        ("x-account-quota-count", "100"),
        ("x-remove-account-quota-bytes", "x"),
        ("x-account-quota-bytes-policy-default", "100"),
    ] {
        for token in ["member-mine", "reader-mine", "manager-mine", "member-other"] {
            cloud.swift(token).post("", &[header]).await.expect(403);
        }
        cloud.swift("").post("", &[header]).await.expect(401);
    }
    operator
        .post("", &[("x-account-meta-quota-bytes", "10"), ("x-account-quota-count", "3")])
        .await
        .expect(204);
    let head = member.head("").await.expect(204);
    for (name, value) in [
        ("x-account-meta-quota-bytes", "10"),
        ("x-account-quota-bytes", "10"),
        ("x-account-quota-count", "3"),
    ] {
        assert_eq!(head.header(name), value, "{name}");
    }
    // It holds at once, whichever API fills the account, and a container's own holds beside it.
    member.put("/quota/a", b"12345678").await.expect(201);
    member.put("/quota/b", b"123").await.expect(413);
    s3.put("/quota/b", b"123").await.refused(403, "QuotaExceeded");
    member.post("/quota", &[("x-container-meta-quota-bytes", "9")]).await.expect(204);
    member.put("/quota/b", b"12").await.expect(413);
    member.put("/quota/b", b"1").await.expect(201);
    s3.put("/quota/c", b"").await.expect(200);
    member.put("/quota/d", b"").await.expect(413);
    // The lower one of this and the project's unified limit counts.
    cloud.keys.limit("mine", Quota { objects: Some(2), ..Quota::default() });
    cloud.clock.advance(std::time::Duration::from_secs(1));
    operator.post("", &[("x-account-quota-count", "100")]).await.expect(204);
    member.put("/quota/d", b"").await.expect(413);
    cloud.keys.limit("mine", Quota::default());
    cloud.clock.advance(std::time::Duration::from_secs(1));
    member.put("/quota/d", b"").await.expect(201);
    // It stays when members change what is theirs, and the operator changes nothing else.
    member.post("", &[("x-account-meta-color", "red")]).await.expect(204);
    operator.post("", &[("x-account-quota-count", "1"), ("x-account-meta-color", "blue")]).await.expect(403);
    operator.post("", &[("x-account-meta-color", "blue")]).await.expect(403);
    operator.get("").await.expect(403);
    operator.post("", &[("x-account-quota-bytes", "many")]).await.expect(400);
    operator.post("", &[("x-account-quota-bytes-policy-default", "1")]).await.expect(501);
    let head = member.head("").await.expect(204);
    assert_eq!((head.header("x-account-quota-count"), head.header("x-account-meta-color")), ("100", "red"));
    operator
        .post("", &[("x-remove-account-meta-quota-bytes", "x"), ("x-account-quota-count", "")])
        .await
        .expect(204);
    member.post("/quota", &[("x-remove-container-meta-quota-bytes", "x")]).await.expect(204);
    member.put("/quota/b", &[0; 1000]).await.expect(201);
    let head = member.head("").await.expect(204);
    assert!(!head.headers.contains_key("x-account-quota-bytes"), "{:?}", head.headers);
}

#[tokio::test]
async fn lists_go_backwards_and_along_paths() {
    let cloud = Cloud::start().await;
    let member = cloud.swift("member-mine");
    member.put("/cont", b"").await.expect(201);
    for object in ["a", "dir", "dir/", "dir/b", "dir/c", "dir/deep/", "dir/deep/d", "dir/other/x", "e"] {
        member.put(&format!("/cont/{object}"), b"x").await.expect(201);
    }
    for (query, expected) in [
        ("reverse=true", "e dir/other/x dir/deep/d dir/deep/ dir/c dir/b dir/ dir a"),
        ("reverse=on&limit=2", "e dir/other/x"),
        ("reverse=true&limit=2&marker=dir/other/x", "dir/deep/d dir/deep/"),
        ("reverse=true&marker=dir/c&end_marker=a", "dir/b dir/ dir"),
        ("reverse=true&marker=dir/c&end_marker=e", ""),
        ("reverse=true&delimiter=/", "e dir/ dir a"),
        ("reverse=true&delimiter=/&marker=dir/", "dir a"),
        ("reverse=true&delimiter=/&limit=2&marker=e", "dir/ dir"),
        ("reverse=true&prefix=dir/&delimiter=/", "dir/other/ dir/deep/ dir/c dir/b dir/"),
        ("reverse=true&prefix=x", ""),
        ("reverse=false&limit=1", "a"),
        ("path=", "a dir dir/ e"),
        ("path=dir", "dir/b dir/c dir/deep/"),
        ("path=dir/", "dir/b dir/c dir/deep/"),
        ("path=dir&limit=2", "dir/b dir/c"),
        ("path=dir&marker=dir/c", "dir/deep/"),
        ("path=dir&end_marker=dir/c", "dir/b"),
        ("path=dir/deep", "dir/deep/d"),
        ("path=dir&reverse=true", "dir/deep/ dir/c dir/b"),
        ("path=nowhere", ""),
        ("path=dir&prefix=a&delimiter=b", "dir/b dir/c dir/deep/"),
    ] {
        let listed = member.get(&format!("/cont?{query}")).await.text();
        assert_eq!(listed.split_terminator('\n').collect::<Vec<_>>().join(" "), expected, "{query}");
    }
    for container in ["b-second", "c-third"] {
        member.put(&format!("/{container}"), b"").await.expect(201);
    }
    assert_eq!(member.get("?reverse=true&marker=c-third").await.text(), "b-second\n");
    assert_eq!(member.get("?reverse=true").await.text(), "cont\nc-third\nb-second\n");
    // What S3 deleted under versions is passed over in this direction, too.
    let s3 = cloud.client("member-mine");
    let versioning = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    s3.send(Request::new("PUT", "/cont?versioning").body(versioning)).await.expect(200);
    s3.delete("/cont/dir/other/x").await.expect(204);
    assert_eq!(member.get("/cont?reverse=true&limit=2").await.text(), "e\ndir/deep/d\n");
}
