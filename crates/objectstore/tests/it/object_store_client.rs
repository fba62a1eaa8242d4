//! The crate `object_store`, by which programs in Rust (DataFusion, Delta Lake, …) reach S3. What it sends goes over a
//! connection of the test's own, since its usual one (`reqwest`) is a long build.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut, S3CopyIfNotExists};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use object_store::path::Path;
use object_store::signer::Signer as _;
use object_store::{
    Attribute, Attributes, ClientOptions, Error, GetOptions, ObjectStore, ObjectStoreExt as _, PutMode,
    PutOptions, PutPayload, UpdateVersion, WriteMultipart,
};

use crate::client::Request;
use crate::cloud::{Cloud, secret};

/// A connection for each request.
#[derive(Debug)]
struct Connections;

impl HttpConnector for Connections {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Connections))
    }
}

#[async_trait]
impl HttpService for Connections {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let failed = |error: hyper::Error| HttpError::new(HttpErrorKind::Request, error);
        let authority = request.uri().authority().unwrap().clone();
        let path = request.uri().path_and_query().unwrap().as_str().parse().unwrap();
        *request.uri_mut() = path;
        request.headers_mut().insert("host", authority.as_str().parse().unwrap());
        let stream = tokio::net::TcpStream::connect(authority.as_str()).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(failed)?;
        let to_body = |body: hyper::body::Incoming| {
            HttpResponseBody::new(body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error)))
        };
        Ok(answer.map(to_body))
    }
}

fn store(cloud: &Cloud, access: &str) -> AmazonS3 {
    AmazonS3Builder::new()
        .with_endpoint(format!("http://{}", cloud.address))
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_bucket_name("lake")
        .with_http_connector(Connections)
        .with_access_key_id(access)
        .with_secret_access_key(secret(access))
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_copy_if_not_exists(S3CopyIfNotExists::Multipart)
        .build()
        .unwrap()
}

async fn names(store: &AmazonS3, prefix: &str) -> Vec<String> {
    let prefix = Path::from(prefix);
    let found: Vec<_> = store.list(Some(&prefix)).try_collect().await.unwrap();
    found.into_iter().map(|meta| meta.location.to_string()).collect()
}

#[tokio::test]
async fn objects_go_there_and_back() {
    let cloud = Cloud::start().await;
    cloud.member("lake").await;
    let store = store(&cloud, "member-mine");
    let path = Path::from("table/part 1/ä+b.parquet");
    let attributes = Attributes::from_iter([
        (Attribute::ContentType, "text/x"),
        (Attribute::Metadata("color".into()), "red"),
    ]);
    let options = PutOptions { attributes: attributes.clone(), ..PutOptions::default() };
    let put = store.put_opts(&path, PutPayload::from_static(b"0123456789"), options).await.unwrap();
    let got = store.get(&path).await.unwrap();
    assert_eq!((got.attributes.clone(), got.meta.e_tag.clone()), (attributes, put.e_tag.clone()));
    assert_eq!(got.bytes().await.unwrap(), "0123456789");
    assert_eq!(store.get_range(&path, 2..5).await.unwrap(), "234");
    assert_eq!(store.get_ranges(&path, &[0..1, 8..10]).await.unwrap(), ["0", "89"]);
    assert_eq!(store.head(&path).await.unwrap().size, 10);
    // Conditions of a read.
    let fresh = GetOptions { if_none_match: put.e_tag.clone(), ..GetOptions::default() };
    assert!(matches!(store.get_opts(&path, fresh).await, Err(Error::NotModified { .. })));
    let wrong = GetOptions { if_match: Some("\"other\"".to_owned()), ..GetOptions::default() };
    assert!(matches!(store.get_opts(&path, wrong).await, Err(Error::Precondition { .. })));
    assert!(matches!(store.get(&Path::from("nothing")).await, Err(Error::NotFound { .. })));
    // Whoever may not, may not by this client either.
    let stranger = self::store(&cloud, "member-other");
    assert!(matches!(stranger.get(&path).await, Err(Error::PermissionDenied { .. })));
}

#[tokio::test]
async fn of_many_writers_one_wins() {
    let cloud = Cloud::start().await;
    cloud.member("lake").await;
    let store = Arc::new(store(&cloud, "member-mine"));
    let path = Path::from("_log/0.json");
    let put = async |mode: PutMode, body: String| {
        let options = PutOptions { mode, ..PutOptions::default() };
        store.put_opts(&path, PutPayload::from(body), options).await
    };
    // As Delta Lake commits: only who comes first makes it.
    let racing = (0..8).map(|writer| put(PutMode::Create, writer.to_string()));
    let done = futures_util::future::join_all(racing).await;
    let (won, lost): (Vec<_>, Vec<_>) = done.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 7));
    assert!(lost.iter().all(|lost| matches!(lost, Err(Error::AlreadyExists { .. }))), "{lost:?}");
    // And only who knows the last one replaces it.
    let version = || UpdateVersion::from(won[0].as_ref().unwrap().clone());
    let racing = (0..8).map(|writer| put(PutMode::Update(version()), format!("second {writer}")));
    let done = futures_util::future::join_all(racing).await;
    let (won, lost): (Vec<_>, Vec<_>) = done.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 7));
    assert!(lost.iter().all(|lost| matches!(lost, Err(Error::Precondition { .. }))), "{lost:?}");
    let body = store.get(&path).await.unwrap().bytes().await.unwrap();
    assert!(body.starts_with(b"second "), "{body:?}");
}

#[tokio::test]
async fn lists_copies_and_deletions() {
    let cloud = Cloud::start().await;
    cloud.member("lake").await;
    let store = store(&cloud, "member-mine");
    for name in ["a/1", "a/2", "a/deep/3", "a/deep/4", "b/5"] {
        store.put(&Path::from(name), PutPayload::from_static(b"x")).await.unwrap();
    }
    assert_eq!(names(&store, "a").await, ["a/1", "a/2", "a/deep/3", "a/deep/4"]);
    let offset = Path::from("a/2");
    let behind: Vec<_> = store.list_with_offset(Some(&Path::from("a")), &offset).try_collect().await.unwrap();
    assert_eq!(behind.len(), 2);
    let level = store.list_with_delimiter(Some(&Path::from("a"))).await.unwrap();
    assert_eq!(level.common_prefixes, [Path::from("a/deep")]);
    assert_eq!(level.objects.iter().map(|meta| meta.location.as_ref()).collect::<Vec<_>>(), ["a/1", "a/2"]);
    let (from, onto) = (Path::from("a/1"), Path::from("c/1"));
    store.copy(&from, &onto).await.unwrap();
    assert_eq!(store.get(&onto).await.unwrap().bytes().await.unwrap(), "x");
    // By a part that is copied, and a completion that demands that nothing is there.
    let taken = store.copy_if_not_exists(&from, &onto).await;
    assert!(matches!(taken, Err(Error::AlreadyExists { .. })), "{taken:?}");
    store.copy_if_not_exists(&from, &Path::from("c/2")).await.unwrap();
    store.rename(&Path::from("c/2"), &Path::from("c/3")).await.unwrap();
    assert_eq!(names(&store, "c").await, ["c/1", "c/3"]);
    let all: Vec<_> = store.list(None).map_ok(|meta| meta.location).try_collect().await.unwrap();
    let all = futures_util::stream::iter(all.into_iter().map(Ok));
    let deleted: Vec<_> = store.delete_stream(Box::pin(all)).try_collect().await.unwrap();
    assert_eq!(deleted.len(), 7);
    assert_eq!(names(&store, "").await, Vec::<String>::new());
}

#[tokio::test]
async fn large_objects_come_in_parts_and_urls_are_signed() {
    let cloud = Cloud::start().await;
    let client = cloud.member("lake").await;
    let store = store(&cloud, "member-mine");
    let body: Vec<u8> = (0..13_000_000_u32).map(|n| (n % 251) as u8).collect();
    let path = Path::from("large");
    let mut upload = WriteMultipart::new(store.put_multipart(&path).await.unwrap());
    body.chunks(1_000_000).for_each(|chunk| upload.write(chunk));
    upload.finish().await.unwrap();
    assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == body);
    let mut upload = store.put_multipart(&Path::from("left")).await.unwrap();
    upload.put_part(vec![1; 5 << 20].into()).await.unwrap();
    upload.abort().await.unwrap();
    assert!(client.get("/lake?uploads").await.expect(200).elements("UploadId").is_empty());
    let url = store.signed_url(http::Method::GET, &path, Duration::from_secs(60)).await.unwrap();
    let read =
        client.send_presigned(&Request::new("GET", url.path()), url.query().unwrap()).await.expect(200);
    assert!(read.body == body);
    let url =
        store.signed_url(http::Method::PUT, &Path::from("by url"), Duration::from_secs(60)).await.unwrap();
    let put = Request::new("PUT", &url.path().replace("%20", " ")).body(b"put");
    client.send_presigned(&put, url.query().unwrap()).await.expect(200);
    assert_eq!(store.get(&Path::from("by url")).await.unwrap().bytes().await.unwrap(), "put");
}
