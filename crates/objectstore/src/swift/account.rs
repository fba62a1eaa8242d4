//! Accounts: the containers of a project, and what is kept of it.

use hanse_core::{Error, Result};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::auth::Session;
use super::listing::{self, Asked, Line, Named};
use super::meta::POLICY;
use super::reply::{Done, empty, set, timestamp};
use super::{bucket_name, meta, walk};
use crate::record::{self, Bucket, Swift};
use crate::verbs::{LIST_BUCKETS, UPDATE_BUCKET};
use crate::{ObjectStore, fault, keys, lists, quotas};

/// What is kept of an account; nothing, until it is first changed.
///
/// # Errors
/// Internal if it does not read.
pub fn read(store: &ObjectStore, project_id: &str) -> Result<Swift> {
    match store.0.store.view()?.get(&keys::account(project_id))? {
        Some(found) => record::from_json(&found.value),
        None => Ok(Swift::default()),
    }
}

impl Session<'_> {
    pub fn show_account(&self) -> Done {
        self.decide(LIST_BUCKETS, None)?;
        let account = self.call.account.as_str();
        let view = self.store.0.store.view()?;
        let used = quotas::used(&view, &keys::usage(account))?;
        let start = keys::of_project(account);
        let mut headers = HeaderMap::new();
        let containers = view.scan_prefix(&start)?.count() as u64;
        // In all, and of the one storage policy.
        for kind in ["x-account".to_owned(), format!("x-account-storage-policy-{POLICY}")] {
            set(&mut headers, &format!("{kind}-container-count"), containers);
            set(&mut headers, &format!("{kind}-object-count"), used.objects);
            set(&mut headers, &format!("{kind}-bytes-used"), used.bytes);
        }
        set(&mut headers, "x-timestamp", timestamp(self.call.cx.now()));
        set(&mut headers, "accept-ranges", "bytes");
        self.show("account", &read(self.store, account)?, &mut headers)?;
        if self.call.method == http::Method::HEAD {
            set(&mut headers, "content-type", "text/plain; charset=utf-8");
            return Ok(empty(StatusCode::NO_CONTENT, headers));
        }
        let asked = Asked::of(self.call)?;
        let mut lines = Vec::new();
        for line in walk::lines(&view, &start, &asked, |_| Ok(Some(())))? {
            let (name, is_one) = match line {
                lists::Line::One(name, ()) => (name, true),
                lists::Line::CommonPrefix(name) => (name, false),
            };
            if !is_one {
                lines.push(listing::subdir(name));
                continue;
            }
            let place = keys::bucket(&bucket_name(account, &name));
            let Some(found) = view.get(&place)? else {
                return Err(Error::internal("a container is listed that is not there").into());
            };
            let bucket: Bucket = record::from_json(&found.value)?;
            let used = quotas::used(&view, &keys::bucket_usage(&bucket.id))?;
            let line: Line = vec![
                ("name", json!(name)),
                ("count", json!(used.objects)),
                ("bytes", json!(used.bytes)),
                ("last_modified", json!(bucket.created_at().iso_naive())),
            ];
            lines.push(line);
        }
        let name = format!("AUTH_{account}");
        let named = Named { kind: "account", name: &name, line: "container" };
        Ok(listing::show(asked.format, &named, lines, headers))
    }

    pub async fn update_account(&self) -> Done {
        let decided = match meta::is_about_quotas(&self.call.headers) {
            true => self.decide_quota()?,
            false => self.decide(UPDATE_BUCKET, None)?,
        };
        let wish = self.wish("account")?;
        let (changes_quota, changes_more) = wish.changes();
        if changes_quota && changes_more {
            self.decide(UPDATE_BUCKET, None)?;
        }
        let account = self.call.account.clone();
        wish.check(&read(self.store, &account)?)?;
        self.store.audit(&decided, &decided.grant(&account)?).await?;
        let written = self
            .store
            .0
            .store
            .write(move |change| {
                let place = keys::account(&account);
                let mut kept: Swift = match change.get(&place)? {
                    Some(found) => record::from_json(&found.value)?,
                    None => Swift::default(),
                };
                wish.apply(&mut kept);
                change.put(&place, record::to_json(&kept)?, &[])
            })
            .await;
        written.map_err(|error| fault::of(&error))?;
        self.store.0.quotas.forget(&self.call.account);
        Ok(empty(StatusCode::NO_CONTENT, HeaderMap::new()))
    }
}
