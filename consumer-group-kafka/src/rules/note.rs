//! The note in the metadata of a commit: what is done above the watermark, so that a restart repeats only what was at work.
//!
//! ```text
//! cg1.FENCE.RUNS        FENCE   how often the partition was taken over, in base 36
//!                       RUNS    from the committed offset on: not done, done, not done, done, ...; each a number in base 36,
//!                               a point after each
//! ```
//!
//! A server takes 4,096 bytes. What has no room is left out from the end: it is done once more after a restart. Whatever is not
//! a note (another client commits what it likes) says nothing, and nothing is done above the offset.

use std::fmt::Write;

/// The longest metadata that a server takes unless it is told otherwise.
pub(crate) const MOST_BYTES: usize = 4_096;

const FORM: &str = "cg1";

/// What a commit says beside its offset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Note {
    /// How often the partition was taken over: grows with each owner.
    pub(crate) fence: u64,
    /// From the committed offset on: how many are not done, how many are, and so on.
    pub(crate) runs: Vec<u64>,
}

impl Note {
    /// Writes a note of at most so many bytes, and says whether everything is in it.
    pub(crate) fn write(fence: u64, runs: impl IntoIterator<Item = u64>, most: usize) -> (String, bool) {
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = write!(text, "{FORM}.{}.", Base36(fence));
        let mut runs = runs.into_iter();
        let mut kept = text.len();
        // By pairs: a run that is not done at the end would say nothing.
        while let Some((undone, done)) = runs.next().zip(runs.next()) {
            let _ = write!(text, "{}.{}.", Base36(undone), Base36(done));
            if text.len() > most {
                break;
            }
            kept = text.len();
        }
        let is_whole = text.len() == kept;
        text.truncate(kept);
        (text, is_whole)
    }

    /// Reads a note. `None` if it is none.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut parts = text.strip_suffix('.')?.split('.');
        if parts.next() != Some(FORM) {
            return None;
        }
        let fence = number(parts.next()?)?;
        let runs = parts.map(number).collect::<Option<Vec<u64>>>()?;
        Some(Self { fence, runs })
    }

    /// Whether it says that this offset is done, if it was committed at `position`.
    pub(crate) fn is_done(&self, position: i64, offset: i64) -> bool {
        let Ok(mut left) = u64::try_from(offset.saturating_sub(position)) else {
            return true;
        };
        for (index, run) in self.runs.iter().enumerate() {
            if left < *run {
                return index % 2 == 1;
            }
            left -= run;
        }
        false
    }
}

/// A number in base 36, in small letters.
struct Base36(u64);

impl std::fmt::Display for Base36 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (higher, digit) = (self.0 / 36, (self.0 % 36) as u32);
        if higher > 0 {
            Self(higher).fmt(f)?;
        }
        char::from_digit(digit, 36).map_or(Ok(()), |digit| f.write_char(digit))
    }
}

fn number(text: &str) -> Option<u64> {
    // A sign would be read as well.
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_plain.then(|| u64::from_str_radix(text, 36).ok()).flatten()
}
