//! The little of XML and HTML that is written and read by hand.

/// As HTML and XML want it.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no other letters below the space.
            letter if letter < ' ' && !['\t', '\n', '\r'].contains(&letter) => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
    out
}

/// The text of an element of an answer that tells of an error: its `Code`, its `Message`. Empty if there is none.
pub fn element(xml: &str, name: &str) -> String {
    let (start, end) = (format!("<{name}>"), format!("</{name}>"));
    let text =
        xml.split_once(&start).and_then(|(_, rest)| rest.split_once(&end)).map_or("", |(text, _)| text);
    let letters = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    letters.iter().fold(text.to_owned(), |text, (escaped, letter)| text.replace(escaped, letter))
}
