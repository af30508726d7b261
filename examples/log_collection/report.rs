//! The counts at the end.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::Told;
use crate::record::Class;

/// Levels are words of whoever wrote the log, so there could be any number of them; beyond this many they are counted
/// together.
const MOST_CLASSES: usize = 100;

#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) read: u64,
    pub(crate) blank: u64,
    pub(crate) malformed: u64,
    /// Attempts beyond the first ones.
    pub(crate) retries: u64,
    pub(crate) tally: Tally,
}

/// Written lines by status or level.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    classes: BTreeMap<Class, u64>,
    others: u64,
}

impl Tally {
    pub(crate) fn note(&mut self, class: Class) {
        if self.classes.len() < MOST_CLASSES || self.classes.contains_key(&class) {
            *self.classes.entry(class).or_default() += 1;
        } else {
            self.others += 1;
        }
    }

    fn written(&self) -> u64 {
        self.classes.values().sum::<u64>() + self.others
    }
}

impl Report {
    pub(crate) fn tell(&self, out: &mut impl Write) -> io::Result<()> {
        let Self {
            read,
            blank,
            malformed,
            retries,
            tally,
        } = self;
        let written = tally.written();
        writeln!(
            out,
            "lines         {read} read, {written} written, {malformed} malformed, {blank} blank"
        )?;
        writeln!(out, "retries       {retries}")?;
        for (class, count) in &tally.classes {
            match class {
                Class::Status(status) => writeln!(out, "status {status:<12} {count:>10}")?,
                // A level is a word from the log; in quotation marks it can play no tricks on the screen.
                Class::Level(level) => writeln!(
                    out,
                    "level {:<13} {count:>10}",
                    level.escape_default().to_string()
                )?,
            }
        }
        if tally.others > 0 {
            writeln!(out, "others             {:>10}", tally.others)?;
        }
        Ok(())
    }

    /// Every line that was read ended somewhere.
    pub(crate) fn check(&self) -> Told<()> {
        let ended = self.tally.written() + self.malformed + self.blank;
        if ended == self.read {
            Ok(())
        } else {
            Err(format!("{} lines were read and {ended} came to an end", self.read).into())
        }
    }
}
