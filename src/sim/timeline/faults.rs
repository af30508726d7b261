//! The faults in the picture.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::*;
use crate::sim::fault::FaultKind;
use crate::sim::history::Occurrence;
use crate::types::Role;

impl<'h> Drawing<'h> {
    /// The lane of a fault, if it has one.
    pub(super) fn lane_of_fault(&self, fault: usize) -> Option<usize> {
        let planned = self.history.faults.get(fault)?;
        match planned.fault.kind {
            FaultKind::Crash { role } => Some(self.lane_of(role)),
            FaultKind::Disconnect { .. }
            | FaultKind::RepeatDelivery
            | FaultKind::FailedCommit { .. }
            | FaultKind::SecondOpener { .. }
            | FaultKind::LinkLost { .. }
            | FaultKind::LaneRevoked { .. } => Some(self.lane_of(Role::Queue)),
            FaultKind::ClockJump { .. }
            | FaultKind::Freeze { .. }
            | FaultKind::NoThreads { .. }
            | FaultKind::HostEnd
            | FaultKind::ProcessEnd => None,
            _ => planned.slot.map(|slot| slot.0 as usize),
        }
    }

    /// What was held up by a fault, from its beginning to its end.
    pub(super) fn draw_stretches(&mut self) {
        let mut over: BTreeMap<usize, f64> = BTreeMap::new();
        for entry in &self.history.entries {
            if let Occurrence::Over { fault } = entry.what {
                over.insert(fault, at(entry.at));
            }
        }
        for (fault, end) in over {
            let begin = self.history.faults.get(fault).and_then(|planned| planned.fired);
            if let (Some(begin), Some(lane)) = (begin, self.lane_of_fault(fault)) {
                // What was given up meanwhile is held up no more; only its thread is, which is a strip along the edge.
                let given_up = self.given_up.get(&fault).copied().unwrap_or(end).min(end);
                let y = self.y(lane);
                for (from, to, y, height) in [
                    (at(begin), given_up, y, BAND),
                    (given_up, end, y + BAND - 3.0, 3.0),
                ] {
                    if to > from {
                        let _ = writeln!(
                            self.text,
                            "<rect x=\"{:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"{height}\" fill=\"url(#held)\"/>",
                            self.x(from),
                            self.x(to) - self.x(from)
                        );
                    }
                }
            }
        }
    }

    /// A mark and a letter for each fault that happened. Marks that would cover each other stand side by side.
    pub(super) fn draw_faults(&mut self) {
        let mut fired: Vec<(f64, usize)> = (0..)
            .zip(&self.history.faults)
            .filter_map(|(index, planned)| planned.fired.map(|moment| (at(moment), index)))
            .collect();
        fired.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut last: BTreeMap<Option<usize>, f64> = BTreeMap::new();
        for (ms, fault) in fired {
            let Some(planned) = self.history.faults.get(fault) else {
                continue;
            };
            let lane = self.lane_of_fault(fault);
            let mut x = self.x(ms);
            if let Some(before) = last.get(&lane) {
                x = x.max(before + 11.0);
            }
            last.insert(lane, x);
            let y = lane.map_or(TOP - 15.0, |lane| self.y(lane) + BAND + 1.0);
            let (letter, what) = (letter(&planned.fault.kind), escape(&planned.fault.to_string()));
            let _ = writeln!(
                self.text,
                "<g><title>{what}</title><path d=\"M {x:.1} {y} l 5.5 5 v 8 h -11 v -8 z\" fill=\"{FAULT}\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" font-size=\"8\" font-weight=\"bold\" \
                 fill=\"white\">{letter}</text></g>",
                y + 11.5
            );
        }
    }
}
