//! The nft rulesets, compiled by pure functions into the text of one atomic batch each.

pub mod cloud;
pub mod host;
pub mod router;

use std::fmt::Display;

/// `elements = { a, b }`, or nothing: nft has no empty list.
fn elements(items: impl IntoIterator<Item = impl Display>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { String::new() } else { format!("elements = {{ {} }}", items.join(", ")) }
}
