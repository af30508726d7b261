//! Plans as Rust code: a plan that fails becomes a test that compiles and fails again.

use super::fault::{Fault, FaultKind, When};
use super::plan::Plan;

impl Plan {
    /// The plan as Rust code: the expression that makes it.
    pub fn to_rust(&self) -> String {
        let mut text = format!("Plan::new({})", self.seed);
        for job in &self.jobs {
            text.push_str(&format!(
                "\n        .job({}, {:?}, {})",
                job.at_ms, job.key, job.work_ms
            ));
            if job.priority > 0 {
                text.push_str(&format!(".priority({})", job.priority));
            }
        }
        for fault in &self.faults {
            let (when, kind) = (rust_when(fault.when), rust_kind(&fault.kind));
            text.push_str(&format!("\n        .fault({when}, {kind})"));
        }
        text
    }

    /// A whole test as Rust code, that fails as long as this plan breaks an invariant.
    ///
    /// `simulation` and `checker` are Rust expressions: what the test runs the plan with, and what it checks the history by. The
    /// test is called `name`, with an underscore for whatever cannot be in a name.
    ///
    /// ```
    /// use consumer_group::sim::Plan;
    ///
    /// let test = Plan::new(7).job(0, None, 3).to_rust_test("seed 7", "stock()", "Checker::default()");
    /// assert!(test.contains("fn seed_7()"));
    /// ```
    pub fn to_rust_test(&self, name: &str, simulation: &str, checker: &str) -> String {
        let mut names = Vec::new();
        let mut needs = |name: &'static str, is_needed: bool| names.extend(is_needed.then_some(name));
        needs("Checker", checker.contains("Checker::"));
        needs("FaultKind", !self.faults.is_empty());
        needs("Plan", true);
        needs("Plant", simulation.contains("(Plant::"));
        needs("When", !self.faults.is_empty());
        needs("stock", simulation.starts_with("stock()"));
        let names = names.join(", ");
        let has_role = |fault: &Fault| matches!(fault.kind, FaultKind::Crash { .. });
        let role = if self.faults.iter().any(has_role) {
            "use consumer_group::Role;\n"
        } else {
            ""
        };
        let (name, plan) = (rust_name(name), self.to_rust());
        format!(
            "{role}use consumer_group::sim::{{{names}}};\n\n\
             #[test]\nfn {name}() {{\n    let plan = {plan};\n    let history = {simulation}.run(&plan).unwrap();\n    \
             assert_eq!({checker}.check(&history), []);\n}}\n",
        )
    }
}

/// The text as the name of a function.
fn rust_name(text: &str) -> String {
    let is_fit = |letter: char| letter == '_' || letter.is_ascii_alphanumeric();
    let name = text.replace(|letter| !is_fit(letter), "_");
    if name.starts_with(|first: char| first.is_ascii_digit()) || name.is_empty() {
        format!("plan_{name}")
    } else {
        name
    }
}

fn rust_when(when: When) -> String {
    format!("When::{when:?}")
}

fn rust_kind(kind: &FaultKind) -> String {
    match kind {
        FaultKind::Failpoint { place } => format!("FaultKind::Failpoint {{ place: {place:?}.into() }}"),
        FaultKind::Crash { role } => format!("FaultKind::Crash {{ role: Role::{role:?} }}"),
        kind => format!("FaultKind::{kind:?}"),
    }
}
