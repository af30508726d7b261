//! The runs: peers and cases take turns, so that a busy moment of the machine hits all of them.

use crate::cases::{Case, Set};
use crate::drive::Run;
use crate::peers::Peer;
use crate::report::{self, Row};

/// Runs of each peer at each work; the median counts.
const RUNS: usize = 5;

/// The runs of one peer, set in one way, at one case.
pub struct Entrant {
    pub peer: Peer,
    pub runs: Vec<Run>,
}

impl Entrant {
    /// One that could not finish would not do better next time, and the others would wait for it again.
    fn takes_part(&self) -> bool {
        self.runs.last().is_none_or(|run| run.note.is_none())
    }
}

/// Does all cases of a set. With `only_the_best`, a peer that can be set in more than one way goes on after its first run
/// with the one that was best.
pub fn rows(set: &Set, is_wanted: impl Fn(Peer) -> bool, only_the_best: bool) -> Vec<Row> {
    let entrants = |case: &Case| -> Vec<Entrant> {
        let takes_part = |peer: &Peer| peer.can(case) && is_wanted(*peer);
        let peers = Peer::ALL.into_iter().filter(takes_part);
        peers
            .map(|peer| Entrant {
                peer,
                runs: Vec::new(),
            })
            .collect()
    };
    let mut all: Vec<(&Case, Vec<Entrant>)> = set.iter().map(|case| (case, entrants(case))).collect();
    for round in 0..RUNS {
        for (case, entrants) in &mut all {
            for entrant in entrants.iter_mut().filter(|entrant| entrant.takes_part()) {
                entrant.runs.push(entrant.peer.run(case));
            }
            if round == 0 && only_the_best {
                keep_the_best(case, entrants);
            }
        }
    }
    report::rows(&all)
}

fn keep_the_best(case: &Case, entrants: &mut Vec<Entrant>) {
    let best = report::best(case, entrants);
    entrants.retain(|entrant| best.contains(&entrant.peer));
}
