//! What delegated power must not be used for, so that it never grows nor outlives what it was made from.

use hanse_core::{Error, Result};
use hanse_policy::{Caller, Delegation};

/// # Errors
/// 403 unless the caller proved to be the user itself: credentials must not beget credentials.
pub(crate) fn require_primary(caller: &Caller, what: &str) -> Result<()> {
    match caller.delegation {
        None => Ok(()),
        Some(_) => Err(Error::forbidden(format!("Delegated tokens cannot be used for {what}."))),
    }
}

/// # Errors
/// 403 for tokens of trusts and of EC2 credentials; with `manage` also for restricted application credentials.
pub(crate) fn check_application_credentials(caller: &Caller, manage: bool) -> Result<()> {
    match &caller.delegation {
        Some(Delegation::Trust { .. } | Delegation::Ec2Credential { .. }) => {
            Err(Error::forbidden("Cannot manage application credentials with a token issued via delegation."))
        }
        Some(Delegation::ApplicationCredential { unrestricted: false, .. }) if manage => {
            Err(Error::forbidden(
                "Using method 'application_credential' is not allowed for managing additional application credentials.",
            ))
        }
        _ => Ok(()),
    }
}

/// Tokens of trusts may look at trusts and hand them on; other delegated ones may not.
///
/// # Errors
/// 403 for those.
pub(crate) fn check_trusts(caller: &Caller) -> Result<()> {
    match &caller.delegation {
        None | Some(Delegation::Trust { .. }) => Ok(()),
        Some(_) => Err(Error::forbidden("Delegated tokens cannot be used for trusts.")),
    }
}
