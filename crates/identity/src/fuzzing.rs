//! What the fuzzers in `fuzz/` call. There is no such thing in a normal build.
#![expect(clippy::expect_used, reason = "a fuzzer that finds something stops")]

use hanse_core::{Cx, Result};
use hanse_policy::{Caller, DomainRef, TokenScope};
use serde::de::DeserializeOwned;

use crate::api;
use crate::auth::Receipt;
use crate::catalog::{Endpoint, EndpointGroup, Region, Service};
use crate::limits::{Limit, RegisteredLimit};
use crate::model::{Group, Role};
use crate::policies::Policy;
use crate::resource::Resource;
use crate::token::Payload;

/// Opens what stands sealed in a token or a receipt. What it takes, it writes again, and no longer than it was.
///
/// # Panics
/// If it does not.
pub fn payload(bytes: &[u8]) {
    if let Some(payload) = Payload::decode(bytes) {
        let again = payload.encode();
        assert!(again.len() <= bytes.len(), "{payload:?} grew");
        assert_eq!(Payload::decode(&again).as_ref(), Some(&payload));
        let _ = (payload.audit_ids(), payload.methods.names());
    }
    if let Some(receipt) = Receipt::decode(bytes) {
        assert_eq!(Receipt::decode(&receipt.encode()).as_ref(), Some(&receipt));
    }
}

/// Reads a body as one of the requests that identity takes, chosen by the first byte, and checks it as far as that needs
/// no database.
///
/// # Panics
/// If what is made of a body cannot be shown.
pub fn body(bytes: &[u8]) {
    let Some((kind, text)) = bytes.split_first() else { return };
    match kind % 16 {
        0 | 1 => {
            if let Ok(request) = serde_json::from_slice::<api::AuthRequest>(text) {
                let _ = request.wanted();
            }
        }
        2 => parsed::<crate::users::Create>(text),
        3 => parsed::<crate::users::Update>(text),
        4 => parsed::<crate::projects::Create>(text),
        5 => parsed::<crate::projects::Update>(text),
        6 => resource::<Group>(text),
        7 => resource::<Role>(text),
        8 => resource::<Region>(text),
        9 => resource::<Service>(text),
        10 => resource::<Endpoint>(text),
        11 => resource::<EndpointGroup>(text),
        12 => resource::<Policy>(text),
        13 => resource::<RegisteredLimit>(text),
        14 => resource::<Limit>(text),
        _ => {
            let options = serde_json::from_slice(text).unwrap_or_default();
            let _ = crate::users::mfa_rules(&options);
            let _ = crate::model::checked_extra(options);
        }
    }
}

fn parsed<T: DeserializeOwned>(text: &[u8]) {
    let _ = serde_json::from_slice::<T>(text);
}

/// Made of a body and, if the same body says a change, changed by it.
fn resource<T: Resource>(text: &[u8]) {
    let made: Result<T> = serde_json::from_slice(text)
        .map_err(|error| hanse_core::Error::bad_request(error.to_string()))
        .and_then(|body| T::new(&Cx::system(), &caller(), "0".repeat(32), body));
    let Ok(mut made) = made else { return };
    if let Ok(change) = serde_json::from_slice(text) {
        let _ = made.change(&change);
    }
    serde_json::to_vec(&made.view()).expect("JSON");
}

fn caller() -> Caller {
    Caller {
        user_id: "fuzz".to_owned(),
        user_name: "fuzz".to_owned(),
        user_domain: DomainRef { id: "default".to_owned(), name: "Default".to_owned() },
        scope: TokenScope::System,
        roles: Vec::new(),
        expires_at: hanse_core::Timestamp(i64::MAX),
        audit_ids: Vec::new(),
        delegation: None,
    }
}
