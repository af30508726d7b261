//! The line server of the example `supervision_tree`, driven by real TCP clients.

use std::time::Duration;

use crate::client::Client;
use crate::server::LineServer;
use consumer_group::supervision::{Ending, TreeEvent, TreeEvents};

fn with_a_server<F: Future<Output = ()>>(test: impl FnOnce(LineServer) -> F) {
    actix::System::new().block_on(async {
        let server = crate::server::start(0).await.unwrap();
        let tree = server.tree.clone();
        test(server).await;
        assert_eq!(tree.stop().await, Ending::Stopped);
    });
}

async fn down(events: &mut TreeEvents) -> String {
    let down = async {
        loop {
            if let TreeEvent::Down(down) = events.next().await.unwrap() {
                return down.to_string();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), down).await.unwrap()
}

async fn ask(client: &mut Client, line: &str) -> Option<String> {
    client.ask(line).await.unwrap()
}

#[test]
fn a_connection_that_crashes_is_closed_and_no_other_one_notices() {
    with_a_server(async |server| {
        let mut events = server.tree.events();
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = Client::connect(server.address).await.unwrap();
            assert_eq!(ask(&mut client, "hello").await.unwrap(), "1: hello");
            clients.push(client);
        }
        for (number, client) in clients.iter_mut().enumerate() {
            if number % 2 == 0 {
                assert_eq!(ask(client, "crash").await, None);
                let down = down(&mut events).await;
                assert!(down.contains("asked to crash"), "{down}");
            }
        }
        for (number, client) in clients.iter_mut().enumerate() {
            if number % 2 == 1 {
                assert_eq!(ask(client, "again").await.unwrap(), "2: again");
            }
        }
        assert_eq!(ask(&mut clients[1], "count").await.unwrap(), "10");
        let tree = server.tree.tree().await.unwrap().to_string();
        assert!(tree.contains("listener (Listener): up"), "{tree}");
        assert!(!tree.contains("listener (Listener): up, life 2"), "{tree}");
    });
}

#[test]
fn a_listener_that_crashes_is_back_on_its_port_and_the_connections_stay() {
    with_a_server(async |server| {
        let mut before = Client::connect(server.address).await.unwrap();
        assert_eq!(ask(&mut before, "one").await.unwrap(), "1: one");
        let mut events = server.tree.events();
        server.listener.do_send(crate::listener::Crash).unwrap();
        let down = down(&mut events).await;
        assert!(down.contains("the listener was asked to crash"), "{down}");
        let mut after = Client::connect(server.address).await.unwrap();
        assert_eq!(ask(&mut after, "hello").await.unwrap(), "1: hello");
        assert_eq!(ask(&mut before, "two").await.unwrap(), "2: two");
        assert_eq!(ask(&mut after, "count").await.unwrap(), "2");
    });
}

#[test]
fn an_error_and_a_line_without_end_close_only_their_own_connections() {
    with_a_server(async |server| {
        let mut events = server.tree.events();
        let mut fails = Client::connect(server.address).await.unwrap();
        let mut floods = Client::connect(server.address).await.unwrap();
        let mut stays = Client::connect(server.address).await.unwrap();
        assert_eq!(ask(&mut fails, "fail").await, None);
        assert!(down(&mut events).await.contains("asked to fail"));
        let long = "x".repeat(usize::try_from(crate::connection::LONGEST_LINE).unwrap());
        assert_eq!(ask(&mut floods, &long).await, None);
        assert!(down(&mut events).await.contains("longer than 4096 bytes"));
        assert_eq!(ask(&mut stays, "hello").await.unwrap(), "1: hello");
    });
}

#[test]
fn a_client_that_hangs_up_is_forgotten() {
    with_a_server(async |server| {
        let mut events = server.tree.events();
        let mut goes = Client::connect(server.address).await.unwrap();
        assert_eq!(ask(&mut goes, "count").await.unwrap(), "1");
        drop(goes);
        assert!(down(&mut events).await.contains("stopped by itself"));
        let mut comes = Client::connect(server.address).await.unwrap();
        assert_eq!(ask(&mut comes, "count").await.unwrap(), "1");
    });
}

#[test]
fn when_the_supervisor_of_the_connections_ends_it_and_the_listener_are_started_again() {
    with_a_server(async |server| {
        let mut old = Client::connect(server.address).await.unwrap();
        assert_eq!(ask(&mut old, "count").await.unwrap(), "1");
        let connections = server.tree.supervisor("connections").unwrap();
        connections.stop().await;
        assert_eq!(ask(&mut old, "hello").await, None);
        let mut new = Client::connect(server.address).await.unwrap();
        assert_eq!(ask(&mut new, "count").await.unwrap(), "1");
        let tree = server.tree.tree().await.unwrap().to_string();
        assert!(tree.contains("listener (Listener): up, life 2"), "{tree}");
    });
}
