//! Receipts: who has proved part of what it takes need not prove it again for a while.

use std::time::Duration;

use hanse_core::{Cx, Result, Timestamp};

use crate::Identity;
use crate::model::unauthorized;
use crate::snapshot::{Person, Snapshot};
use crate::token::{Methods, Reader, put_id};

/// Tells receipts, which are always sealed, from tokens that are sealed under the same keys.
const MARK: u8 = b'R';
const LIFE: Duration = Duration::from_secs(300);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) user_id: String,
    pub(crate) user_epoch: u32,
    pub(crate) methods: Methods,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

impl Receipt {
    pub(crate) fn new(now: Timestamp, person: &Person, methods: Methods) -> Receipt {
        Receipt {
            user_id: person.id.to_string(),
            user_epoch: person.epoch,
            methods,
            issued_at: now,
            expires_at: now.plus(LIFE),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![MARK, self.methods.bits()];
        put_id(&mut bytes, &self.user_id);
        bytes.extend(self.user_epoch.to_be_bytes());
        bytes.extend(self.issued_at.0.to_be_bytes());
        bytes.extend(self.expires_at.0.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Receipt> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != MARK {
            return None;
        }
        let methods = Methods::from_bits(reader.byte()?);
        let user_id = reader.id()?;
        let user_epoch = u32::from_be_bytes(reader.array()?);
        let issued_at = Timestamp(i64::from_be_bytes(reader.array()?));
        let expires_at = Timestamp(i64::from_be_bytes(reader.array()?));
        reader.is_at_end().then_some(Receipt { user_id, user_epoch, methods, issued_at, expires_at })
    }
}

impl Identity {
    /// # Errors
    /// 401 if it is none, has expired, or the user has changed since.
    pub(super) fn open_receipt(&self, cx: &Cx, snapshot: &Snapshot, text: &str) -> Result<Receipt> {
        let sealed = self.0.tokens.fernet().open(text).map_err(|_| unauthorized())?;
        let receipt = Receipt::decode(&sealed).ok_or_else(unauthorized)?;
        let person = snapshot.live_person(&receipt.user_id).ok_or_else(unauthorized)?;
        if cx.now() >= receipt.expires_at || person.epoch != receipt.user_epoch {
            return Err(unauthorized());
        }
        Ok(receipt)
    }
}
