//! What a signed token claims: Keystone's claims by Keystone's names, and under our own what only we judge by.

use hanse_core::Timestamp;
use hanse_crypto::{Content, Signed};
use serde::{Deserialize, Serialize};

use super::{AuditId, Delegated, ID_MAX, Methods, Payload};
use crate::model::Site;

/// `iat` and `exp` stand beside it, in whole seconds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    sub: String,
    openstack_methods: Vec<String>,
    /// This token's, then that of the chain's first if it is another.
    openstack_audit_ids: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    openstack_system: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    openstack_domain_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    openstack_project_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    openstack_trust_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    openstack_app_cred_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hanse_ec2_credential_id: Option<String>,
    /// Of the user and of the scope.
    hanse_epochs: [u32; 2],
    /// What `iat` and `exp` leave out, in microseconds.
    hanse_micros: [u32; 2],
}

impl Content for Payload {
    type Claims = Claims;

    fn to_bytes(&self) -> Vec<u8> {
        self.encode()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Payload> {
        Payload::decode(bytes)
    }

    fn times(&self) -> (Timestamp, Timestamp) {
        (self.issued_at, self.expires_at)
    }

    fn to_claims(&self) -> Claims {
        let (mut domain, mut project, mut system) = (None, None, None);
        match &self.site {
            None => {}
            Some(Site::Domain(id)) => domain = Some(id.clone()),
            Some(Site::Project(id)) => project = Some(id.clone()),
            Some(Site::System) => system = Some("all".to_owned()),
        }
        let (mut credential, mut trust, mut ec2) = (None, None, None);
        match &self.delegated {
            Delegated::No => {}
            Delegated::ApplicationCredential(id) => credential = Some(id.clone()),
            Delegated::Trust(id) => trust = Some(id.clone()),
            Delegated::Ec2Credential(id) => ec2 = Some(id.clone()),
        }
        Claims {
            sub: self.user_id.clone(),
            openstack_methods: self.methods.names().into_iter().map(str::to_owned).collect(),
            openstack_audit_ids: self.audit_ids(),
            openstack_system: system,
            openstack_domain_id: domain,
            openstack_project_id: project,
            openstack_trust_id: trust,
            openstack_app_cred_id: credential,
            hanse_ec2_credential_id: ec2,
            hanse_epochs: [self.user_epoch, self.site_epoch],
            hanse_micros: [micros(self.issued_at), micros(self.expires_at)],
        }
    }

    fn from_claims(signed: Signed<Claims>) -> Option<Payload> {
        let Signed { issued_at, expires_at, claims } = signed;
        let site = match (claims.openstack_project_id, claims.openstack_domain_id, claims.openstack_system) {
            (None, None, None) => None,
            (Some(id), None, None) => Some(Site::Project(checked(id)?)),
            (None, Some(id), None) => Some(Site::Domain(checked(id)?)),
            (None, None, Some(all)) if all == "all" => Some(Site::System),
            _ => return None,
        };
        let made_from =
            (claims.openstack_app_cred_id, claims.openstack_trust_id, claims.hanse_ec2_credential_id);
        let delegated = match made_from {
            (None, None, None) => Delegated::No,
            (Some(id), None, None) => Delegated::ApplicationCredential(checked(id)?),
            (None, Some(id), None) => Delegated::Trust(checked(id)?),
            (None, None, Some(id)) => Delegated::Ec2Credential(checked(id)?),
            _ => return None,
        };
        let (audit_id, first_audit_id) = match &claims.openstack_audit_ids[..] {
            [one] => (AuditId::parse(one)?, None),
            [one, first] => (AuditId::parse(one)?, Some(AuditId::parse(first)?)),
            _ => return None,
        };
        let [user_epoch, site_epoch] = claims.hanse_epochs;
        let [issued, expires] = claims.hanse_micros;
        Some(Payload {
            methods: Methods::named(&claims.openstack_methods)?,
            user_id: checked(claims.sub)?,
            user_epoch,
            site,
            site_epoch,
            issued_at: with_micros(issued_at, issued)?,
            expires_at: with_micros(expires_at, expires)?,
            audit_id,
            first_audit_id,
            delegated,
        })
    }
}

fn checked(id: String) -> Option<String> {
    (id.len() <= ID_MAX).then_some(id)
}

fn micros(time: Timestamp) -> u32 {
    u32::try_from(time.0.rem_euclid(1_000_000)).unwrap_or(0)
}

fn with_micros(time: Timestamp, micros: u32) -> Option<Timestamp> {
    (micros < 1_000_000).then(|| Timestamp(time.0.saturating_add(i64::from(micros))))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use hanse_core::Cx;
    use hanse_crypto::{FernetKeys, SigningKeys, TokenProvider, Tokens};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::tests::payload;
    use super::*;

    fn tokens(provider: TokenProvider) -> Tokens {
        let dir = tempfile::tempdir().unwrap();
        let keys = (FernetKeys::new(dir.path().join("fernet")), SigningKeys::new(dir.path().join("signing")));
        Tokens::load(&Cx::system(), provider, keys.0, keys.1).unwrap()
    }

    /// A payload as the service makes it: methods that there are, times that there are.
    fn made() -> impl Strategy<Value = Payload> {
        payload().prop_map(|mut payload| {
            let most = 4_000_000_000_000_000;
            payload.methods = Methods::from_bits(payload.methods.bits() & 31);
            payload.issued_at = Timestamp(payload.issued_at.0.rem_euclid(most));
            payload.expires_at = Timestamp(payload.expires_at.0.rem_euclid(most));
            payload
        })
    }

    fn decoded(part: &str) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn a_payload_comes_back_from_both_kinds_of_token_and_from_the_keys_of_nobody_else() {
        let cx = Cx::system();
        for provider in [TokenProvider::Fernet, TokenProvider::Jws] {
            let (ours, theirs) = (tokens(provider), tokens(provider));
            proptest!(|(payload in made())| {
                let token = ours.seal(&cx, &payload).unwrap();
                prop_assert!(token.len() < 1024, "{} characters", token.len());
                prop_assert!(theirs.open::<Payload>(&token).is_err());
                prop_assert_eq!(ours.open::<Payload>(&token).unwrap(), payload);
            });
        }
    }

    #[test]
    fn the_claims_are_keystones_and_tell_nothing_but_ids_times_and_methods() {
        let payload = Payload {
            methods: Methods::PASSWORD.with(Methods::TOKEN),
            user_id: "9f3a1c5f0d2b4e1f8c7a6b5d4e3f2a1b".to_owned(),
            user_epoch: 3,
            site: Some(Site::Project("0a1b2c3d4e5f60718293a4b5c6d7e8f9".to_owned())),
            site_epoch: 1,
            issued_at: Timestamp(1_800_000_000_250_000),
            expires_at: Timestamp(1_800_014_400_000_001),
            audit_id: AuditId([7; 16]),
            first_audit_id: Some(AuditId([8; 16])),
            delegated: Delegated::No,
        };
        let token = tokens(TokenProvider::Jws).seal(&Cx::system(), &payload).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        assert_eq!(decoded(parts[0])["alg"], "ES256");
        let claimed = json!({
            "sub": "9f3a1c5f0d2b4e1f8c7a6b5d4e3f2a1b",
            "iat": 1_800_000_000, "exp": 1_800_014_400,
            "openstack_methods": ["token", "password"],
            "openstack_audit_ids": ["BwcHBwcHBwcHBwcHBwcHBw", "CAgICAgICAgICAgICAgICA"],
            "openstack_project_id": "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
            "hanse_epochs": [3, 1], "hanse_micros": [250_000, 1],
        });
        assert_eq!(decoded(parts[1]), claimed);
    }

    #[test]
    fn no_changed_claim_and_no_other_algorithm_is_taken() {
        let (cx, tokens) = (Cx::system(), tokens(TokenProvider::Jws));
        proptest!(|(payload in made(), other in made())| {
            prop_assume!(payload != other);
            let (token, other) = (tokens.seal(&cx, &payload).unwrap(), tokens.seal(&cx, &other).unwrap());
            let (parts, others): (Vec<&str>, Vec<&str>) = (token.split('.').collect(), other.split('.').collect());
            let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
            let mut later = decoded(parts[1]);
            later["exp"] = json!(later["exp"].as_i64().unwrap() + 1);
            let later = URL_SAFE_NO_PAD.encode(later.to_string());
            for forged in [
                [&none, parts[1], ""], [&none, parts[1], parts[2]], [parts[0], parts[1], ""],
                [parts[0], others[1], parts[2]], [parts[0], parts[1], others[2]], [parts[0], &later, parts[2]],
            ] {
                prop_assert!(tokens.open::<Payload>(&forged.join(".")).is_err());
            }
        });
    }

    #[test]
    fn claims_that_contradict_each_other_are_none() {
        let time = Timestamp::from_seconds(1);
        let read = |change: &dyn Fn(&mut Value)| {
            let mut claims = json!({
                "sub": "ada", "openstack_methods": ["password"], "openstack_audit_ids": ["BwcHBwcHBwcHBwcHBwcHBw"],
                "hanse_epochs": [0, 0], "hanse_micros": [0, 0],
            });
            change(&mut claims);
            let claims = serde_json::from_value(claims).ok()?;
            Payload::from_claims(Signed { issued_at: time, expires_at: time, claims })
        };
        assert!(read(&|_| {}).is_some());
        let changes: [(&str, Value); 9] = [
            ("sub", json!("x".repeat(65))),
            ("openstack_methods", json!(["magic"])),
            ("openstack_audit_ids", json!([])),
            ("openstack_audit_ids", json!(["short"])),
            ("openstack_system", json!("some")),
            ("hanse_micros", json!([0, 1_000_000])),
            ("hanse_epochs", json!([0])),
            ("openstack_group_ids", json!(["admins"])),
            ("openstack_trust_id", json!("x".repeat(65))),
        ];
        for (name, value) in changes {
            assert_eq!(read(&|claims| claims[name] = value.clone()), None, "{name}");
        }
        let twice = |claims: &mut Value| {
            claims["openstack_project_id"] = json!("p");
            claims["openstack_domain_id"] = json!("d");
        };
        assert_eq!(read(&twice), None);
    }
}
