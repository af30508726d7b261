//! Other processes for these tests: this test program again, with one test in it that plays another part.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail"
)]

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
#[cfg(feature = "durable")]
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

/// Of what another process writes to its error output so much is kept: the end, which says why it ended.
const MOST_ERRORS: usize = 32 << 10;

/// The part that this process plays, and the file it plays it on; `None` in the test itself.
#[cfg(feature = "durable")]
pub(super) fn part(name: &str) -> Option<std::path::PathBuf> {
    (std::env::var_os("BORDER_PART")? == name).then_some(())?;
    std::env::var_os("BORDER_FILE").map(Into::into)
}

/// Another process. It is killed if the test fails.
pub(super) struct Other {
    process: Child,
    said: BufReader<ChildStdout>,
    tell: Option<ChildStdin>,
    /// Reads its error output, so that it never waits for a reader. Every panic of the engine that was caught is told there,
    /// with its trace: it is shown only if the test fails.
    errors: Option<JoinHandle<Vec<u8>>>,
}

impl Other {
    /// Runs the test of this name again, as `part`, on `path`. With a limit, no file of it may grow beyond that many blocks (of
    /// 512 bytes or 1,024, as the shell counts), and gets an error instead of a signal.
    #[cfg(feature = "durable")]
    pub(super) fn start(test: &str, part: &str, path: &Path, limit: Option<u32>) -> Self {
        let limit = limit.map_or(String::new(), |limit| {
            format!("trap '' XFSZ; ulimit -f {limit}; ")
        });
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("{limit}exec \"$0\" --exact \"$1\" --nocapture"))
            .arg(std::env::current_exe().unwrap())
            .arg(test)
            .env("BORDER_PART", part)
            .env("BORDER_FILE", path);
        Self::of(command)
    }

    /// Runs the ignored test of this name.
    pub(super) fn ignored(test: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--ignored", "--nocapture"]);
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            said: BufReader::new(process.stdout.take().unwrap()),
            tell: process.stdin.take(),
            errors: process
                .stderr
                .take()
                .map(|errors| std::thread::spawn(|| last_of(errors))),
            process,
        }
    }

    /// Waits for a line that begins with this word, and gives the rest of it.
    pub(super) fn says(&mut self, word: &str) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            let read = self.said.read_line(&mut line).unwrap();
            if read == 0 {
                panic!(
                    "the other process ended without {word:?}, after: {all}\n{}",
                    self.end()
                );
            }
            if let Some((_, rest)) = line.trim().split_once(&format!("{word}:")) {
                return rest.to_owned();
            }
            all += &line;
        }
    }

    /// From now on no file of it may grow beyond so many bytes, nor be written beyond them. Only below the limit with which it
    /// was started.
    #[cfg(all(target_os = "linux", feature = "durable"))]
    pub(super) fn limit(&self, bytes: u32) {
        let set = Command::new("prlimit")
            .args(["--pid", &self.process.id().to_string()])
            .arg(format!("--fsize={bytes}:"))
            .status()
            .unwrap();
        assert!(set.success(), "{set}");
    }

    /// Sends it this signal, by its name on the command line of `kill`.
    pub(super) fn signal(&self, name: &str) {
        let number = self.process.id().to_string();
        let sent = Command::new("kill").args([name, &number]).status();
        assert!(sent.unwrap().success(), "kill {name}");
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
        let ended = self.end();
        assert!(self.process.wait().unwrap().success(), "{rest}\n{ended}");
    }

    /// How it ended, and the end of what it wrote to its error output.
    fn end(&mut self) -> String {
        drop(self.tell.take());
        let ended = self.process.wait().unwrap();
        let errors = self.errors.take().map(|errors| errors.join().unwrap());
        let errors = errors.unwrap_or_default();
        format!(
            "{ended}; its error output ends:\n{}",
            String::from_utf8_lossy(&errors)
        )
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // Both fail if it has ended, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The last bytes of an output, once it is closed.
fn last_of(mut output: ChildStderr) -> Vec<u8> {
    let mut last = VecDeque::new();
    let mut part = [0; 4_096];
    while let Ok(read @ 1..) = output.read(&mut part) {
        last.extend(&part[..read]);
        last.drain(..last.len().saturating_sub(MOST_ERRORS));
    }
    last.into()
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
