//! `/info`: what this Swift can do, for clients that ask first. Source: OpenStack Object Storage API Reference,
//! "Discoverability".

use http::HeaderMap;
use s3s::HttpResponse;
use serde_json::json;

use super::reply::json;
use super::{CONTAINER_NAME_MAX, OBJECT_NAME_MAX, archive, bulk, link, listing, meta, slo, tempurl};
use crate::intake::PUT_MAX;

pub fn show() -> HttpResponse {
    let value = json!({
        "swift": {
            "max_file_size": PUT_MAX,
            "max_container_name_length": CONTAINER_NAME_MAX,
            "max_object_name_length": OBJECT_NAME_MAX,
            "max_meta_name_length": meta::NAME_MAX,
            "max_meta_value_length": meta::VALUE_MAX,
            "max_meta_count": meta::COUNT_MAX,
            "max_meta_overall_size": meta::OVERALL_MAX,
            "container_listing_limit": listing::PAGE,
            "account_listing_limit": listing::PAGE,
            "valid_api_versions": ["v1"],
            "policies": [{ "name": meta::POLICY, "aliases": meta::POLICY, "default": true }],
        },
        "slo": {
            "max_manifest_segments": slo::SEGMENTS_MAX,
            "max_manifest_size": slo::MANIFEST_MAX,
            "min_segment_size": 1,
        },
        "dlo": { "max_segments": super::manifest::SEGMENTS_MAX },
        "bulk_delete": { "max_deletes_per_request": bulk::DELETES_MAX, "max_failed_deletes": bulk::DELETES_MAX },
        "bulk_upload": {
            "max_containers_per_extraction": archive::FILES_MAX,
            "max_failed_extractions": archive::FAILED_MAX,
        },
        "symlink": { "symloop_max": link::LINKS_MAX, "static_links": true },
        "tempurl": {
            "methods": tempurl::METHODS,
            "allowed_digests": tempurl::DIGESTS,
            "incoming_allow_headers": [],
            "incoming_remove_headers": tempurl::REFUSED,
            "outgoing_allow_headers": ["x-object-meta-public-*"],
            "outgoing_remove_headers": ["x-object-meta-*"],
        },
        "container_quotas": {},
        "account_quotas": {},
        "object_versioning": {},
        "versioned_writes": { "allowed_flags": ["x-versions-location", "x-history-location"] },
    });
    json(HeaderMap::new(), &value)
}
