//! Texts of the user: reasons, messages of panics, causes. Each is bounded where it is made.

use std::error::Error;
use std::fmt::{self, Write};
use std::sync::Arc;

use super::guarded::{caught, drop_guarded};

/// The bytes that a text has at most, apart from the mark that says how many were cut.
pub(crate) const MOST_TEXT: usize = 4_096;

/// What is written past the bound is counted so far, and then the writer is told to stop: a `Display` may have no end.
const MOST_COUNTED: usize = 1 << 20;

/// Causes of an error that are followed: an error can be its own source.
const MOST_CAUSES: usize = 16;

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

/// What a value of the user says, bounded. A `Display` that panics has said what it wrote before, and that it panicked.
pub(crate) fn text_of(value: impl fmt::Display) -> Arc<str> {
    let text = write_guarded(|short| write!(short, "{value}"));
    drop_guarded(value);
    text
}

/// What an error of the user says, with its causes, as in `refused: no route: timed out`. A cause that its error has told
/// already is not told twice.
pub(crate) fn text_of_error(error: &dyn Error) -> Arc<str> {
    write_guarded(|short| {
        write!(short, "{error}")?;
        let mut cause = error.source();
        let mut left = MOST_CAUSES;
        while let Some(next) = cause {
            if left == 0 {
                return short.write_str(": …");
            }
            left -= 1;
            let mut own = Short::default();
            // An error of the writer means that the text was cut, which it says itself.
            let _ = write!(own, "{next}");
            let own = own.finish();
            if !short.kept.ends_with(&*own) {
                write!(short, ": {own}")?;
            }
            cause = next.source();
        }
        Ok(())
    })
}

fn write_guarded(write: impl FnOnce(&mut Short) -> fmt::Result) -> Arc<str> {
    let mut short = Short::default();
    // The text is whole after each piece that was written. An error of the writer means that it was cut.
    if let Err(message) = caught(|| write(&mut short).is_ok()) {
        let _ = write!(short, " (the text panicked: {message})");
    }
    short.finish()
}

/// Keeps the first bytes and counts the others.
#[derive(Default)]
struct Short {
    kept: String,
    cut: usize,
}

impl Short {
    fn finish(self) -> Arc<str> {
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

    struct Endless;

    impl fmt::Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                f.write_str("äöü ")?;
            }
        }
    }

    struct Panics;

    impl fmt::Display for Panics {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("so far")?;
            panic!("no further");
        }
    }

    #[derive(Debug)]
    struct Itself;

    impl fmt::Display for Itself {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("round and round")
        }
    }

    impl Error for Itself {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self)
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("level {level}")]
    struct Level {
        level: u32,
        source: Option<Box<Level>>,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("outer: {0}")]
    struct Tells(#[source] std::num::ParseIntError);

    #[test]
    fn a_text_within_the_bound_is_left_as_it_is() {
        let exact = "x".repeat(MOST_TEXT);
        assert_eq!(&*bounded(&exact), exact);
        assert_eq!(&*text_of(&exact), exact);
    }

    #[test]
    fn a_text_past_the_bound_is_cut_between_characters_and_says_how_much() {
        let text = format!("a{}", "ä".repeat(4_000));
        let cut = bounded(&text);
        let (kept, mark) = cut.split_once('…').unwrap();
        assert_eq!(kept.len(), MOST_TEXT - 1);
        assert_eq!(mark, format!(" ({} bytes cut)", text.len() - kept.len()));
        assert_eq!(text_of(&text), cut);
    }

    #[test]
    fn a_text_without_an_end_is_told_to_stop() {
        let text = text_of(Endless);
        assert!(text.len() < MOST_TEXT + 64 && text.contains("at least"), "{text}");
    }

    #[test]
    fn a_text_that_panics_says_so() {
        assert_eq!(&*text_of(Panics), "so far (the text panicked: no further)");
    }

    #[test]
    fn causes_are_followed_to_a_bound_and_told_once() {
        let chain = (0..40)
            .rev()
            .fold(None, |source, level| Some(Box::new(Level { level, source })));
        let text = text_of_error(&chain.unwrap());
        assert!(text.starts_with("level 0: level 1: "));
        assert!(text.ends_with("level 16: …"), "{text}");
        let itself = text_of_error(&Itself);
        assert!(itself.len() < 64, "{itself}");
        let told = text_of_error(&Tells("x".parse::<u8>().unwrap_err()));
        assert_eq!(&*told, "outer: invalid digit found in string");
    }
}
