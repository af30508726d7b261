//! The suite of the core for queues, over the real server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use consumer_group::testing::conformance::{self, QueueTraits};
use consumer_group_rabbitmq::{Declare, RabbitMqConfig};

use crate::{name, open, server};

/// Runs the suite over queues of this kind, one for each check, and deletes them.
fn suite(server: &server::Server, kind: impl Fn(RabbitMqConfig) -> RabbitMqConfig + Send + Sync + 'static) {
    let names = Arc::<Mutex<Vec<String>>>::default();
    let (made, url) = (Arc::clone(&names), server.url.clone());
    let suite = conformance::queue(move || {
        let name = name("conformance");
        made.lock().unwrap().push(name.clone());
        open(kind(RabbitMqConfig::new(&url, name)))
    });
    let report = suite.claims(QueueTraits::PLAIN).real_time().run();
    println!("{report}");
    let names = names.lock().unwrap();
    let all = names
        .iter()
        .flat_map(|name| [name.clone(), format!("{name}.dead"), format!("{name}.retry.100")]);
    let all: Vec<String> = all.collect();
    let words = std::iter::once("delete").chain(all.iter().map(String::as_str));
    server.client(&words.collect::<Vec<_>>());
    report.assert();
}

#[test]
fn a_queue_that_is_used_as_it_is_keeps_the_promises_of_its_role() {
    let Some(server) = server::shared() else { return };
    suite(&server, |config| config.declare(Declare::Classic));
}

#[test]
fn a_queue_with_retries_and_dead_letters_at_the_server_keeps_the_promises_of_its_role() {
    let Some(server) = server::shared() else { return };
    suite(&server, |config| {
        let dead = format!("{}.dead", config.queue());
        let step = Duration::from_millis(100);
        config
            .declare(Declare::Classic)
            .dead_letters(dead)
            .retry_steps([step])
    });
}
