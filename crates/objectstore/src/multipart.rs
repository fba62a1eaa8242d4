//! Uploads in parts. Completing one names the payloads of its parts in the object's record: no bytes move, and it is one
//! transaction.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hanse_core::Result;
use hanse_logstore::Change;
use md5::{Digest as _, Md5};
use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use crate::access::Decided;
use crate::buckets::{add_usage, current, delete_parts, owner};
use crate::conditions::{Conditions, time};
use crate::fault::{self, error};
use crate::intake::{Sealer, Taken, hex};
use crate::lists::{Wanted, common_prefixes, encoder, most, page};
use crate::objects::{
    Put, check_meta, check_offered, checksum_type, encryption, etag, meta, put, show_checksum,
};
use crate::outgoing::Opener;
use crate::record::{self, Bucket, Checksum, Head, Object, Part, Rest, Upload};
use crate::sums::{Algorithm, Sum};
use crate::{ObjectStore, keys, versions};

/// Source: S3 User Guide, "Amazon S3 multipart upload limits".
const PARTS_MAX: i32 = 10_000;
const PART_MIN: u64 = 5 << 20;
const OBJECT_MAX: u64 = 5 << 40;

fn no_such_upload() -> S3Error {
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

fn is_id(upload: &str) -> bool {
    upload.len() == keys::ID && upload.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The upload as a transaction finds it.
fn upload_of(change: &Change<'_>, bucket: &Bucket, key: &str, id: &str) -> Result<Option<Upload>> {
    if current(change, bucket)?.is_none() {
        return Ok(None);
    }
    let found = change.get(&keys::upload(&bucket.id, key, id))?;
    found.map(|found| record::from_json(&found.value)).transpose()
}

/// What a checksum of a whole is made from: the checksums of its parts.
fn composite(algorithm: Algorithm, parts: &[Part]) -> Option<Checksum> {
    let mut sum = Sum::new(algorithm);
    for part in parts {
        let checksum = part.checksum.as_ref().filter(|own| own.algorithm == algorithm.name())?;
        sum.update(&BASE64.decode(&checksum.value).ok()?);
    }
    Some(Checksum {
        algorithm: algorithm.name().to_owned(),
        value: format!("{}-{}", sum.finish(), parts.len()),
        is_composite: true,
    })
}

impl ObjectStore {
    pub(crate) async fn begin_upload(
        &self,
        request: S3Request<dto::CreateMultipartUploadInput>,
        decided: Decided,
    ) -> S3Result<S3Response<dto::CreateMultipartUploadOutput>> {
        check_offered(&request.headers)?;
        let input = request.input;
        let meta = meta!(&input);
        check_meta(&meta)?;
        let algorithm = match &input.checksum_algorithm {
            None => None,
            Some(name) => Some(Algorithm::named(name.as_str()).ok_or_else(|| {
                error(S3ErrorCode::InvalidRequest, "Checksum algorithm provided is unsupported.")
            })?),
        };
        let is_composite = match input.checksum_type.as_ref().map(dto::ChecksumType::as_str) {
            None => algorithm.is_some_and(|algorithm| algorithm != Algorithm::Crc64Nvme),
            Some("COMPOSITE") => true,
            Some("FULL_OBJECT") => {
                return Err(error(
                    S3ErrorCode::NotImplemented,
                    "Checksums of whole objects are not offered for uploads in parts.",
                ));
            }
            Some(_) => {
                return Err(error(
                    S3ErrorCode::InvalidRequest,
                    "Value for x-amz-checksum-type header is invalid.",
                ));
            }
        };
        let bucket = decided.bucket()?.clone();
        let id = decided.cx.hex_id();
        let upload = Upload {
            key: input.key.clone(),
            started_at: decided.cx.now().0,
            meta,
            algorithm: algorithm.map(|algorithm| algorithm.name().to_owned()),
            is_composite,
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
        Ok(S3Response::new(dto::CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            server_side_encryption: encryption(),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type: is_composite.then(|| dto::ChecksumType::from_static(dto::ChecksumType::COMPOSITE)),
            ..Default::default()
        }))
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
            modified_at: decided.cx.now().0,
            etag: taken.etag(),
            piece: taken.piece,
            checksum: taken.checksum,
        };
        let (kept, staged) = (part.clone(), taken.staged);
        let is_there = self
            .0
            .store
            .write(move |change| {
                if upload_of(change, &bucket, &key, &id)?.is_none() {
                    return Ok(false);
                }
                let place = keys::part(&id, number);
                let before = match change.get(&place)? {
                    Some(old) => record::from_json::<Part>(&old.value)?.piece.size,
                    None => 0,
                };
                let payloads: Vec<_> = staged.map(|staged| change.attach(staged)).into_iter().collect();
                add_usage(change, &bucket.project_id, 0, i128::from(kept.piece.size) - i128::from(before))?;
                change.put(&place, record::to_json(&kept)?, &payloads)?;
                Ok(true)
            })
            .await
            .map_err(|error| fault::of(&error))?;
        if is_there { Ok(part) } else { Err(no_such_upload()) }
    }

    pub(crate) async fn upload_part(
        &self,
        request: S3Request<dto::UploadPartInput>,
        decided: Decided,
    ) -> S3Result<S3Response<dto::UploadPartOutput>> {
        check_offered(&request.headers)?;
        let input = request.input;
        check_number(input.part_number)?;
        self.check_upload(decided.bucket()?, &input.key, &input.upload_id)?;
        let taken = self.take(&decided, input.body, &request.headers, request.trailing_headers).await?;
        let part = self.put_part(&decided, input.key, input.upload_id, input.part_number, taken).await?;
        let mut output = dto::UploadPartOutput {
            e_tag: Some(dto::ETag::Strong(part.etag)),
            server_side_encryption: encryption(),
            ..Default::default()
        };
        show_checksum!(&mut output, &part.checksum);
        Ok(S3Response::new(output))
    }

    pub(crate) async fn copy_part(
        &self,
        request: S3Request<dto::UploadPartCopyInput>,
        decided: Decided,
    ) -> S3Result<S3Response<dto::UploadPartCopyOutput>> {
        check_offered(&request.headers)?;
        let input = request.input;
        check_number(input.part_number)?;
        let (source, source_key, version) = self.source(&decided, &input.copy_source)?;
        let upload = self.check_upload(decided.bucket()?, &input.key, &input.upload_id)?;
        let view = self.0.store.view().map_err(|error| fault::of(&error))?;
        let found = self.find(&view, &source, &source_key, version.as_deref())?;
        let demands = Conditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
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
        let copy = async || -> Result<Taken> {
            let project = self.0.projects.of(&decided.cx, &decided.project_id).await?;
            let mut opener = Opener::new(view, &project, &found.object.rest.pieces, &found.payloads, range)?;
            let mut sealer = Sealer::new(&decided.cx, &self.0.store, &project)?;
            let (mut md5, mut sum) = (Md5::new(), algorithm.map(Sum::new));
            while let Some(bytes) = opener.next().await? {
                md5.update(&bytes);
                if let Some(sum) = &mut sum {
                    sum.update(&bytes);
                }
                sealer.push(&bytes).await?;
            }
            let (piece, staged) = sealer.finish().await?;
            let checksum = sum.map(|sum| Checksum {
                algorithm: sum.algorithm().name().to_owned(),
                value: sum.finish(),
                is_composite: false,
            });
            Ok(Taken { piece, staged, md5: md5.finalize().into(), checksum })
        };
        let taken = copy().await.map_err(|error| fault::of(&error))?;
        let part = self.put_part(&decided, input.key, input.upload_id, input.part_number, taken).await?;
        let mut result = dto::CopyPartResult {
            e_tag: Some(dto::ETag::Strong(part.etag)),
            last_modified: Some(time(hanse_core::Timestamp(part.modified_at))),
            ..Default::default()
        };
        show_checksum!(&mut result, &part.checksum);
        Ok(S3Response::new(dto::UploadPartCopyOutput {
            copy_part_result: Some(result),
            server_side_encryption: encryption(),
            ..Default::default()
        }))
    }

    pub(crate) async fn complete_upload(
        &self,
        input: dto::CompleteMultipartUploadInput,
        decided: Decided,
    ) -> S3Result<S3Response<dto::CompleteMultipartUploadOutput>> {
        let bucket = decided.bucket()?.clone();
        if !is_id(&input.upload_id) {
            return Err(no_such_upload());
        }
        let listed = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        if listed.is_empty() {
            return Err(error(S3ErrorCode::MalformedXML, "You must specify at least one part"));
        }
        let conditions = Conditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            ..Conditions::default()
        };
        let completing = Completing {
            bucket: (*bucket).clone(),
            key: input.key.clone(),
            id: input.upload_id,
            listed,
            size: input.mpu_object_size,
            now: decided.cx.now(),
            version: versions::new_id(&decided.cx),
        };
        let done = self
            .0
            .store
            .write(move |change| completing.run(change, &conditions))
            .await
            .map_err(|error| fault::of(&error))?;
        let object = done?;
        let mut output = dto::CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(etag(&object.head)),
            version_id: object.head.version.clone(),
            server_side_encryption: encryption(),
            checksum_type: object.rest.checksum.as_ref().map(checksum_type),
            ..Default::default()
        };
        show_checksum!(&mut output, &object.rest.checksum);
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
                add_usage(change, &bucket.project_id, 0, -i128::from(freed))?;
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

/// An upload on its way to become an object.
struct Completing {
    bucket: Bucket,
    key: String,
    id: String,
    listed: Vec<dto::CompletedPart>,
    size: Option<i64>,
    now: hanse_core::Timestamp,
    /// The id of the version that it becomes, if the bucket has versions.
    version: String,
}

impl Completing {
    /// # Errors
    /// Internal if the store cannot be read; the inner error is the client's.
    fn run(self, change: &mut Change<'_>, conditions: &Conditions) -> Result<S3Result<Object>> {
        let Some(upload) = upload_of(change, &self.bucket, &self.key, &self.id)? else {
            return Ok(Err(no_such_upload()));
        };
        let (parts, payloads) = match self.parts(change)? {
            Ok(found) => found,
            Err(refused) => return Ok(Err(refused)),
        };
        let size: u64 = parts.iter().map(|part| part.piece.size).sum();
        if size > OBJECT_MAX {
            return Ok(Err(error(S3ErrorCode::EntityTooLarge, "An object has at most 5 TiB.")));
        }
        if self.size.is_some_and(|said| u64::try_from(said) != Ok(size)) {
            let message = "The provided 'x-amz-mp-object-size' header does not match the size of the parts.";
            return Ok(Err(error(S3ErrorCode::InvalidRequest, message)));
        }
        let mut md5 = Md5::new();
        for part in &parts {
            let digits = part.etag.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
            let bytes: Vec<u8> = digits.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect();
            md5.update(bytes);
        }
        let algorithm =
            upload.algorithm.as_deref().and_then(Algorithm::named).filter(|_| upload.is_composite);
        let mut object = Object {
            head: Head {
                modified_at: self.now,
                size,
                etag: format!("{}-{}", hex(&md5.finalize()), parts.len()),
                version: None,
                is_marker: false,
            },
            rest: Rest {
                meta: upload.meta,
                checksum: algorithm.and_then(|algorithm| composite(algorithm, &parts)),
                pieces: parts.into_iter().map(|part| part.piece).collect(),
                is_multipart: true,
            },
        };
        match put(change, &self.bucket, &self.key, &mut object, &payloads, conditions, &self.version)? {
            Put::Done => {}
            other => return Ok(other.done().map(|()| object)),
        }
        // What was counted as parts counts as an object now; what was not listed goes.
        let freed = delete_parts(change, &self.id)?;
        add_usage(change, &self.bucket.project_id, 0, -i128::from(freed))?;
        change.delete(&keys::upload(&self.bucket.id, &self.key, &self.id))?;
        Ok(Ok(object))
    }

    /// The parts that the client lists, with their payloads.
    fn parts(&self, change: &Change<'_>) -> Result<S3Result<(Vec<Part>, Vec<hanse_logstore::PayloadId>)>> {
        let (mut parts, mut payloads, mut before) = (Vec::new(), Vec::new(), 0);
        for (index, listed) in self.listed.iter().enumerate() {
            let number = listed.part_number.unwrap_or(0);
            if number <= before {
                let message =
                    "The list of parts was not in ascending order. Parts must be ordered by part number.";
                return Ok(Err(error(S3ErrorCode::InvalidPartOrder, message)));
            }
            before = number;
            let found = change.get(&keys::part(&self.id, number))?;
            let part: Option<Part> =
                found.as_ref().map(|found| record::from_json(&found.value)).transpose()?;
            let is_it = |part: &Part| listed.e_tag.as_ref().is_none_or(|tag| tag.value() == part.etag);
            let (Some(found), Some(part)) = (found, part.filter(is_it)) else {
                let message = "One or more of the specified parts could not be found. The part may not have been uploaded, or \
                               the specified entity tag may not match the part's entity tag.";
                return Ok(Err(error(S3ErrorCode::InvalidPart, message)));
            };
            if part.piece.size < PART_MIN && index + 1 < self.listed.len() {
                let message = "Your proposed upload is smaller than the minimum allowed object size.";
                return Ok(Err(error(S3ErrorCode::EntityTooSmall, message)));
            }
            payloads.extend(found.payloads);
            parts.push(part);
        }
        Ok(Ok((parts, payloads)))
    }
}
