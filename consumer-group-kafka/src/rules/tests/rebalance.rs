//! Several members, one server: partitions move, members die, stand still and come back.
//!
//! What is checked at each commit that the server takes: it does not go back, and everything that it says is done was done. In the
//! end everything is done. While nobody dies, stands still or drains past the deadline, nothing is done twice.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

const RECORDS: i64 = 24;
const PARTITIONS: usize = 3;
const MEMBERS: usize = 3;

#[derive(Default)]
struct Partition {
    committed: i64,
    note: String,
    /// How often each record was done.
    done: Vec<u32>,
    owner: Option<usize>,
    /// Counts the owners; a commit of an earlier one is refused.
    generation: u64,
}

/// A lane with what the outside of it knows.
struct Held {
    lane: Lane<i64>,
    generation: u64,
    reads_at: i64,
    leased: Vec<(u32, i64)>,
    under_way: Option<Commit>,
}

#[derive(Default)]
struct Member {
    lanes: BTreeMap<usize, Held>,
}

struct World {
    dice: Dice,
    now: Duration,
    partitions: Vec<Partition>,
    members: Vec<Member>,
    /// Somebody died, stood still or drained past the deadline: then jobs may be done twice.
    was_rough: bool,
    may_be_rough: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let partition = || Partition {
            done: vec![0; RECORDS as usize],
            ..Partition::default()
        };
        let mut dice = Dice(seed);
        Self {
            may_be_rough: dice.roll(2) == 0,
            dice,
            now: Duration::ZERO,
            partitions: (0..PARTITIONS).map(|_| partition()).collect(),
            members: (0..MEMBERS).map(|_| Member::default()).collect(),
            was_rough: false,
        }
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(1);
        let member = self.dice.roll(MEMBERS);
        let partition = self.dice.roll(PARTITIONS);
        match self.dice.roll(24) {
            0..=5 => self.read(member, partition),
            6..=10 => self.lease(member, partition),
            11..=15 => self.finish(member, partition),
            16..=19 => self.commit(member, partition),
            20..=21 => self.move_to(partition, member),
            22 if self.may_be_rough => self.die(member),
            23 if self.may_be_rough => self.lose(partition),
            _ => {}
        }
        self.give_up(member);
    }

    fn read(&mut self, member: usize, partition: usize) {
        let Some(held) = self.members[member].lanes.get_mut(&partition) else {
            return;
        };
        if held.reads_at < RECORDS && !held.lane.is_held_up() {
            let offset = held.reads_at;
            held.lane.deliver(offset, 1, || offset);
            held.reads_at += 1;
        }
        held.lane.turn();
    }

    fn lease(&mut self, member: usize, partition: usize) {
        let Some(held) = self.members[member].lanes.get_mut(&partition) else {
            return;
        };
        if self.dice.roll(40) == 0 {
            // The supervisor was replaced; what its consumers had done without saying so is done again.
            self.was_rough |= held.lane.take_back() > 0;
            held.leased.clear();
        }
        let lease = held.lane.lease().map(|(number, offset)| (number, *offset));
        held.leased.extend(lease);
    }

    fn finish(&mut self, member: usize, partition: usize) {
        let Some(held) = self.members[member].lanes.get_mut(&partition) else {
            return;
        };
        if held.leased.is_empty() {
            return;
        }
        let (number, offset) = held.leased.swap_remove(self.dice.roll(held.leased.len()));
        // The work is done whether or not it counts.
        self.partitions[partition].done[offset as usize] += 1;
        if held.lane.done(number).is_none() {
            self.was_rough = true;
        }
    }

    /// A commit begins, or arrives.
    fn commit(&mut self, member: usize, partition: usize) {
        let Some(held) = self.members[member].lanes.get_mut(&partition) else {
            return;
        };
        let Some(commit) = held.under_way.take() else {
            held.under_way = held.lane.take_commit();
            return;
        };
        let server = &mut self.partitions[partition];
        let accepted = held.generation == server.generation && self.dice.roll(6) > 0;
        held.lane.committed(accepted);
        if accepted {
            Self::accept(server, commit);
        }
    }

    fn accept(server: &mut Partition, commit: Commit) {
        assert!(commit.position >= server.committed, "it went back");
        let note = Note::read(&commit.note).unwrap();
        for offset in 0..RECORDS {
            let is_done = server.done[offset as usize] > 0;
            assert!(
                is_done || !note.is_done(commit.position, offset),
                "{offset} is lost: {commit:?}"
            );
        }
        (server.committed, server.note) = (commit.position, commit.note);
    }

    /// The owner shall give the partition up, or somebody gets it whom nobody keeps from it.
    fn move_to(&mut self, partition: usize, member: usize) {
        let server = &mut self.partitions[partition];
        if let Some(owner) = server.owner {
            let drain = Duration::from_millis(if self.may_be_rough { 20 } else { 100_000 });
            if let Some(held) = self.members[owner].lanes.get_mut(&partition) {
                held.lane.revoke(self.now + drain);
            }
            return;
        }
        if self.members[member].lanes.contains_key(&partition) {
            return;
        }
        server.owner = Some(member);
        server.generation += 1;
        let lane = Lane::assigned(server.committed, Note::read(&server.note), 8);
        let held = Held {
            lane,
            generation: server.generation,
            reads_at: server.committed,
            leased: Vec::new(),
            under_way: None,
        };
        self.members[member].lanes.insert(partition, held);
    }

    fn give_up(&mut self, member: usize) {
        let now = self.now;
        self.members[member].lanes.retain(|partition, held| {
            held.lane.tick(now);
            let server = &mut self.partitions[*partition];
            if !held.lane.has_left() {
                return true;
            }
            assert!(
                held.under_way.is_none(),
                "a commit would arrive after it was given up"
            );
            if server.generation == held.generation {
                server.owner = None;
            }
            false
        });
    }

    /// The process ends without a word. What was under way may have arrived.
    fn die(&mut self, member: usize) {
        self.was_rough = true;
        for (partition, held) in std::mem::take(&mut self.members[member].lanes) {
            let server = &mut self.partitions[partition];
            if server.generation == held.generation {
                if let Some(commit) = held.under_way.filter(|_| self.dice.roll(2) == 0) {
                    Self::accept(server, commit);
                }
                server.owner = None;
            }
        }
    }

    /// The owner stands still for too long: the partition is somebody else's, and it learns that later.
    fn lose(&mut self, partition: usize) {
        self.was_rough = true;
        let server = &mut self.partitions[partition];
        server.owner = None;
        server.generation += 1;
        let learns = self.dice.roll(2) == 0;
        for member in &mut self.members {
            if learns {
                member.lanes.remove(&partition);
            }
        }
    }

    fn end(&mut self) {
        for _ in 0..100_000 {
            self.may_be_rough = false;
            for partition in 0..PARTITIONS {
                for member in 0..MEMBERS {
                    let generation = self.partitions[partition].generation;
                    let lanes = &mut self.members[member].lanes;
                    if lanes
                        .get(&partition)
                        .is_some_and(|held| held.generation != generation)
                    {
                        lanes.remove(&partition);
                    }
                    self.read(member, partition);
                    self.lease(member, partition);
                    self.finish(member, partition);
                    self.commit(member, partition);
                    self.give_up(member);
                }
                if self.partitions[partition].owner.is_none() {
                    self.move_to(partition, 0);
                }
            }
            if self
                .partitions
                .iter()
                .all(|partition| partition.committed == RECORDS)
            {
                return;
            }
        }
        panic!("it stands still");
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..400 {
        world.step();
    }
    world.end();
    for partition in &world.partitions {
        assert!(partition.done.iter().all(|times| *times > 0), "seed {seed}: lost");
        let once = partition.done.iter().all(|times| *times == 1);
        assert!(once || world.was_rough, "seed {seed}: done twice for no reason");
    }
}

#[test]
fn nothing_is_lost_and_no_commit_goes_back_over_many_ways_to_rebalance() {
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    for seed in 0..seeds.unwrap_or(2_000) {
        run(seed);
    }
}
