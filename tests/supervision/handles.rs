//! Handles outlive their actors: what waits is kept in order, what cannot be delivered comes back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use consumer_group::Cause;
use consumer_group::supervision::{
    Ending, NotDelivered, Registry, RegistryError, Restart, SendError, SupervisorSpec, TreeEvent, link,
};

use crate::common::{is_pending, paused, settle_down, within};
use crate::patient::*;

fn ward() -> SupervisorSpec {
    SupervisorSpec::new("ward").intensity(100, Duration::from_secs(60))
}

#[test]
fn messages_that_wait_at_a_death_are_handled_by_the_next_life_in_order() {
    paused(async {
        let (child, handle, mut notes) = patient("p");
        let supervisor = ward().child(child).start().await.unwrap();
        for number in 0..10 {
            handle.do_send(Note(number)).unwrap();
            if number == 4 {
                handle.do_send(Die::InTheHandler).unwrap();
            }
        }
        handle.send(WhichLife).await.unwrap();
        let expected: Vec<String> = ["p started".to_owned()]
            .into_iter()
            .chain((0..5).map(|number| format!("p {number}")))
            .chain(["p stopped".to_owned(), "p started".to_owned()])
            .chain((5..10).map(|number| format!("p {number}")))
            .collect();
        assert_eq!(noted(&mut notes), expected);
        supervisor.stop().await;
    });
}

#[test]
fn messages_before_the_first_start_wait_too() {
    paused(async {
        let (child, handle, _notes) = patient("p");
        let mut early = handle.send(WhichLife);
        assert!(is_pending(&mut early));
        let supervisor = ward().child(child).start().await.unwrap();
        assert_eq!(early.await.unwrap(), 1);
        supervisor.stop().await;
    });
}

#[test]
fn past_the_stash_a_message_comes_back_with_the_reason() {
    paused(async {
        let (sender, _notes) = tokio::sync::mpsc::unbounded_channel();
        let mut child = patient_of("p", &sender, Stopping::Stops).stash(2);
        let handle = child.handle();
        let supervisor = ward().backoff(a_minute()).child(child).start().await.unwrap();
        let mut events = supervisor.events();
        handle.do_send(Die::InTheHandler).unwrap();
        tree_event(&mut events, "it backs off", |event| {
            matches!(event, TreeEvent::BackingOff { .. }).then_some(())
        })
        .await;
        handle.do_send(Note(1)).unwrap();
        let waits = handle.send(WhichLife);
        let error = handle.do_send(Note(3)).unwrap_err();
        assert!(matches!(
            &error,
            SendError::NotDelivered {
                message: Note(3),
                reason: NotDelivered::StashFull(2)
            }
        ));
        let error = handle.send(Note(4)).await.unwrap_err();
        assert_eq!(error.into_message(), Some(Note(4)));
        assert_eq!(waits.await.unwrap(), 2);
        supervisor.stop().await;
    });
}

#[test]
fn past_the_capacity_try_send_is_refused_and_past_the_limit_everything() {
    paused(async {
        let (sender, _notes) = tokio::sync::mpsc::unbounded_channel();
        let mut child = patient_of("p", &sender, Stopping::Stops).capacity(2).limit(4);
        let handle = child.handle();
        let supervisor = ward().child(child).start().await.unwrap();
        for number in 0..2 {
            handle.try_send(Note(number)).unwrap();
        }
        let full = |error: SendError<Note>| match error {
            SendError::NotDelivered {
                reason: NotDelivered::Full(at),
                ..
            } => at,
            other => panic!("{other:?}"),
        };
        assert_eq!(full(handle.try_send(Note(2)).unwrap_err()), 2);
        handle.do_send(Note(2)).unwrap();
        handle.do_send(Note(3)).unwrap();
        assert_eq!(full(handle.do_send(Note(4)).unwrap_err()), 4);
        assert_eq!(handle.waiting(), 4);
        supervisor.stop().await;
    });
}

#[test]
fn what_waits_when_an_actor_is_over_goes_back_to_its_senders_and_the_rest_to_the_hook_in_order() {
    paused(async {
        let (sender, _notes) = tokio::sync::mpsc::unbounded_channel();
        let lost = Arc::new(Mutex::new(Vec::new()));
        let shelf = Arc::clone(&lost);
        let mut child = patient_of("p", &sender, Stopping::Stops)
            .restart(Restart::Temporary)
            .on_undelivered(move |lost| {
                let note = lost.message.downcast::<Note>().unwrap();
                shelf
                    .lock()
                    .unwrap()
                    .push((note.0, lost.message_type, lost.reason.to_string()));
            });
        let handle = child.handle();
        let supervisor = ward().child(child).start().await.unwrap();
        let mut events = supervisor.events();
        handle.do_send(Die::InTheHandler).unwrap();
        handle.do_send(Note(1)).unwrap();
        let waits = handle.send_kept(Note(2));
        handle.do_send(Note(3)).unwrap();
        let error = waits.await.unwrap_err();
        assert!(matches!(
            &error,
            SendError::NotDelivered {
                message: Note(2),
                reason: NotDelivered::Ended(_)
            }
        ));
        let lost = std::mem::take(&mut *lost.lock().unwrap());
        let numbers: Vec<u32> = lost.iter().map(|(number, _, _)| *number).collect();
        assert_eq!(numbers, [1, 3]);
        assert!(
            lost[0].1.ends_with("Note") && lost[0].2.contains("in the handler"),
            "{lost:?}"
        );
        let messages = tree_event(&mut events, "it is told", |event| match event {
            TreeEvent::Undelivered { messages, .. } => Some(*messages),
            _ => None,
        })
        .await;
        assert_eq!(messages, 3);
    });
}

#[test]
fn a_message_that_was_in_hand_can_be_kept_and_looked_at() {
    paused(async {
        let (child, handle, _notes) = patient("p");
        let supervisor = ward().child(child).start().await.unwrap();
        let error = handle.send_kept(Die::InTheHandler).await.unwrap_err();
        let SendError::Died { kept, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!(kept, Some(Die::InTheHandler));
        let error = handle.send_kept(InAnActorFuture).await.unwrap_err();
        assert_eq!(error.into_message(), Some(InAnActorFuture));
        let error = handle.send(Die::InTheHandler).await.unwrap_err();
        assert_eq!(error.into_message(), None, "kept only if asked for");
        supervisor.stop().await;
    });
}

#[test]
fn a_message_whose_sender_stopped_waiting_before_it_was_taken_in_hand_is_not_handled() {
    paused(async {
        let (child, handle, mut notes) = patient("p");
        drop(handle.send(Note(1)));
        let supervisor = ward().child(child).start().await.unwrap();
        handle.send(Note(2)).await.unwrap();
        assert_eq!(noted(&mut notes), ["p started", "p 2"]);
        supervisor.stop().await;
    });
}

#[test]
fn recipients_hold_over_restarts_and_weak_handles_do_not_hold_the_post() {
    paused(async {
        let (child, handle, _notes) = patient("p");
        let recipient = handle.recipient::<WhichLife>();
        let weak = handle.downgrade();
        let supervisor = ward().child(child).start().await.unwrap();
        handle.send(Die::InTheHandler).await.unwrap_err();
        assert_eq!(recipient.send(WhichLife).await.unwrap(), 2);
        recipient.do_send(WhichLife).unwrap();
        recipient.try_send(WhichLife).unwrap();
        drop(handle);
        drop(recipient);
        assert_eq!(weak.upgrade().unwrap().send(WhichLife).await.unwrap(), 2);
        supervisor.terminate("p").await.unwrap();
        supervisor.delete("p").await.unwrap();
        supervisor.stop().await;
        drop(supervisor);
        settle_down().await;
        assert!(weak.upgrade().is_none());
    });
}

#[test]
fn listeners_hear_of_each_end_until_they_have_heard_enough_and_a_panic_in_one_harms_nobody() {
    paused(async {
        let (child, handle, _notes) = patient("p");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let shelf = Arc::clone(&heard);
        handle.on_down(|_| panic!("a bad listener"));
        handle.on_down(move |down| {
            shelf.lock().unwrap().push(down.life);
            down.life < 2
        });
        let supervisor = ward().child(child).start().await.unwrap();
        for _ in 0..4 {
            handle.send(Die::InTheHandler).await.unwrap_err();
        }
        handle.send(WhichLife).await.unwrap();
        assert_eq!(*heard.lock().unwrap(), [1, 2]);
        supervisor.stop().await;
    });
}

#[test]
fn linked_actors_die_together_by_a_fault_and_not_by_their_own_will() {
    paused(async {
        let (one, first, _notes) = patient("one");
        let (other, second, _more) = patient("other");
        let supervisor = ward().child(one).child(other).start().await.unwrap();
        link(&first, &second);
        let mut monitor = second.monitor();
        first.do_send(Die::BySelfStop).unwrap();
        assert_eq!(first.send(WhichLife).await.unwrap(), 2);
        assert_eq!(second.send(WhichLife).await.unwrap(), 1);
        first.do_send(Die::InTheHandler).unwrap();
        let down = within("the other one ends", monitor.next()).await.unwrap();
        assert_eq!(down.cause, Cause::Linked("ward/one".into()));
        assert_eq!(second.send(WhichLife).await.unwrap(), 2);
        assert_eq!(
            first.send(WhichLife).await.unwrap(),
            3,
            "the link did not come back on it"
        );
        assert_eq!(supervisor.stop().await, Ending::Stopped);
    });
}

#[test]
fn a_name_in_the_registry_survives_restarts_and_is_free_again_when_its_actor_is_over() {
    paused(async {
        let registry = Registry::new();
        let (child, handle, _notes) = patient("p");
        registry.register("doctor's favourite", &handle).unwrap();
        let supervisor = ward().child(child).start().await.unwrap();
        handle.send(Die::InTheHandler).await.unwrap_err();
        let found = registry.find::<Patient>("doctor's favourite").unwrap();
        assert_eq!(found.send(WhichLife).await.unwrap(), 2);
        let (_other, other, _more) = patient("q");
        let taken = registry.register("doctor's favourite", &other);
        assert_eq!(taken, Err(RegistryError::Taken("doctor's favourite".into())));
        assert_eq!(registry.names().len(), 1);
        supervisor.terminate("p").await.unwrap();
        let gone = registry.find::<Patient>("doctor's favourite").unwrap_err();
        assert_eq!(gone.to_string(), "nobody is registered as `doctor's favourite`");
        registry.register("doctor's favourite", &other).unwrap();
        supervisor.stop().await;
    });
}
