//! Five consumers on the queue `hello`.
//!
//! ```text
//! scripts/services up rabbitmq
//! export $(scripts/services env rabbitmq)
//! cargo run -p consumer-group-rabbitmq --example rabbitmq_hello -- --consumers 5
//! ```
//!
//! and in another terminal, with any client: `python3 consumer-group-rabbitmq/examples/send.py "$CONSUMER_GROUP_RABBITMQ_URL" one two`.
//! A message `panic` ends the consumer that gets it, and another one takes its place. It ends when there is nothing on its standard
//! input any more (Ctrl-D).

#![allow(
    clippy::print_stdout,
    clippy::panic,
    reason = "an example talks to the person who runs it"
)]

use std::io::Read;
use std::time::Duration;

use consumer_group::codec::Text;
use consumer_group::{Delivery, Failure, Group};
use consumer_group_rabbitmq::{Declare, RabbitMqConfig, RabbitMqQueue};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("CONSUMER_GROUP_RABBITMQ_URL");
    let url = url.unwrap_or_else(|_| "amqp://guest:guest@localhost/%2f".into());
    let mut consumers = 5;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--consumers", Some(number)) => consumers = number.parse()?,
            _ => return Err("usage: rabbitmq_hello [--consumers NUMBER]".into()),
        }
    }
    actix::System::new().block_on(async {
        let config = RabbitMqConfig::new(url, "hello").declare(Declare::Classic);
        let queue = RabbitMqQueue::<String>::open_with(config, Text)?;
        let group = Group::builder()
            .queue(queue)
            .configure(|config| config.quiet_panics = true)
            .consume_with(consumers, async |delivery: &Delivery<String>| {
                if delivery.job().as_str() == "panic" && delivery.attempt() == 1 {
                    panic!("as I was told");
                }
                println!("Received {}", delivery.job());
                Ok::<(), Failure>(())
            })
            .start()?;
        println!("Waiting for messages. Ctrl-D ends.");
        let (done, told) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            let _ = done.send(());
        });
        let _ = told.await;
        group.drain(Duration::from_secs(5)).await;
        Ok(())
    })
}
