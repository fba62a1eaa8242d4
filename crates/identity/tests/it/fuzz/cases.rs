//! What the fuzzing tests send: JSON, bodies with changes and damage, parts of queries, forged tokens.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

/// Any JSON, often with words that mean something.
pub fn value(words: &[String]) -> impl Strategy<Value = Value> + use<> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => select(vec![0, -1, 1, i64::MAX, i64::MIN, 1 << 31, 1 << 53]).prop_map(Value::from),
        1 => Just(json!(u64::MAX)),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
        // PostgreSQL takes no NUL.
        1 => any::<String>().prop_map(|text| Value::from(format!("{text}\0"))),
        3 => select(words.to_vec()).prop_map(Value::from),
    ];
    let any = leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((key(), inner), 0..5).prop_map(|all| all.into_iter().collect()),
        ]
    });
    let deep = (1_usize..140).prop_map(|depth| (0..depth).fold(Value::Null, |inner, _| json!([inner])));
    prop_oneof![8 => any, 1 => deep]
}

pub fn key() -> impl Strategy<Value = String> {
    let known = [
        "id",
        "name",
        "domain_id",
        "domain",
        "password",
        "enabled",
        "options",
        "description",
        "links",
        "parent_id",
        "is_domain",
        "tags",
        "extra",
        "type",
        "blob",
        "project_id",
        "tenant_id",
        "user_id",
        "roles",
        "expires_at",
        "remaining_uses",
        "redelegation_count",
        "impersonation",
        "access_rules",
        "unrestricted",
        "secret",
        "filters",
        "service_id",
        "region_id",
        "region",
        "interface",
        "url",
        "default_project_id",
        "immutable",
        "methods",
        "token",
        "totp",
        "scope",
        "system",
        "multi_factor_auth_rules",
        "ignore_lockout_failure_attempts",
        "default_limit",
        "resource_limit",
        "resource_name",
        "allow_redelegation",
        "redelegated_trust_id",
        "parent_region_id",
        "",
    ];
    prop_oneof![4 => select(known.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

#[derive(Clone, Debug)]
pub enum Change {
    Replace(Value),
    Remove,
    Add(String, Value),
    Rename(String),
    Wrap,
}

/// A change somewhere in a body.
#[derive(Clone, Debug)]
pub struct Edit {
    at: Index,
    change: Change,
}

impl Edit {
    pub fn any(words: &[String]) -> impl Strategy<Value = Edit> + use<> {
        let change = prop_oneof![
            4 => value(words).prop_map(Change::Replace),
            1 => Just(Change::Remove),
            4 => (key(), value(words)).prop_map(|(key, value)| Change::Add(key, value)),
            1 => key().prop_map(Change::Rename),
            1 => Just(Change::Wrap),
        ];
        (any::<Index>(), change).prop_map(|(at, change)| Edit { at, change })
    }

    pub fn apply(&self, body: &mut Value) {
        let mut pointers = Vec::new();
        point(body, String::new(), &mut pointers);
        let pointer = self.at.get(&pointers);
        let (parent, last) = pointer.rsplit_once('/').unwrap_or(("", ""));
        let last = last.replace("~1", "/").replace("~0", "~");
        match (&self.change, body.pointer_mut(parent)) {
            (Change::Remove, Some(Value::Object(object))) => {
                object.remove(&last);
            }
            (Change::Rename(name), Some(Value::Object(object))) => {
                if let Some(value) = object.remove(&last) {
                    object.insert(name.clone(), value);
                }
            }
            (change, _) => {
                let Some(place) = body.pointer_mut(pointer) else { return };
                match (change, place) {
                    (Change::Add(name, value), Value::Object(object)) => {
                        object.insert(name.clone(), value.clone());
                    }
                    (Change::Add(_, value) | Change::Replace(value), place) => *place = value.clone(),
                    (_, place) => *place = json!([place.take()]),
                }
            }
        }
    }
}

/// Where everything in a body is, as JSON pointers.
pub fn point(value: &Value, here: String, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                point(value, format!("{here}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(list) => {
            for (at, value) in list.iter().enumerate() {
                point(value, format!("{here}/{at}"), found);
            }
        }
        _ => {}
    }
    found.push(here);
}

/// What is done to the text of a body that no JSON value can say.
#[derive(Clone, Debug)]
pub enum Damage {
    None,
    Cut(Index),
    Put(Index, Vec<u8>),
    Twice,
}

impl Damage {
    pub fn any() -> impl Strategy<Value = Damage> {
        let bytes: [&[u8]; 12] = [
            b"\xff",
            b"\0",
            b"\"",
            b"{",
            b"]",
            b"1e999",
            b"\\ud800",
            b"\\u0000",
            b",",
            b"-",
            b"\xed\xa0\x80",
            b"\xef\xbb\xbf",
        ];
        let number = (1_usize..400).prop_map(|digits| "9".repeat(digits).into_bytes());
        let bytes = prop_oneof![4 => select(bytes.map(<[u8]>::to_vec).to_vec()), 1 => number];
        prop_oneof![
            6 => Just(Damage::None),
            1 => any::<Index>().prop_map(Damage::Cut),
            2 => (any::<Index>(), bytes).prop_map(|(at, bytes)| Damage::Put(at, bytes)),
            1 => Just(Damage::Twice),
        ]
    }

    pub fn apply(&self, mut text: Vec<u8>) -> Vec<u8> {
        match self {
            Damage::None => {}
            Damage::Cut(at) => text.truncate(at.index(text.len() + 1)),
            Damage::Put(at, bytes) => {
                let at = at.index(text.len() + 1);
                text.splice(at..at, bytes.iter().copied());
            }
            // The second of two equal keys, one of which may be changed.
            Damage::Twice => {
                if let Some(inner) = text.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")) {
                    text = [b"{", inner, b",", inner, b"}"].concat();
                }
            }
        }
        text
    }
}

/// A part of a query as it is sent; also such that no client of ours would send.
pub fn parameter(words: &[String]) -> impl Strategy<Value = String> + use<> {
    let keys = [
        "name",
        "domain_id",
        "enabled",
        "limit",
        "marker",
        "sort_key",
        "sort_dir",
        "parent_id",
        "is_domain",
        "tags",
        "tags-any",
        "not-tags",
        "not-tags-any",
        "user.id",
        "group.id",
        "role.id",
        "scope.project.id",
        "scope.domain.id",
        "scope.system",
        "scope.OS-INHERIT:inherited_to",
        "effective",
        "include_names",
        "include_subtree",
        "user_id",
        "type",
        "interface",
        "region",
        "region_id",
        "service_id",
        "parent_region_id",
        "id",
        "allow_expired",
        "nocatalog",
        "subtree_as_list",
        "subtree_as_ids",
        "parents_as_list",
        "parents_as_ids",
        "include_limits",
        "resource_name",
        "project_id",
        "trustor_user_id",
        "trustee_user_id",
        "blob",
        "password_expires_at",
        "description",
        "",
    ];
    let how = [
        "",
        "",
        "",
        "",
        "__contains",
        "__icontains",
        "__startswith",
        "__istartswith",
        "__endswith",
        "__iendswith",
        "__regex",
        "__",
        "__i",
        "[]",
    ];
    let encoded = |text: String| -> String {
        text.bytes()
            .map(|byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            })
            .collect()
    };
    // An address is at most 64 KiB long.
    let words: Vec<String> = words.iter().filter(|word| word.len() < 10_000).cloned().collect();
    let text = prop_oneof![
        4 => select(words).prop_map(encoded),
        2 => any::<String>().prop_map(encoded),
        1 => (1_usize..8000).prop_map(|length| "y".repeat(length)),
        2 => select(vec!["%", "%0", "%zz", "%ff", "%C0%80", "%00", "+", "=", "%25", "%2525", "true", "false", "maybe",
            "4294967296", "-1", "1", "0", "2", "1000", "1001", "lt:2026-01-01T00:00:00Z", "gt:", "x:y", "asc,desc"])
            .prop_map(str::to_owned),
    ];
    let key = prop_oneof![
        8 => (select(keys.to_vec()), select(how.to_vec())).prop_map(|(key, how)| format!("{key}{how}")),
        1 => any::<String>().prop_map(encoded),
    ];
    (key, proptest::option::weighted(0.9, text))
        .prop_map(|(key, text)| text.map_or(key.clone(), |text| format!("{key}={text}")))
}

/// What is done to a token.
#[derive(Clone, Debug)]
pub enum Forgery {
    Flip(Index, u8),
    Cut(Index),
    Append(Vec<u8>),
    Nonsense(Vec<u8>),
    Payload(Vec<u8>),
}

impl Forgery {
    pub fn any() -> impl Strategy<Value = Forgery> {
        let bytes = |most: usize| proptest::collection::vec(any::<u8>(), 0..most);
        prop_oneof![
            3 => (any::<Index>(), 1_u8..).prop_map(|(at, by)| Forgery::Flip(at, by)),
            1 => any::<Index>().prop_map(Forgery::Cut),
            1 => bytes(8).prop_map(Forgery::Append),
            2 => bytes(300).prop_map(Forgery::Nonsense),
            1 => bytes(6000).prop_map(Forgery::Nonsense),
            2 => bytes(200).prop_map(Forgery::Payload),
        ]
    }

    pub fn apply(&self, token: &str) -> Vec<u8> {
        let mut token = token.as_bytes().to_vec();
        match self {
            Forgery::Flip(at, by) => {
                let at = at.index(token.len());
                token[at] ^= by;
            }
            Forgery::Cut(at) => token.truncate(at.index(token.len())),
            Forgery::Append(bytes) => token.extend(bytes),
            Forgery::Nonsense(bytes) => token.clone_from(bytes),
            // In the alphabet of tokens, so that it gets as far as the signature.
            Forgery::Payload(bytes) => {
                let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
                token = b"gAAAAA".to_vec();
                token.extend(bytes.iter().map(|byte| letters[usize::from(byte % 64)]));
            }
        }
        token
    }
}
