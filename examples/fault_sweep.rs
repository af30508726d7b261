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
//! Beside the stock group, whose queue is in memory, every eighth seed runs over a durable queue in a file of the simulation:
//! `--durable` runs those alone, and `--seed` with it one of them again.
//!
//! The last line tells it all: `seeds 10000 and 1250 over files violations 0 faults 163216 reached all`. A seed that breaks an
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
    Checker, Failure, Plan, PlanShape, Plant, PlantedIn, Reached, Report, STATES, Simulation, Sweep, Swept,
    draw, stock,
};

const HELP: &str = "
Sweeps seeds over the stock group and checks every history.

  --seeds N         how many seeds; 10,000 if nothing is said
  --from N          the first seed
  --threads N       on how many threads; as many as there are processors if nothing is said
  --seed N          runs this seed alone, twice, and prints its report and its trace
  --durable         only over a durable queue
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
    durable: bool,
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
            durable: given.flag("--durable"),
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
        Some(seed) if args.durable => replay(&Group::over_files(plant), seed, args.picture.as_deref()),
        Some(seed) => replay(&Group::in_memory(plant), seed, args.picture.as_deref()),
        None => sweep_all(&args, plant),
    }
}

/// Of so many seeds one runs over a durable queue as well.
const OVER_FILES: u64 = 8;

/// A group that is swept.
struct Group {
    simulation: Simulation<u64, u64>,
    shape: PlanShape,
    plant: Option<Plant>,
}

impl Group {
    /// The stock group.
    fn in_memory(plant: Option<Plant>) -> Self {
        Self {
            simulation: planted(stock(), plant),
            shape: PlanShape::default(),
            plant,
        }
    }

    /// The stock group over a queue in a file of the simulation.
    fn over_files(plant: Option<Plant>) -> Self {
        let simulation = stock().over(|_: &Plan| open());
        Self {
            simulation: planted(simulation, plant),
            shape: PlanShape {
                durable: true,
                ..PlanShape::default()
            },
            plant,
        }
    }

    /// The group in which this bug shows.
    fn with(plant: Plant) -> Self {
        match plant.place() {
            PlantedIn::File => Self::over_files(Some(plant)),
            _ => Self::in_memory(Some(plant)),
        }
    }

    /// The same without a bug.
    fn without_plant(&self) -> Self {
        if self.shape.durable {
            Self::over_files(None)
        } else {
            Self::in_memory(None)
        }
    }

    fn sweep(&self) -> Sweep<'_, u64, u64> {
        Sweep::new(&self.simulation, |seed| self.shape.plan(seed)).checker(self.checker())
    }

    /// Over a file a job comes to the supervisor when the commit of its lease is done, which nobody is told: what had waited
    /// when a consumer died is not known there.
    fn checker(&self) -> Checker {
        if self.shape.durable {
            Checker::default()
        } else {
            Checker::strict()
        }
    }

    /// The simulation as Rust code.
    fn as_rust(&self) -> String {
        let over = if self.shape.durable {
            ".over(|_: &Plan| consumer_group::durable::DurableQueue::open(\"jobs.queue\").unwrap())"
        } else {
            ""
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

/// Sweeps in memory and over files, or where the planted bug shows.
fn sweep_all(args: &Args, plant: Option<Plant>) -> ExitCode {
    let swept = match plant {
        Some(plant) => sweep(&Group::with(plant), args, args.seeds).map(|swept| vec![swept]),
        None => {
            let files = args.seeds.div_ceil(OVER_FILES);
            let memory = (!args.durable).then(|| sweep(&Group::in_memory(None), args, args.seeds));
            let files = sweep(
                &Group::over_files(None),
                args,
                if args.durable { args.seeds } else { files },
            );
            memory.into_iter().chain([files]).collect()
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
    let place = if group.shape.durable { " over files" } else { "" };
    println!(
        "{:.0} seeds a second{place}",
        swept.seeds as f64 / took.as_secs_f64()
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
            let checker = if group.shape.durable {
                "Checker::default()"
            } else {
                "Checker::strict()"
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
    if args.durable {
        // A file keeps its jobs.
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
    let seeds = match swept {
        [memory, files] => format!("{} and {} over files", memory.seeds, files.seeds),
        [part] if args.durable || plant.is_some_and(|plant| plant.place() == PlantedIn::File) => {
            format!("{} over files", part.seeds)
        }
        parts => parts.iter().map(|part| part.seeds).sum::<u64>().to_string(),
    };
    println!("seeds {seeds} violations {violations} faults {faults} reached {told}");
    if violations == 0 && missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
