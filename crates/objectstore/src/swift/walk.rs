//! Lists as Swift has them beside S3: backwards, between two markers, and by pseudo-directory.
//!
//! Source: OpenStack Object Storage API Reference, "Show container details and list objects".

use std::ops::Bound;

use hanse_core::{Error, Result};
use hanse_logstore::View;

use super::listing::Asked;
use crate::lists::{self, Line, behind};

/// The lines that are asked for, of the records whose keys begin with `start`. `read` makes a line of a record, or passes it
/// over.
///
/// # Errors
/// Internal if the store cannot be read.
pub fn lines<T>(
    view: &View,
    start: &[u8],
    asked: &Asked<'_>,
    read: impl Fn(&[u8]) -> Result<Option<T>>,
) -> Result<Vec<Line<T>>> {
    if asked.is_reverse || asked.is_path {
        return walk(view, start, asked, read);
    }
    let wanted = lists::Wanted {
        start: start.to_vec(),
        prefix: &asked.prefix,
        delimiter: asked.delimiter,
        after: asked.marker,
        most: asked.limit,
    };
    let mut lines = lists::page(view, &wanted, read)?.lines;
    if let Some(end) = asked.end_marker {
        lines.retain(|line| match line {
            Line::One(name, _) | Line::CommonPrefix(name) => name.as_str() < end,
        });
    }
    Ok(lines)
}

fn walk<T>(
    view: &View,
    start: &[u8],
    asked: &Asked<'_>,
    read: impl Fn(&[u8]) -> Result<Option<T>>,
) -> Result<Vec<Line<T>>> {
    let at = |name: &str| [start, name.as_bytes()].concat();
    let end_marker = asked.end_marker.unwrap_or_default();
    let (above, below) =
        if asked.is_reverse { (end_marker, asked.marker) } else { (asked.marker, end_marker) };
    let prefix = asked.prefix.as_str();
    // The range within which names are still looked for.
    let mut low = Bound::Included(at(prefix));
    if above >= prefix && !above.is_empty() {
        low = Bound::Excluded(at(above));
    }
    let mut high = behind(&at(prefix));
    if !below.is_empty() {
        high = high.min(at(below));
    }
    let mut lines = Vec::new();
    'range: while lines.len() < asked.limit {
        let is_empty = match &low {
            Bound::Included(low) | Bound::Excluded(low) => *low >= high,
            Bound::Unbounded => false,
        };
        if is_empty {
            break;
        }
        let range = (low.as_ref().map(Vec::as_slice), Bound::Excluded(high.as_slice()));
        let mut scan = view.scan(range)?;
        while lines.len() < asked.limit {
            let found = if asked.is_reverse { scan.next_back() } else { scan.next() };
            let Some(found) = found else { break 'range };
            let (place, record) = found?;
            let name = place.get(start.len()..).and_then(|name| std::str::from_utf8(name).ok());
            let name = name.ok_or_else(|| Error::internal("a key of an object is no UTF-8"))?;
            let Some(value) = read(&record.value)? else { continue };
            let rest = name.get(prefix.len()..).unwrap_or_default();
            let end = asked.delimiter.and_then(|own| rest.find(own).map(|at| prefix.len() + at + own.len()));
            let common = end.and_then(|end| name.get(..end));
            match common {
                // The directory itself does not lie in it, but those right below it may be objects.
                _ if asked.is_path && name == prefix => {}
                Some(common) if !asked.is_path || common != name => {
                    // What else has this common prefix is passed over in one go.
                    match asked.is_reverse {
                        // A directory within the path may be an object, which comes last of all that begins so.
                        true if asked.is_path => high = [&at(common), &b"\0"[..]].concat(),
                        true => high = at(common),
                        false => low = Bound::Included(behind(&at(common))),
                    }
                    if !asked.is_path {
                        lines.push(Line::CommonPrefix(common.to_owned()));
                    }
                    continue 'range;
                }
                _ => lines.push(Line::One(name.to_owned(), value)),
            }
        }
    }
    Ok(lines)
}
