//! Supervisors of supervisors.

use std::time::Duration;

use consumer_group::supervision::{
    ChildKind, ChildState, Ending, Handle, SupervisorHandle, SupervisorSpec, TreeEvent, TreeNode,
};
use tokio::sync::mpsc;

use crate::common::{paused, within};
use crate::patient::*;

/// ```text
/// root ─┬─ first
///       ├─ left ─┬─ a
///       │        └─ b
///       └─ last
/// ```
async fn tree() -> (SupervisorHandle, Notes) {
    let (sender, notes) = mpsc::unbounded_channel();
    let [first, a, b, last] =
        ["first", "a", "b", "last"].map(|name| patient_of(name, &sender, Stopping::Stops));
    let left = SupervisorSpec::new("left").intensity(1, Duration::from_secs(5));
    let root = SupervisorSpec::new("root")
        .intensity(9, Duration::from_secs(60))
        .child(first)
        .supervisor(left.child(a).child(b))
        .child(last);
    (root.start().await.unwrap(), notes)
}

#[test]
fn a_tree_starts_the_eldest_first_and_ends_the_youngest_first() {
    paused(async {
        let (root, mut notes) = tree().await;
        let started = ["first started", "a started", "b started", "last started"];
        assert_eq!(noted(&mut notes), started);
        assert_eq!(within("the end", root.stop()).await, Ending::Stopped);
        let ended = ["last stopped", "b stopped", "a stopped", "first stopped"];
        assert_eq!(noted(&mut notes), ended);
    });
}

#[test]
fn actors_and_supervisors_are_found_by_their_path() {
    paused(async {
        let (root, _notes) = tree().await;
        let a: Handle<Patient> = root.actor("left/a").unwrap();
        assert_eq!(&*a.path(), "root/left/a");
        assert_eq!(a.send(WhichLife).await.unwrap(), 1);
        let left = root.supervisor("left").unwrap();
        assert_eq!(&*left.path(), "root/left");
        assert_eq!(left.count().await.unwrap().workers, 2);
        let error = root.actor::<Patient>("left/c").unwrap_err();
        assert_eq!(error.to_string(), "root/left has no child `c`; it has: a, b");
        let error = root.actor::<Patient>("first/x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`first` is a supervision::patient::Patient, not a supervisor"
        );
        root.supervisor("last").unwrap_err();
        root.actor::<Patient>("left").unwrap_err();
        root.stop().await;
    });
}

#[test]
fn the_tree_is_drawn_and_is_data() {
    paused(async {
        let (root, _notes) = tree().await;
        let a: Handle<Patient> = root.actor("left/a").unwrap();
        a.send(Die::InTheHandler).await.unwrap_err();
        assert_eq!(a.send(WhichLife).await.unwrap(), 2);
        root.terminate("last").await.unwrap();
        let tree = root.tree().await.unwrap();
        let place = match &tree.children[1].children[0].last_down {
            Some(consumer_group::Cause::Panicked(report)) => report.to_string(),
            other => panic!("{other:?}"),
        };
        let expected = format!(
            "root (supervisor, one for one): up\n\
             ├─ first (Patient): up\n\
             ├─ left (supervisor, one for one): up\n\
             │  ├─ a (Patient): up, life 2, last panicked: {place}\n\
             │  └─ b (Patient): up\n\
             └─ last (Patient): ended, last ended by its supervisor"
        );
        assert_eq!(tree.to_string(), expected);
        let text = serde_json::to_string(&tree).unwrap();
        assert_eq!(serde_json::from_str::<TreeNode>(&text).unwrap(), tree);
        assert_eq!(tree.kind, ChildKind::Supervisor);
        assert_eq!(tree.children[2].state, ChildState::Ended);
        assert_eq!(root.children().await.unwrap(), tree.children);
        root.stop().await;
    });
}

#[test]
fn handles_survive_the_restart_of_the_supervisor_between() {
    paused(async {
        let (root, mut notes) = tree().await;
        let [a, b, first] = ["left/a", "left/b", "first"].map(|path| root.actor::<Patient>(path).unwrap());
        let left = root.supervisor("left").unwrap();
        let mut events = root.events();
        noted(&mut notes);
        // The second death within the period is one too many for `left`.
        for _ in 0..2 {
            a.send(Die::InTheHandler).await.unwrap_err();
        }
        tree_event(&mut events, "left is up again", |event| match event {
            TreeEvent::Up { child, life: 2 } if &**child == "root/left" => Some(()),
            _ => None,
        })
        .await;
        assert_eq!(a.send(WhichLife).await.unwrap(), 3);
        assert_eq!(b.send(WhichLife).await.unwrap(), 2);
        assert_eq!(first.send(WhichLife).await.unwrap(), 1);
        assert_eq!(left.count().await.unwrap().active, 2);
        assert_eq!(
            noted(&mut notes),
            [
                "a stopped",
                "a started",
                "a stopped",
                "b stopped",
                "a started",
                "b started",
            ]
        );
        root.stop().await;
    });
}

#[test]
fn a_child_that_was_added_to_a_supervisor_is_not_there_in_its_next_life() {
    paused(async {
        let (root, _notes) = tree().await;
        let a: Handle<Patient> = root.actor("left/a").unwrap();
        let left = root.supervisor("left").unwrap();
        let (guest, _, _more) = patient("guest");
        let guest = left.add(guest).await.unwrap();
        let mut events = root.events();
        for _ in 0..2 {
            a.send(Die::InTheHandler).await.unwrap_err();
        }
        tree_event(&mut events, "left is up again", |event| match event {
            TreeEvent::Up { child, life: 2 } if &**child == "root/left" => Some(()),
            _ => None,
        })
        .await;
        assert_eq!(left.count().await.unwrap().specs, 2);
        assert!(guest.is_over());
        guest.send(WhichLife).await.unwrap_err();
        root.stop().await;
    });
}
