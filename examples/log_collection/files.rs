//! The files that the user named, opened in an order that destroys nothing.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use crate::Told;
use crate::args::Args;
use crate::dead::DeadFile;

pub(crate) struct Files {
    pub(crate) input: Box<dyn Read + Send>,
    pub(crate) out: Box<dyn Write + Send>,
    pub(crate) dead: DeadFile,
}

impl Files {
    /// Opens the input first: an output file is only emptied when there is something to read.
    pub(crate) fn open(args: &Args) -> Told<Self> {
        let (out, dead) = (args.out.as_deref(), args.dead.as_deref());
        let named = args.input.as_deref().filter(|path| *path != Path::new("-"));
        let input: Box<dyn Read + Send> = match named {
            Some(path) => Box::new(File::open(path).map_err(|error| cannot("read", path, &error))?),
            None => Box::new(io::stdin()),
        };
        for (one, other) in [(named, out), (named, dead), (out, dead)] {
            if let (Some(one), Some(other)) = (one, other)
                && is_same(one, other)
            {
                return Err(format!("{} is named twice; use different files", one.display()).into());
            }
        }
        Ok(Self {
            input,
            out: match out {
                Some(path) => Box::new(create(path)?),
                None => Box::new(io::stdout()),
            },
            dead: match dead {
                Some(path) => DeadFile::File(BufWriter::new(create(path)?)),
                None => DeadFile::Stderr,
            },
        })
    }
}

fn create(path: &Path) -> Told<File> {
    File::create(path).map_err(|error| cannot("write", path, &error))
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Box<dyn std::error::Error> {
    format!("cannot {what} {}: {error}", path.display()).into()
}

/// Devices may be named twice: /dev/null takes everything.
fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other && one.is_file(),
        // A file that is not there yet has no canonical name.
        _ => one == other,
    }
}
