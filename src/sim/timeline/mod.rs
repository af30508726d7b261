//! The picture of a run: an SVG with a lane for each slot and for each of the group's own actors, the faults on them, and the
//! backlog below.

mod faults;
mod reading;

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::sim::fault::FaultKind;
use crate::sim::history::{Attempt, History};
use crate::types::Moment;

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

    fn x(&self, ms: f64) -> f64 {
        LEFT + ms / self.end * WIDTH
    }

    fn y(&self, lane: usize) -> f64 {
        // A little air between the slots and the group's own actors.
        let gap = if lane >= self.slots { 12.0 } else { 0.0 };
        TOP + lane as f64 * LANE + gap
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
        FaultKind::LinkLost { .. } => 'K',
        FaultKind::LaneRevoked { .. } => 'V',
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
