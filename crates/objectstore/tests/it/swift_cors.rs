//! Pages of other origins, as a container's metadata let them in.

use crate::client::{Answer, Request};
use crate::cloud::Cloud;

const PAGE: &str = "https://app.example.org";

#[tokio::test]
async fn a_container_lets_pages_of_other_origins_in() {
    let cloud = Cloud::start().await;
    let (member, s3) = (cloud.swift("member-mine"), cloud.member("bucket").await);
    member.put("/Cap_ital", b"").await.expect(201);
    let ask = async |path: &str, origin: &str, method: &str| -> Answer {
        let request = Request::new("OPTIONS", path)
            .header("origin", origin)
            .header("access-control-request-method", method)
            .header("access-control-request-headers", "x-auth-token, x-object-meta-a");
        member.client.send_presigned(&request, "").await
    };
    ask("/v1/AUTH_mine/Cap_ital/o", PAGE, "PUT").await.expect(403);
    for (name, value) in [("max-age", "soon"), ("max-age", "-1"), ("allow-origin", "https://*.*.example.org")]
    {
        member
            .post("/Cap_ital", &[(&format!("x-container-meta-access-control-{name}"), value)])
            .await
            .expect(400);
    }
    let headers = [
        ("x-container-meta-access-control-allow-origin", "https://app.example.org https://*.example.com"),
        ("x-container-meta-access-control-max-age", "60"),
        ("x-container-meta-access-control-expose-headers", "x-object-meta-a"),
    ];
    for container in ["/Cap_ital", "/bucket"] {
        member.post(container, &headers).await.expect(204);
        let asked = ask(&format!("/v1/AUTH_mine{container}/o"), PAGE, "COPY").await.expect(200);
        for (name, value) in [
            ("access-control-allow-origin", PAGE),
            ("access-control-allow-headers", "x-auth-token, x-object-meta-a"),
            ("access-control-max-age", "60"),
        ] {
            assert_eq!(asked.header(name), value, "{container} {name}");
        }
        ask(&format!("/v1/AUTH_mine{container}"), "https://a.example.com", "GET").await.expect(200);
        for (origin, method) in [("https://example.net", "GET"), (PAGE, "PATCH")] {
            ask(&format!("/v1/AUTH_mine{container}/o"), origin, method).await.expect(403);
        }
    }
    ask("/v1/AUTH_other/Cap_ital/o", PAGE, "PUT").await.expect(403);
    ask("/v1/AUTH_mine", PAGE, "GET").await.expect(403);
    // The answer to the request itself, refused or not.
    let put = member
        .send("PUT", "/Cap_ital/o", &[("origin", PAGE), ("x-object-meta-a", "1")], b"x")
        .await
        .expect(201);
    assert_eq!(put.header("access-control-allow-origin"), PAGE);
    let get = member.send("GET", "/Cap_ital/o", &[("origin", PAGE)], b"").await.expect(200);
    let exposed = get.header("access-control-expose-headers");
    assert!(exposed.contains("etag, ") && exposed.ends_with(", x-object-meta-a"), "{exposed}");
    let other =
        member.send("GET", "/Cap_ital/o", &[("origin", "https://example.net")], b"").await.expect(200);
    assert!(!other.headers.contains_key("access-control-allow-origin"));
    let refused = cloud.swift("").send("GET", "/Cap_ital/o", &[("origin", PAGE)], b"").await.expect(401);
    assert_eq!(refused.header("access-control-allow-origin"), PAGE);
    // A bucket's rules are the container's, and the other way round.
    ask("/bucket/o", PAGE, "PUT").await.expect(200);
    let rules = b"<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>https://example.net</AllowedOrigin><AllowedHeader>*</AllowedHeader></CORSRule></CORSConfiguration>";
    s3.put("/bucket?cors", rules).await.expect(200);
    ask("/v1/AUTH_mine/bucket/o", "https://example.net", "GET").await.expect(200);
    ask("/v1/AUTH_mine/bucket/o", "https://example.net", "PUT").await.expect(403);
    member.post("/bucket", &[("x-remove-container-meta-access-control-allow-origin", "x")]).await.expect(204);
    ask("/bucket/o", PAGE, "PUT").await.expect(403);
}
