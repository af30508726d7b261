//! What values and errors of the user say of themselves: reasons, causes, ends of actors. Each is bounded where it is made.

use std::error::Error;
use std::fmt::{self, Write};
use std::sync::Arc;

use super::guarded::{caught, drop_guarded};
use super::text::Short;

/// Causes of an error that are followed: an error can be its own source.
const MOST_CAUSES: usize = 16;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::text::{MOST_TEXT, bounded};

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
    fn what_a_value_says_has_the_bound_of_every_text() {
        for length in [10, MOST_TEXT, MOST_TEXT + 1, 3 * MOST_TEXT] {
            let text = "ä".repeat(length / 2);
            assert_eq!(text_of(&text), bounded(&text));
        }
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
