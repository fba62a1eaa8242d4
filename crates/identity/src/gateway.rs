//! A gateway beside this cloud that lets users in by asking here: radosgw, with the role `service`.
//!
//! It remembers what it was told until the `expires_at` of the answer and does not ask in between, so whatever ends
//! meanwhile would live on there for as long as a token. Source: Ceph 18.2.7, `rgw_keystone.cc` (`TokenCache`) and
//! `rgw_auth_keystone.cc` (`SecretCache`).

use hanse_core::Cx;
use hanse_policy::Caller;

use crate::Identity;
use crate::auth::Opened;
use crate::verbs::VALIDATE_SIGNATURE;

/// Whether there is a gateway, and this is it: the role says so, and no delegation of it.
pub(crate) fn asks(identity: &Identity, caller: &Caller) -> bool {
    identity.0.settings.gateway.is_some()
        && caller.delegation.is_none()
        && caller.scope(VALIDATE_SIGNATURE).is_ok()
}

/// What a gateway is told ends soon, so that it asks again.
pub(crate) fn soon(identity: &Identity, cx: &Cx, caller: &Caller, mut opened: Opened) -> Opened {
    if let Some(life) = identity.0.settings.gateway.filter(|_| asks(identity, caller)) {
        opened.payload.expires_at = opened.payload.expires_at.min(cx.now().plus(life));
    }
    opened
}
