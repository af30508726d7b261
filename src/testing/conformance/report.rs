//! What a suite found.

use std::fmt;

/// How one check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The part keeps the promise.
    Kept,
    /// It does not; the text says what was seen.
    Broken(String),
    /// The promise was not asked for: the part does not claim it.
    NotClaimed(String),
}

/// One check of a suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// The name of the check: a sentence that says what is promised.
    pub name: &'static str,
    /// How it ended.
    pub finding: Finding,
    /// What is no breach and still worth knowing.
    pub remarks: Vec<String>,
}

/// What a suite found. See the module for how to use it in a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was looked at.
    pub subject: &'static str,
    /// Every check, in order.
    pub checks: Vec<CheckReport>,
}

impl Report {
    /// Panics if a promise is broken, with a text that names each broken promise and what was seen. Returns the report.
    ///
    /// # Panics
    /// If a promise is broken.
    #[track_caller]
    pub fn assert(self) -> Self {
        match self.into_result() {
            Ok(report) => report,
            Err(error) => fail(&error),
        }
    }

    /// The report, or an error if a promise is broken; for tests that return a `Result`.
    ///
    /// # Errors
    /// [`ConformanceError`] names each broken promise and what was seen.
    pub fn into_result(self) -> Result<Self, ConformanceError> {
        if self.broken().is_empty() {
            Ok(self)
        } else {
            Err(ConformanceError { report: self })
        }
    }

    /// The names of the broken promises, in order.
    pub fn broken(&self) -> Vec<&'static str> {
        self.names(|finding| matches!(finding, Finding::Broken(_)))
    }

    /// The names of the promises that are kept, in order.
    pub fn kept(&self) -> Vec<&'static str> {
        self.names(|finding| *finding == Finding::Kept)
    }

    /// The names of the promises that the part does not claim, in order.
    pub fn not_claimed(&self) -> Vec<&'static str> {
        self.names(|finding| matches!(finding, Finding::NotClaimed(_)))
    }

    /// Everything that is no breach and still worth knowing.
    pub fn remarks(&self) -> impl Iterator<Item = &str> {
        let remarks = self.checks.iter().flat_map(|check| &check.remarks);
        remarks.map(String::as_str)
    }

    fn names(&self, fits: impl Fn(&Finding) -> bool) -> Vec<&'static str> {
        let checks = self.checks.iter().filter(|check| fits(&check.finding));
        checks.map(|check| check.name).collect()
    }
}

// A failed check has to fail the test of whoever runs the suite, and the way to fail a test is to panic. Nothing else in
// the suites does, and nothing but tests calls this.
#[allow(clippy::panic)]
#[track_caller]
fn fail(error: &ConformanceError) -> ! {
    panic!("{error}")
}

/// Lists every check.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.subject)?;
        for check in &self.checks {
            match &check.finding {
                Finding::Kept => write!(f, "\n  kept         {}", check.name)?,
                Finding::Broken(seen) => write!(f, "\n  BROKEN       {}: {seen}", check.name)?,
                Finding::NotClaimed(why) => write!(f, "\n  not claimed  {} ({why})", check.name)?,
            }
            for remark in &check.remarks {
                write!(f, "\n               remark: {remark}")?;
            }
        }
        Ok(())
    }
}

/// A part that breaks a promise of its role.
#[derive(Clone, PartialEq, Eq)]
pub struct ConformanceError {
    /// Everything that was found.
    pub report: Report,
}

impl fmt::Display for ConformanceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { subject, checks } = &self.report;
        let broken = self.report.broken().len();
        write!(f, "{subject} breaks {broken} of {} promises:", checks.len())?;
        for check in checks {
            if let Finding::Broken(seen) = &check.finding {
                write!(f, "\n  {}: {seen}", check.name)?;
            }
        }
        Ok(())
    }
}

/// The same text as `Display`, so that `unwrap` and a test that returns the error show it as it is.
impl fmt::Debug for ConformanceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ConformanceError {}
