//! An image, and what a client may say of it.

use std::collections::{BTreeMap, BTreeSet};

use hanse_core::{Error, Result, Timestamp, Uuid, check_text};
use hanse_node::documents::DiskFormat;
use serde_json::Value;

/// Where an image is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Known by name; no data yet.
    Queued,
    /// An upload is under way.
    Saving,
    Active,
    /// Its data is kept but not handed out.
    Deactivated,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Saving => "saving",
            Status::Active => "active",
            Status::Deactivated => "deactivated",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Status> {
        [Status::Queued, Status::Saving, Status::Active, Status::Deactivated]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| Error::internal(format!("an image of unknown status '{text}'")))
    }
}

/// Who sees an image beside its own project.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    #[default]
    Private,
    /// Everybody.
    Public,
}

impl Visibility {
    pub fn as_str(self) -> &'static str {
        match self {
            Visibility::Private => "private",
            Visibility::Public => "public",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Visibility> {
        match text {
            "private" => Ok(Visibility::Private),
            "public" => Ok(Visibility::Public),
            "shared" | "community" => Err(Error::bad_request(format!(
                "Visibility '{text}' is not offered by this cloud; use private or public."
            ))),
            _ => Err(Error::bad_request(format!("Invalid visibility value: {text}"))),
        }
    }
}

pub(crate) fn parse_format(text: &str) -> Result<DiskFormat> {
    match text {
        "raw" => Ok(DiskFormat::Raw),
        "qcow2" => Ok(DiskFormat::Qcow2),
        _ => Err(Error::bad_request(format!("Invalid disk format '{text}' for image; use raw or qcow2."))),
    }
}

/// What a client says of an image: all that can be created and changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    pub name: Option<String>,
    pub visibility: Visibility,
    pub protected: bool,
    pub hidden: bool,
    /// `bare` is the only one there is.
    pub container_format: Option<String>,
    pub disk_format: Option<DiskFormat>,
    /// GiB that a disk must have to boot from this.
    pub min_disk: u32,
    /// MiB of memory that a server must have.
    pub min_ram: u32,
    pub tags: BTreeSet<String>,
    pub properties: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub id: Uuid,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub project_id: String,
    pub status: Status,
    /// Bytes of the file, and of the disk that it describes; known once active.
    pub size: Option<u64>,
    pub virtual_size: Option<u64>,
    /// MD5 and SHA-512 of the file, hexadecimal.
    pub checksum: Option<String>,
    pub hash: Option<String>,
    /// Under which id the store has the bytes.
    pub data_id: Option<Uuid>,
    pub draft: Draft,
}

/// What the service says of an image; no client sets it.
const READ_ONLY: &[&str] = &[
    "id",
    "status",
    "size",
    "virtual_size",
    "checksum",
    "os_hash_algo",
    "os_hash_value",
    "created_at",
    "updated_at",
    "owner",
    "locations",
    "direct_url",
    "file",
    "self",
    "schema",
    "stores",
];

/// What is always there; a client may change it but not remove it.
const BASE: &[&str] = &[
    "name",
    "visibility",
    "protected",
    "os_hidden",
    "container_format",
    "disk_format",
    "min_disk",
    "min_ram",
    "tags",
];

const MAX_TAGS: usize = 128;
const MAX_PROPERTIES: usize = 128;
const MAX_PROPERTY: usize = 16_384;

impl Draft {
    /// Whether there is such an attribute now.
    pub fn has(&self, name: &str) -> bool {
        BASE.contains(&name) || self.properties.contains_key(name)
    }

    /// Sets an attribute of the API by its name; what is none is a property.
    ///
    /// # Errors
    /// 403 for what the service alone sets, 400 for a value that does not fit.
    pub fn set(&mut self, name: &str, value: Value) -> Result<()> {
        if READ_ONLY.contains(&name) || name.starts_with("os_glance_") {
            return Err(Error::forbidden(format!("Attribute '{name}' is read-only.")));
        }
        match name {
            "name" => self.name = optional_text(name, value)?,
            "visibility" => self.visibility = Visibility::parse(&text(name, value)?)?,
            "protected" => self.protected = flag(name, &value)?,
            "os_hidden" => self.hidden = flag(name, &value)?,
            "container_format" => self.container_format = container_format(optional_text(name, value)?)?,
            "disk_format" => {
                self.disk_format =
                    optional_text(name, value)?.map(|format| parse_format(&format)).transpose()?;
            }
            "min_disk" => self.min_disk = number(name, &value)?,
            "min_ram" => self.min_ram = number(name, &value)?,
            "tags" => self.tags = tags(value)?,
            _ => self.set_property(name, value)?,
        }
        Ok(())
    }

    fn set_property(&mut self, name: &str, value: Value) -> Result<()> {
        let value = match value {
            Value::String(value) => value,
            _ => return Err(Error::bad_request(format!("The property '{name}' must be a string."))),
        };
        check_text("The name of a property", name, 255)?;
        check_text(&format!("The property '{name}'"), &value, MAX_PROPERTY)?;
        if name.is_empty() {
            return Err(Error::bad_request("A property must have a name."));
        }
        self.properties.insert(name.to_owned(), value);
        if self.properties.len() > MAX_PROPERTIES {
            return Err(Error::too_large(format!(
                "The limit has been exceeded on the number of allowed image properties. Attempted: {}, Maximum: \
                 {MAX_PROPERTIES}",
                self.properties.len()
            )));
        }
        Ok(())
    }

    /// # Errors
    /// 403 for what every image has, 409 for what this one has not.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        if BASE.contains(&name) || READ_ONLY.contains(&name) {
            return Err(Error::forbidden(format!("Property '{name}' may not be removed.")));
        }
        let removed = self.properties.remove(name);
        removed.map(drop).ok_or_else(|| {
            Error::conflict(format!("The property '{name}' could not be removed: no such property."))
        })
    }

    /// # Errors
    /// 400 for a tag that is too long, 413 for too many.
    pub fn tag(&mut self, tag: &str) -> Result<()> {
        check_text("A tag", tag, 255)?;
        self.tags.insert(tag.to_owned());
        if self.tags.len() > MAX_TAGS {
            return Err(Error::too_large(format!(
                "The limit has been exceeded on the number of allowed image tags. Attempted: {}, Maximum: {MAX_TAGS}",
                self.tags.len()
            )));
        }
        Ok(())
    }
}

fn wrong(name: &str, expected: &str) -> Error {
    Error::bad_request(format!("Invalid value for attribute '{name}': {expected} expected."))
}

fn text(name: &str, value: Value) -> Result<String> {
    let Value::String(text) = value else { return Err(wrong(name, "a string")) };
    check_text(name, &text, 255)?;
    Ok(text)
}

fn optional_text(name: &str, value: Value) -> Result<Option<String>> {
    if value.is_null() { Ok(None) } else { text(name, value).map(Some) }
}

fn flag(name: &str, value: &Value) -> Result<bool> {
    value.as_bool().ok_or_else(|| wrong(name, "true or false"))
}

fn number(name: &str, value: &Value) -> Result<u32> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number
        .filter(|number| *number <= i32::MAX as u32)
        .ok_or_else(|| wrong(name, "a whole number from 0 to 2147483647"))
}

fn container_format(format: Option<String>) -> Result<Option<String>> {
    match format.as_deref() {
        None | Some("bare") => Ok(format),
        Some(other) => {
            Err(Error::bad_request(format!("Invalid container format '{other}' for image; use bare.")))
        }
    }
}

fn tags(value: Value) -> Result<BTreeSet<String>> {
    let Value::Array(list) = value else { return Err(wrong("tags", "a list of strings")) };
    let mut draft = Draft::default();
    for tag in list {
        let Value::String(tag) = tag else { return Err(wrong("tags", "a list of strings")) };
        draft.tag(&tag)?;
    }
    Ok(draft.tags)
}

#[cfg(test)]
mod tests {
    use hanse_core::Kind;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_draft_takes_what_fits_and_says_what_does_not() {
        let mut draft = Draft::default();
        draft.set("name", json!("debian")).unwrap();
        draft.set("disk_format", json!("qcow2")).unwrap();
        draft.set("os_distro", json!("debian")).unwrap();
        draft.set("tags", json!(["a", "a", "b"])).unwrap();
        assert_eq!(draft.tags.len(), 2);
        for (name, value, kind) in [
            ("size", json!(1), Kind::Forbidden),
            ("os_glance_x", json!("1"), Kind::Forbidden),
            ("min_ram", json!(-1), Kind::BadRequest),
            ("min_ram", json!(2_147_483_648_u64), Kind::BadRequest),
            ("min_disk", json!("1"), Kind::BadRequest),
            ("protected", json!("yes"), Kind::BadRequest),
            ("disk_format", json!("vmdk"), Kind::BadRequest),
            ("container_format", json!("docker"), Kind::BadRequest),
            ("visibility", json!("community"), Kind::BadRequest),
            ("tags", json!("a"), Kind::BadRequest),
            ("tags", json!(["x".repeat(256)]), Kind::BadRequest),
            ("name", json!("x".repeat(256)), Kind::BadRequest),
            ("os_distro", json!(7), Kind::BadRequest),
            ("", json!("x"), Kind::BadRequest),
        ] {
            assert_eq!(draft.set(name, value.clone()).unwrap_err().kind(), kind, "{name} = {value}");
        }
        assert_eq!(draft.remove("name").unwrap_err().kind(), Kind::Forbidden);
        assert_eq!(draft.remove("nothing").unwrap_err().kind(), Kind::Conflict);
        draft.remove("os_distro").unwrap();
    }
}
