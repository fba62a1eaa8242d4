//! GetObjectAttributes: what there is to know of an object without its bytes.

use s3s::dto::{self, ObjectAttributes};
use s3s::{S3ErrorCode, S3Response, S3Result};

use crate::ObjectStore;
use crate::access::Decided;
use crate::conditions::time;
use crate::customer::{self, given_key};
use crate::fault::{self, error};
use crate::lists::most;
use crate::objects::{checksum_type, etag, show_checksum};
use crate::record::{Checksum, Rest};
use crate::versions;

impl ObjectStore {
    pub(crate) fn attributes(
        &self,
        input: &dto::GetObjectAttributesInput,
        decided: &Decided,
    ) -> S3Result<S3Response<dto::GetObjectAttributesOutput>> {
        let view = self.0.store.view().map_err(|error| fault::of(&error))?;
        let found = self
            .find(&view, decided.bucket()?, &input.key, input.version_id.as_deref())
            .map_err(|e| decided.missing(e))?;
        let given = given_key!(input).read(decided)?;
        customer::check(found.object.rest.customer.as_deref(), given.as_ref())?;
        // One header may name several.
        let wanted =
            input.object_attributes.iter().flat_map(|names| names.as_str().split(',').map(str::trim));
        let wants = |name: &str| wanted.clone().any(|wanted| wanted == name);
        let (head, rest) = (&found.object.head, &found.object.rest);
        let checksum = rest.checksum.as_ref().filter(|_| wants(ObjectAttributes::CHECKSUM)).map(|own| {
            let mut shown = dto::Checksum { checksum_type: Some(checksum_type(own)), ..Default::default() };
            show_checksum!(&mut shown, &rest.checksum);
            shown
        });
        let object_parts = match wants(ObjectAttributes::OBJECT_PARTS) && rest.is_multipart {
            true => Some(parts(rest, input.max_parts, input.part_number_marker)?),
            false => None,
        };
        Ok(S3Response::new(dto::GetObjectAttributesOutput {
            // Without the quotes that it has everywhere else.
            e_tag: wants(ObjectAttributes::ETAG).then(|| etag(head)),
            object_size: wants(ObjectAttributes::OBJECT_SIZE)
                .then(|| i64::try_from(head.size).unwrap_or(i64::MAX)),
            storage_class: wants(ObjectAttributes::STORAGE_CLASS)
                .then(|| dto::StorageClass::from_static(dto::StorageClass::STANDARD)),
            checksum,
            object_parts,
            last_modified: Some(time(head.modified_at)),
            version_id: versions::shown(decided.bucket()?, head),
            ..Default::default()
        }))
    }
}

/// A page of the parts that an object was uploaded in. They are shown one by one only if they have checksums, as in S3.
fn parts(rest: &Rest, limit: Option<i32>, marker: Option<i32>) -> S3Result<dto::GetObjectAttributesParts> {
    let limit = most(limit)?;
    let after = usize::try_from(marker.unwrap_or(0))
        .map_err(|_| error(S3ErrorCode::InvalidArgument, "The part number marker is no part number."))?;
    let mut shown = Vec::new();
    for (index, piece) in rest.pieces.iter().enumerate().skip(after).take(usize::try_from(limit).unwrap_or(0))
    {
        let (Some(own), Some(value)) = (&rest.checksum, &piece.checksum) else { break };
        let mut part = dto::ObjectPart {
            part_number: i32::try_from(index + 1).ok(),
            size: i64::try_from(piece.size).ok(),
            ..Default::default()
        };
        let checksum = Checksum { value: value.clone(), ..own.clone() };
        show_checksum!(&mut part, Some(&checksum));
        shown.push(part);
    }
    let last = shown.last().and_then(|part| part.part_number);
    let count = i32::try_from(rest.pieces.len()).unwrap_or(i32::MAX);
    let is_truncated = last.is_some_and(|last| last < count);
    Ok(dto::GetObjectAttributesParts {
        total_parts_count: Some(count),
        is_truncated: Some(is_truncated),
        max_parts: Some(limit),
        part_number_marker: marker.or(Some(0)),
        next_part_number_marker: last,
        parts: (!shown.is_empty()).then_some(shown),
    })
}
