//! Runs thousands of seeds, each a random plan of faults against a whole group, and checks every history.
//!
//! ```text
//! cargo run --release --features sim,durable --example fault_sweep -- --seeds 10000
//! cargo run --release --features sim,durable --example fault_sweep -- --seed 42        # one seed again, with its trace
//! cargo run --release --features sim,durable --example fault_sweep -- --seed 42 --picture seed.svg
//! cargo run --release --features sim,durable --example fault_sweep -- --plants         # bugs that can be planted
//! cargo run --release --features sim,durable --example fault_sweep -- --plant no-fence # does the checker still bite?
//! cargo run --release --features sim,durable --example fault_sweep -- --shrinks 5      # how small do failing plans become?
//! ```
//!
//! Beside the stock group, whose queue is in memory, every eighth seed runs over a durable queue in a file of the simulation, and
//! every eighth over a queue outside of the process: `--durable` or `--remote` runs those alone, and `--seed` with it one of them
//! again.
//!
//! The last line tells it all: `seeds 10000 and 1250 over files and 1250 over a broker violations 0 faults 163216 reached all`. A
//! seed that breaks an
//! invariant, or a state that no seed reached, makes the exit status 1; for a failing seed a small plan is printed as a test
//! that fails again.
//!
//! A sweep makes and forgets whole groups; the allocator of the system takes a fifth of its time. For long sweeps,
//! `cargo run --release -p sweep --` is the same program with a faster one.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example speaks to its reader"
)]

#[path = "arguments/mod.rs"]
mod arguments;

use std::io::IsTerminal as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use arguments::{Arguments, at_least_one, refuse};
use consumer_group::durable::DurableQueue;
use consumer_group::sim::{
    Checker, Failure, Plan, PlanShape, Plant, PlantedIn, Reached, RemoteQueue, Report, STATES, Simulation,
    Sweep, Swept, draw, stock,
};

const HELP: &str = "
Sweeps seeds over the stock group and checks every history.

  --seeds N         how many seeds; 10,000 if nothing is said
  --from N          the first seed
  --threads N       on how many threads; as many as there are processors if nothing is said
  --seed N          runs this seed alone, twice, and prints its report and its trace
  --durable         only over a durable queue
  --remote          only over a queue outside of the process
  --picture FILE    draws the run of --seed into this file, as SVG
  --plants          lists the bugs that can be planted
  --plant NAME      plants this bug
  --shrinks N       shrinks the plans of so many failing seeds of the planted bug, or of each planted bug if none is named, and
                    prints how small they become on average";

struct Args {
    seeds: u64,
    from: u64,
    threads: Option<NonZeroUsize>,
    seed: Option<u64>,
    /// Over which queue alone.
    only: Option<Over>,
    picture: Option<PathBuf>,
    plants: bool,
    plant: Option<String>,
    shrinks: Option<NonZeroUsize>,
}

impl Args {
    fn parse() -> Self {
        let mut given = Arguments::of_this_process(HELP);
        let args = Self {
            seeds: given.read("--seeds", at_least_one).unwrap_or(10_000),
            from: given.value("--from").unwrap_or(0),
            threads: given.value("--threads"),
            seed: given.value("--seed"),
            only: match (given.flag("--durable"), given.flag("--remote")) {
                (false, false) => None,
                (true, false) => Some(Over::Files),
                (false, true) => Some(Over::Broker),
                (true, true) => refuse("--durable and --remote name two queues: choose one"),
            },
            picture: given.path("--picture"),
            plants: given.flag("--plants"),
            plant: given.value("--plant"),
            shrinks: given.value("--shrinks"),
        };
        given.end();
        if args.picture.is_some() && args.seed.is_none() {
            refuse("--picture draws one run: name it with --seed");
        }
        args
    }
}

pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    if args.plants {
        for plant in Plant::ALL {
            println!("{}", plant.name());
        }
        return ExitCode::SUCCESS;
    }
    let plant = match &args.plant {
        None => None,
        Some(name) => match Plant::ALL.into_iter().find(|plant| plant.name() == name) {
            Some(plant) => Some(plant),
            None => {
                eprintln!("there is no plant {name}; --plants lists them");
                return ExitCode::from(2);
            }
        },
    };
    if let Some(most) = args.shrinks {
        let plants = plant.map_or(Plant::ALL.to_vec(), |plant| vec![plant]);
        return shrinks(&args, &plants, most.get());
    }
    match args.seed {
        Some(seed) => {
            let group = Group::new(args.only.unwrap_or(Over::Memory), plant);
            replay(&group, seed, args.picture.as_deref())
        }
        None => sweep_all(&args, plant),
    }
}

/// Of so many seeds one runs over a durable queue as well, and one over a broker.
const OTHER_QUEUES: u64 = 8;

/// Where the jobs of a group lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Memory,
    /// In a file of the simulation.
    Files,
    /// Outside of the process.
    Broker,
}

impl Over {
    fn words(self) -> &'static str {
        match self {
            Self::Memory => "",
            Self::Files => " over files",
            Self::Broker => " over a broker",
        }
    }
}

/// A group that is swept.
struct Group {
    simulation: Simulation<u64, u64>,
    shape: PlanShape,
    over: Over,
    plant: Option<Plant>,
}

impl Group {
    /// The stock group over this queue.
    fn new(over: Over, plant: Option<Plant>) -> Self {
        let simulation = match over {
            Over::Memory => stock(),
            Over::Files => stock().over(|_: &Plan| open()),
            Over::Broker => stock().over(RemoteQueue::of),
        };
        Self {
            simulation: planted(simulation, plant),
            shape: PlanShape {
                durable: over == Over::Files,
                remote: over == Over::Broker,
                ..PlanShape::default()
            },
            over,
            plant,
        }
    }

    /// The group in which this bug shows.
    fn with(plant: Plant) -> Self {
        match plant.place() {
            PlantedIn::File => Self::new(Over::Files, Some(plant)),
            _ => Self::new(Over::Memory, Some(plant)),
        }
    }

    /// The same without a bug.
    fn without_plant(&self) -> Self {
        Self::new(self.over, None)
    }

    fn sweep(&self) -> Sweep<'_, u64, u64> {
        Sweep::new(&self.simulation, |seed| self.shape.plan(seed)).checker(self.checker())
    }

    /// Over a file a job comes to the supervisor when the commit of its lease is done, which nobody is told: what had waited
    /// when a consumer died is not known there. A broker mixes its lanes.
    fn checker(&self) -> Checker {
        match self.over {
            Over::Memory => Checker::strict(),
            Over::Files | Over::Broker => Checker::default(),
        }
    }

    /// The simulation as Rust code.
    fn as_rust(&self) -> String {
        let over = match self.over {
            Over::Memory => "",
            Over::Files => {
                ".over(|_: &Plan| consumer_group::durable::DurableQueue::open(\"jobs.queue\").unwrap())"
            }
            Over::Broker => ".over(consumer_group::sim::RemoteQueue::of)",
        };
        let plant = self
            .plant
            .map_or_else(String::new, |plant| format!(".planted(Plant::{plant:?})"));
        format!("stock(){over}{plant}")
    }
}

fn planted(simulation: Simulation<u64, u64>, plant: Option<Plant>) -> Simulation<u64, u64> {
    match plant {
        Some(plant) => simulation.planted(plant),
        None => simulation,
    }
}

/// A queue on a disk of the simulation.
#[allow(
    clippy::expect_used,
    reason = "a disk that cannot be read is a failure of the sweep"
)]
fn open() -> DurableQueue<u64> {
    DurableQueue::open("jobs.queue").expect("the disk of the simulation can be read")
}

/// One seed again.
fn replay(group: &Group, seed: u64, picture: Option<&Path>) -> ExitCode {
    match group.simulation.run_twice(&group.shape.plan(seed)) {
        Ok(history) => {
            if let Some(path) = picture
                && let Err(error) = std::fs::write(path, draw(&history, &format!("seed {seed}")))
            {
                eprintln!("{}: {error}", path.display());
                return ExitCode::FAILURE;
            }
            print!("{}", Report::new(&history));
            println!("trace {:016x}", history.trace());
            if group.checker().check(&history).is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("seed {seed}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Sweeps over every queue, or where the planted bug shows.
fn sweep_all(args: &Args, plant: Option<Plant>) -> ExitCode {
    let swept = match plant {
        Some(plant) => sweep(&Group::with(plant), args, args.seeds).map(|swept| vec![swept]),
        None => {
            let others = args.seeds.div_ceil(OTHER_QUEUES);
            let all = [
                (Over::Memory, args.seeds),
                (Over::Files, others),
                (Over::Broker, others),
            ];
            let swept = all.into_iter().filter_map(|(over, seeds)| match args.only {
                None => Some(sweep(&Group::new(over, None), args, seeds)),
                Some(only) => (only == over).then(|| sweep(&Group::new(over, None), args, args.seeds)),
            });
            swept.collect()
        }
    };
    match swept {
        Ok(swept) => last_line(args, plant, &swept),
        Err(status) => status,
    }
}

fn sweep(group: &Group, args: &Args, seeds: u64) -> Result<Swept, ExitCode> {
    let (done, is_seen) = (AtomicU64::new(0), std::io::stderr().is_terminal());
    let mut sweep = group
        .sweep()
        .seeds(args.from..args.from.saturating_add(seeds))
        .progress(|more| {
            let done = done.fetch_add(more, Ordering::Relaxed) + more;
            if is_seen {
                eprint!("\r{done} of {seeds} seeds");
            }
        });
    if let Some(threads) = args.threads {
        sweep = sweep.threads(threads.get());
    }
    let began = std::time::Instant::now();
    let swept = sweep.run().map_err(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })?;
    if is_seen {
        eprint!("\r\x1b[2K");
    }
    let took = began.elapsed();
    println!(
        "{:.0} seeds a second{}",
        swept.seeds as f64 / took.as_secs_f64(),
        group.over.words()
    );
    for (kind, count) in &swept.by_kind {
        println!("{count:>9}  {kind}");
    }
    println!("{:>9}  planned and never met", swept.unfired);
    for (state, count) in swept.reached.counts() {
        println!("{count:>9}  runs in which {state}");
    }
    for failure in &swept.failures {
        tell(group, &sweep, failure);
    }
    Ok(swept)
}

/// What is wrong with a seed, and the small plan that shows it.
fn tell(group: &Group, sweep: &Sweep<'_, u64, u64>, failure: &Failure) {
    println!("\nseed {} breaks:", failure.seed);
    for violation in &failure.violations {
        println!("  {violation}");
    }
    match sweep.shrink(failure) {
        Ok(shrunk) => {
            let (jobs, faults) = (shrunk.plan.jobs.len(), shrunk.plan.faults.len());
            println!(
                "shrunk to {jobs} jobs and {faults} faults in {} runs:\n",
                shrunk.runs
            );
            let name = format!("seed_{}", failure.seed);
            let checker = match group.over {
                Over::Memory => "Checker::strict()",
                Over::Files | Over::Broker => "Checker::default()",
            };
            let test = shrunk.plan.to_rust_test(&name, &group.as_rust(), checker);
            println!("{test}");
        }
        Err(error) => println!("it could not be shrunk: {error}"),
    }
}

/// How small the plans of several failing seeds become.
fn shrinks(args: &Args, plants: &[Plant], most: usize) -> ExitCode {
    let (mut count, mut jobs, mut faults) = (0_usize, 0_usize, 0_usize);
    let mut all_found = true;
    for plant in plants {
        let group = Group::with(*plant);
        let sweep = group
            .sweep()
            .seeds(args.from..args.from.saturating_add(args.seeds))
            .threads(args.threads.map_or(1, std::num::NonZero::get))
            .most_failures(most);
        let failures = sweep.run().map(|swept| swept.failures).unwrap_or_default();
        all_found &= !failures.is_empty();
        for failure in &failures {
            let Ok(shrunk) = sweep.shrink(failure) else {
                continue;
            };
            let small = (shrunk.plan.jobs.len(), shrunk.plan.faults.len());
            println!(
                "{} seed {}: {} jobs and {} faults, in {} runs",
                plant.name(),
                failure.seed,
                small.0,
                small.1,
                shrunk.runs
            );
            let without = group
                .without_plant()
                .simulation
                .run(&shrunk.plan)
                .map(|history| group.checker().check(&history));
            if without.is_ok_and(|violations| !violations.is_empty()) {
                println!(
                    "  it fails without the planted bug too:\n{}",
                    shrunk.plan.to_rust()
                );
            }
            (count, jobs, faults) = (count + 1, jobs + small.0, faults + small.1);
        }
    }
    let average = |sum: usize| sum as f64 / count.max(1) as f64;
    println!(
        "shrunk {count} plans to {:.1} jobs and {:.1} faults on average",
        average(jobs),
        average(faults)
    );
    if all_found {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn last_line(args: &Args, plant: Option<Plant>, swept: &[Swept]) -> ExitCode {
    let mut reached = Reached::default();
    let (mut violations, mut faults) = (0, 0);
    for part in swept {
        reached.add(&part.reached);
        violations += part.failures.len();
        faults += part.faults;
    }
    let mut missing = reached.missing();
    if args.only == Some(Over::Broker) {
        // It has no file, and repeats by itself.
        missing
            .retain(|state| !state.starts_with("a commit failed") && *state != "the source delivered twice");
    }
    if args.only.is_some() {
        // Such a queue keeps its jobs.
        missing.retain(|state| *state != "a job was handed out");
    }
    let told = if missing.is_empty() {
        "all".to_owned()
    } else {
        format!(
            "{} of {}, without: {}",
            STATES.len() - missing.len(),
            STATES.len(),
            missing.join(", ")
        )
    };
    let of_plant = plant.map(|plant| Group::with(plant).over);
    let seeds = match swept {
        [memory, files, broker] => format!(
            "{} and {}{} and {}{}",
            memory.seeds,
            files.seeds,
            Over::Files.words(),
            broker.seeds,
            Over::Broker.words()
        ),
        parts => {
            let seeds: u64 = parts.iter().map(|part| part.seeds).sum();
            let over = args.only.or(of_plant).unwrap_or(Over::Memory);
            format!("{seeds}{}", over.words())
        }
    };
    println!("seeds {seeds} violations {violations} faults {faults} reached {told}");
    if violations == 0 && missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
