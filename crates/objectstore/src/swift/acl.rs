//! Access control lists of containers: `.r:<host>`, `.rlistings` and `<project id>:<user id>`, with `*` for all.
//!
//! Source: OpenStack Swift, "Access Control Lists (ACLs)". Users and projects go by their ids alone, since a name may be
//! another one's in another domain.

use http::StatusCode;

use super::reply::{Done, refused};

const LISTINGS: &str = ".rlistings";
/// In bytes. Source: OpenStack Swift, `max_header_size`.
const MAX: usize = 8 << 10;

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// The host of an element about referrers, in whichever of its spellings.
fn host(item: &str) -> Option<&str> {
    let (kind, host) = item.split_once(':')?;
    [".r", ".ref", ".referer", ".referrer"].contains(&kind.trim()).then(|| host.trim())
}

/// A list that is put, as it is kept.
///
/// # Errors
/// 400 if an element means nothing here.
pub fn check(list: &str, is_write: bool) -> Done<String> {
    let wrong = |item: &str, why: &str| {
        Err(refused(
            StatusCode::BAD_REQUEST,
            format!("'{item}' does not stand in an access control list: {why}."),
        ))
    };
    if list.len() > MAX {
        return Err(refused(
            StatusCode::BAD_REQUEST,
            format!("An access control list has at most {MAX} bytes."),
        ));
    }
    let mut kept = Vec::new();
    for item in items(list) {
        if item == LISTINGS || host(item).is_some() {
            if is_write {
                return wrong(item, "referrers may not write");
            }
            let bare = host(item).map(|host| host.trim_start_matches('-').trim_start_matches('.'));
            if bare == Some("") {
                return wrong(item, "no host is named");
            }
            kept.push(host(item).map_or_else(|| LISTINGS.to_owned(), |host| format!(".r:{host}")));
            continue;
        }
        match item.split_once(':') {
            Some((project, user)) if !item.starts_with('.') && !project.is_empty() && !user.is_empty() => {
                kept.push(item.to_owned());
            }
            _ => return wrong(item, "it is no <project id>:<user id>, .r:<host> or .rlistings"),
        }
    }
    Ok(kept.join(","))
}

/// Whoever has any token, whichever that is.
const ANYBODY: &str = "*:*";

/// Whether a list lets in the public.
pub fn is_public(list: &str) -> bool {
    items(list).any(|item| item == ANYBODY || host(item).is_some())
}

/// Whether a list names the caller, by the project of the token and the user; `is_blocked` if the public does not count.
pub fn names(list: &str, caller: Option<(&str, &str)>, is_blocked: bool) -> bool {
    let Some((own_project, own_user)) = caller else { return false };
    let named = items(list).filter(|item| !(item.starts_with('.') || is_blocked && *item == ANYBODY));
    named.into_iter().any(|item| {
        item.split_once(':').is_some_and(|(project, user)| {
            (project == "*" || project == own_project) && (user == "*" || user == own_user)
        })
    })
}

/// Whether a list lets whoever comes from there read. The last element that fits decides.
pub fn refers(list: &str, referer: Option<&str>) -> bool {
    let from = referer.and_then(|referer| referer.parse::<http::Uri>().ok());
    let from = from.as_ref().and_then(http::Uri::host).unwrap_or("unknown").to_ascii_lowercase();
    let mut allowed = false;
    for pattern in items(list).filter_map(host) {
        let (denies, pattern) = match pattern.strip_prefix('-') {
            Some(rest) => (true, rest.trim()),
            None => (false, pattern),
        };
        let pattern = pattern.to_ascii_lowercase();
        let fits = pattern == "*" || pattern == from || pattern.starts_with('.') && from.ends_with(&pattern);
        if fits {
            allowed = !denies;
        }
    }
    allowed
}

/// Whether those who may read because of where they come from may list, too.
pub fn lists(list: &str) -> bool {
    items(list).any(|item| item == LISTINGS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_callers_by_their_ids() {
        let me = Some(("p1", "u1"));
        for (list, expected) in [
            ("p1:u1", true),
            ("p1:*", true),
            ("*:u1", true),
            ("*:*", true),
            ("p2:u1", false),
            ("p1:u2", false),
            (".r:*,.rlistings", false),
            ("a:b, p1:u1", true),
            ("", false),
        ] {
            assert_eq!(names(list, me, false), expected, "{list}");
            assert!(!names(list, None, false), "{list}");
        }
        assert!(!names("*:*", me, true) && names("*:*,p1:u1", me, true));
        assert!(is_public("a:b,*:*") && is_public(".r:example.com") && !is_public("*:u1,.rlistings"));
    }

    #[test]
    fn the_last_referrer_that_fits_decides() {
        for (list, referer, expected) in [
            (".r:*", None, true),
            (".r:*", Some("https://a.example/x"), true),
            (".r:.example.com", Some("https://www.example.com/x"), true),
            (".r:.example.com", Some("https://example.com.evil/"), false),
            (".r:example.com", Some("http://Example.com:80/"), true),
            (".r:example.com", None, false),
            (".r:*,.r:-bad.example", Some("http://bad.example/"), false),
            (".r:-bad.example,.r:*", Some("http://bad.example/"), true),
            (".referrer : *", None, true),
            ("p:u", None, false),
        ] {
            assert_eq!(refers(list, referer), expected, "{list} {referer:?}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (list, is_write, expected) in [
            (".referer:*, .rlistings , p:u,,", false, Some(".r:*,.rlistings,p:u")),
            ("p:u", true, Some("p:u")),
            ("", true, Some("")),
            (".r:*", true, None),
            (".rlistings", true, None),
            ("user", false, None),
            (".r:", false, None),
            (".r:-", false, None),
            (".x:y", false, None),
            ("p:", false, None),
        ] {
            assert_eq!(check(list, is_write).ok().as_deref(), expected, "{list}");
        }
    }
}
