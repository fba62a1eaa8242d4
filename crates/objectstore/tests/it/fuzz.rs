//! Whatever is sent: no answer is a failure of ours, and no request ends the process.
//!
//! The cases are the same in each run. `HANSE_FUZZ_SEED=7 HANSE_FUZZ_TIMES=100000` makes others, and more of them; the fuzzer with
//! coverage (`fuzz/targets/s3.rs`) makes them of what it finds.

use crate::client::{Client, Request};
use crate::cloud::Cloud;

/// Requests that are fine, to begin with: method, target, body.
const FINE: &[(&str, &str, &str)] = &[
    ("GET", "/", ""),
    ("GET", "/fuzz?list-type=2&prefix=a&delimiter=/&max-keys=3&encoding-type=url", ""),
    ("GET", "/fuzz?versions&key-marker=a&version-id-marker=0123456789abcdef0123456789abcdef", ""),
    ("GET", "/fuzz?uploads&prefix=a&upload-id-marker=b", ""),
    ("GET", "/fuzz/key?partNumber=1&response-content-type=text/x", ""),
    ("HEAD", "/fuzz/key?versionId=null", ""),
    ("PUT", "/fuzz/new", "bytes"),
    ("DELETE", "/fuzz/new?versionId=null", ""),
    (
        "POST",
        "/fuzz?delete",
        "<Delete><Object><Key>a</Key><VersionId>null</VersionId></Object><Quiet>true</Quiet></Delete>",
    ),
    (
        "PUT",
        "/fuzz?versioning",
        "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    ),
    ("PUT", "/fuzz?tagging", "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"),
    (
        "PUT",
        "/fuzz/key?tagging",
        "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
    ),
    (
        "PUT",
        "/fuzz?cors",
        "<CORSConfiguration><CORSRule><AllowedOrigin>http://*.test</AllowedOrigin><AllowedMethod>GET</AllowedMethod>\
         <AllowedHeader>*</AllowedHeader><MaxAgeSeconds>3000</MaxAgeSeconds></CORSRule></CORSConfiguration>",
    ),
    (
        "PUT",
        "/fuzz?lifecycle",
        "<LifecycleConfiguration><Rule><ID>a</ID><Filter><And><Prefix>a</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter>\
         <Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>",
    ),
    (
        "PUT",
        "/fuzz?object-lock",
        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode>\
         <Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>",
    ),
    (
        "PUT",
        "/fuzz/key?retention",
        "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>",
    ),
    ("PUT", "/fuzz/key?legal-hold", "<LegalHold><Status>OFF</Status></LegalHold>"),
    (
        "PUT",
        "/fuzz?encryption",
        "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>\
         </ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>",
    ),
    (
        "PUT",
        "/fuzz?publicAccessBlock",
        "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>",
    ),
    (
        "PUT",
        "/fuzz?policy",
        r#"{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Deny","Principal":{"AWS":"other"},"Action":"s3:Get*","Resource":["arn:aws:s3:::fuzz/*"],"Condition":{"StringLike":{"s3:prefix":"a*"}}}]}"#,
    ),
    ("POST", "/fuzz/parts?uploads", ""),
    (
        "POST",
        "/fuzz/parts?uploadId=0123456789abcdef0123456789abcdef",
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"a\"</ETag></Part></CompleteMultipartUpload>",
    ),
    ("GET", "/info", ""),
    ("GET", "/v1/AUTH_mine/fuzz?format=json&limit=3&marker=a", ""),
    (
        "PUT",
        "/v1/AUTH_mine/fuzz/slo?multipart-manifest=put",
        r#"[{"path":"/fuzz/key","size_bytes":5,"etag":null}]"#,
    ),
    ("POST", "/v1/AUTH_mine?bulk-delete", "fuzz/new\nfuzz/%41"),
];

/// Texts that mean something somewhere.
const WORDS: &[&str] = &[
    "",
    "0",
    "-1",
    "1",
    "18446744073709551616",
    "null",
    "true",
    "*",
    "?",
    "/",
    "//",
    "..",
    "%00",
    "%zz",
    "%2F",
    "\u{0}",
    "ü",
    "\u{feff}",
    "&#0;",
    "&amp;",
    "&x;",
    "<!DOCTYPE a [<!ENTITY x \"y\">]>",
    "<![CDATA[",
    "]]>",
    "<a",
    "</",
    "<Key>",
    "</Key>",
    "<Rule>",
    "<Filter>",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\u0000",
    "${aws:username}",
    "${",
    "s3:*",
    "aws:kms",
    "AES256",
    "bytes=0-0",
    "bytes=-1",
    "bytes=5-2",
    "2030-01-01T00:00:00Z",
    "1970-01-01",
    "9999-12-31T23:59:59Z",
    "COMPLIANCE",
    "Enabled",
    "fuzz/key",
    "/fuzz/key?versionId=x",
    "AAAAAAAAAAAAAAAAAAAAAA==",
    "UNSIGNED-PAYLOAD",
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "x-amz-checksum-crc32",
    "5\r\nbytes\r\n0\r\n\r\n",
    "ffffffffffffffff\r\n",
    "5;chunk-signature=00\r\nbytes\r\n",
    "0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n",
];

const HEADERS: &[&str] = &[
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "content-md5",
    "content-type",
    "content-encoding",
    "expires",
    "x-amz-copy-source",
    "x-amz-copy-source-range",
    "x-amz-copy-source-if-match",
    "x-amz-metadata-directive",
    "x-amz-tagging",
    "x-amz-meta-a",
    "x-amz-acl",
    "x-amz-storage-class",
    "x-amz-checksum-crc32",
    "x-amz-checksum-sha256",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-trailer",
    "x-amz-decoded-content-length",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-context",
    "x-amz-server-side-encryption-customer-key",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-object-attributes",
    "x-amz-max-parts",
    "x-amz-expected-bucket-owner",
    "x-amz-target",
    "x-auth-token",
    "x-delete-at",
    "x-object-manifest",
    "x-copy-from",
    "destination",
    "x-container-read",
    "x-container-meta-quota-bytes",
    "origin",
    "access-control-request-method",
    "expect",
];

/// Decisions, taken from bytes; when there are no more, the first choice is taken.
pub struct Choices<'b>(&'b [u8]);

impl<'b> Choices<'b> {
    pub fn new(bytes: &'b [u8]) -> Choices<'b> {
        Choices(bytes)
    }

    fn byte(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first)
    }

    /// A number below another one.
    fn below(&mut self, end: usize) -> usize {
        (self.byte() * 256 + self.byte()) % end.max(1)
    }

    fn word(&mut self) -> String {
        match self.byte() % 4 {
            0 => {
                let length = self.byte().min(self.0.len());
                let (now, rest) = self.0.split_at(length);
                self.0 = rest;
                String::from_utf8_lossy(now).into_owned()
            }
            1 => "a".repeat(self.below(5000)),
            _ => WORDS[self.below(WORDS.len())].to_owned(),
        }
    }
}

/// What a header may hold on the wire.
fn plain(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

fn spoil(choices: &mut Choices<'_>, body: &mut Vec<u8>) {
    let (at, word) = (choices.below(body.len() + 1), choices.word());
    let end = (at + choices.byte()).min(body.len());
    match choices.byte() % 4 {
        0 => drop(body.splice(at..at, word.into_bytes())),
        1 => drop(body.splice(at..end, word.into_bytes())),
        2 => drop(body.drain(at..end)),
        _ => {
            let again = body[at..end].to_vec();
            drop(body.splice(at..at, again));
        }
    }
}

/// A request that began as a fine one.
pub fn request(choices: &mut Choices<'_>) -> Request {
    let (method, target, body) = FINE[choices.below(FINE.len())];
    let mut request = Request::new(method, target).body(body.as_bytes());
    if target.starts_with("/v1/") {
        request = request.header("x-auth-token", "member-mine");
    }
    for _ in 0..choices.byte() % 6 {
        match choices.byte() % 8 {
            0 | 1 => spoil(choices, &mut request.body),
            2 | 3 => {
                let name = HEADERS[choices.below(HEADERS.len())];
                request = request.header(name, &plain(&choices.word()));
            }
            4 => {
                let (at, word) = (choices.below(request.query.len()), choices.word());
                match request.query.get_mut(at) {
                    Some((_, value)) => *value = word,
                    None => request.query.push((word, String::new())),
                }
            }
            5 => request.query.push((choices.word(), choices.word())),
            6 => request.path = format!("{}{}", request.path, choices.word()),
            _ => request.hash = Some(plain(&choices.word())),
        }
    }
    // One operation's body and headers at another's address.
    if choices.byte() % 8 == 1 {
        let (method, target, _) = FINE[choices.below(FINE.len())];
        let other = Request::new(method, target);
        (request.method, request.path, request.query) = (other.method, other.path, other.query);
    }
    request
}

/// Asks, and returns the status of the answer.
///
/// # Panics
/// If there is none, or it says that something of ours is broken.
pub async fn ask(client: &Client, choices: &mut Choices<'_>) -> u16 {
    let request = request(choices);
    let answer = client.try_send(&request).await;
    let answer = answer.unwrap_or_else(|| panic!("no answer: {request:?}"));
    let is_ours = answer.status >= 500 && answer.status != 501;
    assert!(!is_ours, "{request:?}: {} {}", answer.status, answer.text());
    answer.status
}

/// A world in which these requests find something.
pub async fn world() -> (Cloud, Client) {
    let cloud = Cloud::start().await;
    let client = cloud.member("fuzz").await;
    client.put("/fuzz/key", b"bytes").await.expect(200);
    (cloud, client)
}

/// Numbers that look random and are the same in each run: xorshift, by Marsaglia.
fn bytes(seed: &mut u64, length: usize) -> Vec<u8> {
    let mut next = || {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        (*seed >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_ends_the_process_and_no_answer_is_a_failure_of_ours() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (mut seed, times) = (number("HANSE_FUZZ_SEED", 1) | 1 << 40, number("HANSE_FUZZ_TIMES", 1500));
    let (cloud, client) = world().await;
    let mut seen = std::collections::BTreeMap::<u16, u64>::new();
    for _ in 0..times {
        let case = bytes(&mut seed, 400);
        *seen.entry(ask(&client, &mut Choices::new(&case)).await).or_default() += 1;
    }
    // Otherwise it would be the same refusal again and again.
    let often = |status: u16| seen.get(&status).copied().unwrap_or(0) * 50 >= times;
    assert!(often(200) && often(400) && often(403), "{seen:?}");
    client.put("/another", b"").await.expect(200);
    client.put("/another/key", b"it lives").await.expect(200);
    let cloud = cloud.restarted().await;
    assert_eq!(cloud.client("member-mine").get("/another/key").await.expect(200).body, b"it lives");
}
