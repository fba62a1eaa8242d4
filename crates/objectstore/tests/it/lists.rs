//! Lists: order, prefixes, delimiters and pages.

use crate::cloud::Cloud;

const KEYS: [&str; 9] = ["a", "a/b", "a/c", "a/c/d", "b", "c/", "c/x", "z&<", "ä"];

/// All pages of a list of the second version: keys and common prefixes.
async fn pages(client: &crate::client::Client, query: &str) -> (Vec<String>, Vec<String>) {
    let (mut keys, mut prefixes, mut token) = (Vec::new(), Vec::new(), String::new());
    for _ in 0..30 {
        let more = if token.is_empty() { String::new() } else { format!("&continuation-token={token}") };
        let page = client.get(&format!("/lists?list-type=2{query}{more}")).await.expect(200);
        let unescape = |text: String| text.replace("&lt;", "<");
        keys.extend(page.elements("Key").into_iter().map(unescape));
        for common in page.elements("CommonPrefixes") {
            prefixes.push(common.replace("<Prefix>", "").replace("</Prefix>", ""));
        }
        if page.element("IsTruncated") == "false" {
            return (keys, prefixes);
        }
        token = page.element("NextContinuationToken");
    }
    panic!("the list does not end");
}

/// What a list shows by the words of the API reference, worked out the slow way.
fn expected(prefix: &str, delimiter: &str) -> (Vec<String>, Vec<String>) {
    let (mut keys, mut prefixes) = (Vec::new(), Vec::new());
    for key in KEYS.iter().filter(|key| key.starts_with(prefix)) {
        match key[prefix.len()..].find(delimiter).filter(|_| !delimiter.is_empty()) {
            Some(at) => {
                let common = key[..prefix.len() + at + delimiter.len()].to_owned();
                if prefixes.last() != Some(&common) {
                    prefixes.push(common);
                }
            }
            None => keys.push((*key).to_owned()),
        }
    }
    (keys, prefixes)
}

#[tokio::test]
async fn pages_of_any_size_show_the_same() {
    let cloud = Cloud::start().await;
    let client = cloud.member("lists").await;
    for key in KEYS.iter().rev() {
        client.put(&format!("/lists/{key}"), key.as_bytes()).await.expect(200);
    }
    for prefix in ["", "a", "a/", "c/", "x", "z"] {
        for delimiter in ["", "/", "c"] {
            for most in [1, 2, 3, 1000] {
                let query = format!("&prefix={prefix}&delimiter={delimiter}&max-keys={most}");
                assert_eq!(pages(&client, &query).await, expected(prefix, delimiter), "{query}");
            }
        }
    }
    let after = client.get("/lists?list-type=2&start-after=a/c").await.expect(200);
    assert_eq!(after.elements("Key").first().unwrap(), "a/c/d");
    let none = client.get("/lists?list-type=2&max-keys=0").await.expect(200);
    assert_eq!((none.element("KeyCount").as_str(), none.element("IsTruncated").as_str()), ("0", "false"));
    client.get("/lists?list-type=2&continuation-token=!!").await.refused(400, "InvalidArgument");
    client.get("/lists?list-type=2&max-keys=-1").await.refused(400, "InvalidArgument");
    let encoded = client.get("/lists?list-type=2&encoding-type=url&prefix=z").await.expect(200);
    assert_eq!(encoded.element("Key"), "z%26%3C");
    let first = client.get("/lists?max-keys=2&delimiter=/").await.expect(200);
    assert_eq!(first.element("NextMarker"), "a/");
    let second = client.get("/lists?delimiter=/&marker=a/").await.expect(200);
    assert_eq!(second.elements("Key").first().unwrap(), "b");
    let versions = client.get("/lists?versions&prefix=b").await.expect(200);
    assert_eq!(
        (versions.element("VersionId").as_str(), versions.element("IsLatest").as_str()),
        ("null", "true")
    );
    let one = client.get("/lists?list-type=2&prefix=b&fetch-owner=true").await.expect(200);
    assert_eq!((one.element("Size").as_str(), one.element("ID").as_str()), ("1", "mine"));
}
