//! Uploads in parts, until they are completed.

use hanse_core::Result;
use hanse_logstore::Change;
use md5::{Digest as _, Md5};
use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use crate::access::{Decided, denied};
use crate::buckets::{current, delete_parts, owner};
use crate::conditions::{Conditions, time};
use crate::customer::{self, given_key};
use crate::encryption::{Under, show_encryption};
use crate::fault::{self, error};
use crate::intake::{Sealer, Taken};
use crate::lists::{Wanted, common_prefixes, encoder, most, page};
use crate::lock::{asked_lock, no_lock};
use crate::objects::{check_meta, meta, show_checksum, shown_type};
use crate::offered::{self, asked};
use crate::outgoing::Opener;
use crate::record::{self, Bucket, Checksum, Part, Upload};
use crate::sums::{Algorithm, Sum};
use crate::{ObjectStore, keys, quotas};

/// Source: S3 User Guide, "Amazon S3 multipart upload limits".
const PARTS_MAX: i32 = 10_000;

pub fn no_such_upload() -> S3Error {
    error(
        S3ErrorCode::NoSuchUpload,
        "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
    )
}

fn check_number(number: i32) -> S3Result<()> {
    if !(1..=PARTS_MAX).contains(&number) {
        return Err(error(
            S3ErrorCode::InvalidArgument,
            "Part number must be an integer between 1 and 10000, inclusive",
        ));
    }
    Ok(())
}

pub fn is_id(upload: &str) -> bool {
    upload.len() == keys::ID && upload.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The upload as a transaction finds it.
/// # Errors
/// Internal if it does not read.
pub fn upload_of(change: &Change<'_>, bucket: &Bucket, key: &str, id: &str) -> Result<Option<Upload>> {
    if current(change, bucket)?.is_none() {
        return Ok(None);
    }
    let found = change.get(&keys::upload(&bucket.id, key, id))?;
    found.map(|found| record::from_json(&found.value)).transpose()
}

/// What an upload's checksums are: the algorithm, and whether the object's is made of those of its parts. Source: S3 User
/// Guide, "Full object and composite checksum types".
fn checksums(
    algorithm: Option<&dto::ChecksumAlgorithm>,
    kind: Option<&dto::ChecksumType>,
) -> S3Result<(Option<Algorithm>, bool)> {
    let wrong = |message: String| Err(error(S3ErrorCode::InvalidRequest, message));
    let kind = kind.map(dto::ChecksumType::as_str);
    let Some(name) = algorithm else {
        return match kind {
            None => Ok((None, false)),
            Some(_) => wrong(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
                    .to_owned(),
            ),
        };
    };
    let Some(algorithm) = Algorithm::named(name.as_str()) else {
        return wrong("Checksum algorithm provided is unsupported.".to_owned());
    };
    match kind {
        None => Ok((Some(algorithm), algorithm != Algorithm::Crc64Nvme)),
        Some("COMPOSITE") if algorithm != Algorithm::Crc64Nvme => Ok((Some(algorithm), true)),
        Some("FULL_OBJECT") if algorithm.is_crc() => Ok((Some(algorithm), false)),
        Some(kind @ ("COMPOSITE" | "FULL_OBJECT")) => {
            let name = algorithm.name().to_lowercase();
            wrong(format!("The {kind} checksum type cannot be used with the {name} checksum algorithm."))
        }
        Some(_) => wrong("Value for x-amz-checksum-type header is invalid.".to_owned()),
    }
}

impl ObjectStore {
    pub(crate) async fn begin_upload(
        &self,
        request: S3Request<dto::CreateMultipartUploadInput>,
        decided: Decided,
    ) -> S3Result<S3Response<dto::CreateMultipartUploadOutput>> {
        let input = request.input;
        let asked = asked!(&input);
        offered::check(&asked)?;
        let meta = meta!(&input);
        check_meta(&meta)?;
        let customer = given_key!(&input).read(&decided)?;
        let under = self.under(&decided, &asked, customer).await?;
        let context = input.ssekms_encryption_context.clone().filter(|_| under.managed().is_some());
        let lock = asked_lock!(&input, decided.asker.cx.now())?;
        if decided.bucket()?.lock.is_none() && !lock.is_none() {
            return Err(no_lock());
        }
        let (algorithm, is_composite) =
            checksums(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
        let bucket = decided.bucket()?.clone();
        let id = decided.asker.cx.hex_id();
        let upload = Upload {
            key: input.key.clone(),
            started_at: decided.asker.cx.now().0,
            meta,
            algorithm: algorithm.map(|algorithm| algorithm.name().to_owned()),
            is_composite,
            customer: under.proof(&decided)?,
            managed: under.managed().cloned(),
            lock,
        };
        let place = keys::upload(&bucket.id, &input.key, &id);
        let is_there = self
            .0
            .store
            .write(move |change| {
                if current(change, &bucket)?.is_none() {
                    return Ok(false);
                }
                change.put(&place, record::to_json(&upload)?, &[])?;
                Ok(true)
            })
            .await
            .map_err(|error| fault::of(&error))?;
        if !is_there {
            return Err(crate::access::no_such_bucket());
        }
        let mut output = dto::CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type: algorithm.map(|_| shown_type(is_composite)),
            ssekms_encryption_context: context,
            ..Default::default()
        };
        show_encryption!(self, &decided.project_id, &mut output, under);
        Ok(S3Response::new(output))
    }

    /// Whether there is such an upload, before its bytes are taken.
    fn check_upload(&self, bucket: &Bucket, key: &str, id: &str) -> S3Result<Upload> {
        if !is_id(id) {
            return Err(no_such_upload());
        }
        let find = || -> Result<Option<Upload>> {
            let found = self.0.store.view()?.get(&keys::upload(&bucket.id, key, id))?;
            found.map(|found| record::from_json(&found.value)).transpose()
        };
        find().map_err(|error| fault::of(&error))?.ok_or_else(no_such_upload)
    }

    /// Makes a part of what has come in.
    async fn put_part(
        &self,
        decided: &Decided,
        key: String,
        id: String,
        number: i32,
        taken: Taken,
    ) -> S3Result<Part> {
        let bucket = decided.bucket()?.clone();
        let part = Part {
            modified_at: decided.asker.cx.now().0,
            etag: taken.etag(),
            piece: taken.piece,
            checksum: taken.checksum,
        };
        let (kept, staged) = (part.clone(), taken.staged);
        let is_there = self
            .add(decided, move |change| {
                if upload_of(change, &bucket, &key, &id)?.is_none() {
                    return Ok(false);
                }
                let place = keys::part(&id, number);
                let before = match change.get(&place)? {
                    Some(old) => record::from_json::<Part>(&old.value)?.piece.size,
                    None => 0,
                };
                let payloads: Vec<_> = staged.map(|staged| change.attach(staged)).into_iter().collect();
                quotas::count(change, &bucket, 0, i128::from(kept.piece.size) - i128::from(before))?;
                change.put(&place, record::to_json(&kept)?, &payloads)?;
                Ok(true)
            })
            .await?;
        if is_there { Ok(part) } else { Err(no_such_upload()) }
    }

    pub(crate) async fn upload_part(
        &self,
        request: S3Request<dto::UploadPartInput>,
        decided: Decided,
    ) -> S3Result<S3Response<dto::UploadPartOutput>> {
        let input = request.input;
        check_number(input.part_number)?;
        let upload = self.check_upload(decided.bucket()?, &input.key, &input.upload_id)?;
        let customer = given_key!(&input).read(&decided)?;
        customer::check(upload.customer.as_deref(), customer.as_ref())?;
        let under = Under::of(upload.managed.as_ref(), customer);
        let mut claimed = self.claimed(&request.headers)?;
        if let Some(algorithm) = upload.algorithm.as_deref().and_then(Algorithm::named) {
            if let Some(other) = claimed.algorithms().into_iter().find(|given| *given != algorithm) {
                let (expected, given) = (algorithm.name().to_lowercase(), other.name().to_lowercase());
                let message = format!(
                    "Checksum Type mismatch occurred, expected checksum Type: {expected}, actual checksum Type: {given}"
                );
                return Err(error(S3ErrorCode::InvalidRequest, message));
            }
            claimed.asked = Some(algorithm);
        }
        let taken = self.take(&decided, input.body, &claimed, request.trailing_headers, &under).await?;
        let part = self.put_part(&decided, input.key, input.upload_id, input.part_number, taken).await?;
        let mut output =
            dto::UploadPartOutput { e_tag: Some(dto::ETag::Strong(part.etag)), ..Default::default() };
        show_encryption!(self, &decided.project_id, &mut output, under);
        show_checksum!(&mut output, &part.checksum);
        Ok(S3Response::new(output))
    }

    pub(crate) async fn copy_part(
        &self,
        request: S3Request<dto::UploadPartCopyInput>,
        decided: Decided,
    ) -> S3Result<S3Response<dto::UploadPartCopyOutput>> {
        let input = request.input;
        let (customer, source_customer) = (given_key!(&input), given_key!(source & input));
        let (customer, source_customer) = (customer.read(&decided)?, source_customer.read(&decided)?);
        check_number(input.part_number)?;
        let (source, source_key, version) =
            self.source(&decided, &input.copy_source, input.expected_source_bucket_owner.as_deref())?;
        let upload = self.check_upload(decided.bucket()?, &input.key, &input.upload_id)?;
        let view = self.0.store.view().map_err(|error| fault::of(&error))?;
        let found = self.find(&view, &source, &source_key, version.as_deref());
        let hides_missing = self.hides_missing(&decided.asker, &source);
        let found = found.map_err(|error| if hides_missing { denied() } else { error })?;
        let demands = Conditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        customer::check(upload.customer.as_deref(), customer.as_ref())?;
        customer::check(found.object.rest.customer.as_deref(), source_customer.as_ref())?;
        demands.check_source(&found.object.head)?;
        let size = found.object.head.size;
        let range = match input.copy_source_range.as_deref() {
            None => 0..size,
            Some(text) => range(text, size)?,
        };
        if range.end - range.start > crate::intake::PUT_MAX {
            return Err(error(S3ErrorCode::EntityTooLarge, "A part has at most 5 GiB."));
        }
        let algorithm = upload.algorithm.as_deref().and_then(Algorithm::named);
        let under = Under::of(upload.managed.as_ref(), customer);
        let key = self.wrapping(&decided, &decided.project_id, &under).await?;
        let source_under = Under::of(found.object.rest.managed.as_ref(), source_customer);
        let source_key = self.wrapping(&decided, &source.project_id, &source_under).await?;
        let copy = async || -> Result<Taken> {
            let mut opener =
                Opener::new(view, &source_key, &found.object.rest.pieces, &found.payloads, range)?;
            let mut sealer = Sealer::new(&decided.asker.cx, &self.0.store, &key)?;
            let (mut md5, mut sum) = (Md5::new(), algorithm.map(Sum::new));
            while let Some(bytes) = opener.next().await? {
                md5.update(&bytes);
                if let Some(sum) = &mut sum {
                    sum.update(&bytes);
                }
                sealer.push(bytes).await?;
            }
            let (piece, staged) = sealer.finish().await?;
            let checksum = sum.map(|sum| Checksum {
                algorithm: sum.algorithm().name().to_owned(),
                value: sum.finish(),
                is_composite: false,
            });
            let md5 = if under.is_projects() { md5.finalize().into() } else { decided.asker.cx.bytes() };
            Ok(Taken { piece, staged, md5, checksum })
        };
        let taken = copy().await.map_err(|error| fault::of(&error))?;
        let part = self.put_part(&decided, input.key, input.upload_id, input.part_number, taken).await?;
        let mut result = dto::CopyPartResult {
            e_tag: Some(dto::ETag::Strong(part.etag)),
            last_modified: Some(time(hanse_core::Timestamp(part.modified_at))),
            ..Default::default()
        };
        show_checksum!(&mut result, &part.checksum);
        let mut output = dto::UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() };
        show_encryption!(self, &decided.project_id, &mut output, under);
        Ok(S3Response::new(output))
    }

    pub(crate) async fn abort_upload(
        &self,
        input: dto::AbortMultipartUploadInput,
        decided: Decided,
    ) -> S3Result<S3Response<dto::AbortMultipartUploadOutput>> {
        let bucket = decided.bucket()?.clone();
        if !is_id(&input.upload_id) {
            return Err(no_such_upload());
        }
        let is_there = self
            .0
            .store
            .write(move |change| {
                if upload_of(change, &bucket, &input.key, &input.upload_id)?.is_none() {
                    return Ok(false);
                }
                let freed = delete_parts(change, &input.upload_id)?;
                quotas::count(change, &bucket, 0, -i128::from(freed))?;
                change.delete(&keys::upload(&bucket.id, &input.key, &input.upload_id))?;
                Ok(true)
            })
            .await
            .map_err(|error| fault::of(&error))?;
        if !is_there {
            return Err(no_such_upload());
        }
        Ok(S3Response::with_status(dto::AbortMultipartUploadOutput::default(), http::StatusCode::NO_CONTENT))
    }

    pub(crate) fn list_parts(
        &self,
        input: dto::ListPartsInput,
        decided: &Decided,
    ) -> S3Result<S3Response<dto::ListPartsOutput>> {
        let upload = self.check_upload(decided.bucket()?, &input.key, &input.upload_id)?;
        let most = most(input.max_parts)?;
        let after = input.part_number_marker.unwrap_or(0).max(0);
        let read = || -> Result<(Vec<dto::Part>, bool)> {
            let view = self.0.store.view()?;
            let mut scan = view.scan_prefix(&keys::parts(&input.upload_id))?;
            scan.seek(&keys::part(&input.upload_id, after.saturating_add(1)))?;
            let mut parts = Vec::new();
            for found in scan {
                let (place, found) = found?;
                if i32::try_from(parts.len()).is_ok_and(|count| count >= most) {
                    return Ok((parts, true));
                }
                let part: Part = record::from_json(&found.value)?;
                let number = place
                    .get(place.len().saturating_sub(5)..)
                    .and_then(|digits| std::str::from_utf8(digits).ok());
                let mut shown = dto::Part {
                    part_number: number.and_then(|digits| digits.parse().ok()),
                    e_tag: Some(dto::ETag::Strong(part.etag)),
                    last_modified: Some(time(hanse_core::Timestamp(part.modified_at))),
                    size: i64::try_from(part.piece.size).ok(),
                    ..Default::default()
                };
                show_checksum!(&mut shown, &part.checksum);
                parts.push(shown);
            }
            Ok((parts, false))
        };
        let (parts, is_truncated) = read().map_err(|error| fault::of(&error))?;
        let last = parts.last().and_then(|last| last.part_number);
        let project = &decided.project_id;
        Ok(S3Response::new(dto::ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: Some(most),
            part_number_marker: Some(after),
            next_part_number_marker: last.filter(|_| is_truncated),
            is_truncated: Some(is_truncated),
            parts: Some(parts),
            owner: Some(owner(project)),
            initiator: Some(dto::Initiator { id: Some(project.clone()), display_name: None }),
            storage_class: Some(dto::StorageClass::from_static(dto::StorageClass::STANDARD)),
            checksum_type: upload.algorithm.as_ref().map(|_| shown_type(upload.is_composite)),
            checksum_algorithm: upload.algorithm.map(dto::ChecksumAlgorithm::from),
            ..Default::default()
        }))
    }

    pub(crate) fn list_uploads(
        &self,
        input: dto::ListMultipartUploadsInput,
        decided: &Decided,
    ) -> S3Result<S3Response<dto::ListMultipartUploadsOutput>> {
        let most = most(input.max_uploads)?;
        let encode = encoder(input.encoding_type.as_ref())?;
        let prefix = input.prefix.as_deref().unwrap_or_default();
        // Uploads of one key lie side by side, each with its id behind a zero byte; behind all of them without a marker.
        let after = match (input.key_marker.as_deref(), input.upload_id_marker.as_deref()) {
            (None | Some(""), _) => String::new(),
            (Some(key), Some(id)) if !id.is_empty() => format!("{key}\0{id}"),
            (Some(key), _) => format!("{key}\0g"),
        };
        let wanted = Wanted {
            start: keys::uploads(&decided.bucket()?.id),
            prefix,
            delimiter: input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty()),
            after: &after,
            most: usize::try_from(most).unwrap_or_default(),
        };
        let list =
            || page(&self.0.store.view()?, &wanted, |value| record::from_json::<Upload>(value).map(Some));
        let page = list().map_err(|error| fault::of(&error))?;
        let (is_truncated, last) = (page.is_truncated, page.last());
        let (ones, prefixes) = page.split();
        let project = &decided.project_id;
        let uploads = ones
            .into_iter()
            .filter_map(|(place, upload)| {
                let (key, id) = keys::split_id(place.as_bytes())?;
                Some(dto::MultipartUpload {
                    key: Some(encode(key)),
                    upload_id: Some(id.to_owned()),
                    initiated: Some(time(hanse_core::Timestamp(upload.started_at))),
                    owner: Some(owner(project)),
                    initiator: Some(dto::Initiator { id: Some(project.clone()), display_name: None }),
                    storage_class: Some(dto::StorageClass::from_static(dto::StorageClass::STANDARD)),
                    ..Default::default()
                })
            })
            .collect();
        let (next_key, next_id) = match last.as_deref().map(|last| (last, keys::split_id(last.as_bytes()))) {
            Some((_, Some((key, id)))) => (Some(encode(key)), Some(id.to_owned())),
            Some((prefix, None)) => (Some(encode(prefix)), None),
            None => (None, None),
        };
        Ok(S3Response::new(dto::ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: Some(encode(prefix)),
            delimiter: input.delimiter.as_deref().map(encode),
            key_marker: input.key_marker,
            upload_id_marker: input.upload_id_marker,
            next_key_marker: next_key,
            next_upload_id_marker: next_id,
            max_uploads: Some(most),
            is_truncated: Some(is_truncated),
            uploads: Some(uploads),
            common_prefixes: common_prefixes(prefixes, encode),
            encoding_type: input.encoding_type,
            request_charged: None,
        }))
    }
}

/// The range of a source that becomes a part.
fn range(text: &str, size: u64) -> S3Result<std::ops::Range<u64>> {
    let wrong = || {
        error(
            S3ErrorCode::InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based \
             offsets of the first and last bytes to copy",
        )
    };
    let (first, last) =
        text.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or_else(wrong)?;
    let (first, last): (u64, u64) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
    if first > last {
        return Err(wrong());
    }
    if last >= size {
        return Err(error(S3ErrorCode::InvalidRange, "The requested range is not satisfiable"));
    }
    Ok(first..last + 1)
}
