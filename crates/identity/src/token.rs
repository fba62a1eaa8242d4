//! What a token carries: ids and times only, so that what it is worth is looked up each time it is shown.
//!
//! Sealed as Fernet, a payload with 32-digit ids makes a token of 204 characters.

mod claims;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hanse_core::{Timestamp, hex};

use crate::model::Site;

const VERSION: u8 = 2;
/// Marks an id of 32 hexadecimal digits, which is packed into 16 bytes.
const PACKED: u8 = 0xff;
/// Marks an id of 64 of them (of an EC2 credential), packed into 32.
const PACKED_LONG: u8 = 0xfe;
/// The longest id that is written out; none of ours is longer than a domain's `default`.
const ID_MAX: usize = 64;

/// Names one token, and nothing else, in audit events and revocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AuditId(pub [u8; 16]);

impl AuditId {
    /// As the API writes it: 22 characters of URL-safe base64.
    pub fn text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub fn parse(text: &str) -> Option<AuditId> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(AuditId)
    }
}

/// How the user proved who they are, over the whole chain of rescoped tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Methods(u8);

impl Methods {
    pub const PASSWORD: Methods = Methods(1);
    pub const TOKEN: Methods = Methods(2);
    pub const TOTP: Methods = Methods(4);
    pub const APPLICATION_CREDENTIAL: Methods = Methods(8);
    pub const EC2_CREDENTIAL: Methods = Methods(16);
    const KNOWN: [(Methods, &str); 5] = [
        (Methods::TOKEN, "token"),
        (Methods::PASSWORD, "password"),
        (Methods::TOTP, "totp"),
        (Methods::APPLICATION_CREDENTIAL, "application_credential"),
        (Methods::EC2_CREDENTIAL, "ec2credential"),
    ];

    pub fn is_known(name: &str) -> bool {
        Methods::KNOWN.iter().any(|(_, known)| *known == name)
    }

    pub fn bits(self) -> u8 {
        self.0
    }

    pub fn from_bits(bits: u8) -> Methods {
        Methods(bits)
    }

    #[must_use]
    pub fn with(self, other: Methods) -> Methods {
        Methods(self.0 | other.0)
    }

    /// `None` if one of them is unknown.
    pub fn named<T: AsRef<str>>(names: &[T]) -> Option<Methods> {
        let find = |name: &T| Methods::KNOWN.iter().find(|(_, known)| *known == name.as_ref());
        names.iter().try_fold(Methods::default(), |all, name| Some(all.with(find(name)?.0)))
    }

    pub fn names(self) -> Vec<&'static str> {
        Methods::KNOWN.iter().filter(|(bit, _)| self.0 & bit.0 != 0).map(|(_, name)| *name).collect()
    }
}

/// What a token was made from, by its id, if not from the user's own proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delegated {
    No,
    ApplicationCredential(String),
    Trust(String),
    Ec2Credential(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    pub methods: Methods,
    pub user_id: String,
    /// The user's and the scope's `token_epoch` when the token was issued.
    pub user_epoch: u32,
    pub site: Option<Site>,
    pub site_epoch: u32,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    pub audit_id: AuditId,
    /// The audit id of the token that the chain of rescoped tokens began with, if that is another.
    pub first_audit_id: Option<AuditId>,
    pub delegated: Delegated,
}

impl Payload {
    /// As the API lists them: this token's, then that of the chain's first.
    pub fn audit_ids(&self) -> Vec<String> {
        [Some(self.audit_id), self.first_audit_id].into_iter().flatten().map(AuditId::text).collect()
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, self.methods.0];
        put_id(&mut bytes, &self.user_id);
        bytes.extend(self.user_epoch.to_be_bytes());
        match &self.site {
            None => bytes.push(0),
            Some(Site::Project(id)) => {
                bytes.push(1);
                put_id(&mut bytes, id);
            }
            Some(Site::Domain(id)) => {
                bytes.push(2);
                put_id(&mut bytes, id);
            }
            Some(Site::System) => bytes.push(3),
        }
        bytes.extend(self.site_epoch.to_be_bytes());
        match &self.delegated {
            Delegated::No => bytes.push(0),
            Delegated::ApplicationCredential(id) => {
                bytes.push(1);
                put_id(&mut bytes, id);
            }
            Delegated::Trust(id) => {
                bytes.push(2);
                put_id(&mut bytes, id);
            }
            Delegated::Ec2Credential(id) => {
                bytes.push(3);
                put_id(&mut bytes, id);
            }
        }
        bytes.extend(self.issued_at.0.to_be_bytes());
        bytes.extend(self.expires_at.0.to_be_bytes());
        bytes.extend(self.audit_id.0);
        if let Some(first) = self.first_audit_id {
            bytes.extend(first.0);
        }
        bytes
    }

    /// `None` for whatever [`Payload::encode`] of this release does not write.
    pub fn decode(bytes: &[u8]) -> Option<Payload> {
        let mut reader = Reader(bytes);
        if reader.byte()? != VERSION {
            return None;
        }
        let methods = Methods(reader.byte()?);
        let user_id = reader.id()?;
        let user_epoch = u32::from_be_bytes(reader.array()?);
        let site = match reader.byte()? {
            0 => None,
            1 => Some(Site::Project(reader.id()?)),
            2 => Some(Site::Domain(reader.id()?)),
            3 => Some(Site::System),
            _ => return None,
        };
        let site_epoch = u32::from_be_bytes(reader.array()?);
        let delegated = match reader.byte()? {
            0 => Delegated::No,
            1 => Delegated::ApplicationCredential(reader.id()?),
            2 => Delegated::Trust(reader.id()?),
            3 => Delegated::Ec2Credential(reader.id()?),
            _ => return None,
        };
        let issued_at = Timestamp(i64::from_be_bytes(reader.array()?));
        let expires_at = Timestamp(i64::from_be_bytes(reader.array()?));
        let audit_id = AuditId(reader.array()?);
        let first_audit_id = if reader.0.is_empty() { None } else { Some(AuditId(reader.array()?)) };
        reader.0.is_empty().then_some(Payload {
            methods,
            user_id,
            user_epoch,
            site,
            site_epoch,
            issued_at,
            expires_at,
            audit_id,
            first_audit_id,
            delegated,
        })
    }
}

pub(crate) fn put_id(bytes: &mut Vec<u8>, id: &str) {
    if let Some(packed) = unhex::<16>(id) {
        bytes.push(PACKED);
        bytes.extend(packed);
    } else if let Some(packed) = unhex::<32>(id) {
        bytes.push(PACKED_LONG);
        bytes.extend(packed);
    } else {
        // Ids are ours and short; one that is not makes a token that names nobody.
        let id = if id.len() <= ID_MAX { id } else { "" };
        bytes.push(u8::try_from(id.len()).unwrap_or(0));
        bytes.extend(id.as_bytes());
    }
}

/// The bytes that twice as many lower-case hexadecimal digits stand for.
fn unhex<const N: usize>(id: &str) -> Option<[u8; N]> {
    if id.len() != 2 * N {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(id.as_bytes().chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn id(&mut self) -> Option<String> {
        match self.byte()? {
            PACKED => Some(hex(self.take(16)?)),
            PACKED_LONG => Some(hex(self.take(32)?)),
            length if usize::from(length) <= ID_MAX => {
                std::str::from_utf8(self.take(usize::from(length))?).ok().map(str::to_owned)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn site() -> impl Strategy<Value = Option<Site>> {
        prop_oneof![
            Just(None),
            "[0-9a-f]{32}".prop_map(|id| Some(Site::Project(id))),
            "[a-z0-9]{1,40}".prop_map(|id| Some(Site::Domain(id))),
            Just(Some(Site::System)),
        ]
    }

    fn delegated() -> impl Strategy<Value = Delegated> {
        prop_oneof![
            Just(Delegated::No),
            "[0-9a-f]{32}".prop_map(Delegated::ApplicationCredential),
            "[0-9a-f]{32}".prop_map(Delegated::Trust),
            "[0-9a-f]{64}".prop_map(Delegated::Ec2Credential),
        ]
    }

    pub(super) fn payload() -> impl Strategy<Value = Payload> {
        let times = (any::<i64>(), any::<i64>());
        let ids = ("[0-9a-f]{32}|[a-zA-Z]{1,64}", site(), delegated());
        (ids, times, any::<[u8; 16]>(), any::<Option<[u8; 16]>>(), any::<(u8, u32, u32)>()).prop_map(
            |(
                (user_id, site, delegated),
                (issued, expires),
                audit,
                first,
                (methods, user_epoch, site_epoch),
            )| Payload {
                methods: Methods(methods),
                user_id,
                user_epoch,
                site,
                site_epoch,
                issued_at: Timestamp(issued),
                expires_at: Timestamp(expires),
                audit_id: AuditId(audit),
                first_audit_id: first.map(AuditId),
                delegated,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(payload in payload()) {
            prop_assert_eq!(Payload::decode(&payload.encode()), Some(payload));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic_or_grow(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(payload) = Payload::decode(&bytes) {
                prop_assert!(payload.encode().len() <= bytes.len());
            }
        }

        #[test]
        fn a_payload_that_was_cut_is_none(payload in payload(), cut in 1usize..15) {
            let bytes = payload.encode();
            prop_assert_eq!(Payload::decode(&bytes[..bytes.len() - cut]), None);
        }
    }
}
