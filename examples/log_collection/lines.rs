//! Lines of bytes, numbered, whatever the input looks like.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};

use tokio::sync::mpsc;

/// The longest line that is read whole.
pub(crate) const LONGEST: usize = 256 * 1024;

/// One line without its end (`\n` or `\r\n`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Counted from one.
    pub(crate) number: u64,
    pub(crate) text: Vec<u8>,
    /// Whether it was longer than [`LONGEST`] and only its beginning is here.
    pub(crate) is_cut: bool,
}

impl Line {
    pub(crate) fn is_blank(&self) -> bool {
        !self.is_cut && self.text.trim_ascii().is_empty()
    }
}

/// Reads on a thread of its own, since reading blocks. The channel is bounded: a reader that is far ahead waits. An error
/// is the last thing that comes.
pub(crate) fn on_a_thread(
    input: impl Read + Send + 'static,
    ahead: usize,
) -> io::Result<mpsc::Receiver<io::Result<Line>>> {
    let (sender, lines) = mpsc::channel(ahead);
    let work = move || {
        let mut input = BufReader::with_capacity(64 * 1024, input);
        let mut number = 0;
        loop {
            number += 1;
            let line = next(&mut input, number).transpose();
            let is_last = !matches!(line, Some(Ok(_)));
            if line.is_none_or(|line| sender.blocking_send(line).is_err()) || is_last {
                return;
            }
        }
    };
    std::thread::Builder::new().name("lines".to_owned()).spawn(work)?;
    Ok(lines)
}

/// The next line; `None` at the end. The last line needs no end of its own. Of a line that is too long the rest is passed
/// over without keeping it.
pub(crate) fn next(input: &mut impl BufRead, number: u64) -> io::Result<Option<Line>> {
    let mut text = Vec::new();
    let (mut length, mut ends) = (0, false);
    while !ends {
        let part = match input.fill_buf() {
            Ok(part) => part,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if part.is_empty() {
            if length == 0 {
                return Ok(None);
            }
            break;
        }
        let end = part.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(part.len(), |end| end + 1);
        let room = LONGEST.saturating_sub(text.len());
        text.extend(part.iter().take(end.unwrap_or(part.len())).take(room));
        length += used;
        ends = end.is_some();
        input.consume(used);
    }
    let is_cut = length - usize::from(ends) > LONGEST;
    if text.last() == Some(&b'\r') && !is_cut {
        text.pop();
    }
    if number == 1 && text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(Some(Line { number, text, is_cut }))
}

/// Some programs begin a file with it; it belongs to no line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
