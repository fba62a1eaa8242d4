//! `application/openstack-images-v2.1-json-patch`: a JSON patch on the attributes of an image.

use hanse_core::{Error, Result};
use http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::Value;

use crate::model::Draft;

const MEDIA_TYPE: &str = "application/openstack-images-v2.1-json-patch";
const MAX_CHANGES: usize = 256;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    op: Operation,
    path: String,
    #[serde(default)]
    value: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Operation {
    Add,
    Replace,
    Remove,
}

pub fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Change>> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some(MEDIA_TYPE) {
        return Err(Error::unsupported_media(format!("Unsupported Content-Type {kind}; send {MEDIA_TYPE}.")));
    }
    // `value: null` is a value; a missing one is none.
    let raw: Vec<Value> = serde_json::from_slice(body).map_err(|error| {
        Error::bad_request(format!("Malformed request body: {error}; a list of changes expected"))
    })?;
    if raw.len() > MAX_CHANGES {
        return Err(Error::too_large(format!("A patch may have at most {MAX_CHANGES} changes.")));
    }
    raw.into_iter()
        .map(|one| {
            let null = one.get("value").is_some_and(Value::is_null);
            let mut change: Change = serde_json::from_value(one)
                .map_err(|error| Error::bad_request(format!("Invalid operation in the patch: {error}")))?;
            if null {
                change.value = Some(Value::Null);
            }
            Ok(change)
        })
        .collect()
}

impl Change {
    pub fn apply(&self, draft: &mut Draft) -> Result<()> {
        let name = self.name()?;
        match (self.op, &self.value) {
            (Operation::Remove, _) => draft.remove(&name),
            (_, None) => Err(Error::bad_request(format!("The change of {} has no value.", self.path))),
            (Operation::Replace, Some(_)) if !draft.has(&name) && !is_read_only(draft, &name) => Err(
                Error::conflict(format!("Property {name} does not exist; add it instead of replacing it.")),
            ),
            (Operation::Add | Operation::Replace, Some(value)) => draft.set(&name, value.clone()),
        }
    }

    /// The attribute: a JSON pointer of one level.
    fn name(&self) -> Result<String> {
        let wrong = || Error::bad_request(format!("Invalid JSON pointer for this resource: '{}'", self.path));
        let name = self.path.strip_prefix('/').ok_or_else(wrong)?;
        if name.is_empty() || name.contains('/') {
            return Err(wrong());
        }
        Ok(name.replace("~1", "/").replace("~0", "~"))
    }
}

/// To replace what is read-only is forbidden, not in conflict.
fn is_read_only(draft: &Draft, name: &str) -> bool {
    draft.clone().set(name, Value::String(String::new())).is_err()
}

#[cfg(test)]
mod tests {
    use hanse_core::Kind;
    use http::HeaderValue;

    use super::*;

    fn apply(text: &str) -> Result<Draft> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        let mut draft = Draft::default();
        draft.properties.insert("a/b".to_owned(), "1".to_owned());
        for change in parse(&headers, text.as_bytes())? {
            change.apply(&mut draft)?;
        }
        Ok(draft)
    }

    #[test]
    fn changes_are_applied_in_order() {
        let draft = apply(
            r#"[{"op": "replace", "path": "/name", "value": "x"}, {"op": "replace", "path": "/a~1b", "value": "2"},
                {"op": "add", "path": "/c", "value": "3"}, {"op": "remove", "path": "/c"},
                {"op": "replace", "path": "/tags", "value": ["t"]}]"#,
        )
        .unwrap();
        assert_eq!((draft.name.as_deref(), draft.properties["a/b"].as_str()), (Some("x"), "2"));
        assert!(!draft.has("c") && draft.tags.contains("t"));
        assert_eq!(apply(r#"[{"op": "replace", "path": "/name", "value": null}]"#).unwrap().name, None);
    }

    #[test]
    fn what_cannot_be_changed_is_refused() {
        for (text, kind) in [
            (r#"{"op": "add"}"#, Kind::BadRequest),
            (r#"[{"op": "move", "path": "/a"}]"#, Kind::BadRequest),
            (r#"[{"op": "add", "path": "name", "value": "x"}]"#, Kind::BadRequest),
            (r#"[{"op": "add", "path": "/a/b", "value": "x"}]"#, Kind::BadRequest),
            (r#"[{"op": "add", "path": "/x"}]"#, Kind::BadRequest),
            (r#"[{"op": "replace", "path": "/x", "value": "y"}]"#, Kind::Conflict),
            (r#"[{"op": "remove", "path": "/x"}]"#, Kind::Conflict),
            (r#"[{"op": "remove", "path": "/name"}]"#, Kind::Forbidden),
            (r#"[{"op": "replace", "path": "/size", "value": 1}]"#, Kind::Forbidden),
        ] {
            assert_eq!(apply(text).unwrap_err().kind(), kind, "{text}");
        }
    }
}
