//! The picture of a run: an SVG with a lane for each slot and for each of the group's own actors, the faults on them, and the
//! backlog below.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::history::{Attempt, History, Occurrence, PlannedFault};
use super::plan::FaultKind;
use crate::types::{EventKind, Moment, Role, SlotId};

const LEFT: f64 = 118.0;
const WIDTH: f64 = 1_000.0;
const TOP: f64 = 92.0;
const LANE: f64 = 46.0;
const BAND: f64 = 30.0;
const BACKLOG: f64 = 110.0;

const DONE: &str = "#4c9f70";
const FAILED: &str = "#e0a030";
const CUT: &str = "#c8553d";
const LATE: &str = "#7b5ea7";
const FAULT: &str = "#c1121f";
const LIVES: [&str; 2] = ["#e8eef4", "#d5e0ea"];

/// Draws a history.
///
/// ```
/// use consumer_group::sim::{PlanShape, draw, stock};
///
/// let history = stock().run(&PlanShape::default().plan(1)).unwrap();
/// assert!(draw(&history, "seed 1").starts_with("<svg"));
/// ```
pub fn draw(history: &History, title: &str) -> String {
    Drawing::new(history).draw(title)
}

/// A life of a consumer or a role: from, to.
struct Life {
    lane: usize,
    number: u64,
    from: f64,
    to: Option<f64>,
}

/// An attempt on a job at a consumer.
struct Bar {
    attempt: Attempt,
    from: f64,
    to: Option<f64>,
    colour: &'static str,
}

struct Drawing<'h> {
    history: &'h History,
    slots: usize,
    end: f64,
    lives: Vec<Life>,
    bars: Vec<Bar>,
    /// When the consumer that a fault had met was given up.
    given_up: BTreeMap<usize, f64>,
    /// The backlog: jobs sent and not finished, at each change.
    backlog: Vec<(f64, i64)>,
    text: String,
}

fn at(moment: Moment) -> f64 {
    moment.as_nanos() as f64 / 1e6
}

impl<'h> Drawing<'h> {
    fn new(history: &'h History) -> Self {
        let last = history
            .entries
            .iter()
            .map(|entry| entry.at)
            .max()
            .unwrap_or_default();
        let mut drawing = Self {
            history,
            slots: history.config.consumers,
            end: at(last).max(1.0) * 1.01,
            lives: Vec::new(),
            bars: Vec::new(),
            given_up: BTreeMap::new(),
            backlog: vec![(0.0, 0)],
            text: String::new(),
        };
        drawing.read();
        drawing
    }

    fn lane_of(&self, role: Role) -> usize {
        self.slots
            + match role {
                Role::Queue => 0,
                Role::Strategy => 1,
                Role::Supervisor => 2,
                Role::Results => 3,
            }
    }

    fn x(&self, ms: f64) -> f64 {
        LEFT + ms / self.end * WIDTH
    }

    fn y(&self, lane: usize) -> f64 {
        // A little air between the slots and the group's own actors.
        let gap = if lane >= self.slots { 12.0 } else { 0.0 };
        TOP + lane as f64 * LANE + gap
    }

    /// Collects lives, bars and the backlog.
    fn read(&mut self) {
        let places = self.history.places();
        let mut open = 0_i64;
        let mut finished = std::collections::BTreeSet::new();
        for entry in &self.history.entries {
            let now = at(entry.at);
            match &entry.what {
                Occurrence::Sent { .. } => {
                    open += 1;
                    self.note_backlog(now, open);
                }
                Occurrence::Begun(attempt) => self.bars.push(Bar {
                    attempt: *attempt,
                    from: now,
                    to: None,
                    colour: CUT,
                }),
                Occurrence::Worked(attempt) => self.end_bar(attempt, now, DONE),
                Occurrence::Failed(attempt) => self.end_bar(attempt, now, FAILED),
                Occurrence::HostEnded | Occurrence::ProcessEnded => {
                    self.give_up(|_| true, now);
                    for lane in 0..self.slots + 4 {
                        self.end_life(lane, now);
                    }
                    self.cut_bars(None, now);
                }
                Occurrence::Group(kind) => {
                    if let EventKind::Acked { job, .. } | EventKind::DeadLettered { job, .. } = kind
                        && let Some(place) = places.get(job)
                        && finished.insert(*place)
                    {
                        open -= 1;
                        self.note_backlog(now, open);
                    }
                    self.read_event(kind, now);
                }
                _ => {}
            }
        }
    }

    /// Of several changes at one moment the last one counts.
    fn note_backlog(&mut self, now: f64, open: i64) {
        match self.backlog.last_mut() {
            Some(last) if last.0 >= now => last.1 = open,
            _ => self.backlog.push((now, open)),
        }
    }

    fn read_event(&mut self, kind: &EventKind, now: f64) {
        match kind {
            EventKind::ConsumerUp { slot, incarnation } => {
                self.begin_life(slot.0 as usize, incarnation.0.into(), now);
            }
            EventKind::ConsumerDown {
                slot, incarnation, ..
            } => {
                let life = (Some(*slot), Some(*incarnation));
                self.give_up(|planned| (planned.slot, planned.incarnation) == life, now);
                self.end_life(slot.0 as usize, now);
                self.cut_bars(Some(*slot), now);
            }
            EventKind::RoleUp { role, life } => self.begin_life(self.lane_of(*role), *life, now),
            EventKind::RoleDown { role, .. } => {
                self.end_life(self.lane_of(*role), now);
                if *role == Role::Supervisor {
                    self.give_up(|planned| planned.slot.is_some(), now);
                    for slot in 0..self.slots {
                        self.end_life(slot, now);
                    }
                    self.cut_bars(None, now);
                }
            }
            _ => {}
        }
    }

    /// What these faults held up, if they have happened, is given up now.
    fn give_up(&mut self, met: impl Fn(&PlannedFault) -> bool, now: f64) {
        for (fault, planned) in self.history.faults.iter().enumerate() {
            if met(planned) && planned.fired.is_some_and(|fired| at(fired) <= now) {
                self.given_up.entry(fault).or_insert(now);
            }
        }
    }

    fn begin_life(&mut self, lane: usize, number: u64, from: f64) {
        self.end_life(lane, from);
        self.lives.push(Life {
            lane,
            number,
            from,
            to: None,
        });
    }

    fn end_life(&mut self, lane: usize, to: f64) {
        for life in self.lives.iter_mut().filter(|life| life.lane == lane) {
            life.to.get_or_insert(to);
        }
    }

    /// Work that came to its end; after its consumer was given up, it is the work of a zombie.
    fn end_bar(&mut self, attempt: &Attempt, now: f64, colour: &'static str) {
        let same = |bar: &&mut Bar| bar.attempt == *attempt;
        if let Some(bar) = self.bars.iter_mut().find(same) {
            bar.colour = if bar.to.is_some() { LATE } else { colour };
            bar.to = Some(now);
        }
    }

    fn cut_bars(&mut self, slot: Option<SlotId>, now: f64) {
        let is_there = |bar: &&mut Bar| slot.is_none_or(|slot| bar.attempt.slot == slot);
        for bar in self.bars.iter_mut().filter(is_there) {
            bar.to.get_or_insert(now);
        }
    }

    fn draw(mut self, title: &str) -> String {
        let lanes = self.slots + 4;
        let bottom = self.y(lanes) + 14.0;
        let height = bottom + BACKLOG + 82.0;
        let width = LEFT + WIDTH + 30.0;
        let _ = writeln!(
            self.text,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\" font-size=\"11\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"16\" y=\"26\" font-size=\"16\" font-weight=\"bold\">{}</text>",
            escape(title)
        );
        self.legend();
        self.axis(bottom);
        self.lanes(lanes);
        self.draw_lives();
        self.draw_bars();
        self.draw_stretches();
        self.draw_faults();
        self.draw_backlog(bottom);
        self.text.push_str("</svg>\n");
        self.text
    }

    fn legend(&mut self) {
        let items = [
            (DONE, "work done"),
            (FAILED, "work failed"),
            (CUT, "cut off by a death"),
            (LATE, "done by a zombie"),
            (FAULT, "fault"),
        ];
        let mut x = 16.0;
        for (colour, what) in items {
            let _ = writeln!(
                self.text,
                "<rect x=\"{x}\" y=\"40\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{colour}\"/>\
                 <text x=\"{}\" y=\"50\">{what}</text>",
                x + 18.0
            );
            x += 34.0 + what.len() as f64 * 6.6;
        }
        let _ = writeln!(
            self.text,
            "<text x=\"{x}\" y=\"50\" fill=\"#555\">bands: lives of a consumer or an actor, numbered; hatched: held up by a fault</text>\n\
             <defs><pattern id=\"held\" width=\"6\" height=\"6\" patternTransform=\"rotate(45)\" \
             patternUnits=\"userSpaceOnUse\"><rect width=\"2\" height=\"6\" fill=\"{FAULT}\" opacity=\"0.35\"/></pattern></defs>"
        );
    }

    fn axis(&mut self, bottom: f64) {
        let step = nice_step(self.end / 10.0);
        let mut ms = 0.0;
        while ms <= self.end {
            let x = self.x(ms);
            let _ = writeln!(
                self.text,
                "<line x1=\"{x:.1}\" y1=\"{}\" x2=\"{x:.1}\" y2=\"{}\" stroke=\"#eee\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{ms} ms</text>",
                TOP - 10.0,
                bottom + BACKLOG + 18.0,
                TOP - 16.0
            );
            ms += step;
        }
    }

    fn lanes(&mut self, lanes: usize) {
        for lane in 0..lanes {
            let name = match lane.checked_sub(self.slots) {
                None => format!("slot {lane}"),
                Some(0) => "queue".to_owned(),
                Some(1) => "strategy".to_owned(),
                Some(2) => "supervisor".to_owned(),
                Some(_) => "result queue".to_owned(),
            };
            let middle = self.y(lane) + BAND / 2.0 + 4.0;
            let _ = writeln!(
                self.text,
                "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\" font-weight=\"bold\">{name}</text>",
                LEFT - 10.0
            );
        }
    }

    fn draw_lives(&mut self) {
        for life in std::mem::take(&mut self.lives) {
            let (from, to) = (self.x(life.from), self.x(life.to.unwrap_or(self.end)));
            let y = self.y(life.lane);
            let colour = LIVES.get((life.number % 2) as usize).copied().unwrap_or("#eee");
            let _ = writeln!(
                self.text,
                "<rect x=\"{from:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAND}\" fill=\"{colour}\" stroke=\"#b8c4d0\" \
                 stroke-width=\"0.5\"/>",
                (to - from).max(0.5)
            );
            if to - from > 14.0 {
                let _ = writeln!(
                    self.text,
                    "<text x=\"{:.1}\" y=\"{}\" font-size=\"8\" fill=\"#7a8894\">{}</text>",
                    from + 2.0,
                    y + 8.0,
                    life.number
                );
            }
        }
    }

    fn draw_bars(&mut self) {
        for bar in std::mem::take(&mut self.bars) {
            let (from, to) = (self.x(bar.from), self.x(bar.to.unwrap_or(self.end)));
            let y = self.y(bar.attempt.slot.0 as usize) + 10.0;
            let width = (to - from).max(2.0);
            let _ = writeln!(
                self.text,
                "<rect x=\"{from:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"17\" rx=\"2\" fill=\"{}\" stroke=\"white\" \
                 stroke-width=\"0.6\"><title>job {}, attempt {}</title></rect>",
                bar.colour, bar.attempt.job, bar.attempt.attempt
            );
            if width > 18.0 {
                let _ = writeln!(
                    self.text,
                    "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" font-size=\"9\" fill=\"white\">{}</text>",
                    from + width / 2.0,
                    y + 12.0,
                    bar.attempt.job
                );
            }
        }
    }

    /// The lane of a fault, if it has one.
    fn lane_of_fault(&self, fault: usize) -> Option<usize> {
        let planned = self.history.faults.get(fault)?;
        match planned.fault.kind {
            FaultKind::Crash { role } => Some(self.lane_of(role)),
            FaultKind::Disconnect { .. }
            | FaultKind::RepeatDelivery
            | FaultKind::FailedCommit { .. }
            | FaultKind::SecondOpener { .. } => Some(self.lane_of(Role::Queue)),
            FaultKind::ClockJump { .. }
            | FaultKind::Freeze { .. }
            | FaultKind::NoThreads { .. }
            | FaultKind::HostEnd
            | FaultKind::ProcessEnd => None,
            _ => planned.slot.map(|slot| slot.0 as usize),
        }
    }

    /// What was held up by a fault, from its beginning to its end.
    fn draw_stretches(&mut self) {
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
    fn draw_faults(&mut self) {
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

    fn draw_backlog(&mut self, top: f64) {
        let most = self
            .backlog
            .iter()
            .map(|(_, open)| *open)
            .max()
            .unwrap_or(0)
            .max(1);
        let base = top + BACKLOG;
        let height = |open: i64| base - open as f64 / most as f64 * (BACKLOG - 12.0);
        let mut path = format!("M {:.1} {base}", self.x(0.0));
        let mut before = height(0);
        for (ms, open) in std::mem::take(&mut self.backlog) {
            let (x, y) = (self.x(ms), height(open));
            let _ = write!(path, " L {x:.1} {before:.1} L {x:.1} {y:.1}");
            before = y;
        }
        let right = self.x(self.end);
        let _ = write!(path, " L {right:.1} {before:.1} L {right:.1} {base} Z");
        let _ = writeln!(
            self.text,
            "<path d=\"{path}\" fill=\"#9fb8d0\" stroke=\"#5a7fa0\"/>\n\
             <text x=\"{left}\" y=\"{}\" text-anchor=\"end\" font-weight=\"bold\">backlog</text>\n\
             <text x=\"{left}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{most} jobs</text>\n\
             <text x=\"{left}\" y=\"{base}\" text-anchor=\"end\" fill=\"#555\">0</text>\n\
             <text x=\"16\" y=\"{}\" fill=\"#555\">P panic, W panic after the work, F failpoint, E error, H hang, B blocked \
             thread, S slow, An arbiter crash, C crash of one of the group's own actors,</text>\n\
             <text x=\"16\" y=\"{}\" fill=\"#555\">L lost settle, R repeated settle, D delayed settle, O echo of a settle, 2 delivered twice, X queue \
             disconnected;</text>\n\
             <text x=\"16\" y=\"{}\" fill=\"#555\">above the lanes: J clock jump, Z frozen process, N no threads left, ! end of the host or of the process; M failed commit, \
             Q second opener</text>",
            top + BACKLOG / 2.0,
            top + 16.0,
            base + 36.0,
            base + 52.0,
            base + 68.0,
            left = LEFT - 10.0,
        );
    }
}

fn letter(kind: &FaultKind) -> char {
    match kind {
        FaultKind::Panic => 'P',
        FaultKind::PanicAfterWork => 'W',
        FaultKind::Failpoint { .. } => 'F',
        FaultKind::Error => 'E',
        FaultKind::Hang => 'H',
        FaultKind::Block { .. } => 'B',
        FaultKind::Slow { .. } => 'S',
        FaultKind::CrashArbiter => 'A',
        FaultKind::Crash { .. } => 'C',
        FaultKind::LoseSettle => 'L',
        FaultKind::RepeatSettle => 'R',
        FaultKind::DelaySettle { .. } => 'D',
        FaultKind::EchoSettle { .. } => 'O',
        FaultKind::RepeatDelivery => '2',
        FaultKind::Disconnect { .. } => 'X',
        FaultKind::ClockJump { .. } => 'J',
        FaultKind::Freeze { .. } => 'Z',
        FaultKind::NoThreads { .. } => 'N',
        FaultKind::HostEnd | FaultKind::ProcessEnd => '!',
        FaultKind::FailedCommit { .. } => 'M',
        FaultKind::SecondOpener { .. } => 'Q',
    }
}

/// 1, 2 or 5 times a power of ten, not below `least`.
fn nice_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.max(1.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= least)
        .unwrap_or(power * 10.0)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
