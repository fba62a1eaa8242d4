use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::Body;
use hanse_core::{CrashPoints, Cx, Error, ManualClock, Result, Uuid};
use hanse_image::ports::ImageStore;
use hanse_image::{Config, Deps, service};
use hanse_node::StoredImage;
use hanse_node::agent::Bytes;
use hanse_node::documents::DiskFormat;
use hanse_store::{Db, Migrations};
use hanse_testkit::{Answer, Client, TestDb, context, databases};
use hanse_work::Runner;
use http::Method;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

const ALL: &[Migrations] = &[hanse_store::MIGRATIONS, hanse_work::MIGRATIONS, hanse_image::MIGRATIONS];

/// Keeps bytes in memory; refuses qcow2 without its magic number, as the agent does.
#[derive(Default)]
pub struct Memory {
    pub kept: Mutex<BTreeMap<Uuid, Vec<u8>>>,
}

#[async_trait]
impl ImageStore for Memory {
    async fn put(&self, id: Uuid, format: DiskFormat, limit: u64, mut bytes: Bytes) -> Result<StoredImage> {
        let mut all = Vec::new();
        let read = bytes.read_to_end(&mut all).await;
        // What has arrived lies about, whatever becomes of the upload.
        self.kept.lock().unwrap().insert(id, all.clone());
        read.map_err(|error| Error::bad_request("the upload broke off").because(error))?;
        if all.len() as u64 > limit {
            return Err(Error::too_large("The image is larger than this cloud allows."));
        }
        if format == DiskFormat::Qcow2 && !all.starts_with(b"QFI\xfb") {
            return Err(Error::bad_request("The data is not qcow2, as disk_format says."));
        }
        let size = all.len() as u64;
        Ok(StoredImage {
            size,
            virtual_size: size * 2,
            md5: format!("md5-{size}"),
            sha512: format!("sha-{size}"),
        })
    }

    async fn read(&self, id: Uuid) -> Result<(u64, Bytes)> {
        let all = self.kept.lock().unwrap().get(&id).cloned();
        let all = all.ok_or_else(|| Error::not_found("Data", id))?;
        Ok((all.len() as u64, Box::pin(std::io::Cursor::new(all))))
    }

    async fn delete(&self, id: Uuid) -> Result<()> {
        self.kept.lock().unwrap().remove(&id);
        Ok(())
    }
}

pub struct Bench {
    pub cx: Cx,
    pub clock: Arc<ManualClock>,
    pub test: TestDb,
    pub store: Arc<Memory>,
    pub client: Client,
    pub runner: Runner,
}

/// One bench for each engine.
pub async fn benches() -> Vec<Bench> {
    benches_with(CrashPoints::none()).await
}

pub async fn benches_with(crash: CrashPoints) -> Vec<Bench> {
    let (cx, clock) = context();
    let mut all = Vec::new();
    for test in databases(&cx, ALL).await {
        let store = Arc::new(Memory::default());
        let (client, runner) = parts(&cx, &test.db, &store, &crash);
        all.push(Bench { cx: cx.clone(), clock: clock.clone(), test, store, client, runner });
    }
    all
}

fn parts(cx: &Cx, db: &Db, store: &Arc<Memory>, crash: &CrashPoints) -> (Client, Runner) {
    let service = service(Deps {
        db: db.clone(),
        store: store.clone(),
        public_url: "https://cloud.example".into(),
        config: Config { images_per_project: 5, max_image_bytes: 1 << 20 },
        crash: crash.clone(),
    });
    let client = Client::new(cx, &service);
    (client, Runner::new(db.clone(), cx, service.reconcilers, crash.clone()))
}

impl Bench {
    /// Creates a raw image with these further attributes.
    pub async fn create(&self, token: &str, mut more: Value) -> Value {
        let mut body = json!({"name": "debian", "container_format": "bare", "disk_format": "raw"});
        body.as_object_mut().unwrap().append(more.as_object_mut().unwrap());
        self.client.post("/image/v2/images", token, body).await.expect(201).json()
    }

    pub async fn upload(&self, token: &str, id: &str, bytes: Vec<u8>) -> Answer {
        let path = format!("/image/v2/images/{id}/file");
        let kind = [("content-type", "application/octet-stream")];
        self.client.send(Method::PUT, &path, token, &kind, Body::from(bytes)).await
    }

    pub async fn patch(&self, token: &str, id: &str, changes: Value) -> Answer {
        let path = format!("/image/v2/images/{id}");
        let kind = [("content-type", "application/openstack-images-v2.1-json-patch")];
        self.client.send(Method::PATCH, &path, token, &kind, Body::from(changes.to_string())).await
    }

    pub async fn status(&self, id: &str) -> String {
        let image = self.client.get(&format!("/image/v2/images/{id}"), "admin@ops").await.expect(200).json();
        image["status"].as_str().unwrap().to_owned()
    }

    pub async fn names(&self, token: &str, query: &str) -> Vec<String> {
        let list = self.client.get(&format!("/image/v2/images?{query}"), token).await.expect(200).json();
        let images = list["images"].as_array().unwrap();
        images.iter().map(|image| image["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Lets the reconcilers do what is due.
    pub async fn settle(&self) {
        self.runner.drain().await.unwrap();
    }
}

pub fn id(image: &Value) -> &str {
    image["id"].as_str().unwrap()
}

impl Bench {
    /// Makes everything that waits due: PostgreSQL's clock is not the test's.
    pub async fn wake_all(&self) {
        let grant = hanse_policy::Grant::reconciler(&self.cx, "test", "all");
        let due = "UPDATE work_items SET due_at = 0";
        self.test
            .db
            .write(&self.cx, &grant, |tx| Box::pin(hanse_store::query(due).execute(tx)))
            .await
            .unwrap();
    }
}
