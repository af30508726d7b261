//! Faults on the real server, in a bounded form: members that die by -9 or stand still, a server that dies, and an audit by the
//! tools of Kafka itself.
//!
//! A member is this test program once more, in the mode of the test `member`. It appends each job that it has done to a file.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use consumer_group::codec::Text;
use consumer_group::{Delivery, Failure, Group, GroupConfig};
use consumer_group_kafka::{KafkaQueue, Output};

use crate::common::{LONG, Server, environment, server};

/// Jobs of a member of these tests that are leased, or done and not committed: as many may be done again when it dies.
const AT_RISK: usize = 64;

/// What a member is told.
const TOPIC: &str = "CONSUMER_GROUP_KAFKA_TEST_TOPIC";
const SERVERS: &str = "CONSUMER_GROUP_KAFKA_TEST_SERVERS";
const FILE: &str = "CONSUMER_GROUP_KAFKA_TEST_FILE";
/// Where squares go, for a member that makes transactions.
const SQUARES: &str = "CONSUMER_GROUP_KAFKA_TEST_SQUARES";

#[test]
#[ignore = "a member of the other tests, in a process of its own"]
fn member() {
    let (Ok(topic), Ok(servers), Ok(file)) =
        (std::env::var(TOPIC), std::env::var(SERVERS), std::env::var(FILE))
    else {
        return;
    };
    let file = OpenOptions::new().append(true).open(file).unwrap();
    let squares = std::env::var(SQUARES).ok();
    let mut config = Server::at(&servers).config(&topic, &topic);
    config.most_at_risk = AT_RISK;
    // One member at a time makes transactions.
    config.transactions = squares.is_some().then(|| topic.clone());
    let queue = KafkaQueue::<String>::open(config, Text).unwrap();
    let outbox = queue.outbox();
    actix::System::new().block_on(async move {
        let mut config = GroupConfig {
            order_by_key: true,
            ..GroupConfig::default()
        };
        config.window.max = 8;
        let file = std::sync::Arc::new(file);
        let _group = Group::builder()
            .config(config)
            .queue(queue)
            .consume_with(4, async move |delivery: &Delivery<String>| {
                let number: u64 = delivery.job().parse().unwrap();
                actix::clock::sleep(Duration::from_millis(number % 5)).await;
                if let Some(squares) = &squares {
                    let square = Output {
                        topic: squares.clone(),
                        key: Some(delivery.job().clone().into_bytes()),
                        payload: Some((number * number).to_string().into_bytes()),
                        ..Output::default()
                    };
                    outbox
                        .put(delivery.origin().unwrap(), square)
                        .map_err(Failure::retry)?;
                }
                // One write, so that lines of several processes do not mix.
                (&*file)
                    .write_all(format!("{}\n", delivery.job()).as_bytes())
                    .unwrap();
                Ok(())
            })
            .start()
            .unwrap();
        std::future::pending::<()>().await;
    });
}

/// Members that do the jobs of one topic, and the file to which they write. They end with it.
struct Members {
    server: Server,
    topic: String,
    squares: Option<String>,
    file: tempfile::NamedTempFile,
    alive: Vec<Child>,
}

impl Members {
    fn new(server: &Server, topic: &str) -> Self {
        Self {
            server: server.clone(),
            topic: topic.to_owned(),
            squares: None,
            file: tempfile::NamedTempFile::new().unwrap(),
            alive: Vec::new(),
        }
    }

    fn start(&mut self) {
        let child = Command::new(std::env::current_exe().unwrap())
            .envs(self.squares.iter().map(|squares| (SQUARES, squares)))
            .args(["--exact", "faults::member", "--ignored"])
            .env(TOPIC, &self.topic)
            .env(SERVERS, &self.server.servers)
            .env(FILE, self.file.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.alive.push(child.unwrap());
    }

    fn signal(&self, member: usize, signal: &str) {
        let process = self.alive[member].id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &process])
                .status()
                .unwrap()
                .success()
        );
    }

    fn kill(&mut self, member: usize) {
        let mut child = self.alive.remove(member);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn done(&self) -> Vec<u64> {
        let text = std::fs::read_to_string(self.file.path()).unwrap();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    fn until(&self, different: usize) {
        let began = Instant::now();
        loop {
            let mut done = self.done();
            done.sort_unstable();
            done.dedup();
            if done.len() >= different {
                return;
            }
            assert!(began.elapsed() < LONG, "{} of {different} are done", done.len());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Nothing is lost, what was done again is within the bound, and each key was first done in order.
    fn check(&self, jobs: u64, keys: u64, again: usize) {
        self.until(usize::try_from(jobs).unwrap());
        let done = self.done();
        let mut first = std::collections::BTreeSet::new();
        let in_order: Vec<u64> = done
            .iter()
            .copied()
            .filter(|number| first.insert(*number))
            .collect();
        assert!(first.iter().copied().eq(0..jobs));
        for key in 0..keys {
            let of_key: Vec<u64> = in_order
                .iter()
                .copied()
                .filter(|number| number % keys == key)
                .collect();
            assert!(of_key.is_sorted(), "key {key}: {of_key:?}");
        }
        let repeated = done.len() - first.len();
        assert!(repeated <= again, "{repeated} were done again, {again} may be");
        println!("{jobs} jobs, {repeated} of them done again; at most {again} could be");
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        for child in &mut self.alive {
            // It may have ended; then there is nothing to do.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What the tools of Kafka say of the lag of a group: one number for each partition.
fn lag(server: &Server, group: &str) -> Vec<String> {
    let jars = &environment().unwrap()["CONSUMER_GROUP_KAFKA_JARS"];
    let output = Command::new("java")
        .args([
            "-Xmx96m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            &format!("{jars}/*"),
        ])
        .arg("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand")
        .args([
            "--bootstrap-server",
            &server.servers,
            "--describe",
            "--group",
            group,
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let rows = text.lines().filter(|line| line.starts_with(group));
    rows.filter_map(|row| row.split_whitespace().nth(5).map(str::to_owned))
        .collect()
}

#[test]
fn members_that_join_and_die_by_kill_9_lose_nothing_and_repeat_no_more_than_what_was_at_work() {
    let name = "members_that_join_and_die_by_kill_9_lose_nothing_and_repeat_no_more_than_what_was_at_work";
    let Some(server) = server(name) else { return };
    let topic = server.topic("killed", 4);
    server.send(&topic, 0..6_000, 60, 4);
    let mut members = Members::new(&server, &topic);
    members.start();
    members.start();
    let mut kills = 0;
    for different in [200, 1_000, 2_000, 3_000] {
        members.until(different);
        members.kill(0);
        kills += 1;
        members.start();
    }
    members.check(6_000, 60, kills * AT_RISK);
    server.until_committed(&topic, &topic, 4, 6_000);
    assert_eq!(lag(&server, &topic), ["0"; 4]);
}

#[test]
fn a_member_that_stands_still_past_its_session_commits_nothing_that_is_not_its_own_any_more() {
    let name = "a_member_that_stands_still_past_its_session_commits_nothing_that_is_not_its_own_any_more";
    let Some(server) = server(name) else { return };
    let topic = server.topic("stopped", 4);
    server.send(&topic, 0..4_000, 40, 4);
    let mut members = Members::new(&server, &topic);
    members.start();
    members.start();
    members.until(500);
    members.signal(0, "-STOP");
    let others = members.done().len();
    // The other one gets the partitions when the session of 6 s is over.
    std::thread::sleep(Duration::from_secs(8));
    members.until(others + 200);
    members.signal(0, "-CONT");
    members.check(4_000, 40, AT_RISK);
    server.until_committed(&topic, &topic, 4, 4_000);
    assert_eq!(lag(&server, &topic), ["0"; 4]);
}

#[test]
fn outputs_of_members_that_die_by_kill_9_are_there_exactly_once() {
    let Some(server) = server("outputs_of_members_that_die_by_kill_9_are_there_exactly_once") else {
        return;
    };
    let (topic, squares) = (server.topic("numbers", 2), server.topic("squares", 2));
    server.send(&topic, 0..2_000, 200, 2);
    let mut members = Members::new(&server, &topic);
    members.squares = Some(squares.clone());
    for different in [300, 900, 1_500] {
        members.start();
        members.until(different);
        members.kill(0);
    }
    members.start();
    server.until_committed(&topic, &topic, 2, 2_000);
    // A plain consumer reads what is committed, to the end.
    let read = server.read_all(&squares, 2_000);
    let mut numbers: Vec<u64> = read
        .iter()
        .map(|read| read.key.as_ref().unwrap().parse().unwrap())
        .collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..2_000));
    assert_eq!(
        server.committed_records(&squares, 2),
        2_000,
        "and there are no more"
    );
    println!("{} jobs were done for 2000 squares", members.done().len());
}

/// A server for one test, which may die.
struct OwnServer(tempfile::TempDir);

impl OwnServer {
    fn script(&self, verb: &str) -> std::process::Output {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services");
        let mut command = Command::new(script);
        command
            .args([verb, "kafka"])
            .env("SERVICES_FOLDER", self.0.path());
        command.output().unwrap()
    }

    fn start() -> (Self, Server) {
        let own = Self(tempfile::tempdir().unwrap());
        let up = own.script("up");
        assert!(up.status.success(), "{up:?}");
        let text = String::from_utf8(own.script("env").stdout).unwrap();
        let servers = text
            .lines()
            .find_map(|line| line.strip_prefix("CONSUMER_GROUP_KAFKA_SERVERS="))
            .unwrap();
        let server = Server::at(servers);
        (own, server)
    }

    fn kill(&self) {
        let process = std::fs::read_to_string(self.0.path().join("kafka/server.pid")).unwrap();
        assert!(
            Command::new("kill")
                .args(["-9", process.trim()])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        drop(self.script("down"));
    }
}

#[test]
fn a_server_that_dies_under_load_and_comes_back_loses_nothing() {
    let name = "a_server_that_dies_under_load_and_comes_back_loses_nothing";
    if server(name).is_none() {
        return;
    }
    let (own, server) = OwnServer::start();
    let topic = server.topic("server", 2);
    server.send(&topic, 0..4_000, 40, 2);
    let mut members = Members::new(&server, &topic);
    members.start();
    members.until(500);
    own.kill();
    std::thread::sleep(Duration::from_secs(1));
    assert!(own.script("up").status.success());
    // The member is alone, so what it did while nobody answered was done by it alone.
    members.check(4_000, 40, AT_RISK);
    server.until_committed(&topic, &topic, 2, 4_000);
    drop(members);
}
