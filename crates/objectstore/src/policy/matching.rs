//! Patterns in actions, resources and conditions. Source: IAM User Guide, "IAM JSON policy elements: Resource" (wildcards)
//! and "IAM policy elements: Variables and tags".

use std::str::Chars;

use super::principals::{Attribute, Principal};

/// What is special in a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syntax {
    /// `*` stands for any text, `?` for one character.
    pub wildcards: bool,
    /// `${aws:username}` stands for what the request has there.
    pub variables: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Char(char),
    One,
    Many,
    Variable(Attribute),
}

/// A text with places for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pieces: Vec<Piece>,
    ignores_case: bool,
}

impl Pattern {
    /// # Errors
    /// Says which variable is not known.
    pub fn parse(text: &str, syntax: Syntax) -> Result<Pattern, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            pieces.push(match first {
                '$' if syntax.variables && rest.starts_with('{') => {
                    let (name, behind) = rest
                        .get(1..)
                        .and_then(|rest| rest.split_once('}'))
                        .ok_or_else(|| format!("Invalid policy variable in '{text}'"))?;
                    rest = behind;
                    match name {
                        "*" => Piece::Char('*'),
                        "?" => Piece::Char('?'),
                        "$" => Piece::Char('$'),
                        _ => Attribute::parse(name)
                            .map(Piece::Variable)
                            .ok_or_else(|| format!("Unknown policy variable: ${{{name}}}"))?,
                    }
                }
                // Two of them say no more than one.
                '*' if syntax.wildcards && pieces.last() == Some(&Piece::Many) => continue,
                '*' if syntax.wildcards => Piece::Many,
                '?' if syntax.wildcards => Piece::One,
                other => Piece::Char(other),
            });
        }
        Ok(Pattern { pieces, ignores_case: false })
    }

    pub fn ignoring_case(mut self) -> Pattern {
        self.ignores_case = true;
        self
    }

    /// Whether it is this text; `unresolved` if it names something that the request does not have, such as the name of
    /// somebody unknown.
    pub fn matches(&self, text: &str, principal: Option<&Principal>, unresolved: bool) -> bool {
        if !self.has_variables() {
            return self.is(&self.pieces, text);
        }
        let mut pieces = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            let Piece::Variable(attribute) = piece else {
                pieces.push(piece.clone());
                continue;
            };
            let Some(value) = attribute.of(principal) else { return unresolved };
            // As it is: a name with a star in it is not a pattern.
            pieces.extend(value.chars().map(Piece::Char));
        }
        self.is(&pieces, text)
    }

    /// Whether it can be the beginning of something, or something that begins so, whatever its variables stand for.
    pub fn may_begin(&self, beginning: &str) -> bool {
        let pieces = self.with_any_variables();
        let length = beginning.chars().count();
        let mut fixed = 0;
        let mut end = 0;
        loop {
            let Some(start) = pieces.get(..end) else { return false };
            if self.is(start, beginning) {
                return true;
            }
            fixed += usize::from(start.last().is_some_and(|piece| *piece != Piece::Many));
            if fixed > length {
                return false;
            }
            end += 1;
        }
    }

    /// Whether it can be this text, whatever its variables stand for.
    pub fn may_be(&self, text: &str) -> bool {
        self.is(&self.with_any_variables(), text)
    }

    /// Whether it is one text only.
    pub fn is_fixed(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Char(_)))
    }

    /// Cut at the first `count - 1` of these characters.
    pub fn split(&self, at: char, count: usize) -> Vec<Pattern> {
        let parts = self.pieces.splitn(count, |piece| *piece == Piece::Char(at));
        parts.map(|pieces| Pattern { pieces: pieces.to_vec(), ..self.clone() }).collect()
    }

    fn has_variables(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Variable(_)))
    }

    fn with_any_variables(&self) -> Vec<Piece> {
        let any =
            |piece: &Piece| if matches!(piece, Piece::Variable(_)) { Piece::Many } else { piece.clone() };
        let mut pieces: Vec<Piece> = self.pieces.iter().map(any).collect();
        pieces.dedup_by(|next, piece| *next == Piece::Many && *piece == Piece::Many);
        pieces
    }

    fn is_char(&self, piece: &Piece, other: char) -> bool {
        match piece {
            Piece::Char(own) => {
                *own == other || self.ignores_case && own.to_lowercase().eq(other.to_lowercase())
            }
            Piece::One => true,
            Piece::Many | Piece::Variable(_) => false,
        }
    }

    /// Goes back to the last star only, since what an earlier one took can stay as it is: at most text times pattern steps.
    fn is(&self, pieces: &[Piece], text: &str) -> bool {
        let (mut pieces, mut text) = (pieces, text.chars());
        let mut star: Option<(&[Piece], Chars<'_>)> = None;
        loop {
            match pieces.split_first() {
                Some((Piece::Many, behind)) => {
                    star = Some((behind, text.clone()));
                    pieces = behind;
                    continue;
                }
                Some((piece, behind)) => match text.clone().next() {
                    // No star makes the text longer.
                    None => return false,
                    Some(char) if self.is_char(piece, char) => {
                        text.next();
                        pieces = behind;
                        continue;
                    }
                    Some(_) => {}
                },
                None if text.as_str().is_empty() => return true,
                None => {}
            }
            let Some((behind, from)) = &mut star else { return false };
            if behind.is_empty() {
                return true;
            }
            from.next();
            (pieces, text) = (*behind, from.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Syntax = Syntax { wildcards: true, variables: true };

    fn alice() -> Principal {
        Principal { project_id: "p".to_owned(), user_id: "u".to_owned(), user_name: "al*ce".to_owned() }
    }

    fn is(pattern: &str, text: &str) -> bool {
        Pattern::parse(pattern, ALL).unwrap().matches(text, Some(&alice()), false)
    }

    #[test]
    fn stars_and_question_marks() {
        for (pattern, texts, others) in [
            ("", &[""][..], &["a"][..]),
            ("abc", &["abc"], &["", "ab", "abcd", "Abc", "xabc"]),
            ("*", &["", "a", "a/b", "*"], &[]),
            ("a*", &["a", "ab", "a/b"], &["", "ba"]),
            ("*a", &["a", "ba", "aa"], &["", "ab"]),
            ("a*b*c", &["abc", "abbc", "axbxc", "abcbc"], &["ac", "abcd", "acb"]),
            ("?", &["a", "ä", "*"], &["", "ab"]),
            ("a??", &["abc", "aäö"], &["ab", "abcd"]),
            ("*?b", &["ab", "xxb", "bb"], &["b"]),
            ("**", &["", "a"], &[]),
            ("${*}", &["*"], &["", "a"]),
            ("${?}${$}{a}", &["?${a}"], &["a${a}"]),
            ("$a${$}", &["$a$"], &[]),
            (
                "home/${aws:username}/*",
                &["home/al*ce/", "home/al*ce/a/b"],
                &["home/alice/a", "home/alxxce/a"],
            ),
            ("${AWS:UserID}", &["u"], &["U"]),
        ] {
            for text in texts {
                assert!(is(pattern, text), "{pattern} is {text}");
            }
            for text in others {
                assert!(!is(pattern, text), "{pattern} is not {text}");
            }
        }
    }

    #[test]
    fn without_syntax_everything_is_itself() {
        let text = "a*?${aws:username}";
        let plain = Pattern::parse(text, Syntax { wildcards: false, variables: false }).unwrap();
        assert!(plain.matches(text, Some(&alice()), false) && plain.is_fixed());
        assert!(!plain.matches("abc${aws:username}", Some(&alice()), false));
        assert!(plain.ignoring_case().matches("A*?${AWS:Username}", None, false));
    }

    #[test]
    fn what_the_request_does_not_have_is_unresolved() {
        let pattern = Pattern::parse("${aws:username}", ALL).unwrap();
        assert!(!pattern.matches("", None, false) && pattern.matches("", None, true));
        assert!(!pattern.is_fixed());
        for unknown in ["${aws:foo}", "${}", "${aws:username", "${aws:username, 'x'}"] {
            assert!(Pattern::parse(unknown, ALL).is_err(), "{unknown}");
        }
    }

    #[test]
    fn what_a_pattern_may_begin_with() {
        for (pattern, expected) in [
            ("bucket/*", true),
            ("bucket/", true),
            ("bucket/a", true),
            ("buck*", true),
            ("*", true),
            ("*/a", true),
            ("${aws:username}/a", true),
            ("??????/a", true),
            ("bucket", false),
            ("other/*", false),
            ("buckets/*", false),
            ("?????/a", false),
            ("", false),
        ] {
            assert_eq!(Pattern::parse(pattern, ALL).unwrap().may_begin("bucket/"), expected, "{pattern}");
        }
    }

    #[test]
    fn hostile_patterns_take_no_longer_than_others() {
        let text = "a".repeat(1024);
        let started = std::time::Instant::now();
        for pattern in
            ["*a".repeat(10_000), "*a".repeat(500) + "b", "*?".repeat(10_000), "a*".repeat(600) + "b"]
        {
            let pattern = Pattern::parse(&pattern, ALL).unwrap();
            assert!(!pattern.matches(&text, None, false));
            pattern.may_begin(&text);
        }
        let half = Pattern::parse(&format!("*{}b", "a".repeat(512)), ALL).unwrap();
        assert!(!half.matches(&text, None, false));
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }
}
