//! Other processes for these tests: this test program again, with one test in it that plays another part.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The part that this process plays, and the file it plays it on; `None` in the test itself.
pub(super) fn part(name: &str) -> Option<std::path::PathBuf> {
    (std::env::var_os("BORDER_PART")? == name).then_some(())?;
    std::env::var_os("BORDER_FILE").map(Into::into)
}

/// Another process. It is killed if the test fails.
pub(super) struct Other {
    process: Child,
    said: BufReader<ChildStdout>,
    tell: Option<ChildStdin>,
}

impl Other {
    /// Runs the test of this name again, as `part`, on `path`. With a limit, no file of it may grow beyond that many blocks (of
    /// 512 bytes or 1,024, as the shell counts), and gets an error instead of a signal.
    pub(super) fn start(test: &str, part: &str, path: &Path, limit: Option<u32>) -> Self {
        let limit = limit.map_or(String::new(), |limit| {
            format!("trap '' XFSZ; ulimit -f {limit}; ")
        });
        let mut process = Command::new("sh")
            .arg("-c")
            .arg(format!("{limit}exec \"$0\" --exact \"$1\" --nocapture"))
            .arg(std::env::current_exe().unwrap())
            .arg(test)
            .env("BORDER_PART", part)
            .env("BORDER_FILE", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Every panic of the engine that was caught is told there, with its trace.
            .stderr(match part {
                "flips" => Stdio::null(),
                _ => Stdio::inherit(),
            })
            .spawn()
            .unwrap();
        Self {
            said: BufReader::new(process.stdout.take().unwrap()),
            tell: process.stdin.take(),
            process,
        }
    }

    /// Waits for a line that begins with this word, and gives the rest of it.
    pub(super) fn says(&mut self, word: &str) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            let read = self.said.read_line(&mut line).unwrap();
            assert!(read > 0, "the other process ended without {word:?}, after: {all}");
            if let Some((_, rest)) = line.trim().split_once(&format!("{word}:")) {
                return rest.to_owned();
            }
            all += &line;
        }
    }

    /// Lets it go on from where it waits.
    pub(super) fn go_on(&mut self) {
        writeln!(self.tell.as_mut().unwrap()).unwrap();
    }

    /// Waits for its end; it must be a good one.
    pub(super) fn ends_well(mut self) {
        drop(self.tell.take());
        let mut rest = String::new();
        while self.said.read_line(&mut rest).unwrap() > 0 {}
        let ended = self.process.wait().unwrap();
        assert!(ended.success(), "{ended}: {rest}");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // Both fail if it has ended, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In another process: tells the test something.
pub(super) fn say(word: &str, what: impl std::fmt::Display) {
    println!("\n{word}:{what}");
}

/// In another process: waits until the test lets it go on, or has gone.
pub(super) fn wait() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}
