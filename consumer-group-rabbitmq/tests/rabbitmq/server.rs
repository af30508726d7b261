//! Servers for tests: the one that all share, and servers of a test's own that it may end.

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;

/// What a started server says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) tls_url: String,
    pub(crate) authority: PathBuf,
    folder: PathBuf,
    tools: PathBuf,
    python: PathBuf,
    /// Where a server of the test's own lives.
    services: Option<PathBuf>,
}

/// The server that tests share. None if there is none: then the test is skipped by name, unless this is a run of CI, where that is a
/// failure.
pub(crate) fn shared() -> Option<Server> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    let server =
        SHARED.get_or_init(|| Server::of(services(None, &["env", "rabbitmq", "python-clients"])?, None));
    said(server.clone())
}

/// A server of the test's own. One at a time: there are few cores.
pub(crate) fn own() -> Option<Own> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let shared = shared()?;
    let folder = tempfile::tempdir().unwrap();
    // There is a server, so there can be another one.
    services(Some(folder.path()), &["up", "rabbitmq"]).unwrap();
    let variables = services(Some(folder.path()), &["env", "rabbitmq"]).unwrap();
    let python = format!("CONSUMER_GROUP_PYTHON={}", shared.python.display());
    let server = Server::of(variables + &python, Some(folder.path()));
    said(server).map(|server| Own {
        server,
        _folder: folder,
        _turn: turn,
    })
}

/// A server that ends with the test.
pub(crate) struct Own {
    pub(crate) server: Server,
    _folder: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Drop for Own {
    fn drop(&mut self) {
        services(self.server.services.as_deref(), &["down", "rabbitmq"]);
    }
}

fn said(server: Option<Server>) -> Option<Server> {
    if server.is_none() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "{test}: there is no RabbitMQ server, and CI needs one: scripts/services up rabbitmq python-clients"
        );
        // Past the capture of the test runner, which shows nothing of a test that passes.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: {test}: there is no RabbitMQ server (scripts/services up rabbitmq python-clients)"
        );
    }
    server
}

/// Calls the script that manages servers; its output, if it went well.
fn services(folder: Option<&Path>, words: &[&str]) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut command = Command::new(root.join("scripts/services"));
    command.args(words);
    if let Some(folder) = folder {
        command.env("SERVICES_FOLDER", folder);
    }
    let output = command.output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).unwrap())
}

/// A client that is under way. It ends with the test.
pub(crate) struct Client(Option<Child>);

impl Client {
    pub(crate) fn wait(mut self) -> bool {
        self.0
            .take()
            .is_some_and(|mut child| child.wait().unwrap().success())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Server {
    fn of(variables: String, services: Option<&Path>) -> Option<Self> {
        let variable = |name: &str| {
            let line = variables
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.map(str::to_owned)
        };
        Some(Self {
            url: variable("CONSUMER_GROUP_RABBITMQ_URL")?,
            tls_url: variable("CONSUMER_GROUP_RABBITMQ_TLS_URL")?,
            authority: variable("CONSUMER_GROUP_RABBITMQ_AUTHORITY")?.into(),
            folder: variable("CONSUMER_GROUP_RABBITMQ_FOLDER")?.into(),
            tools: variable("CONSUMER_GROUP_RABBITMQ_TOOLS")?.into(),
            python: variable("CONSUMER_GROUP_PYTHON")?.into(),
            services: services.map(Path::to_owned),
        })
    }

    /// The server's port.
    pub(crate) fn port(&self) -> u16 {
        let rest = self.url.rsplit_once('@').unwrap().1;
        rest.split_once(':')
            .unwrap()
            .1
            .split_once('/')
            .unwrap()
            .0
            .parse()
            .unwrap()
    }

    /// The same server by another port: that of a proxy.
    pub(crate) fn url_by(&self, port: u16) -> String {
        self.url
            .replace(&format!(":{}/", self.port()), &format!(":{port}/"))
    }

    /// Starts the independent client.
    pub(crate) fn start_client(&self, words: &[&str]) -> Client {
        Client(Some(self.start_child(words)))
    }

    fn start_child(&self, words: &[&str]) -> Child {
        let (verb, rest) = words.split_first().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rabbitmq/client.py");
        let mut command = Command::new(&self.python);
        command.arg(script).arg(verb).arg(&self.url).args(rest);
        command.stdout(Stdio::piped()).spawn().unwrap()
    }

    /// Runs the independent client, and gives what it prints.
    pub(crate) fn client(&self, words: &[&str]) -> Value {
        let output = self.start_child(words).wait_with_output().unwrap();
        assert!(output.status.success(), "the client failed: {words:?}");
        match output.stdout.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&output.stdout).unwrap(),
        }
    }

    /// How many messages wait in a queue.
    pub(crate) fn count(&self, queue: &str) -> u64 {
        self.client(&["count", queue]).as_u64().unwrap()
    }

    /// Takes the messages out of a queue.
    pub(crate) fn take(&self, queue: &str) -> Vec<Value> {
        match self.client(&["take", queue]) {
            Value::Array(messages) => messages,
            other => panic!("no messages but {other}"),
        }
    }

    /// Asks the server by its own tool.
    pub(crate) fn rabbitmqctl(&self, words: &[&str]) -> String {
        let script = ". \"$1/surroundings\"; tool=$2; shift 2; exec \"$tool\" -q \"$@\"";
        let mut command = Command::new("bash");
        command
            .args(["-c", script, "bash"])
            .arg(&self.folder)
            .arg(self.tools.join("rabbitmqctl"));
        let output = command.args(words).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn stop(&self) {
        services(self.services.as_deref(), &["stop", "rabbitmq"]).unwrap();
    }

    pub(crate) fn start(&self) {
        services(self.services.as_deref(), &["up", "rabbitmq"]).unwrap();
    }

    /// Ends the server as a loss of power would.
    pub(crate) fn kill(&self) {
        let number = std::fs::read_to_string(self.folder.join("server.pid")).unwrap();
        let status = Command::new("kill").args(["-9", number.trim()]).status().unwrap();
        assert!(status.success());
        // It ends a moment after the signal. Until then a start would take it for one that runs.
        while TcpStream::connect(("127.0.0.1", self.port())).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Makes the server write down which quorum queues there are. By itself it does so up to a second after a declaration; killed
    /// before that, it begins such a queue anew, without the messages that it has confirmed.
    pub(crate) fn keep_what_is_declared(&self) {
        let written = self.rabbitmqctl(&["eval", "lists:usort([dets:sync(Table) || Table <- dets:all()])."]);
        assert_eq!(written.trim(), "[ok]");
    }
}
