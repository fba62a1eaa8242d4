//! Lists of containers and of objects, in the formats that Swift has for them.

use http::{HeaderMap, StatusCode, header};
use s3s::HttpResponse;
use serde_json::{Value, json};

use super::Call;
use super::reply::{Done, json as json_reply, refused, reply, set};
use crate::markup::escape;

/// The most lines of a list. Source: OpenStack Object Storage API Reference, "Large lists".
pub const PAGE: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
    Xml,
}

/// What is asked of a list.
pub struct Asked<'c> {
    pub format: Format,
    pub limit: usize,
    pub prefix: String,
    pub delimiter: Option<&'c str>,
    pub marker: &'c str,
    pub end_marker: Option<&'c str>,
    /// From the last name to the first; then the marker is the upper end.
    pub is_reverse: bool,
    /// Only what lies at the level of the prefix, and no common prefixes.
    pub is_path: bool,
}

impl<'c> Asked<'c> {
    /// # Errors
    /// 412 if the limit is none, 501 for what is not offered.
    pub fn of(call: &'c Call) -> Done<Asked<'c>> {
        let text = |name: &str| call.parameter(name).filter(|value| !value.is_empty());
        if text("states").is_some() {
            return Err(refused(StatusCode::NOT_IMPLEMENTED, "The parameter states is not offered."));
        }
        let limit = match text("limit") {
            None => PAGE,
            Some(limit) => limit.parse().ok().filter(|limit| *limit <= PAGE).ok_or_else(|| {
                refused(StatusCode::PRECONDITION_FAILED, format!("Maximum limit is {PAGE}"))
            })?,
        };
        // A pseudo-directory, the top one if it is empty. It goes before prefix and delimiter.
        let path = call.parameter("path").map(|path| path.trim_end_matches('/'));
        let (prefix, delimiter) = match path {
            Some(path) => (path.to_owned() + if path.is_empty() { "" } else { "/" }, Some("/")),
            None => (text("prefix").unwrap_or_default().to_owned(), text("delimiter")),
        };
        Ok(Asked {
            format: format(call),
            limit,
            prefix,
            delimiter,
            is_reverse: text("reverse").is_some_and(is_true),
            is_path: path.is_some(),
            marker: text("marker").unwrap_or_default(),
            end_marker: text("end_marker"),
        })
    }
}

/// Source: OpenStack Swift, `config_true_value`.
pub fn is_true(text: &str) -> bool {
    ["true", "1", "yes", "on", "t", "y"].contains(&text.to_ascii_lowercase().as_str())
}

/// The format that a request asks for, in its query or by what it accepts.
pub fn format(call: &Call) -> Format {
    match call.parameter("format") {
        Some("json") => return Format::Json,
        Some("xml") => return Format::Xml,
        Some(_) => return Format::Text,
        None => {}
    }
    let accept = call.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kinds = accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
    for kind in kinds {
        match kind {
            "application/json" => return Format::Json,
            "application/xml" | "text/xml" => return Format::Xml,
            "text/plain" => return Format::Text,
            _ => {}
        }
    }
    Format::Text
}

/// A line: what JSON and XML show of it. The first field is its name.
pub type Line = Vec<(&'static str, Value)>;

/// What is listed: the element around it in XML, and the one of each line.
pub struct Named<'n> {
    pub kind: &'static str,
    pub name: &'n str,
    pub line: &'static str,
}

pub fn show(format: Format, named: &Named<'_>, lines: Vec<Line>, mut headers: HeaderMap) -> HttpResponse {
    match format {
        Format::Json => {
            let line = |line: Line| {
                Value::Object(line.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            };
            json_reply(headers, &lines.into_iter().map(line).collect())
        }
        Format::Xml => {
            set(&mut headers, "content-type", "application/xml; charset=utf-8");
            reply(StatusCode::OK, headers, xml(named, &lines))
        }
        Format::Text => {
            set(&mut headers, "content-type", "text/plain; charset=utf-8");
            let name = |line: Line| line.into_iter().next().map(|(_, value)| plain(&value) + "\n");
            let text: String = lines.into_iter().filter_map(name).collect();
            let status = if text.is_empty() { StatusCode::NO_CONTENT } else { StatusCode::OK };
            reply(status, headers, text)
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn xml(named: &Named<'_>, lines: &[Line]) -> String {
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{} name=\"{}\">",
        named.kind,
        escape(named.name)
    );
    for line in lines {
        if let [("subdir", name)] = line.as_slice() {
            let name = escape(&plain(name));
            out.push_str(&format!("<subdir name=\"{name}\"><name>{name}</name></subdir>"));
            continue;
        }
        out.push_str(&format!("<{}>", named.line));
        for (name, value) in line {
            out.push_str(&format!("<{name}>{}</{name}>", escape(&plain(value))));
        }
        out.push_str(&format!("</{}>", named.line));
    }
    out.push_str(&format!("</{}>", named.kind));
    out
}

/// A common prefix.
pub fn subdir(prefix: String) -> Line {
    vec![("subdir", json!(prefix))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_xml_are_escaped() {
        let named = Named { kind: "container", name: "a&b", line: "object" };
        let lines = [vec![("name", json!("<o>")), ("bytes", json!(5))], subdir("d\"/".to_owned())];
        let out = xml(&named, &lines);
        assert!(out.contains("<container name=\"a&amp;b\">"), "{out}");
        assert!(out.contains("<object><name>&lt;o&gt;</name><bytes>5</bytes></object>"), "{out}");
        assert!(out.contains("<subdir name=\"d&quot;/\"><name>d&quot;/</name></subdir>"), "{out}");
    }
}
