//! Many deletions in one request. Source: OpenStack Object Storage API Reference, "Bulk delete".

use http::{HeaderMap, StatusCode};
use s3s::{Body, HttpResponse};
use serde_json::json;

use super::auth::{Proof, Session};
use super::listing::{Format, format};
use super::reply::{Done, json as json_reply, refused, text};
use super::{Call, gather, split_names};
use crate::query;

pub const DELETES_MAX: usize = 1000;
/// Of so many names, each with every byte escaped, in bytes.
const BODY_MAX: usize = DELETES_MAX * (4 << 10);

/// A container, or an object in one.
pub type Name = (String, Option<String>);

/// What came of it.
#[derive(Default)]
pub struct Summary {
    deleted: usize,
    not_found: usize,
    /// What was not deleted, and why.
    errors: Vec<(String, String)>,
}

impl Summary {
    fn note(&mut self, name: impl FnOnce() -> String, done: Done<()>) {
        match done {
            Ok(()) => self.deleted += 1,
            Err(refused) if refused.status == StatusCode::NOT_FOUND => self.not_found += 1,
            Err(refused) => self.errors.push((name(), refused.line())),
        }
    }

    /// The request itself is answered with 200: what came of it stands in the body.
    pub fn show(&self, call: &Call) -> HttpResponse {
        let status = if self.errors.is_empty() { "200 OK" } else { "400 Bad Request" };
        if format(call) == Format::Json {
            let value = json!({
                "Number Deleted": self.deleted,
                "Number Not Found": self.not_found,
                "Response Status": status,
                "Response Body": "",
                "Errors": self.errors,
            });
            return json_reply(HeaderMap::new(), &value);
        }
        let errors: String = self.errors.iter().map(|(name, why)| format!("{name}, {why}\n")).collect();
        text(format!(
            "Number Deleted: {}\nNumber Not Found: {}\nResponse Body: \nResponse Status: {status}\nErrors:\n{errors}",
            self.deleted, self.not_found
        ))
    }
}

impl Session<'_> {
    pub async fn bulk_delete(&self, body: Body) -> Done {
        // Whoever is nobody may delete nothing, whatever is named.
        if matches!(self.proof, Proof::Nobody | Proof::Url(_)) {
            return Err(self.unauthorized());
        }
        let body = gather(body, BODY_MAX).await?;
        let lines: Vec<&[u8]> = body
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::trim_ascii)
            .filter(|line| !line.is_empty())
            .collect();
        if lines.len() > DELETES_MAX {
            let message = format!("Maximum Bulk Deletes: {DELETES_MAX} per request");
            return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        let read = |line: &[u8]| -> Done<Name> {
            let path = std::str::from_utf8(line).ok().and_then(query::unescape);
            let wrong = || refused(StatusCode::PRECONDITION_FAILED, "Invalid bulk delete.");
            split_names(path.ok_or_else(wrong)?.trim_start_matches('/'))
        };
        let (mut names, mut wrong) = (Vec::new(), Vec::new());
        for line in lines {
            match read(line) {
                Ok(name) => names.push(name),
                Err(refused) => wrong.push((String::from_utf8_lossy(line).into_owned(), refused.line())),
            }
        }
        let mut summary = self.delete_all(names).await;
        summary.errors.extend(wrong);
        Ok(summary.show(self.call))
    }

    /// Deletes what it may, and says what came of it.
    pub async fn delete_all(&self, names: Vec<Name>) -> Summary {
        let mut summary = Summary::default();
        let (objects, containers): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|(_, object)| object.is_some());
        // All at once: they share a sync of the disk. Containers come behind what is in them.
        let pending = objects.iter().map(|(container, object)| self.delete_one(container, object.as_deref()));
        let done = futures_util::future::join_all(pending).await;
        for ((container, object), done) in objects.iter().zip(done) {
            summary.note(|| format!("/{container}/{}", object.as_deref().unwrap_or_default()), done);
        }
        for (container, _) in containers {
            let done = self.delete_one(&container, None).await;
            summary.note(|| format!("/{container}"), done);
        }
        summary
    }

    async fn delete_one(&self, container: &str, object: Option<&str>) -> Done<()> {
        match object {
            Some(object) => self.delete_object(container, object).await?,
            None => self.delete_container(container).await?,
        };
        Ok(())
    }
}
