//! Who asks the key manager. Source: AWS documentation, "AWS Signature Version 4 for API requests".

use hanse_core::hex;
use std::time::Duration;

use hanse_crypto::Ec2Credentials;
use http::request::Parts;
use sha2::{Digest as _, Sha256};

use super::{Done, Refused};
use crate::ObjectStore;
use crate::access::Asker;

/// How far a client's clock may be from ours.
const SKEW: Duration = Duration::from_secs(15 * 60);

fn denied(kind: &'static str, message: &str) -> Refused {
    Refused { status: http::StatusCode::FORBIDDEN, kind, message: message.to_owned() }
}

impl ObjectStore {
    /// Whoever signed a request.
    ///
    /// # Errors
    /// 403 if nobody did, or a key is good for nothing (any more).
    pub(super) async fn signed(&self, parts: &Parts, body: &[u8], is_tls: bool) -> Done<Asker> {
        let cx = parts.extensions.get::<hanse_core::Cx>().unwrap_or(&self.0.cx).clone();
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let missing = || denied("MissingAuthenticationTokenException", "Missing Authentication Token");
        let authorization = text("authorization").ok_or_else(missing)?;
        let field = |name: &str| {
            let fields = authorization.strip_prefix("AWS4-HMAC-SHA256")?;
            fields.split(',').map(str::trim).find_map(|field| field.strip_prefix(name))
        };
        let malformed = |what: &str| denied("IncompleteSignatureException", what);
        let scope = field("Credential=").ok_or_else(|| malformed("The authorization has no Credential."))?;
        let signature =
            field("Signature=").ok_or_else(|| malformed("The authorization has no Signature."))?.to_owned();
        // `<access key>/<date>/<region>/kms/aws4_request`: what was signed for another service is not for this one.
        let mut ends = scope.rsplitn(5, '/');
        let (last, service) = (ends.next(), ends.next());
        let access = ends.nth(2).unwrap_or_default();
        if (last, service) != (Some("aws4_request"), Some("kms")) {
            return Err(malformed("The request is not signed for the service 'kms'."));
        }
        let headers = parts
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
        let request = Ec2Credentials {
            access: access.to_owned(),
            signature,
            host: text("host").unwrap_or_default().to_owned(),
            verb: "POST".to_owned(),
            path: "/".to_owned(),
            params: Default::default(),
            headers: headers.collect(),
            body_hash: hex(Sha256::digest(body)),
        };
        let unknown = || {
            denied("UnrecognizedClientException", "The security token included in the request is invalid.")
        };
        let key = self.0.keys.find(&cx, access).await?.ok_or_else(unknown)?;
        let wrong = || {
            denied(
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided.",
            )
        };
        if !request.verify(&key.secret).map_err(|_| wrong())? {
            return Err(wrong());
        }
        let signed_at = request.signed_at().ok().flatten().ok_or_else(wrong)?;
        let now = cx.now();
        if now.since(signed_at) > SKEW || signed_at.since(now) > SKEW {
            return Err(denied("InvalidSignatureException", "Signature expired: your clock is not right."));
        }
        Ok(Asker { cx, caller: Some(key.caller), is_tls, facts: None })
    }
}
