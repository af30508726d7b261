//! The watermark against a list.

use super::*;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// With how large a gap before it.
    Deliver(i64),
    Pass(i64),
    Again,
    Lease,
    /// Of all jobs that were ever leased, one.
    Done(usize),
    TakeBack,
}

fn step(dice: &mut Dice) -> Step {
    match dice.roll(15) {
        0..=3 => Step::Deliver(dice.roll(3) as i64),
        4 => Step::Pass(dice.roll(3) as i64),
        5 => Step::Again,
        6..=9 => Step::Lease,
        10..=13 => Step::Done(dice.roll(usize::MAX)),
        _ => Step::TakeBack,
    }
}

/// What the watermark is about, the slow way.
#[derive(Default)]
struct Model {
    /// Offset, whether it is done.
    delivered: Vec<(i64, bool)>,
    leased: Vec<(u32, i64)>,
    ever: Vec<u32>,
}

impl Model {
    fn position(&self, start: i64) -> i64 {
        let undone = self.delivered.iter().find(|(_, done)| !done);
        let end = self.delivered.last().map_or(start, |(offset, _)| offset + 1);
        undone.map_or(end, |(offset, _)| *offset)
    }

    fn finish(&mut self, offset: i64) {
        for slot in &mut self.delivered {
            slot.1 |= slot.0 == offset;
        }
    }
}

#[test]
fn the_watermark_never_goes_back_never_sticks_and_notes_only_what_is_done() {
    for seed in 0..500 {
        let mut dice = Dice(seed);
        let steps = dice.roll(300);
        run((0..steps).map(|_| step(&mut dice)));
    }
}

fn run(steps: impl Iterator<Item = Step>) {
    {
        let start = 1_000;
        let mut jobs = Watermark::starting_at(start);
        let mut model = Model::default();
        let mut position = start;
        for step in steps {
            let end = jobs.end();
            match step {
                Step::Deliver(gap) => {
                    let offset = end + gap;
                    assert!(jobs.deliver(offset, 10, offset).is_none());
                    model.delivered.push((offset, false));
                }
                Step::Pass(gap) => {
                    let offset = end + gap;
                    jobs.pass(offset);
                    model.delivered.push((offset, true));
                }
                Step::Again => {
                    let again = jobs.deliver(end - 1, 10, end - 1);
                    assert!(again.is_some());
                }
                Step::Lease => {
                    let undone = |offset: i64| model.delivered.contains(&(offset, false));
                    let leased = |offset: i64| model.leased.iter().any(|lease| lease.1 == offset);
                    let expected = (start..end).find(|offset| undone(*offset) && !leased(*offset));
                    let lease = jobs.lease().map(|(number, offset)| (number, *offset));
                    assert_eq!(lease.map(|lease| lease.1), expected);
                    model.leased.extend(lease);
                    model.ever.extend(lease.map(|lease| lease.0));
                }
                Step::Done(index) if !model.ever.is_empty() => {
                    let number = model.ever[index % model.ever.len()];
                    let place = model.leased.iter().position(|lease| lease.0 == number);
                    let expected = place.map(|place| model.leased.remove(place).1);
                    assert_eq!(
                        jobs.done(number),
                        expected,
                        "what is not leased counts for nothing"
                    );
                    expected.into_iter().for_each(|offset| model.finish(offset));
                }
                Step::Done(_) => {}
                Step::TakeBack => {
                    assert_eq!(jobs.take_back(), model.leased.len());
                    model.leased.clear();
                }
            }
            assert!(jobs.position() >= position, "it went back");
            position = jobs.position();
            assert_eq!(position, model.position(start));
            let undone = model.delivered.iter().filter(|slot| !slot.1).count();
            assert_eq!(jobs.unfinished(), undone);
            assert_eq!(jobs.bytes(), undone * 10);
            assert_eq!(jobs.leased(), model.leased.len());
            for (number, offset) in &model.leased {
                assert_eq!(jobs.at_offset(*offset).copied(), jobs.job(*number).copied());
            }
            let note = Note {
                fence: 1,
                runs: jobs.runs().collect(),
            };
            for (offset, done) in &model.delivered {
                assert_eq!(note.is_done(position, *offset), *done, "{} in {:?}", offset, note);
            }
        }
        // Everything that is left is done: then the watermark is at the end.
        jobs.take_back();
        while let Some((number, _)) = jobs.lease() {
            assert!(jobs.done(number).is_some());
        }
        assert_eq!((jobs.position(), jobs.width()), (jobs.end(), 0));
    }
}
