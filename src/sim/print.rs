//! Plans as Rust code: a plan that fails becomes a test that compiles and fails again.

use super::plan::{FaultKind, Plan, When};

impl Plan {
    /// The plan as Rust code: the expression that makes it.
    pub fn to_rust(&self) -> String {
        let mut text = format!("Plan::new({})", self.seed);
        for job in &self.jobs {
            text.push_str(&format!(
                "\n        .job({}, {:?}, {})",
                job.at_ms, job.key, job.work_ms
            ));
        }
        for fault in &self.faults {
            let (when, kind) = (rust_when(fault.when), rust_kind(&fault.kind));
            text.push_str(&format!("\n        .fault({when}, {kind})"));
        }
        text
    }

    /// A whole test as Rust code, that fails as long as this plan breaks an invariant of the stock group.
    pub fn to_rust_test(&self, name: &str, plant: Option<&str>) -> String {
        let planted = plant.map_or(String::new(), |plant| {
            format!(".planted(consumer_group::rules::ledger::Plant::{plant})")
        });
        format!(
            "use consumer_group::Role;\nuse consumer_group::sim::{{Checker, FaultKind, Plan, When, stock}};\n\n\
             #[test]\nfn {name}() {{\n    let plan = {};\n    let history = stock(){planted}.run(&plan).unwrap();\n    \
             assert_eq!(Checker::strict().check(&history), []);\n}}\n",
            self.to_rust()
        )
        .replace(
            "use consumer_group::Role;\n",
            if self.faults.iter().any(|fault| matches!(fault.kind, FaultKind::Crash { .. })) {
                "use consumer_group::Role;\n"
            } else {
                ""
            },
        )
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
