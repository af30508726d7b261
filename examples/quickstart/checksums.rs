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

/// The line of one file. A name may hold any byte; where one would be mistaken for the end of the line, it is written as
/// `\n`, `\r` or `\\` and the line begins with a backslash, as GNU `sha256sum` does it.
pub(crate) fn line(path: &Path, digest: &[u8; 32]) -> Vec<u8> {
    let name = path.as_os_str().as_encoded_bytes();
    let mut line = Vec::with_capacity(name.len() + 68);
    if name.iter().any(|byte| escaped(*byte).is_some()) {
        line.push(b'\\');
    }
    line.extend_from_slice(hex::encode(digest).as_bytes());
    line.extend_from_slice(b"  ");
    for byte in name {
        match escaped(*byte) {
            Some(escape) => line.extend_from_slice(escape),
            None => line.push(*byte),
        }
    }
    line.push(b'\n');
    line
}

fn escaped(byte: u8) -> Option<&'static [u8]> {
    match byte {
        b'\\' => Some(b"\\\\"),
        b'\n' => Some(b"\\n"),
        b'\r' => Some(b"\\r"),
        _ => None,
    }
}
