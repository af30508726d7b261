//! Each service is started, put under load, ended by a signal, and loses nothing.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// A service in a process of its own; killed if the test fails.
struct Service {
    process: Child,
    said: BufReader<ChildStdout>,
}

impl Service {
    fn start(program: &str, change: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(program);
        change(&mut command);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        Self { process, said }
    }

    /// The rest of the next line that begins so.
    fn says(&mut self, begin: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(
                self.said.read_line(&mut line).unwrap() > 0,
                "it ended without {begin:?}"
            );
            if let Some(rest) = line.strip_prefix(begin) {
                return rest.trim().to_owned();
            }
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.process.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for a good end, and gives everything that it still said.
    fn ends(mut self) -> String {
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        let ended = self.process.wait().unwrap();
        assert!(ended.success(), "{ended}: {rest}");
        rest
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Both fail if it has ended, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One request, and what is answered: the status, the headers, the body. `None` if nobody is there any more.
fn ask(address: &str, method: &str, path: &str, body: &str) -> Option<(u16, String, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, head.to_lowercase(), body.to_owned()))
}

/// The number in front of this word.
fn number(text: &str, word: &str) -> usize {
    let (before, _) = text
        .split_once(&format!(" {word}"))
        .unwrap_or_else(|| panic!("no {word:?} in {text}"));
    before
        .rsplit(char::is_whitespace)
        .next()
        .unwrap()
        .parse()
        .unwrap_or_else(|_| panic!("{text}"))
}

/// Puts a web service under load, ends it, and compares what it accepted with what it did.
fn a_web_service(program: &str) {
    let mut service = Service::start(program, |_| {});
    let address = service.says("listening on ");
    let get = |path: &str| ask(&address, "GET", path, "").unwrap().0;
    assert_eq!(get("/live"), 200);
    // Before a consumer is up it is not ready, and says so.
    while get("/ready") != 200 {
        std::thread::yield_now();
    }
    let (status, _, words) = ask(&address, "POST", "/counts", "two words").unwrap();
    assert_eq!((status, words.as_str()), (200, "2"));
    let (status, _, why) = ask(&address, "POST", "/counts", " ").unwrap();
    assert!(
        status == 422 && why.contains("nothing to count"),
        "{status} {why}"
    );
    // A client that hangs up before its answer is there does no harm.
    let mut gone = TcpStream::connect(&address).unwrap();
    write!(
        gone,
        "POST /counts HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nhangs up"
    )
    .unwrap();
    drop(gone);

    let (is_over, accepted) = (AtomicBool::new(false), AtomicUsize::new(1));
    let (sent, told_full) = (AtomicUsize::new(0), AtomicBool::new(false));
    let send = || {
        let mut statuses = BTreeMap::<u16, usize>::new();
        while !is_over.load(Ordering::SeqCst) {
            let Some((status, head, _)) = ask(&address, "POST", "/jobs", "some words to count") else {
                break;
            };
            *statuses.entry(status).or_default() += 1;
            sent.fetch_add(1, Ordering::SeqCst);
            match status {
                202 => _ = accepted.fetch_add(1, Ordering::SeqCst),
                429 => {
                    assert!(head.contains("retry-after: 1"), "{head}");
                    told_full.store(true, Ordering::SeqCst);
                }
                503 => assert!(head.contains("retry-after:"), "{head}"),
                _ => panic!("{status}: {head}"),
            }
        }
        statuses
    };
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..8).map(|_| scope.spawn(send)).collect();
        while sent.load(Ordering::SeqCst) < 300 {
            assert!(
                !senders.iter().any(|sender| sender.is_finished()),
                "a sender gave up"
            );
            std::thread::yield_now();
        }
        service.signal("-TERM");
        let end = service.ends();
        is_over.store(true, Ordering::SeqCst);
        let statuses: Vec<_> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
        assert!(end.contains("everything was finished"), "{end}\n{statuses:?}");
        let done = number(&end, "done");
        let accepted = accepted.load(Ordering::SeqCst);
        // An answer may be lost on its way, and the one that hung up may have been done; no accepted job is.
        assert!(
            done >= accepted && done <= accepted + 1 + 8,
            "{accepted} accepted: {end}\n{statuses:?}"
        );
    });
}

#[test]
fn axum_drains_under_load_and_loses_nothing() {
    a_web_service(env!("CARGO_BIN_EXE_axum"));
}

#[test]
fn actix_web_drains_under_load_and_loses_nothing() {
    a_web_service(env!("CARGO_BIN_EXE_actix-web"));
}

#[test]
fn a_full_queue_is_answered_with_429_and_when_to_come_again() {
    for program in [env!("CARGO_BIN_EXE_axum"), env!("CARGO_BIN_EXE_actix-web")] {
        let mut service = Service::start(program, |command| _ = command.env("WORK_MS", "50"));
        let address = service.says("listening on ");
        let is_full = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    // Waits for the full queue, and would wait for ever for one that never is.
                    while !is_full.load(Ordering::SeqCst) {
                        let (status, head, _) = ask(&address, "POST", "/jobs", "some words").unwrap();
                        if status == 429 {
                            assert!(head.contains("retry-after: 1"), "{head}");
                            is_full.store(true, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        service.signal("-INT");
        assert!(service.ends().contains("everything was finished"));
    }
}

/// A socket as systemd has one, and the next thing that is told there.
struct Systemd {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Systemd {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        Self { socket, folder }
    }

    fn hears(&self, wanted: &str) {
        let mut text = [0; 1_024];
        loop {
            let read = self.socket.recv(&mut text).unwrap();
            let told = String::from_utf8_lossy(&text[..read]).into_owned();
            if told.lines().any(|line| line == wanted) {
                return;
            }
            assert!(told.contains("WATCHDOG=1"), "{told} instead of {wanted}");
        }
    }
}

#[test]
fn the_daemon_tells_systemd_when_it_is_ready_that_it_lives_and_that_it_stops() {
    let systemd = Systemd::new();
    // The watchdog is meant for the process of this number, as systemd has it.
    let service = Service::start("sh", |command| {
        command
            .args(["-c", "WATCHDOG_PID=$$ exec \"$0\"", env!("CARGO_BIN_EXE_daemon")])
            .env("NOTIFY_SOCKET", systemd.folder.path().join("notify"))
            .env("WATCHDOG_USEC", "2000000");
    });
    systemd.hears("READY=1");
    systemd.hears("WATCHDOG=1");
    service.signal("-TERM");
    systemd.hears("STOPPING=1");
    let end = service.ends();
    assert!(end.contains("; everything was finished"), "{end}");
    assert!(number(&end, "accepted,") == number(&end, "done;"), "{end}");
}

#[test]
fn a_tree_ends_in_order_and_its_group_drains() {
    let mut service = Service::start(env!("CARGO_BIN_EXE_tree"), |_| {});
    service.says("ready");
    service.signal("-TERM");
    let end = service.ends();
    assert!(end.contains("; 0 were not finished"), "{end}");
    assert!(number(&end, "accepted,") == number(&end, "done;"), "{end}");
}

/// A file of so many lines of three words.
fn lines(count: usize) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all("three words each\n".repeat(count).as_bytes())
        .unwrap();
    file
}

#[test]
fn a_command_that_is_interrupted_finishes_what_it_took_and_says_how_far_it_came() {
    let file = lines(1_000_000);
    let mut command = Service::start(env!("CARGO_BIN_EXE_count"), |command| {
        _ = command.arg(file.path())
    });
    command.says("counting");
    command.signal("-INT");
    let end = command.ends();
    let accepted = number(&end, "lines accepted");
    assert!(
        accepted < 1_000_000 && number(&end, "counted,") == accepted,
        "{end}"
    );
    assert!(
        number(&end, "words;") == 3 * accepted && end.contains("everything was finished"),
        "{end}"
    );
}

#[test]
fn a_command_that_is_not_interrupted_counts_everything() {
    let file = lines(500);
    let command = Service::start(env!("CARGO_BIN_EXE_count"), |command| {
        _ = command.arg(file.path())
    });
    let end = command.ends();
    assert!(
        number(&end, "lines accepted") == 500 && number(&end, "counted,") == 500,
        "{end}"
    );
}

#[test]
fn bad_arguments_of_the_command_are_told_with_the_way_out() {
    for arguments in [vec!["--consumers", "0", "x"], vec![], vec!["no-such-file"]] {
        let ended = Command::new(env!("CARGO_BIN_EXE_count"))
            .args(&arguments)
            .output()
            .unwrap();
        assert!(!ended.status.success(), "{arguments:?}");
        assert!(!ended.stderr.is_empty());
    }
}
