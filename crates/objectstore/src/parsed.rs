//! What was read of a text before, so that a request does not read it anew: buckets and their policies.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Of texts, in bytes: beyond it, it begins anew.
const MAX: usize = 16 << 20;
/// What each takes besides its text, in bytes, about.
const EACH: usize = 512;

/// The newest text of each name, with what it says.
pub struct Parsed<T>(Mutex<State<T>>);

struct State<T> {
    known: HashMap<String, (Box<[u8]>, T)>,
    /// As they count against [`MAX`].
    bytes: usize,
}

impl<T> Default for Parsed<T> {
    fn default() -> Parsed<T> {
        Parsed(Mutex::new(State { known: HashMap::new(), bytes: 0 }))
    }
}

impl<T: Clone> Parsed<T> {
    /// What the text of this name says. It is read if it is another one than the last time.
    ///
    /// # Errors
    /// Those of `read`; nothing is kept then.
    pub fn of<E>(&self, name: &str, text: &[u8], read: impl FnOnce(&[u8]) -> Result<T, E>) -> Result<T, E> {
        let state = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, said)) = state().known.get(name)
            && **known == *text
        {
            return Ok(said.clone());
        }
        let said = read(text)?;
        let mut state = state();
        if state.bytes >= MAX {
            *state = State { known: HashMap::new(), bytes: 0 };
        }
        state.bytes += text.len() + EACH;
        if let Some((before, _)) = state.known.insert(name.to_owned(), (text.into(), said.clone())) {
            state.bytes -= before.len() + EACH;
        }
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn a_text_is_read_once_until_it_is_another() {
        let (known, reads) = (Parsed::default(), Cell::new(0));
        let of = |name: &str, text: &str| {
            let read = |text: &[u8]| {
                reads.set(reads.get() + 1);
                Ok::<usize, Infallible>(text.len())
            };
            (known.of(name, text.as_bytes(), read).unwrap(), reads.get())
        };
        assert_eq!(of("a", "one"), (3, 1));
        assert_eq!(of("a", "one"), (3, 1));
        assert_eq!(of("b", "one"), (3, 2), "by its name");
        assert_eq!(of("a", "three"), (5, 3));
        assert_eq!(of("a", "one"), (3, 4), "only the newest is kept");
        let wrong = known.of("a", b"x", |_| Err("unreadable"));
        assert_eq!(wrong, Err("unreadable"));
        assert_eq!(of("a", "one"), (3, 4), "what does not read takes nobody's place");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let known = Parsed::default();
        let text = vec![b'x'; MAX / 8];
        for round in 0..100 {
            known.of(&format!("{round}"), &text, |_| Ok::<_, Infallible>(())).unwrap();
            let state = known.0.lock().unwrap();
            assert!(state.known.len() <= 9 && state.bytes <= MAX + text.len() + EACH, "{}", state.bytes);
        }
        for _ in 0..100 {
            for text in ["a", "bc"] {
                known.of("same", text.as_bytes(), |_| Ok::<_, Infallible>(())).unwrap();
            }
        }
        let state = known.0.lock().unwrap();
        let counted: usize = state.known.values().map(|(text, ())| text.len() + EACH).sum();
        assert_eq!(state.bytes, counted, "what was replaced counts no more");
    }
}
