//! The language of bucket policies: reads them, decides by them, says whether they are public. What is not understood is
//! refused when a policy is put, since a condition that is skipped opens what it should close.
//!
//! Source: S3 User Guide, "Bucket policies for Amazon S3"; IAM User Guide, "IAM JSON policy reference".

pub mod actions;
mod conditions;
mod document;
mod keys;
mod matching;
mod principals;
#[cfg(test)]
mod tests;
mod values;

use std::sync::Arc;

use http::StatusCode;
use s3s::{S3Error, S3Result};

use crate::fault::named;

use document::{Effect, Statement};
pub use keys::Key;
use keys::Subject;
pub use principals::Principal;

/// Source: S3 User Guide, "Adding a bucket policy by using the Amazon S3 console".
const TEXT_MAX: usize = 20 << 10;

/// What a request is about, within the bucket of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'r> {
    Bucket,
    Object(&'r str),
}

/// What a policy decides about.
pub struct Request<'r> {
    /// Nobody, if it is not signed.
    pub principal: Option<&'r Principal>,
    /// Such as `s3:GetObject`.
    pub action: &'r str,
    pub resource: Resource<'r>,
    /// The values of a key, none if the request has no such thing. Asked only for what a statement needs to know; an error
    /// is what `decide` answers, since "cannot be read" must not count as "is not there".
    pub context: &'r dyn Fn(&Key) -> S3Result<Vec<String>>,
}

impl Request<'_> {
    fn values(&self, subject: &Subject) -> S3Result<Vec<String>> {
        match subject {
            Subject::Principal(attribute) => Ok(attribute.of(self.principal).into_iter().collect()),
            Subject::Context(key) => (self.context)(key),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow,
    Deny,
    /// No statement is about the request.
    Silent,
}

/// A policy of a bucket. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Policy(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    text: String,
    bucket: String,
    statements: Vec<Statement>,
}

fn malformed(message: impl Into<String>) -> S3Error {
    named("MalformedPolicy", StatusCode::BAD_REQUEST, message)
}

impl Policy {
    /// # Errors
    /// `MalformedPolicy` says what is wrong and in which statement; `PolicyTooLarge`.
    pub fn parse(text: &[u8], bucket: &str) -> S3Result<Policy> {
        if text.len() > TEXT_MAX {
            let message = "Policy exceeds the maximum allowed document size.";
            return Err(named("PolicyTooLarge", StatusCode::BAD_REQUEST, message));
        }
        let statements = document::parse(text, bucket).map_err(malformed)?;
        let text = std::str::from_utf8(text).map_err(|error| malformed(error.to_string()))?;
        Ok(Policy(Arc::new(Inner { text: text.to_owned(), bucket: bucket.to_owned(), statements })))
    }

    /// As it was put.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// What it says of a request. A `Deny` beats each `Allow`.
    ///
    /// # Errors
    /// What the context answers.
    pub fn decide(&self, request: &Request<'_>) -> S3Result<Decision> {
        let resource = match request.resource {
            Resource::Bucket => self.0.bucket.clone(),
            Resource::Object(key) => format!("{}/{key}", self.0.bucket),
        };
        let mut decision = Decision::Silent;
        for statement in &self.0.statements {
            let is_known = decision == Decision::Allow && statement.effect == Effect::Allow;
            if is_known || !statement.applies(request, &resource)? {
                continue;
            }
            match statement.effect {
                Effect::Allow => decision = Decision::Allow,
                Effect::Deny => return Ok(Decision::Deny),
            }
        }
        Ok(decision)
    }

    /// Whether there is a `Deny` in it.
    pub fn denies_something(&self) -> bool {
        self.0.statements.iter().any(|statement| statement.effect == Effect::Deny)
    }

    /// Whether it lets in others than those whom it names, as far as S3 calls that public. Source: S3 User Guide, "Blocking
    /// public access to your Amazon S3 storage", "The meaning of 'public'".
    pub fn is_public(&self) -> bool {
        self.0.statements.iter().any(Statement::is_public)
    }
}
