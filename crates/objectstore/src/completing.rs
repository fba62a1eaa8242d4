//! The end of an upload in parts: its parts become an object. That names the payloads of the parts in the object's record: no
//! bytes move, and it is one transaction.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hanse_core::{Result, hex};
use hanse_logstore::Change;
use md5::{Digest as _, Md5};
use s3s::dto;
use s3s::{S3ErrorCode, S3Response, S3Result};

use crate::access::Decided;
use crate::buckets::delete_parts;
use crate::conditions::Conditions;
use crate::encryption::show_encryption;
use crate::fault::error;
use crate::multipart::{is_id, no_such_upload, upload_of};
use crate::notifications::{Cause, Origin};
use crate::objects::{Put, checksum_type, etag, put, show_checksum};
use crate::record::{self, Bucket, Checksum, Head, Object, Part, Piece, Rest};
use crate::sums::{Algorithm, Sum};
use crate::{ObjectStore, keys, quotas};

/// Of every part but the last one, in bytes. Source: S3 User Guide, "Amazon S3 multipart upload limits".
const PART_MIN: u64 = 5 << 20;
const OBJECT_MAX: u64 = 5 << 40;

/// The checksum of an object, from those of its parts.
fn checksum(algorithm: Algorithm, is_composite: bool, parts: &[Part]) -> Option<Checksum> {
    let sums: Vec<(&str, u64)> = parts
        .iter()
        .map(|part| {
            let own = part.checksum.as_ref().filter(|own| own.algorithm == algorithm.name())?;
            Some((own.value.as_str(), part.piece.size))
        })
        .collect::<Option<_>>()?;
    let value = if is_composite {
        let mut sum = Sum::new(algorithm);
        for (part, _) in sums {
            sum.update(&BASE64.decode(part).ok()?);
        }
        format!("{}-{}", sum.finish(), parts.len())
    } else {
        algorithm.join(sums.into_iter())?
    };
    Some(Checksum { algorithm: algorithm.name().to_owned(), value, is_composite })
}

/// The checksums that an input gives.
macro_rules! given {
    ($input:expr) => {{
        let input = $input;
        let fields = [
            (Algorithm::Crc32, &input.checksum_crc32),
            (Algorithm::Crc32c, &input.checksum_crc32c),
            (Algorithm::Crc64Nvme, &input.checksum_crc64nvme),
            (Algorithm::Sha1, &input.checksum_sha1),
            (Algorithm::Sha256, &input.checksum_sha256),
        ];
        fields
            .into_iter()
            .filter_map(|(algorithm, value)| Some((algorithm, value.clone()?)))
            .collect::<Vec<_>>()
    }};
}

impl ObjectStore {
    pub(crate) async fn complete_upload(
        &self,
        input: dto::CompleteMultipartUploadInput,
        decided: Decided,
    ) -> S3Result<S3Response<dto::CompleteMultipartUploadOutput>> {
        let bucket = decided.bucket()?.clone();
        if !is_id(&input.upload_id) {
            return Err(no_such_upload());
        }
        let claimed = given!(&input);
        let conditions = Conditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            ..Conditions::default()
        };
        let listed = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        if listed.is_empty() {
            return Err(error(S3ErrorCode::MalformedXML, "You must specify at least one part"));
        }
        let completing = Completing {
            bucket: (*bucket).clone(),
            key: input.key.clone(),
            id: input.upload_id,
            listed,
            size: input.mpu_object_size,
            claimed,
            kind: input.checksum_type,
            now: decided.asker.cx.now(),
            origin: self.origin(&decided, Cause::CompleteMultipartUpload),
        };
        let done = self.add(&decided, move |change| completing.run(change, &conditions)).await;
        let object = done??;
        let mut output = dto::CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(etag(&object.head)),
            version_id: object.head.version.clone(),
            checksum_type: object.rest.checksum.as_ref().map(checksum_type),
            ..Default::default()
        };
        if object.rest.customer.is_none() {
            show_encryption!(managed self, &decided.project_id, &mut output, object.rest.managed.as_ref());
        }
        show_checksum!(&mut output, &object.rest.checksum);
        Ok(S3Response::new(output))
    }
}

/// An upload on its way to become an object.
struct Completing {
    bucket: Bucket,
    key: String,
    id: String,
    listed: Vec<dto::CompletedPart>,
    size: Option<i64>,
    /// The checksums that the client says the object has, and of which kind they are.
    claimed: Vec<(Algorithm, String)>,
    kind: Option<dto::ChecksumType>,
    now: hanse_core::Timestamp,
    origin: Origin,
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
        let algorithm = upload.algorithm.as_deref().and_then(Algorithm::named);
        let checksum = algorithm.and_then(|algorithm| checksum(algorithm, upload.is_composite, &parts));
        if let Err(refused) = self.check_claims(checksum.as_ref()) {
            return Ok(Err(refused));
        }
        let mut object = Object {
            head: Head {
                modified_at: self.now,
                size,
                etag: format!("{}-{}", hex(md5.finalize()), parts.len()),
                version: None,
                is_marker: false,
                ends_at: None,
            },
            rest: Rest {
                meta: upload.meta,
                checksum,
                pieces: parts
                    .into_iter()
                    .map(|part| Piece { checksum: part.checksum.map(|own| own.value), ..part.piece })
                    .collect(),
                is_multipart: true,
                customer: upload.customer,
                managed: upload.managed,
                lock: upload.lock,
                manifest: None,
            },
        };
        match put(change, &self.bucket, &self.key, &mut object, &payloads, conditions, &self.origin)? {
            Put::Done => {}
            other => return Ok(other.done().map(|()| object)),
        }
        // What was counted as parts counts as an object now; what was not listed goes.
        let freed = delete_parts(change, &self.id)?;
        quotas::count(change, &self.bucket, 0, -i128::from(freed))?;
        change.delete(&keys::upload(&self.bucket.id, &self.key, &self.id))?;
        Ok(Ok(object))
    }

    /// Whether the object is what the client says that it is.
    fn check_claims(&self, own: Option<&Checksum>) -> S3Result<()> {
        if let (Some(kind), Some(own)) = (&self.kind, own)
            && *kind != checksum_type(own)
        {
            let message = "The checksum type of the request is not the one that the upload began with.";
            return Err(error(S3ErrorCode::InvalidRequest, message));
        }
        for (algorithm, value) in &self.claimed {
            let is_it = own.is_some_and(|own| {
                // With the number of parts or without.
                let sum = if own.is_composite { own.value.split('-').next() } else { None };
                own.algorithm == algorithm.name() && (own.value == *value || sum == Some(value))
            });
            if !is_it {
                let message =
                    format!("The {} you specified did not match the calculated checksum.", algorithm.name());
                return Err(error(S3ErrorCode::BadDigest, message));
            }
        }
        Ok(())
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
            let claimed = given!(listed);
            let is_it = |part: &Part| {
                listed.e_tag.as_ref().is_none_or(|tag| tag.value() == part.etag)
                    && claimed.iter().all(|(algorithm, value)| {
                        let own = part.checksum.as_ref();
                        own.is_some_and(|own| own.algorithm == algorithm.name() && own.value == *value)
                    })
            };
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
