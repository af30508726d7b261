//! A service on axum: `cargo run -p services --bin axum`. SIGTERM or Ctrl-C drains, a second one ends.

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use consumer_group::{Group, Host, Producer, Signals};
use services::{Answer, Store, WITHIN};

/// What handlers share.
#[derive(Clone)]
struct App {
    group: Group<String, usize>,
    producer: Producer<String, usize>,
}

fn response(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match answer.retry_after {
        Some(seconds) => (status, [(header::RETRY_AFTER, seconds.to_string())], answer.text).into_response(),
        None => (status, answer.text).into_response(),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let signals = Signals::stop()?;
    let store = Arc::new(Store::default());
    let host = Host::start()?;
    let group = services::words(&store).start_on(&host).await?;

    let routes = Router::new()
        .route(
            "/jobs",
            post(async |State(app): State<App>, text: String| {
                response(services::submit(&app.producer, text).await)
            }),
        )
        .route(
            "/counts",
            post(async |State(app): State<App>, text: String| {
                response(services::count(&app.producer, text).await)
            }),
        )
        .route(
            "/live",
            get(async |State(app): State<App>| response(services::live(&app.group))),
        )
        .route(
            "/ready",
            get(async |State(app): State<App>| response(services::ready(&app.group).await)),
        )
        .with_state(App {
            producer: group.producer(),
            group: group.clone(),
        });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("listening on {}", listener.local_addr()?);

    // While the group drains the server still answers: results of what was accepted, and 503 for what is new.
    let (drained, is_drained) = tokio::sync::oneshot::channel::<()>();
    let server = axum::serve(listener, routes).with_graceful_shutdown(async {
        let _ = is_drained.await;
    });
    let server = tokio::spawn(async { server.await });
    let report = group.drain_on(signals, WITHIN).await;
    drop(drained);
    server.await??;
    println!("{} done; {report}", store.done());
    println!("{}", host.shutdown(WITHIN).await);
    Ok(())
}
