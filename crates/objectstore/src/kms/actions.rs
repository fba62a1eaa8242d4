//! What can be done with keys. What is not here answers `UnsupportedOperationException`.

use std::time::Duration;

use hanse_core::Timestamp;
use hanse_logstore::{Change, Scan};
use hanse_policy::{Grant, Target, Verb};
use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::keys::{self as kms, Alias, Key, State, arn};
use super::{Done, Refused, refused};
use crate::access::Asker;
use crate::verbs::{CREATE_KEY, DELETE_KEY, LIST_KEYS, SHOW_KEY, UPDATE_KEY};
use crate::{ObjectStore, keys, record};

/// Of keys, and of aliases, that a project may have. Source: AWS KMS Developer Guide, "Resource quotas".
const KEYS_MAX: usize = 10_000;
const DESCRIPTION_MAX: usize = 8192;
const ALIAS_MAX: usize = 256;
/// Days until a key is destroyed. Source: AWS KMS API Reference, ScheduleKeyDeletion.
const WINDOW: std::ops::RangeInclusive<u64> = 7..=30;
const PAGE_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct CreateKey {
    #[serde(default)]
    description: String,
    key_usage: Option<String>,
    key_spec: Option<String>,
    customer_master_key_spec: Option<String>,
    origin: Option<String>,
    #[serde(default)]
    multi_region: bool,
    #[serde(default)]
    tags: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct OneKey {
    key_id: String,
    #[serde(rename = "GrantTokens", default)]
    _grant_tokens: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Describe {
    key_id: String,
    description: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Schedule {
    key_id: String,
    pending_window_in_days: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Page {
    key_id: Option<String>,
    limit: Option<usize>,
    marker: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SetAlias {
    alias_name: String,
    target_key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DropAlias {
    alias_name: String,
}

fn read<T: DeserializeOwned>(input: Value) -> Done<T> {
    serde_json::from_value(input).map_err(|error| refused("ValidationException", format!("{error}.")))
}

fn not_found(name: &str) -> Refused {
    refused("NotFoundException", format!("Key '{name}' does not exist"))
}

fn invalid_state(key: &Key) -> Refused {
    refused("KMSInvalidStateException", format!("{} is {}.", key.id, state_name(key.state)))
}

fn is_default(key: &Key) -> Refused {
    let message = format!("{} is managed by the service: it cannot be changed.", key.id);
    refused("UnsupportedOperationException", message)
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Enabled => "Enabled",
        State::Disabled => "Disabled",
        State::PendingDeletion(_) => "PendingDeletion",
    }
}

fn seconds(micros: i64) -> i64 {
    Timestamp(micros).seconds()
}

fn check_description(description: &str) -> Done<()> {
    if description.len() > DESCRIPTION_MAX {
        let message = format!("A description has at most {DESCRIPTION_MAX} characters.");
        return Err(refused("ValidationException", message));
    }
    Ok(())
}

/// Source: AWS KMS API Reference, CreateAlias.
fn check_alias(name: &str) -> Done<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
    let own = name.strip_prefix("alias/");
    if name.len() > ALIAS_MAX || !own.is_some_and(|own| !own.is_empty() && own.bytes().all(plain)) {
        let message = "An alias begins with alias/ and has letters, digits, and / _ - after it.";
        return Err(refused("ValidationException", message));
    }
    if name.starts_with("alias/aws/") {
        return Err(refused("NotAuthorizedException", "Names below alias/aws/ are those of the service."));
    }
    Ok(())
}

/// Who acts, and in which project.
struct Acting<'a> {
    store: &'a ObjectStore,
    asker: &'a Asker,
    project_id: String,
}

impl ObjectStore {
    pub(super) async fn act(&self, asker: &Asker, action: &str, input: Value) -> Done {
        let project_id = asker.caller.as_ref().and_then(|caller| caller.project_id()).map(str::to_owned);
        let project_id =
            project_id.ok_or_else(|| refused("AccessDeniedException", "Keys are those of a project."))?;
        let acting = Acting { store: self, asker, project_id };
        match action {
            "CreateKey" => acting.create(read(input)?).await,
            "DescribeKey" => acting.describe(&read::<OneKey>(input)?.key_id),
            "ListKeys" => acting.list(&read(input)?),
            "UpdateKeyDescription" => acting.update_description(read(input)?).await,
            "EnableKey" => acting.switch(&read::<OneKey>(input)?.key_id, State::Enabled).await,
            "DisableKey" => acting.switch(&read::<OneKey>(input)?.key_id, State::Disabled).await,
            "ScheduleKeyDeletion" => acting.schedule(read(input)?).await,
            "CancelKeyDeletion" => acting.cancel(&read::<OneKey>(input)?.key_id).await,
            "CreateAlias" => acting.set_alias(read(input)?, true).await,
            "UpdateAlias" => acting.set_alias(read(input)?, false).await,
            "DeleteAlias" => acting.drop_alias(read::<DropAlias>(input)?.alias_name).await,
            "ListAliases" => acting.aliases(&read(input)?),
            _ => Err(Refused {
                status: StatusCode::NOT_IMPLEMENTED,
                kind: "UnsupportedOperationException",
                message: format!("The action '{action}' is not offered."),
            }),
        }
    }
}

impl Acting<'_> {
    fn may(&self, verb: Verb, name: &str) -> Done<Grant> {
        let denied = || refused("AccessDeniedException", "You may not do this with keys of the project.");
        let caller = self.asker.caller.as_ref().ok_or_else(denied)?;
        let target = Target::new(name).in_project(&self.project_id);
        caller.authorize(&self.asker.cx, verb, target).map_err(|_| denied())
    }

    fn now(&self) -> Timestamp {
        self.asker.cx.now()
    }

    fn arn(&self, rest: &str) -> String {
        arn(&self.store.0.settings.region, &self.project_id, rest)
    }

    /// Does something in a transaction, after who does it is written down.
    async fn write<T: Send + 'static>(
        &self,
        grant: &Grant,
        run: impl FnOnce(&mut Change<'_>) -> hanse_core::Result<Done<T>> + Send + 'static,
    ) -> Done<T> {
        let cx = &self.asker.cx;
        self.store.0.db.write(cx, grant, |_| Box::pin(async { Ok(()) })).await?;
        self.store.0.store.write(run).await?
    }

    /// Changes a key that is there.
    async fn change(
        &self,
        verb: Verb,
        name: &str,
        set: impl FnOnce(&mut Key) -> Done<()> + Send + 'static,
    ) -> Done<Key> {
        let grant = self.may(verb, name)?;
        let (project_id, name, now) = (self.project_id.clone(), name.to_owned(), self.now());
        self.write(&grant, move |change| {
            let Some(mut key) = kms::find(change, &project_id, &name, now)? else {
                return Ok(Err(not_found(&name)));
            };
            if let Err(refused) = set(&mut key) {
                return Ok(Err(refused));
            }
            key.put(change, &project_id)?;
            Ok(Ok(key))
        })
        .await
    }

    fn shown(&self, key: &Key) -> Value {
        let mut shown = json!({
            "AWSAccountId": self.project_id,
            "KeyId": key.id,
            "Arn": self.arn(&format!("key/{}", key.id)),
            "CreationDate": seconds(key.created_at),
            "Enabled": key.state == State::Enabled,
            "Description": key.description,
            "KeyUsage": "ENCRYPT_DECRYPT",
            "KeyState": state_name(key.state),
            "Origin": "AWS_KMS",
            "KeyManager": if key.is_default { "AWS" } else { "CUSTOMER" },
            "KeySpec": "SYMMETRIC_DEFAULT",
            "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
            "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
            "MultiRegion": false,
        });
        if let (State::PendingDeletion(at), Some(shown)) = (key.state, shown.as_object_mut()) {
            shown.insert("DeletionDate".to_owned(), json!(seconds(at)));
        }
        shown
    }

    async fn create(&self, input: CreateKey) -> Done {
        let grant = self.may(CREATE_KEY, "")?;
        check_description(&input.description)?;
        let is_plain = |given: &Option<String>, one: &str| given.as_deref().is_none_or(|given| given == one);
        let plain = [
            is_plain(&input.key_usage, "ENCRYPT_DECRYPT"),
            is_plain(&input.key_spec, "SYMMETRIC_DEFAULT"),
            is_plain(&input.customer_master_key_spec, "SYMMETRIC_DEFAULT"),
            is_plain(&input.origin, "AWS_KMS"),
            !input.multi_region,
            input.tags.is_empty(),
        ];
        if plain.contains(&false) {
            let message = "Keys are symmetric, made here, of one region and without tags.";
            return Err(refused("UnsupportedOperationException", message));
        }
        let key = Key::new(&self.asker.cx, &self.store.0.master, &self.project_id, input.description)?;
        let (project_id, kept) = (self.project_id.clone(), key.clone());
        self.write(&grant, move |change| {
            if change.scan_prefix(&keys::kms_keys(&project_id))?.take(KEYS_MAX).count() >= KEYS_MAX {
                let message = format!("A project has at most {KEYS_MAX} keys.");
                return Ok(Err(refused("LimitExceededException", message)));
            }
            kept.put(change, &project_id)?;
            Ok(Ok(()))
        })
        .await?;
        Ok(json!({ "KeyMetadata": self.shown(&key) }))
    }

    fn find(&self, name: &str) -> Done<Key> {
        let found = kms::find(&self.store.0.store.view()?, &self.project_id, name, self.now())?;
        found.ok_or_else(|| not_found(name))
    }

    fn describe(&self, name: &str) -> Done {
        self.may(SHOW_KEY, name)?;
        Ok(json!({ "KeyMetadata": self.shown(&self.find(name)?) }))
    }

    /// A page of what lies below a prefix, and the marker of the next one.
    fn page(
        &self,
        prefix: &[u8],
        page: &Page,
        mut take: impl FnMut(&str, &[u8]) -> Done<bool>,
    ) -> Done<Option<String>> {
        let most = page.limit.unwrap_or(100);
        if !(1..=PAGE_MAX).contains(&most) {
            return Err(refused("ValidationException", format!("Limit is between 1 and {PAGE_MAX}.")));
        }
        let view = self.store.0.store.view()?;
        let mut scan: Scan = view.scan_prefix(prefix)?;
        if let Some(marker) = &page.marker {
            scan.seek(&[prefix, marker.as_bytes()].concat())?;
        }
        let mut count = 0;
        for item in scan {
            let (place, found) = item?;
            let name = std::str::from_utf8(place.get(prefix.len()..).unwrap_or_default()).unwrap_or_default();
            if count == most {
                return Ok(Some(name.to_owned()));
            }
            count += usize::from(take(name, &found.value)?);
        }
        Ok(None)
    }

    fn list(&self, page: &Page) -> Done {
        self.may(LIST_KEYS, "")?;
        let mut shown = Vec::new();
        let next = self.page(&keys::kms_keys(&self.project_id), page, |id, value| {
            let key: Key = record::from_json(value)?;
            if key.is_gone(self.now()) {
                return Ok(false);
            }
            shown.push(json!({ "KeyId": id, "KeyArn": self.arn(&format!("key/{id}")) }));
            Ok(true)
        })?;
        Ok(json!({ "Keys": shown, "Truncated": next.is_some(), "NextMarker": next }))
    }

    async fn update_description(&self, input: Describe) -> Done {
        check_description(&input.description)?;
        let set = |key: &mut Key| {
            key.description = input.description;
            Ok(())
        };
        self.change(UPDATE_KEY, &input.key_id, set).await?;
        Ok(Value::Null)
    }

    async fn switch(&self, name: &str, state: State) -> Done {
        let set = move |key: &mut Key| match key.state {
            _ if key.is_default => Err(is_default(key)),
            State::PendingDeletion(_) => Err(invalid_state(key)),
            State::Enabled | State::Disabled => {
                key.state = state;
                Ok(())
            }
        };
        self.change(UPDATE_KEY, name, set).await?;
        Ok(Value::Null)
    }

    async fn schedule(&self, input: Schedule) -> Done {
        let days = input.pending_window_in_days.unwrap_or(*WINDOW.end());
        if !WINDOW.contains(&days) {
            let message = format!("PendingWindowInDays is between {} and {}.", WINDOW.start(), WINDOW.end());
            return Err(refused("ValidationException", message));
        }
        let at = self.now().plus(Duration::from_secs(days * 86_400)).0;
        let set = move |key: &mut Key| match key.state {
            _ if key.is_default => Err(is_default(key)),
            State::PendingDeletion(_) => Err(invalid_state(key)),
            State::Enabled | State::Disabled => {
                key.state = State::PendingDeletion(at);
                Ok(())
            }
        };
        let key = self.change(DELETE_KEY, &input.key_id, set).await?;
        Ok(json!({
            "KeyId": self.arn(&format!("key/{}", key.id)),
            "DeletionDate": seconds(at),
            "KeyState": state_name(key.state),
            "PendingWindowInDays": days,
        }))
    }

    async fn cancel(&self, name: &str) -> Done {
        let set = |key: &mut Key| match key.state {
            State::PendingDeletion(_) => {
                key.state = State::Disabled;
                Ok(())
            }
            State::Enabled | State::Disabled => Err(invalid_state(key)),
        };
        let key = self.change(DELETE_KEY, name, set).await?;
        Ok(json!({ "KeyId": self.arn(&format!("key/{}", key.id)) }))
    }

    async fn set_alias(&self, input: SetAlias, is_new: bool) -> Done {
        check_alias(&input.alias_name)?;
        let grant = self.may(UPDATE_KEY, &input.alias_name)?;
        let (project_id, now) = (self.project_id.clone(), self.now());
        self.write(&grant, move |change| {
            let Some(key) = kms::find(change, &project_id, &input.target_key_id, now)? else {
                return Ok(Err(not_found(&input.target_key_id)));
            };
            if matches!(key.state, State::PendingDeletion(_)) {
                return Ok(Err(invalid_state(&key)));
            }
            let place = keys::kms_alias(&project_id, &input.alias_name);
            let old = change.get(&place)?;
            let old: Option<Alias> = old.map(|found| record::from_json(&found.value)).transpose()?;
            let created_at = match (&old, is_new) {
                (Some(_), true) => {
                    let message = format!("{} is there already.", input.alias_name);
                    return Ok(Err(refused("AlreadyExistsException", message)));
                }
                (None, false) => {
                    let message = format!("Alias {} is not found.", input.alias_name);
                    return Ok(Err(refused("NotFoundException", message)));
                }
                (Some(old), false) => old.created_at,
                (None, true) => now.0,
            };
            if is_new
                && change.scan_prefix(&keys::kms_aliases(&project_id))?.take(KEYS_MAX).count() >= KEYS_MAX
            {
                let message = format!("A project has at most {KEYS_MAX} aliases.");
                return Ok(Err(refused("LimitExceededException", message)));
            }
            let alias = Alias { key: key.id, created_at, updated_at: now.0 };
            change.put(&place, record::to_json(&alias)?, &[])?;
            Ok(Ok(Value::Null))
        })
        .await
    }

    async fn drop_alias(&self, name: String) -> Done {
        check_alias(&name)?;
        let grant = self.may(DELETE_KEY, &name)?;
        let place = keys::kms_alias(&self.project_id, &name);
        self.write(&grant, move |change| {
            if change.get(&place)?.is_none() {
                return Ok(Err(refused("NotFoundException", format!("Alias {name} is not found."))));
            }
            change.delete(&place)?;
            Ok(Ok(Value::Null))
        })
        .await
    }

    fn aliases(&self, page: &Page) -> Done {
        self.may(LIST_KEYS, "")?;
        let key = page.key_id.as_deref().map(|name| self.find(name)).transpose()?;
        let mut shown = Vec::new();
        let next = self.page(&keys::kms_aliases(&self.project_id), page, |name, value| {
            let alias: Alias = record::from_json(value)?;
            if key.as_ref().is_some_and(|key| key.id != alias.key) {
                return Ok(false);
            }
            shown.push(json!({
                "AliasName": name,
                "AliasArn": self.arn(name),
                "TargetKeyId": alias.key,
                "CreationDate": seconds(alias.created_at),
                "LastUpdatedDate": seconds(alias.updated_at),
            }));
            Ok(true)
        })?;
        Ok(json!({ "Aliases": shown, "Truncated": next.is_some(), "NextMarker": next }))
    }
}
