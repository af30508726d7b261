//! A life that hangs is seen by its deadline and replaced, even if it blocks its thread.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix::prelude::*;
use consumer_group::supervision::{Child, Handle, SendError, SupervisorConfig, SupervisorSpec, TreeEvent};
use consumer_group::{Cause, Placement};

use crate::common::{Block, Log, paused, system, within};
use crate::patient::*;

fn a_hang_is_ended<M>(message: M)
where
    Patient: Handler<M>,
    M: Message<Result = ()> + Debug + Send + 'static,
{
    paused(async move {
        let (child, handle, _notes) = patient("p");
        let supervisor = SupervisorSpec::new("ward")
            .intensity(9, Duration::from_secs(60))
            .child(child.deadline(Duration::from_secs(3)))
            .start()
            .await
            .unwrap();
        let words = format!("{message:?}");
        let began = tokio::time::Instant::now();
        let error = within("the deadline", handle.send(message)).await.unwrap_err();
        let took = began.elapsed();
        let SendError::Died { down, .. } = &error else {
            panic!("{words}: {error}")
        };
        assert_eq!(
            down.cause,
            Cause::DeadlinePassed(Duration::from_millis(3_000)),
            "{words}"
        );
        assert!(down.in_hand.as_ref().unwrap().ends_with(&words), "{down}");
        assert!(took >= Duration::from_secs(3), "{words}: {took:?}");
        assert!(took <= Duration::from_secs(4), "{words}: {took:?}");
        let life = within("a fresh life", which_life(&handle)).await;
        assert_eq!(life, 2, "{words}");
        supervisor.stop().await;
    });
}

async fn which_life(handle: &Handle<Patient>) -> u32 {
    handle.send(WhichLife).await.unwrap()
}

#[test]
fn a_hang_in_a_future_of_the_actor_is_ended_at_the_deadline() {
    a_hang_is_ended(HangInAFuture);
}

#[test]
fn a_hang_in_an_atomic_answer_is_ended_at_the_deadline() {
    a_hang_is_ended(HangAtomically);
}

#[test]
fn a_hang_beside_the_actor_is_ended_at_the_deadline() {
    a_hang_is_ended(HangApart);
}

#[test]
fn an_actor_that_has_nothing_to_do_does_not_hang() {
    paused(async {
        let (child, handle, _notes) = patient("p");
        let supervisor = SupervisorSpec::new("ward")
            .child(child.deadline(Duration::from_secs(3)))
            .start()
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!(handle.send(WhichLife).await.unwrap(), 1);
        supervisor.stop().await;
    });
}

/// Blocks its thread when it is told to.
struct Sleeper {
    life: u32,
    block: Block,
    seen: Log<(u32, u32)>,
}

impl Actor for Sleeper {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "u32")]
struct BlockTheThread;

impl Handler<BlockTheThread> for Sleeper {
    type Result = u32;

    fn handle(&mut self, _: BlockTheThread, _: &mut Context<Self>) -> u32 {
        self.block.wait();
        self.life
    }
}

impl Handler<Note> for Sleeper {
    type Result = ();

    fn handle(&mut self, Note(number): Note, _: &mut Context<Self>) {
        self.seen.note((self.life, number));
    }
}

impl Handler<WhichLife> for Sleeper {
    type Result = u32;

    fn handle(&mut self, _: WhichLife, _: &mut Context<Self>) -> u32 {
        self.life
    }
}

#[test]
fn an_actor_that_blocks_its_thread_is_replaced_and_takes_nothing_when_it_comes_back() {
    system(async {
        let (block, seen) = (Block::new(), Log::new());
        let (factory_block, factory_seen) = (block.clone(), seen.clone());
        let lives = Arc::new(AtomicU32::new(0));
        let mut child = Child::new("sleeper", move || Sleeper {
            life: lives.fetch_add(1, Ordering::Relaxed) + 1,
            block: factory_block.clone(),
            seen: factory_seen.clone(),
        })
        .deadline(Duration::from_millis(100));
        let handle = child.handle();
        let config = SupervisorConfig {
            intensity: 100,
            kill_grace: Duration::from_millis(100),
            ..SupervisorConfig::default()
        };
        let supervisor = SupervisorSpec::new("ward")
            .config(config)
            .placement(Placement::Dedicated)
            .child(child)
            .start()
            .await
            .unwrap();
        let (mut events, mut monitor) = (supervisor.events(), handle.monitor());
        let blocked = handle.send(BlockTheThread);
        for number in 0..3 {
            handle.do_send(Note(number)).unwrap();
        }
        tree_event(&mut events, "the arbiter is given up", |event| match event {
            TreeEvent::ArbiterAbandoned { child, moved: 0 } => {
                assert_eq!(&**child, "ward/sleeper");
                Some(())
            }
            _ => None,
        })
        .await;
        let down = within("the end is told", monitor.next()).await.unwrap();
        assert_eq!((&down.cause, down.life), (&Cause::ThreadBlocked, 1));
        // What waited is handled by the successor, in order, while the first life still blocks its thread.
        assert_eq!(within("an answer", handle.send(WhichLife)).await.unwrap(), 2);
        assert_eq!(seen.all(), [(2, 0), (2, 1), (2, 2)]);
        block.release();
        // It comes back: its answer, or its end, is all that is left of it.
        match within("its message is settled", blocked).await {
            Ok(life) => assert_eq!(life, 1),
            Err(error) => assert_eq!(error.down().unwrap().cause, Cause::ThreadBlocked),
        }
        for number in 3..100 {
            handle.do_send(Note(number)).unwrap();
        }
        assert_eq!(within("an answer", handle.send(WhichLife)).await.unwrap(), 2);
        assert!(seen.all().iter().all(|(life, _)| *life == 2), "{:?}", seen.all());
        // The end of a life is told once: the next that is heard of is the end of the second.
        supervisor.stop().await;
        let down = within("the second end is told", monitor.next()).await.unwrap();
        assert_eq!(down.life, 2, "{down}");
    });
}
