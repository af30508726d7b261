//! Answers calls of existing RPC clients: a message with `reply_to` and `correlation_id` gets its answer there.
//!
//! ```text
//! scripts/services up rabbitmq python-clients
//! export $(scripts/services env rabbitmq python-clients)
//! cargo run -p consumer-group-rabbitmq --example rabbitmq_rpc
//! ```
//!
//! and in another terminal: `$CONSUMER_GROUP_PYTHON consumer-group-rabbitmq/examples/call.py "$CONSUMER_GROUP_RABBITMQ_URL" 30`. It ends
//! when there is nothing on its standard input any more (Ctrl-D).

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::io::Read;
use std::time::Duration;

use consumer_group::codec::Json;
use consumer_group::{Delivery, Failure, Group};
use consumer_group_rabbitmq::{Declare, RabbitMqConfig, RabbitMqQueue};

fn fibonacci(number: u64) -> u64 {
    let (mut last, mut this) = (0, 1);
    for _ in 0..number {
        (last, this) = (this, last + this);
    }
    last
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("CONSUMER_GROUP_RABBITMQ_URL");
    let url = url.unwrap_or_else(|_| "amqp://guest:guest@localhost/%2f".into());
    actix::System::new().block_on(async {
        let config = RabbitMqConfig::new(url, "rpc_queue").declare(Declare::Classic);
        let queue = RabbitMqQueue::<u64>::open_with(config, Json)?;
        let group: Group<u64, u64> = Group::builder()
            .result_sink(queue.replies())
            .queue(queue)
            .consume_with(4, async |delivery: &Delivery<u64>| {
                let number = *delivery.job();
                if number > 90 {
                    return Err(Failure::reject("the answer has more than 64 bits"));
                }
                println!("fibonacci({number})");
                Ok(fibonacci(number))
            })
            .start()?;
        println!("Waiting for calls. Ctrl-D ends.");
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
