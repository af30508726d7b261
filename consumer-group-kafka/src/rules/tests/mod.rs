//! The rules against plain models of them.

mod rebalance;
mod watermark;

use super::*;

/// A small generator, so that a seed is all that a run needs.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
}

#[test]
fn a_note_says_what_is_done_and_comes_back_as_it_was() {
    let runs = vec![1, 2, 40, 1];
    let (text, is_whole) = Note::write(71, runs.clone(), MOST_BYTES);
    assert_eq!((text.as_str(), is_whole), ("cg1.1z.1.2.14.1.", true));
    let note = Note::read(&text).unwrap();
    assert_eq!(note, Note { fence: 71, runs });
    let done: Vec<i64> = (95..150).filter(|offset| note.is_done(100, *offset)).collect();
    assert_eq!(done, [95, 96, 97, 98, 99, 101, 102, 143]);
}

#[test]
fn a_note_keeps_to_its_bound_and_leaves_out_the_end() {
    let runs = || (1..).map(|number: u64| number);
    for most in [10, 11, 12, 100, MOST_BYTES] {
        let (text, is_whole) = Note::write(1, runs().take(10_000), most);
        assert!(!is_whole);
        assert!(text.len() <= most, "{} of {most}", text.len());
        let note = Note::read(&text).unwrap();
        assert!(note.runs.iter().copied().eq(runs().take(note.runs.len())));
        assert!(note.runs.len().is_multiple_of(2));
    }
}

#[test]
fn what_others_write_into_a_commit_is_no_note() {
    for text in [
        "",
        "cg1",
        "cg1.",
        "cg1..",
        "cg2.1.",
        "cg1.1.2",
        "cg1.-1.",
        "cg1.1.x y.",
        "cg1.zzzzzzzzzzzzzzzz.",
        "AAIAAQ==",
    ] {
        assert_eq!(Note::read(text), None, "{text}");
    }
}

#[test]
fn fetching_pauses_at_the_upper_mark_and_goes_on_at_the_lower_one() {
    let mut flow = Flow::new(Level {
        jobs: 10,
        bytes: 1_000,
    });
    let mut turn = |jobs, bytes| flow.turn(Level { jobs, bytes });
    assert_eq!(turn(9, 999), None);
    assert_eq!(turn(10, 0), Some(true));
    assert_eq!(turn(10, 0), None);
    assert_eq!(turn(6, 0), None);
    assert_eq!(turn(5, 501), None);
    assert_eq!(turn(5, 500), Some(false));
    assert_eq!(turn(0, 1_000), Some(true));
}

#[test]
fn a_job_that_does_not_end_pauses_its_lane_alone_and_only_past_the_limit() {
    let mut lane: Lane<()> = Lane::assigned(0, None, 4);
    for offset in 0..4 {
        assert_eq!(lane.turn(), None);
        lane.deliver(offset, 1, || ());
        lane.lease().unwrap();
    }
    assert_eq!(lane.turn(), Some(true));
    for number in 1..4 {
        lane.done(number).unwrap();
    }
    assert_eq!(lane.turn(), None, "the first one still holds the watermark");
    assert_eq!(lane.jobs().oldest().map(|(offset, ())| offset), Some(0));
    lane.done(0).unwrap();
    assert_eq!(lane.turn(), Some(false));
}

#[test]
fn a_drain_ends_when_nothing_is_leased_or_at_its_deadline_and_nothing_counts_afterwards() {
    use std::time::Duration;
    let within = Duration::from_secs(9);
    let begun = || {
        let mut lane: Lane<()> = Lane::assigned(0, None, 100);
        (0..3).for_each(|offset| lane.deliver(offset, 1, || ()));
        lane.lease().unwrap();
        lane.lease().unwrap();
        lane.revoke(within);
        lane
    };
    let mut lane = begun();
    assert!(lane.lease().is_none(), "what waits is the next owner's");
    lane.tick(Duration::ZERO);
    assert!(lane.done(1).is_some() && lane.done(0).is_some());
    lane.tick(Duration::ZERO);
    assert!(!lane.has_left(), "it is not committed");
    let commit = lane.take_commit().unwrap();
    assert_eq!(commit.position, 2);
    assert!(!lane.has_left());
    lane.committed(true);
    assert!(lane.has_left());

    let mut lane = begun();
    assert!(lane.done(1).is_some());
    lane.tick(within);
    assert!(lane.done(0).is_none(), "too late");
    let note = "cg1.1.1.1.".to_owned();
    assert_eq!(
        lane.take_commit(),
        Some(Commit {
            position: 0,
            note,
            is_whole: true
        })
    );
}

#[test]
fn a_job_is_at_risk_from_its_lease_until_a_commit_that_knows_that_it_is_done_is_answered_well() {
    let mut lane: Lane<()> = Lane::assigned(0, None, 100);
    (0..4).for_each(|offset| lane.deliver(offset, 1, || ()));
    assert_eq!(lane.at_risk(), 0);
    (0..3).for_each(|number| assert_eq!(lane.lease().map(|lease| lease.0), Some(number)));
    lane.done(1).unwrap();
    assert_eq!(lane.at_risk(), 3);
    lane.take_commit().unwrap();
    lane.done(2).unwrap();
    lane.committed(false);
    assert_eq!(lane.at_risk(), 3, "the commit failed");
    lane.take_commit().unwrap();
    lane.done(0).unwrap();
    lane.committed(true);
    assert_eq!(lane.at_risk(), 1, "it did not know of the last one");
    lane.take_commit().unwrap();
    lane.committed(true);
    assert_eq!(lane.at_risk(), 0);
}
