//! The command `consumer-group`, as a person at a terminal uses it.

use std::path::Path;
use std::process::Command;

use consumer_group::durable::DurableQueue;
use consumer_group::{Delivery, Failure, Group};

/// What the command prints, and whether it succeeded.
fn command(words: &[&str], path: &Path) -> (String, bool) {
    let output = Command::new(env!("CARGO_BIN_EXE_consumer-group"))
        .arg("queue")
        .arg(words[0])
        .arg(path)
        .args(&words[1..])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (text, output.status.success())
}

#[test]
fn dead_letters_are_seen_and_sent_back_from_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.queue");
    let id = actix::System::new().block_on(async {
        let queue: DurableQueue<String> = DurableQueue::open(&path).unwrap();
        let group = Group::<String, ()>::builder()
            .queue(queue.clone())
            .consume_with(1, async |_: &Delivery<String>| {
                Err(Failure::reject("it is broken"))
            })
            .start()
            .unwrap();
        let id = group.producer().send("the payload".to_owned()).await.unwrap();
        group.producer().send("another".to_owned()).await.unwrap();
        while queue.counts().dead < 2 {
            tokio::task::yield_now().await;
        }
        // Answered when the disk has what came before.
        group.dead_letters().purge([]).await.unwrap();
        let (told, succeeded) = command(&["inspect"], &path);
        assert!(!succeeded && told.contains("another process"), "{told}");
        group.stop().await;
        id
    });
    until_closed(&path);
    let (told, _) = command(&["inspect", "--json"], &path);
    let counts: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&counts["dead"], &counts["ready"]),
        (&2.into(), &0.into()),
        "{told}"
    );
    let (told, _) = command(&["dead"], &path);
    for wanted in [
        "rejected: it is broken",
        "\"the payload\"",
        "2 dead letters",
        &id.to_string(),
    ] {
        assert!(told.contains(wanted), "no {wanted} in: {told}");
    }
    let (told, succeeded) = command(&["requeue", "no-name"], &path);
    assert!(
        !succeeded && told.contains("no-name is no name of a job"),
        "{told}"
    );
    let (told, succeeded) = command(&["requeue", &id.to_string(), "--json"], &path);
    assert!(succeeded && told.contains(&id.to_string()), "{told}");
    let (told, _) = command(&["inspect"], &path);
    assert!(
        told.contains("ready    1") && told.contains("dead     1"),
        "{told}"
    );
    let queue: DurableQueue<String> = DurableQueue::open(&path).unwrap();
    assert_eq!(queue.counts().ready, 1);
}

/// The file is closed by a thread of the queue when its last handle has gone; an opening waits for that.
fn until_closed(path: &Path) {
    drop(DurableQueue::<String>::open(path).unwrap());
}

#[test]
fn a_file_that_is_not_there_is_told_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.queue");
    let (told, succeeded) = command(&["inspect"], &path);
    assert!(!succeeded && told.contains("none.queue"), "{told}");
    assert!(!path.exists());
}
