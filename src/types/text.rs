//! Texts with a bound.

use std::fmt::{self, Write};
use std::sync::Arc;

/// The bytes that a text has at most, apart from the mark that says how many were cut.
pub(crate) const MOST_TEXT: usize = 4_096;

/// What is written past the bound is counted so far, and then the writer is told to stop: a `Display` may have no end.
const MOST_COUNTED: usize = 1 << 20;

/// A text of at most [`MOST_TEXT`] bytes and a mark.
pub(crate) fn bounded(text: &str) -> Arc<str> {
    if text.len() <= MOST_TEXT {
        return text.into();
    }
    let mut short = Short::default();
    // Past the bound it only counts.
    let _ = short.write_str(text);
    short.finish()
}

/// Keeps the first bytes and counts the others.
#[derive(Default)]
pub(super) struct Short {
    pub(super) kept: String,
    cut: usize,
}

impl Short {
    /// The text, with its mark if something was cut.
    pub(super) fn finish(self) -> Arc<str> {
        let Self { mut kept, cut } = self;
        if cut > 0 {
            let least = if cut > MOST_COUNTED { "at least " } else { "" };
            // Writing to a string does not fail.
            let _ = write!(kept, "… ({least}{cut} bytes cut)");
        }
        kept.into()
    }
}

impl Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Once something was cut, nothing follows: a text has no holes.
        let room = if self.cut == 0 {
            MOST_TEXT - self.kept.len()
        } else {
            0
        };
        let mut keeps = room.min(text.len());
        while !text.is_char_boundary(keeps) {
            keeps -= 1;
        }
        self.kept.push_str(text.get(..keeps).unwrap_or_default());
        self.cut = self.cut.saturating_add(text.len() - keeps);
        if self.cut > MOST_COUNTED {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_within_the_bound_is_left_as_it_is() {
        let exact = "x".repeat(MOST_TEXT);
        assert_eq!(&*bounded(&exact), exact);
    }

    #[test]
    fn a_text_past_the_bound_is_cut_between_characters_and_says_how_much() {
        let text = format!("a{}", "ä".repeat(4_000));
        let cut = bounded(&text);
        let (kept, mark) = cut.split_once('…').unwrap();
        assert_eq!(kept.len(), MOST_TEXT - 1);
        assert_eq!(mark, format!(" ({} bytes cut)", text.len() - kept.len()));
    }
}
