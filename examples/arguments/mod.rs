//! The arguments of the examples: `--name value`, `--name`, and words. A crate for them would be the largest part of what
//! whoever tries an example waits for.

#![allow(
    dead_code,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "each example uses a part of it and speaks to its reader"
)]

use std::ffi::OsString;
use std::fmt::Display;
use std::path::PathBuf;
use std::process::exit;
use std::str::FromStr;

/// What stood on the command line and was not asked for yet.
pub(crate) struct Arguments {
    left: Vec<OsString>,
}

impl Arguments {
    /// The arguments of this process. If they ask for help, they get it, and the process ends.
    pub(crate) fn of_this_process(help: &str) -> Self {
        let mut left = Vec::new();
        for argument in std::env::args_os().skip(1) {
            // `--name=value` is `--name value`.
            match argument.to_str().and_then(|text| text.split_once('=')) {
                Some((name, value)) if name.starts_with("--") => {
                    left.extend([name.into(), value.into()]);
                }
                _ => left.push(argument),
            }
        }
        let mut arguments = Self { left };
        if arguments.flag("--help") || arguments.flag("-h") {
            println!("{}", help.trim());
            exit(0);
        }
        arguments
    }

    /// Whether `--name` is there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let found = self.left.iter().position(|argument| argument == name);
        found.inspect(|place| drop(self.left.remove(*place))).is_some()
    }

    /// The path behind `--name`.
    pub(crate) fn path(&mut self, name: &str) -> Option<PathBuf> {
        let place = self.left.iter().position(|argument| argument == name)?;
        self.left.remove(place);
        if place == self.left.len() {
            refuse(format_args!("{name} needs a value"));
        }
        Some(self.left.remove(place).into())
    }

    /// What stands behind `--name`, as `read` reads it.
    pub(crate) fn read<T, E: Display>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.path(name)?;
        let text = value.to_string_lossy();
        match read(&text) {
            Ok(value) => Some(value),
            Err(error) => refuse(format_args!("{name} {text}: {error}")),
        }
    }

    /// The value behind `--name`.
    pub(crate) fn value<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        self.read(name, str::parse)
    }

    /// The first word that is left, after everything with a name was asked for.
    pub(crate) fn word(&mut self) -> Option<PathBuf> {
        let is_word = |argument: &OsString| argument == "-" || !argument.to_string_lossy().starts_with('-');
        let place = self.left.iter().position(is_word)?;
        Some(self.left.remove(place).into())
    }

    /// Nothing else may be there.
    pub(crate) fn end(self) {
        if let Some(other) = self.left.first() {
            refuse(format_args!(
                "{} is not known; --help tells what is",
                other.display()
            ));
        }
    }
}

/// A whole number of one or more.
pub(crate) fn at_least_one<N: FromStr + PartialOrd + From<u8>>(text: &str) -> Result<N, &'static str> {
    match text.parse() {
        Ok(number) if number >= N::from(1) => Ok(number),
        _ => Err("use a whole number of 1 or more"),
    }
}

/// Says what is wrong and ends the process with status 2.
pub(crate) fn refuse(what: impl Display) -> ! {
    eprintln!("error: {what}");
    exit(2)
}
