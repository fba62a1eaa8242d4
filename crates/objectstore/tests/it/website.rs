//! Buckets that are websites.

use crate::client::{Answer, Client, Request};
use crate::cloud::{Cloud, SITES};

const PLAIN: &str = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument><ErrorDocument><Key>oops.html</Key></ErrorDocument>";

async fn configure(client: &Client, inside: &str) -> Answer {
    let text = format!("<WebsiteConfiguration>{inside}</WebsiteConfiguration>");
    client.put("/www?website", text.as_bytes()).await
}

/// Lets everybody read what begins so, as `s3:GetObject` alone or with the list.
async fn open(client: &Client, start: &str, shows_missing: bool) {
    client.delete("/www?publicAccessBlock").await.expect(204);
    let list =
        r#",{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::www"}"#;
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::www/{start}*"}}{}]}}"#,
        if shows_missing { list } else { "" }
    );
    client.put("/www?policy", policy.as_bytes()).await.expect(204);
}

/// As a browser asks: unsigned, of the website's host.
async fn browse(client: &Client, request: Request) -> Answer {
    let host = request.host.clone().unwrap_or_else(|| format!("www.{SITES}:8080"));
    client.send_presigned(&Request { host: Some(host), ..request }, "").await
}

/// The target as it stands here, escaped or not.
async fn get(client: &Client, target: &str) -> Answer {
    let head = format!("GET {target} HTTP/1.1\r\nhost: www.{SITES}:8080\r\nconnection: close\r\n\r\n");
    client.bytes(head.as_bytes(), false).await
}

async fn site(cloud: &Cloud) -> Client {
    let client = cloud.member("www").await;
    for (key, text) in [
        ("index.html", "home"),
        ("oops.html", "oops"),
        ("docs/index.html", "docs"),
        ("a b.txt", "spaces"),
        ("private.txt", "private"),
    ] {
        let request = Request::new("PUT", &format!("/www/{key}"));
        client.send(request.header("content-type", "text/html").body(text.as_bytes())).await.expect(200);
    }
    client
}

#[tokio::test]
async fn a_website_shows_what_everybody_may_read_and_nothing_else() {
    let cloud = Cloud::start().await;
    let client = site(&cloud).await;
    let none = get(&client, "/").await.expect(404);
    assert_eq!(none.header("x-amz-error-code"), "NoSuchWebsiteConfiguration");
    configure(&client, PLAIN).await.expect(200);
    // Not even the error page may be read.
    let closed = get(&client, "/").await.expect(403);
    assert_eq!(closed.header("x-amz-error-code"), "AccessDenied");
    assert_eq!(closed.header("content-type"), "text/html; charset=utf-8");
    assert!(closed.text().contains("An Error Occurred While Attempting to Retrieve a Custom Error Document"));
    // No signature gets further than nobody.
    let mut own = Request::new("GET", "/index.html");
    own.host = Some(format!("www.{SITES}"));
    client.send(own).await.expect(403);
    open(&client, "", true).await;
    let home = get(&client, "/").await.expect(200);
    assert_eq!((home.text().as_str(), home.header("content-type")), ("home", "text/html"));
    assert_eq!(get(&client, "/docs/").await.expect(200).text(), "docs");
    assert_eq!(get(&client, "/docs/index.html?x=1&versionId=y").await.expect(200).text(), "docs");
    assert_eq!(get(&client, "/a%20b.txt").await.expect(200).text(), "spaces");
    assert_eq!(get(&client, "/docs").await.expect(302).header("location"), "/docs/");
    let missing = get(&client, "/nothing").await.expect(404);
    assert_eq!((missing.text().as_str(), missing.header("x-amz-error-code")), ("oops", "NoSuchKey"));
    let head = browse(&client, Request::new("HEAD", "/docs/")).await.expect(200);
    assert_eq!((head.header("content-length"), head.body.len()), ("4", 0));
    // The block of public access closes it again.
    let block = b"<PublicAccessBlockConfiguration><RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>";
    client.put("/www?publicAccessBlock", block).await.expect(200);
    get(&client, "/").await.expect(403);
    client.delete("/www?publicAccessBlock").await.expect(204);
    client.delete("/www?website").await.expect(204);
    get(&client, "/").await.expect(404);
    client.get("/www?website").await.refused(404, "NoSuchWebsiteConfiguration");
    // Of buckets that are not there, and of what can be no bucket.
    for (host, code) in [("nothing", "NoSuchBucket"), ("mine/www", "NoSuchBucket")] {
        let request = Request { host: Some(format!("{host}.{SITES}")), ..Request::new("GET", "/") };
        assert_eq!(browse(&client, request).await.expect(404).header("x-amz-error-code"), code);
    }
}

#[tokio::test]
async fn what_is_denied_stays_hidden_and_lists_are_never_shown() {
    let cloud = Cloud::start().await;
    let client = site(&cloud).await;
    configure(&client, PLAIN).await.expect(200);
    open(&client, "docs/", false).await;
    for path in ["/private.txt", "/nothing", "/", "//", "/%2F"] {
        let answer = get(&client, path).await;
        assert_eq!((answer.status, answer.header("x-amz-error-code")), (403, "AccessDenied"), "{path}");
        assert!(!answer.text().contains("docs/index.html"), "{path}");
    }
    assert_eq!(get(&client, "/docs").await.expect(302).header("location"), "/docs/");
    for method in ["PUT", "POST", "DELETE", "PATCH"] {
        let answer = browse(&client, Request::new(method, "/docs/index.html").body(b"x")).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"), "{method}");
    }
    get(&client, "/docs/%zz").await.expect(400);
    // The policy knows the browser's headers, and not those that S3 has.
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::www/*","Condition":{"StringLike":{"aws:Referer":"https://friend/*"}}}]}"#;
    client.put("/www?policy", policy.as_bytes()).await.expect(204);
    get(&client, "/").await.expect(403);
    let from = Request::new("GET", "/").header("referer", "https://friend/page");
    assert_eq!(browse(&client, from).await.expect(200).text(), "home");
}

#[tokio::test]
async fn browsers_may_ask_for_parts_and_for_what_has_changed() {
    let cloud = Cloud::start().await;
    let client = site(&cloud).await;
    configure(&client, PLAIN).await.expect(200);
    open(&client, "", true).await;
    let part = browse(&client, Request::new("GET", "/").header("range", "bytes=1-2")).await.expect(206);
    assert_eq!((part.text().as_str(), part.header("content-range")), ("om", "bytes 1-2/4"));
    let tag = get(&client, "/").await.header("etag").to_owned();
    let same = browse(&client, Request::new("GET", "/").header("if-none-match", &tag)).await.expect(304);
    assert!(same.body.is_empty());
    let other = browse(&client, Request::new("GET", "/").header("if-match", "\"x\"")).await.expect(412);
    assert_eq!(other.header("x-amz-error-code"), "PreconditionFailed");
    browse(&client, Request::new("GET", "/").header("range", "bytes=9-")).await.expect(416);
    // An error page is shown whole, and is not what was asked for.
    let missing = browse(&client, Request::new("GET", "/no").header("range", "bytes=0-0")).await.expect(404);
    assert_eq!((missing.text().as_str(), missing.header("etag")), ("oops", ""));
}

#[tokio::test]
async fn redirections_follow_rules_and_objects() {
    let cloud = Cloud::start().await;
    let client = site(&cloud).await;
    open(&client, "", true).await;
    let rule = |condition: &str, redirect: &str| {
        format!("<RoutingRule>{condition}<Redirect>{redirect}</Redirect></RoutingRule>")
    };
    let prefix = |prefix: &str| format!("<Condition><KeyPrefixEquals>{prefix}</KeyPrefixEquals></Condition>");
    let rules = [
        rule(&prefix("old/"), "<ReplaceKeyPrefixWith>docs/</ReplaceKeyPrefixWith>"),
        rule(
            &prefix("away/"),
            "<Protocol>https</Protocol><HostName>example.org</HostName><HttpRedirectCode>307</HttpRedirectCode>",
        ),
        rule(
            "<Condition><KeyPrefixEquals>img/</KeyPrefixEquals><HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals></Condition>",
            "<ReplaceKeyWith>none.png</ReplaceKeyWith>",
        ),
    ];
    configure(&client, &format!("{PLAIN}<RoutingRules>{}</RoutingRules>", rules.concat())).await.expect(200);
    let shown = client.get("/www?website").await.expect(200);
    assert_eq!(shown.elements("KeyPrefixEquals"), ["old/", "away/", "img/"]);
    assert_eq!(shown.element("Suffix"), "index.html");
    let to = async |path: &str| {
        let answer = get(&client, path).await;
        (answer.status, answer.header("location").to_owned())
    };
    let here = format!("http://www.{SITES}:8080");
    assert_eq!(to("/old/a%20%22b").await, (301, format!("{here}/docs/a%20%22b")));
    assert_eq!(to("/away/x").await, (307, "https://example.org/away/x".to_owned()));
    assert_eq!(to("/img/x").await, (301, format!("{here}/none.png")));
    client.put("/www/img/there", b"i").await.expect(200);
    assert_eq!(to("/img/there").await.0, 200);
    // An object sends elsewhere by itself.
    let moved = |location: &str| {
        Request::new("PUT", "/www/moved").header("x-amz-website-redirect-location", location).body(b"x")
    };
    client.send(moved("/docs/")).await.expect(200);
    assert_eq!(to("/moved").await, (301, "/docs/".to_owned()));
    let plain = client.get("/www/moved").await.expect(200);
    assert_eq!(plain.header("x-amz-website-redirect-location"), "/docs/");
    let copy = Request::new("PUT", "/www/copy").header("x-amz-copy-source", "/www/moved");
    client.send(copy).await.expect(200);
    assert_eq!(to("/copy").await.0, 200, "a copy does not");
    for wrong in ["javascript:alert(1)", "docs/", "ftp://x/"] {
        client.send(moved(wrong)).await.refused(400, "InvalidRedirectLocation");
    }
    configure(&client, "<RedirectAllRequestsTo><HostName>example.org</HostName></RedirectAllRequestsTo>")
        .await
        .expect(200);
    assert_eq!(to("/a%20b").await, (301, "http://example.org/a%20b".to_owned()));
    // What looks like another host is a path.
    configure(&client, PLAIN).await.expect(200);
    client.put("/www//evil.test/index.html", b"x").await.expect(200);
    assert_eq!(to("//evil.test").await, (302, "/evil.test/".to_owned()));
}

#[tokio::test]
async fn configurations_that_say_nothing_sensible_are_refused() {
    let cloud = Cloud::start().await;
    let client = cloud.member("www").await;
    let index = "<IndexDocument><Suffix>i</Suffix></IndexDocument>";
    let rule =
        |inside: &str| format!("{index}<RoutingRules><RoutingRule>{inside}</RoutingRule></RoutingRules>");
    let all = "<RedirectAllRequestsTo><HostName>a</HostName></RedirectAllRequestsTo>";
    for (wrong, code) in [
        ("", "InvalidArgument"),
        ("<IndexDocument><Suffix>a/b</Suffix></IndexDocument>", "InvalidArgument"),
        ("<IndexDocument><Suffix></Suffix></IndexDocument>", "InvalidArgument"),
        (&format!("{index}{all}"), "InvalidArgument"),
        ("<RedirectAllRequestsTo><HostName>a/b?c</HostName></RedirectAllRequestsTo>", "InvalidArgument"),
        (&format!("{index}<ErrorDocument><Key></Key></ErrorDocument>"), "InvalidArgument"),
        (&rule("<Redirect></Redirect>"), "MalformedXML"),
        (&rule("<Condition></Condition><Redirect><HostName>a</HostName></Redirect>"), "MalformedXML"),
        (&rule("<Redirect><HttpRedirectCode>200</HttpRedirectCode></Redirect>"), "InvalidArgument"),
        (&rule("<Redirect><HttpRedirectCode>300</HttpRedirectCode></Redirect>"), "InvalidArgument"),
        (&rule("<Redirect><Protocol>ftp</Protocol></Redirect>"), "InvalidArgument"),
        (
            &rule(
                "<Redirect><ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith></Redirect>",
            ),
            "InvalidArgument",
        ),
        (
            &rule(
                "<Condition><HttpErrorCodeReturnedEquals>200</HttpErrorCodeReturnedEquals></Condition><Redirect><HostName>a</HostName></Redirect>",
            ),
            "InvalidArgument",
        ),
    ] {
        configure(&client, wrong).await.refused(400, code);
    }
    client.get("/www?website").await.refused(404, "NoSuchWebsiteConfiguration");
}
