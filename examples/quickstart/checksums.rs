//! The format of `sha256sum`: the checksum, two blanks, the name.

use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Writes one line for each file.
pub(crate) fn write<'a>(
    out: &mut impl Write,
    files: impl IntoIterator<Item = (&'a Path, &'a [u8; 32])>,
) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    for (path, digest) in files {
        out.write_all(&line(path, digest))?;
    }
    out.flush()
}

/// The line of one file.
pub(crate) fn line(path: &Path, digest: &[u8; 32]) -> Vec<u8> {
    let mut line = hex::encode(digest).into_bytes();
    line.extend_from_slice(b"  ");
    let before = line.len();
    line.extend(name(path));
    if line.len() - before > path.as_os_str().len() {
        line.insert(0, b'\\');
    }
    line.push(b'\n');
    line
}

/// A name as one line of text. A name may hold any byte; one that would be mistaken for the end of the line is written as
/// `\n` or `\r`, and a backslash as `\\`. The line of such a file begins with a backslash: GNU `sha256sum` does it so.
pub(crate) fn name(path: &Path) -> Vec<u8> {
    let mut name = Vec::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match escaped(*byte) {
            Some(escape) => name.extend_from_slice(escape),
            None => name.push(*byte),
        }
    }
    name
}

fn escaped(byte: u8) -> Option<&'static [u8]> {
    match byte {
        b'\\' => Some(b"\\\\"),
        b'\n' => Some(b"\\n"),
        b'\r' => Some(b"\\r"),
        _ => None,
    }
}
