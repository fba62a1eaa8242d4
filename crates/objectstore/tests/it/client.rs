//! A client that signs as it is told, rightly or not.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hanse_core::{Cx, Secret, Timestamp};
use hanse_crypto::sign_version_4;
use http::HeaderMap;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const REGION: &str = "regionone";

#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    access: String,
    secret: Secret<String>,
    /// What requests are signed for.
    service: &'static str,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The text of the first element of that name.
    pub fn element(&self, name: &str) -> String {
        self.elements(name).into_iter().next().unwrap_or_default()
    }

    pub fn elements(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let (start, end) = (format!("<{name}>"), format!("</{name}>"));
        let parts = text.split(&start).skip(1);
        parts
            .map(|part| part.split(&end).next().unwrap().replace("&quot;", "\"").replace("&amp;", "&"))
            .collect()
    }

    /// The code of an error.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) {
        assert_eq!((self.status, self.element("Code").as_str()), (status, code), "{}", self.text());
    }
}

pub use hanse_core::hex;

pub fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes))
}

/// Escaped as AWS has it; slashes of paths stay.
pub fn escape(text: &str, slashes: bool) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || slashes && byte == b'/';
    text.bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A request before it is signed.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// As the signature has it: not escaped.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// What `x-amz-content-sha256` says, unless it is the hash of the body.
    pub hash: Option<String>,
    pub host: Option<String>,
    pub time: Option<Timestamp>,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Request {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), value.to_owned())
        };
        Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect(),
            headers: Vec::new(),
            body: Vec::new(),
            hash: None,
            host: None,
            time: None,
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: &[u8]) -> Request {
        self.body = body.to_vec();
        self
    }

    fn canonical_query(&self) -> String {
        let mut pairs: Vec<String> = self
            .query
            .iter()
            .map(|(name, value)| format!("{}={}", escape(name, false), escape(value, false)))
            .collect();
        pairs.sort();
        pairs.join("&")
    }
}

impl Client {
    pub fn new(address: SocketAddr, access: &str, secret: &str) -> Client {
        Client { address, access: access.to_owned(), secret: Secret::new(secret.to_owned()), service: "s3" }
    }

    pub fn of_service(self, service: &'static str) -> Client {
        Client { service, ..self }
    }

    fn host(&self, request: &Request) -> String {
        request.host.clone().unwrap_or_else(|| self.address.to_string())
    }

    fn time(request: &Request) -> String {
        let now = request.time.unwrap_or_else(|| Cx::system().now());
        now.iso_seconds().replace(['-', ':'], "")
    }

    /// Source: AWS Signature Version 4, "Create a signed AWS API request".
    fn signature(
        &self,
        request: &Request,
        query: &str,
        headers: &[(String, String)],
        hash: &str,
        time: &str,
    ) -> String {
        let canonical: String =
            headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        let text = format!(
            "{}\n{}\n{query}\n{canonical}\n{}\n{hash}",
            request.method,
            escape(&request.path, true),
            names.join(";")
        );
        let scope = format!("{}/{REGION}/{}", &time[..8], self.service);
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}/aws4_request\n{}", sha256(text.as_bytes()));
        sign_version_4(&self.secret, &scope, &text).unwrap()
    }

    /// The headers that go over the wire, with a signature over all of them.
    pub fn sign(&self, request: &Request) -> Vec<(String, String)> {
        let (hash, time) =
            (request.hash.clone().unwrap_or_else(|| sha256(&request.body)), Client::time(request));
        let mut headers = request.headers.clone();
        headers.push(("host".to_owned(), self.host(request)));
        headers.push(("x-amz-content-sha256".to_owned(), hash.clone()));
        headers.push(("x-amz-date".to_owned(), time.clone()));
        headers.sort();
        let signature = self.signature(request, &request.canonical_query(), &headers, &hash, &time);
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}/{REGION}/{}/aws4_request, SignedHeaders={}, Signature={signature}",
            self.access,
            &time[..8],
            self.service,
            names.join(";")
        );
        headers.push(("authorization".to_owned(), authorization));
        headers
    }

    /// The query of a presigned URL, over the host alone.
    pub fn presign(&self, request: &Request, seconds: u64) -> String {
        let time = Client::time(request);
        let mut signed = request.clone();
        let mut add = |name: &str, value: String| signed.query.push((name.to_owned(), value));
        add("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned());
        add("X-Amz-Credential", format!("{}/{}/{REGION}/s3/aws4_request", self.access, &time[..8]));
        add("X-Amz-Date", time.clone());
        add("X-Amz-Expires", seconds.to_string());
        add("X-Amz-SignedHeaders", "host".to_owned());
        let headers = [("host".to_owned(), self.host(request))];
        let query = signed.canonical_query();
        let signature = self.signature(&signed, &query, &headers, "UNSIGNED-PAYLOAD", &time);
        format!("{query}&X-Amz-Signature={signature}")
    }

    /// `None` if the connection ended without an answer that reads.
    pub async fn try_send(&self, request: &Request) -> Option<Answer> {
        let headers = self.sign(request);
        let bytes = wire(request, &request.canonical_query(), &headers);
        read(&self.exchange(&bytes).await, request.method == "HEAD")
    }

    pub async fn send(&self, request: Request) -> Answer {
        let headers = self.sign(&request);
        self.raw(&request, &request.canonical_query(), &headers).await
    }

    /// A form as a browser sends it, with a policy that allows what it says. Source: S3 API Reference, "Browser-Based Uploads
    /// Using POST".
    pub async fn form(&self, bucket: &str, fields: &[(&str, &str)], file: &[u8]) -> Answer {
        let (now, soon) = (Cx::system().now(), Timestamp(Cx::system().now().0 + 600_000_000));
        let time = now.iso_seconds().replace(['-', ':'], "");
        let scope = format!("{}/{REGION}/{}", &time[..8], self.service);
        let credential = format!("{}/{scope}/aws4_request", self.access);
        let own = [
            ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
            ("x-amz-credential", &credential),
            ("x-amz-date", &time),
        ];
        let all: Vec<(&str, &str)> = own.into_iter().chain(fields.iter().copied()).collect();
        let conditions: Vec<String> =
            all.iter().map(|(name, value)| format!("{{\"{name}\":\"{value}\"}}")).collect();
        let policy = format!(
            "{{\"expiration\":\"{}\",\"conditions\":[{{\"bucket\":\"{bucket}\"}},{}]}}",
            soon.iso_seconds().replace('Z', ".000Z"),
            conditions.join(",")
        );
        let policy = BASE64.encode(policy);
        let signature = sign_version_4(&self.secret, &scope, &policy).unwrap();
        let signed = [("policy", policy.as_str()), ("x-amz-signature", signature.as_str())];
        let mut body = Vec::new();
        for (name, value) in all.iter().chain(&signed) {
            let part =
                format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            body.extend(part.into_bytes());
        }
        body.extend(b"--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n");
        body.extend(file);
        body.extend(b"\r\n--edge--\r\n");
        let request = Request::new("POST", &format!("/{bucket}"))
            .header("content-type", "multipart/form-data; boundary=edge")
            .body(&body);
        self.send_presigned(&request, "").await
    }

    /// Sends a presigned request, with headers that nobody signed.
    pub async fn send_presigned(&self, request: &Request, query: &str) -> Answer {
        let mut headers = request.headers.clone();
        headers.push(("host".to_owned(), self.host(request)));
        self.raw(request, query, &headers).await
    }

    /// Sends exactly these headers.
    pub async fn raw(&self, request: &Request, query: &str, headers: &[(String, String)]) -> Answer {
        self.bytes(&wire(request, query, headers), request.method == "HEAD").await
    }

    /// Sends these bytes and reads an answer.
    pub async fn bytes(&self, bytes: &[u8], is_head: bool) -> Answer {
        let all = self.exchange(bytes).await;
        read(&all, is_head).unwrap_or_else(|| panic!("no answer: {}", String::from_utf8_lossy(&all)))
    }

    async fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The answer may come before everything is sent.
        let _ = stream.write_all(bytes).await;
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
        all
    }

    pub async fn get(&self, target: &str) -> Answer {
        self.send(Request::new("GET", target)).await
    }

    pub async fn head(&self, target: &str) -> Answer {
        self.send(Request::new("HEAD", target)).await
    }

    pub async fn put(&self, target: &str, body: &[u8]) -> Answer {
        self.send(Request::new("PUT", target).body(body)).await
    }

    pub async fn post(&self, target: &str, body: &[u8]) -> Answer {
        self.send(Request::new("POST", target).body(body)).await
    }

    pub async fn delete(&self, target: &str) -> Answer {
        self.send(Request::new("DELETE", target)).await
    }
}

/// What goes over the wire.
fn wire(request: &Request, query: &str, headers: &[(String, String)]) -> Vec<u8> {
    let mark = if query.is_empty() { "" } else { "?" };
    let mut text = format!("{} {}{mark}{query} HTTP/1.1\r\n", request.method, escape(&request.path, true));
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    // As clients do: what has no body says nothing of one.
    if !request.body.is_empty() || ["PUT", "POST"].contains(&request.method.as_str()) {
        text.push_str(&format!("content-length: {}\r\n", request.body.len()));
    }
    text.push_str("connection: close\r\n\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend(&request.body);
    bytes
}

/// `None` if it is no whole answer.
fn read(all: &[u8], is_head: bool) -> Option<Answer> {
    // What says that the client may go on comes before the answer.
    let all = all.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(all);
    let mut space = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut space);
    let Ok(httparse::Status::Complete(end)) = response.parse(all) else { return None };
    let headers: HeaderMap = response
        .headers
        .iter()
        .map(|header| {
            let name: http::HeaderName = header.name.parse().unwrap();
            (name, http::HeaderValue::from_bytes(header.value).unwrap())
        })
        .collect();
    let mut rest = all.get(end..)?;
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|value| value == "chunked") {
        loop {
            let line = rest.windows(2).position(|pair| pair == b"\r\n")?;
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
            body.extend(rest.get(line + 2..line + 2 + size)?);
            rest = rest.get(line + 2 + size + 2..)?;
            if size == 0 {
                break;
            }
        }
    } else if !is_head {
        body.extend(rest);
        let length =
            headers.get("content-length").map(|length| length.to_str().unwrap().parse::<usize>().unwrap());
        if length.is_some_and(|length| length != body.len()) {
            return None;
        }
    }
    Some(Answer { status: response.code?, headers, body })
}
