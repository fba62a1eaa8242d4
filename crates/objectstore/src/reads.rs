//! Objects on their way out: get and head.

use std::ops::Range;
use std::sync::Arc;

use hanse_logstore::View;
use s3s::dto;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use crate::ObjectStore;
use crate::access::Decided;
use crate::conditions::Conditions;
use crate::customer::{self, CustomerKey, given_key};
use crate::encryption::{Under, show_encryption};
use crate::fault::{self, error};
use crate::objects::{Found, show_checksum};
use crate::outgoing::{self, Opener};
use crate::record::{Bucket, Object};
use crate::{lock, versions};

/// What a request wants of an object.
struct Wanted<'r> {
    key: &'r str,
    version: Option<&'r str>,
    conditions: Conditions,
    range: Option<&'r dto::Range>,
    part: Option<i32>,
    /// The key that it brings to decrypt with.
    customer: Option<CustomerKey>,
}

/// Takes that out of an input of GetObject or HeadObject.
macro_rules! wanted {
    ($input:expr, $decided:expr) => {{
        let input = $input;
        Wanted {
            key: &input.key,
            version: input.version_id.as_deref(),
            conditions: Conditions {
                if_match: input.if_match.clone(),
                if_none_match: input.if_none_match.clone(),
                if_modified_since: input.if_modified_since.clone(),
                if_unmodified_since: input.if_unmodified_since.clone(),
            },
            range: input.range.as_ref(),
            part: input.part_number,
            customer: given_key!(input).read($decided)?,
        }
    }};
}

/// An object that may be shown.
struct Looked {
    view: View,
    bucket: Arc<Bucket>,
    found: Found,
    /// The bytes that are wanted; `None` for all of them.
    range: Option<Range<u64>>,
    under: Under,
}

impl Looked {
    fn object(&self) -> &Object {
        &self.found.object
    }

    fn bytes(&self) -> Range<u64> {
        self.range.clone().unwrap_or(0..self.object().head.size)
    }

    fn content_range(&self) -> Option<String> {
        let Range { start, end } = self.range.as_ref()?;
        Some(format!("bytes {start}-{}/{}", end.saturating_sub(1), self.object().head.size))
    }

    fn response<T>(&self, output: T) -> S3Response<T> {
        let mut response = S3Response::new(output);
        response.status = self.range.as_ref().map(|_| http::StatusCode::PARTIAL_CONTENT);
        response
    }
}

/// Shows an object in an output of either operation.
macro_rules! show {
    ($store:expr, $output:expr, $looked:expr, $input:expr) => {{
        let (looked, input): (&Looked, _) = ($looked, $input);
        let output = &mut $output;
        let (head, rest) = (&looked.object().head, &looked.object().rest);
        let bytes = looked.bytes();
        output.accept_ranges = Some("bytes".to_owned());
        output.content_length = i64::try_from(bytes.end - bytes.start).ok();
        output.content_range = looked.content_range();
        output.e_tag = Some(crate::objects::etag(head));
        output.last_modified = Some(crate::conditions::time(head.modified_at));
        output.version_id = versions::shown(&looked.bucket, head);
        show_encryption!($store, &looked.bucket.project_id, &mut *output, looked.under);
        output.parts_count = input
            .part_number
            .filter(|_| rest.is_multipart)
            .and_then(|_| i32::try_from(rest.pieces.len()).ok());
        if input.checksum_mode.is_some() && looked.range.is_none() {
            output.checksum_type = rest.checksum.as_ref().map(crate::objects::checksum_type);
            show_checksum!(&mut *output, &rest.checksum);
        }
        let kind = rest.meta.content_type.as_deref().unwrap_or("binary/octet-stream");
        output.content_type = kind.parse().ok();
        output.cache_control = rest.meta.cache_control.clone();
        output.content_disposition = rest.meta.content_disposition.clone();
        output.content_encoding = rest.meta.content_encoding.clone();
        output.content_language = rest.meta.content_language.clone();
        let expires = rest.meta.expires.map(hanse_core::Timestamp::from_seconds);
        output.expires = expires.map(crate::conditions::time);
        if let Some(own) = rest.lock.retention {
            output.object_lock_mode = Some(dto::ObjectLockMode::from_static(lock::mode_name(own.mode)));
            output.object_lock_retain_until_date =
                Some(crate::conditions::time(hanse_core::Timestamp(own.until)));
        }
        if rest.lock.legal_hold {
            output.object_lock_legal_hold_status =
                Some(dto::ObjectLockLegalHoldStatus::from_static(lock::hold_name(true)));
        }
        output.website_redirect_location = rest.meta.website_redirect_location.clone();
        output.metadata = Some(rest.meta.user.clone().into_iter().collect());
    }};
}

impl ObjectStore {
    fn look(&self, decided: &Decided, wanted: Wanted<'_>) -> S3Result<Looked> {
        let view = self.0.store.view().map_err(|error| fault::of(&error))?;
        let bucket = decided.bucket()?.clone();
        let found = self.find(&view, &bucket, wanted.key, wanted.version).map_err(|e| decided.missing(e))?;
        customer::check(found.object.rest.customer.as_deref(), wanted.customer.as_ref())?;
        wanted.conditions.check_read(&found.object.head)?;
        let range = range(&found.object, wanted.range, wanted.part)?;
        let under = Under::of(found.object.rest.managed.as_ref(), wanted.customer);
        Ok(Looked { view, bucket, found, range, under })
    }

    pub(crate) async fn get_object(
        &self,
        request: S3Request<dto::GetObjectInput>,
        decided: Decided,
    ) -> S3Result<S3Response<dto::GetObjectOutput>> {
        let input = request.input;
        let looked = self.look(&decided, wanted!(&input, &decided))?;
        let key = self.wrapping(&decided, &decided.project_id, &looked.under).await?;
        let (bytes, pieces) = (looked.bytes(), &looked.object().rest.pieces);
        let length = bytes.end - bytes.start;
        let body = match Opener::new(looked.view.clone(), &key, pieces, &looked.found.payloads, bytes) {
            Ok(opener) => outgoing::body(opener, length).await,
            Err(error) => Err(error),
        };
        let mut output = dto::GetObjectOutput {
            body: Some(body.map_err(|error| fault::of(&error))?),
            tag_count: i32::try_from(looked.object().rest.meta.tags.len()).ok().filter(|count| *count > 0),
            ..Default::default()
        };
        show!(self, output, &looked, &input);
        // Source: S3 API Reference, GetObject, "Overriding response header values through the request".
        if let Some(kind) = &input.response_content_type {
            output.content_type = kind.to_string().parse().ok();
        }
        output.cache_control = input.response_cache_control.or(output.cache_control);
        output.content_disposition = input.response_content_disposition.or(output.content_disposition);
        output.content_encoding = input.response_content_encoding.or(output.content_encoding);
        output.content_language = input.response_content_language.or(output.content_language);
        output.expires = input.response_expires.or(output.expires);
        Ok(looked.response(output))
    }

    pub(crate) fn head_object(
        &self,
        input: &dto::HeadObjectInput,
        decided: &Decided,
    ) -> S3Result<S3Response<dto::HeadObjectOutput>> {
        let looked = self.look(decided, wanted!(input, decided))?;
        let mut output = dto::HeadObjectOutput::default();
        show!(self, output, &looked, input);
        Ok(looked.response(output))
    }
}

/// The bytes that a request wants; `None` for all of them.
fn range(object: &Object, range: Option<&dto::Range>, part: Option<i32>) -> S3Result<Option<Range<u64>>> {
    let unsatisfiable = || error(S3ErrorCode::InvalidRange, "The requested range is not satisfiable");
    match (range, part) {
        (Some(_), Some(_)) => Err(error(
            S3ErrorCode::InvalidRequest,
            "Cannot specify both Range header and partNumber query parameter",
        )),
        (None, None) => Ok(None),
        (Some(range), None) => range.check(object.head.size).map(Some).map_err(|_| unsatisfiable()),
        (None, Some(number)) => {
            let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
            let index =
                index.ok_or_else(|| error(S3ErrorCode::InvalidArgument, "Part number must be at least 1"))?;
            let pieces = &object.rest.pieces;
            let piece = pieces.get(index).ok_or_else(|| {
                let status = http::StatusCode::RANGE_NOT_SATISFIABLE;
                fault::named("InvalidPartNumber", status, "The requested partnumber is not satisfiable")
            })?;
            let start: u64 = pieces.iter().take(index).map(|piece| piece.size).sum();
            Ok(Some(start..start + piece.size))
        }
    }
}
