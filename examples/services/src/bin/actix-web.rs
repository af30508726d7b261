//! A service on actix-web: `cargo run -p services --bin actix-web`. SIGTERM or Ctrl-C drains, a second one ends.

use std::error::Error;
use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, get, post};
use actix_web::{App, HttpResponse, HttpServer};
use consumer_group::{Group, Producer, Signals};
use services::{Answer, Store, WITHIN};

type Words = Producer<String, usize>;

fn response(answer: Answer) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    if let Some(seconds) = answer.retry_after {
        response.insert_header((header::RETRY_AFTER, seconds.to_string()));
    }
    response.body(answer.text)
}

async fn submit(producer: Data<Words>, text: String) -> HttpResponse {
    response(services::submit(&producer, text).await)
}

async fn count(producer: Data<Words>, text: String) -> HttpResponse {
    response(services::count(&producer, text).await)
}

async fn live(group: Data<Group<String, usize>>) -> HttpResponse {
    response(services::live(&group))
}

async fn ready(group: Data<Group<String, usize>>) -> HttpResponse {
    response(services::ready(&group).await)
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let signals = Signals::stop()?;
    let store = Arc::new(Store::default());
    // The arbiter of this thread is one for the group as well.
    let group = services::words(&store).start()?;

    let (producer, handle) = (Data::new(group.producer()), Data::new(group.clone()));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(producer.clone())
            .app_data(handle.clone())
            .route("/jobs", post().to(submit))
            .route("/counts", post().to(count))
            .route("/live", get().to(live))
            .route("/ready", get().to(ready))
    })
    .workers(2)
    // Its own handling of signals would stop the System, and the group with it, before anything is drained.
    .disable_signals()
    .bind(("127.0.0.1", 0))?;
    for address in server.addrs() {
        println!("listening on {address}");
    }
    let server = server.run();
    let stop = server.handle();
    let server = actix_web::rt::spawn(server);

    // While the group drains the server still answers: results of what was accepted, and 503 for what is new.
    let report = group.drain_on(signals, WITHIN).await;
    stop.stop(true).await;
    server.await??;
    println!("{} done; {report}", store.done());
    Ok(())
}
