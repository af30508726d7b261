//! Opening beside an owner: nothing waits on an arbiter.

use std::time::Duration;

use consumer_group::codec::Compact;
use consumer_group::durable::{DurableQueue, FileError, OpenErrorReason};
use futures_util::FutureExt as _;

use super::{LONG, place};
use crate::common::{idle, system};

fn is_in_use(opened: Result<DurableQueue<u64>, consumer_group::durable::OpenError>) -> bool {
    matches!(
        opened.map_err(|error| error.reason),
        Err(OpenErrorReason::File(FileError::InUse))
    )
}

#[test]
fn a_group_that_starts_again_on_the_same_arbiter_gets_the_file_that_the_old_one_still_has_to_close() {
    system(async {
        let (_folder, path) = place();
        let old = idle(&DurableQueue::at(&path, Compact).open().unwrap());
        old.producer().send(7).await.unwrap();
        let opening = actix::spawn(DurableQueue::<u64>::at(&path, Compact).open_when_free(LONG));
        // The opening waits, and this thread goes on: so the old group can end on it.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!opening.is_finished());
        old.stop().await;
        drop(old);
        let queue = opening.await.unwrap().unwrap();
        assert_eq!(queue.counts().ready, 1, "the job that the old group had accepted");
    });
}

#[test]
fn an_opening_that_does_not_wait_is_refused_while_the_owner_lives_and_goes_through_once_it_has_gone() {
    system(async {
        let (_folder, path) = place();
        let old = idle(&DurableQueue::at(&path, Compact).open().unwrap());
        assert!(is_in_use(DurableQueue::at(&path, Compact).open()));
        old.producer().send(7).await.unwrap();
        old.stop().await;
        drop(old);
        // Its actors go with their arbiter's next turns. Every refusal leaves it free for them.
        let queue = loop {
            match DurableQueue::<u64>::at(&path, Compact).open() {
                Ok(queue) => break queue,
                refused => assert!(is_in_use(refused)),
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(queue.counts().ready, 1);
    });
}

#[test]
fn an_opening_gives_up_when_its_time_is_over_or_nobody_waits_for_it() {
    system(async {
        let (_folder, path) = place();
        let owner: DurableQueue<u64> = DurableQueue::at(&path, Compact).open().unwrap();
        assert!(is_in_use(
            DurableQueue::at(&path, Compact)
                .open_when_free(Duration::ZERO)
                .await
        ));
        let mut given_up = Box::pin(DurableQueue::<u64>::at(&path, Compact).open_when_free(Duration::MAX));
        assert!(given_up.as_mut().now_or_never().is_none());
        drop(given_up);
        drop(owner);
        // The one that nobody waits for does not keep the file.
        let opened = DurableQueue::<u64>::at(&path, Compact).open_when_free(LONG).await;
        assert!(opened.is_ok(), "{opened:?}");
    });
}

#[test]
fn an_opening_waits_for_the_owner_in_a_runtime_that_is_not_actix() {
    let (_folder, path) = place();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let owner: DurableQueue<u64> = DurableQueue::at(&path, Compact).open().unwrap();
    let opening = runtime.spawn(DurableQueue::<u64>::at(&path, Compact).open_when_free(LONG));
    drop(owner);
    assert!(runtime.block_on(opening).unwrap().is_ok());
}
