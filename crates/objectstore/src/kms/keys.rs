//! Keys as they are kept, and how they are found. The bytes of a key are sealed under the master key, so that whoever destroys
//! the key destroys all that was encrypted under it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hanse_core::{Cx, Error, Result, Timestamp};
use hanse_crypto::MasterKey;
use hanse_logstore::Change;
use serde::{Deserialize, Serialize};

use crate::crypt::WrappingKey;
use crate::look::Look;
use crate::{ObjectStore, keys, record};

/// The name of the key that a project has without having made one.
pub const DEFAULT: &str = "alias/aws/s3";

/// What may be done with a key. Source: AWS KMS Developer Guide, "Key states of AWS KMS keys".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Enabled,
    Disabled,
    /// It is destroyed at this time, in microseconds since 1970.
    PendingDeletion(i64),
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Key {
    pub id: String,
    pub description: String,
    /// Microseconds since 1970.
    pub created_at: i64,
    pub state: State,
    /// Whether it is the one that nobody made. It cannot be disabled or destroyed.
    pub is_default: bool,
    /// In base64.
    sealed: String,
}

/// A name of a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Alias {
    pub key: String,
    /// Microseconds since 1970.
    pub created_at: i64,
    pub updated_at: i64,
}

fn purpose(project_id: &str, id: &str) -> String {
    format!("objectstore.kms_key:{project_id}:{id}")
}

impl Key {
    /// # Errors
    /// Internal if it cannot be sealed.
    pub fn new(cx: &Cx, master: &MasterKey, project_id: &str, description: String) -> Result<Key> {
        let id = cx.uuid().to_string();
        let sealed = master.seal(cx, &purpose(project_id, &id), &cx.bytes::<32>())?;
        Ok(Key {
            id,
            description,
            created_at: cx.now().0,
            state: State::Enabled,
            is_default: false,
            sealed: BASE64.encode(sealed),
        })
    }

    /// What data keys are wrapped under. They are bound to a context: what was wrapped in another one does not unwrap.
    ///
    /// # Errors
    /// Internal if it does not open.
    pub fn wrapping(&self, master: &MasterKey, project_id: &str, context: &[u8]) -> Result<WrappingKey> {
        let sealed = BASE64
            .decode(&self.sealed)
            .map_err(|_| Error::internal("a key of the key manager does not read"))?;
        WrappingKey::bound(master.open(&purpose(project_id, &self.id), &sealed)?.expose(), context)
    }

    /// Whether its time has come.
    pub fn is_gone(&self, now: Timestamp) -> bool {
        matches!(self.state, State::PendingDeletion(at) if at <= now.0)
    }

    /// # Errors
    /// Internal if it cannot be written.
    pub fn put(&self, change: &mut Change<'_>, project_id: &str) -> Result<()> {
        change.put(&keys::kms_key(project_id, &self.id), record::to_json(self)?, &[])
    }
}

/// `arn:aws:kms:<region>:<project>:<rest>`.
pub fn arn(region: &str, project_id: &str, rest: &str) -> String {
    format!("arn:aws:kms:{region}:{project_id}:{rest}")
}

/// A key of a project by its id, its name or the ARN of either; `None` if there is none that could be used or shown.
///
/// # Errors
/// Internal if the store cannot be read.
pub fn find(look: &impl Look, project_id: &str, name: &str, now: Timestamp) -> Result<Option<Key>> {
    let name = match name.strip_prefix("arn:aws:kms:") {
        None => name,
        Some(rest) => match rest.splitn(3, ':').collect::<Vec<_>>()[..] {
            [_, project, rest] if project == project_id => rest.strip_prefix("key/").unwrap_or(rest),
            _ => return Ok(None),
        },
    };
    let id = match name.starts_with("alias/") {
        false => name.to_owned(),
        true => match look.get(&keys::kms_alias(project_id, name))? {
            Some(found) => record::from_json::<Alias>(&found.value)?.key,
            None => return Ok(None),
        },
    };
    let found = look.get(&keys::kms_key(project_id, &id))?;
    let key: Option<Key> = found.map(|found| record::from_json(&found.value)).transpose()?;
    Ok(key.filter(|key| !key.is_gone(now)))
}

impl ObjectStore {
    /// Destroys the keys whose time has come, with their names; returns how many.
    ///
    /// # Errors
    /// What the store comes to.
    pub(crate) async fn destroy_keys(&self) -> Result<usize> {
        let now = self.0.cx.now();
        let mut gone = Vec::new();
        for item in self.0.store.view()?.scan_prefix(&keys::kms_keys_of_all())? {
            let (place, found) = item?;
            if record::from_json::<Key>(&found.value)?.is_gone(now) {
                gone.push(place);
            }
        }
        let count = gone.len();
        for place in gone {
            let destroy = move |change: &mut Change<'_>| {
                let Some(found) = change.get(&place)? else { return Ok(()) };
                let key: Key = record::from_json(&found.value)?;
                if !key.is_gone(now) {
                    return Ok(());
                }
                let project = keys::project_of_kms_key(&place).unwrap_or_default().to_owned();
                let names = change.scan_prefix(&keys::kms_aliases(&project))?.collect::<Result<Vec<_>>>()?;
                for (name, alias) in names {
                    if record::from_json::<Alias>(&alias.value)?.key == key.id {
                        change.delete(&name)?;
                    }
                }
                change.delete(&place)
            };
            self.0.store.write(destroy).await?;
        }
        Ok(count)
    }
}

/// The key that a project has without having made one, in a transaction.
///
/// # Errors
/// Internal if it cannot be made.
pub fn default(change: &mut Change<'_>, cx: &Cx, master: &MasterKey, project_id: &str) -> Result<Key> {
    if let Some(key) = find(change, project_id, DEFAULT, cx.now())? {
        return Ok(key);
    }
    let description = "Default key that protects my S3 objects when no other key is defined";
    let key = Key { is_default: true, ..Key::new(cx, master, project_id, description.to_owned())? };
    key.put(change, project_id)?;
    let alias = Alias { key: key.id.clone(), created_at: key.created_at, updated_at: key.created_at };
    change.put(&keys::kms_alias(project_id, DEFAULT), record::to_json(&alias)?, &[])?;
    Ok(key)
}
