//! `consumer-group`: looks into the file of a durable queue. No process may have it open.
//!
//! ```text
//! consumer-group queue inspect PATH [--json]
//! consumer-group queue dead PATH [--unreadable] [--most N] [--json]
//! consumer-group queue requeue PATH [JOB…] [--all] [--json]
//! ```

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command talks to the person who runs it"
)]

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use consumer_group::JobId;
use consumer_group::durable::inspect::QueueFile;

/// Looks after what a consumer group has left on disk.
#[derive(Parser)]
#[command(name = "consumer-group", version)]
struct Arguments {
    #[command(subcommand)]
    of: Of,
}

#[derive(Subcommand)]
enum Of {
    /// The file of a durable queue.
    #[command(subcommand)]
    Queue(Action),
}

#[derive(Subcommand)]
enum Action {
    /// Counts what the file holds.
    Inspect(Common),
    /// Lists the dead letters, oldest first.
    Dead {
        #[command(flatten)]
        common: Common,
        /// Only those that the program over the file could not read.
        #[arg(long)]
        unreadable: bool,
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        most: usize,
    },
    /// Sends dead letters back: they are ready when the queue is opened next.
    Requeue {
        #[command(flatten)]
        common: Common,
        /// The names of the jobs.
        #[arg(required_unless_present = "all")]
        jobs: Vec<String>,
        /// All dead letters that can be read.
        #[arg(long, conflicts_with = "jobs")]
        all: bool,
    },
}

#[derive(Args)]
struct Common {
    /// The file.
    path: PathBuf,
    /// One JSON value on the output.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let Arguments {
        of: Of::Queue(action),
    } = Arguments::parse();
    match run(action) {
        Ok(text) => {
            // A reader that has gone (a pipe to `head`) is no failure.
            let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            // Its text holds its causes.
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(action: Action) -> Result<String, Box<dyn Error>> {
    match action {
        Action::Inspect(common) => {
            let found = QueueFile::open(&common.path)?.summary()?;
            let value = serde_json::to_value(&found)?;
            if common.json {
                return Ok(value.to_string());
            }
            let lines = value.as_object().into_iter().flatten();
            Ok(lines
                .map(|(name, value)| format!("{name:<8} {}\n", value.to_string().trim_matches('"')))
                .collect())
        }
        Action::Dead {
            common,
            unreadable,
            most,
        } => {
            let mut file = QueueFile::open(&common.path)?;
            let found = match unreadable {
                true => file.unreadable(most)?,
                false => file.dead(most)?,
            };
            if common.json {
                return Ok(serde_json::to_string(&found)?);
            }
            let mut text = String::new();
            for letter in &found {
                let id = letter.id.map_or("(no name)".into(), |id| id.to_string());
                text += &format!("{id}  {}\n", letter.reason);
                for attempt in &letter.history {
                    text += &format!("    {attempt}\n");
                }
                text += &format!(
                    "    payload of {} bytes: {}\n",
                    letter.size,
                    letter.payload.chars().take(200).collect::<String>()
                );
            }
            Ok(text + &format!("{} dead letters", found.len()))
        }
        Action::Requeue { common, jobs, all } => {
            let jobs = jobs
                .iter()
                .map(|name| parse(name))
                .collect::<Result<Vec<_>, _>>()?;
            let back = QueueFile::open(&common.path)?.requeue((!all).then_some(&jobs))?;
            if let Some(unknown) = jobs.iter().find(|job| !back.contains(job)) {
                return Err(format!(
                    "{unknown} is no dead letter of this queue; {} went back",
                    back.len()
                )
                .into());
            }
            if common.json {
                return Ok(serde_json::to_string(&back)?);
            }
            Ok(format!("{} went back", back.len()))
        }
    }
}

fn parse(name: &str) -> Result<JobId, Box<dyn Error>> {
    let value = serde_json::Value::String(name.into());
    serde_json::from_value(value).map_err(|_| format!("{name} is no name of a job (a UUID)").into())
}
