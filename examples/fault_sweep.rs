//! Runs thousands of seeds, each a random plan of faults against a whole group, and checks every history.
//!
//! ```text
//! cargo run --release --features sim --example fault_sweep -- --seeds 10000
//! cargo run --release --features sim --example fault_sweep -- --seed 42        # one seed again, with its trace
//! cargo run --release --features sim --example fault_sweep -- --seed 42 --picture seed.svg
//! cargo run --release --features sim --example fault_sweep -- --plants         # bugs that can be planted
//! cargo run --release --features sim --example fault_sweep -- --plant no-fence # does the checker still bite?
//! cargo run --release --features sim --example fault_sweep -- --shrinks 5      # how small do failing plans become?
//! ```
//!
//! The last line tells it all: `seeds 10000 violations 0 faults 144327 reached all`. A seed that breaks an invariant, or a state
//! that no seed reached, makes the exit status 1; for a failing seed a small plan is printed as a test that fails again.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example speaks to its reader"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use consumer_group::rules::ledger::Plant;
use consumer_group::sim::{
    Checker, Failure, PlanShape, Report, STATES, Simulation, Sweep, Swept, draw, stock,
};
use indicatif::{ProgressBar, ProgressStyle};

/// A sweep makes and forgets whole groups; the allocator of the system took a fifth of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Sweeps seeds over the stock group and checks every history.
#[derive(Parser)]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// On how many threads; as many as there are processors if nothing is said.
    #[arg(long)]
    threads: Option<std::num::NonZeroUsize>,
    /// Runs this seed alone, twice, and prints its report and its trace.
    #[arg(long)]
    seed: Option<u64>,
    /// Draws the run of `--seed` into this file, as SVG.
    #[arg(long, requires = "seed")]
    picture: Option<PathBuf>,
    /// Lists the bugs that can be planted.
    #[arg(long)]
    plants: bool,
    /// Plants this bug.
    #[arg(long)]
    plant: Option<String>,
    /// Shrinks the plans of so many failing seeds of the planted bug, or of each planted bug if none is named, and prints how
    /// small they become on average.
    #[arg(long)]
    shrinks: Option<std::num::NonZeroUsize>,
}

fn main() -> ExitCode {
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
    let simulation = match plant {
        Some(plant) => stock().planted(plant),
        None => stock(),
    };
    match args.seed {
        Some(seed) => replay(&simulation, seed, args.picture.as_deref()),
        None => sweep(&simulation, &args, plant),
    }
}

/// One seed again.
fn replay(simulation: &Simulation<u64, u64>, seed: u64, picture: Option<&Path>) -> ExitCode {
    match simulation.run_twice(&PlanShape::default().plan(seed)) {
        Ok(history) => {
            if let Some(path) = picture
                && let Err(error) = std::fs::write(path, draw(&history, &format!("seed {seed}")))
            {
                eprintln!("{}: {error}", path.display());
                return ExitCode::FAILURE;
            }
            print!("{}", Report::new(&history));
            println!("trace {:016x}", history.trace());
            if Checker::strict().check(&history).is_empty() {
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

fn sweep(simulation: &Simulation<u64, u64>, args: &Args, plant: Option<Plant>) -> ExitCode {
    let shape = PlanShape::default();
    let bar = ProgressBar::new(args.seeds).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut sweep = Sweep::new(simulation, |seed| shape.plan(seed))
        .checker(Checker::strict())
        .seeds(args.from..args.from.saturating_add(args.seeds))
        .progress(|seeds| bar.inc(seeds));
    if let Some(threads) = args.threads {
        sweep = sweep.threads(threads.get());
    }
    let began = std::time::Instant::now();
    let swept = match sweep.run() {
        Ok(swept) => swept,
        Err(error) => {
            match std::error::Error::source(&error) {
                Some(cause) => eprintln!("{error}: {cause}"),
                None => eprintln!("{error}"),
            }
            return ExitCode::FAILURE;
        }
    };
    bar.finish_and_clear();
    let took = began.elapsed();
    println!("{:.0} seeds a second", swept.seeds as f64 / took.as_secs_f64());
    for (kind, count) in &swept.by_kind {
        println!("{count:>9}  {kind}");
    }
    println!("{:>9}  planned and never met", swept.unfired);
    for (state, count) in swept.reached.counts() {
        println!("{count:>9}  runs in which {state}");
    }
    for failure in &swept.failures {
        tell(&sweep, failure, plant);
    }
    last_line(&swept)
}

/// What is wrong with a seed, and the small plan that shows it.
fn tell(sweep: &Sweep<'_, u64, u64>, failure: &Failure, plant: Option<Plant>) {
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
            let planted = |plant| format!("stock().planted(consumer_group::rules::ledger::Plant::{plant:?})");
            let simulation = plant.map_or("stock()".to_owned(), planted);
            let name = format!("seed_{}", failure.seed);
            let test = shrunk.plan.to_rust_test(&name, &simulation, "Checker::strict()");
            println!("{test}");
        }
        Err(error) => println!("it could not be shrunk: {error}"),
    }
}

/// How small the plans of several failing seeds become.
fn shrinks(args: &Args, plants: &[Plant], most: usize) -> ExitCode {
    let shape = PlanShape::default();
    let (mut count, mut jobs, mut faults) = (0_usize, 0_usize, 0_usize);
    let mut all_found = true;
    for plant in plants {
        let simulation = stock().planted(*plant);
        let sweep = Sweep::new(&simulation, |seed| shape.plan(seed))
            .checker(Checker::strict())
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
            let without = stock()
                .run(&shrunk.plan)
                .map(|history| Checker::strict().check(&history));
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

fn last_line(swept: &Swept) -> ExitCode {
    let missing = swept.reached.missing();
    let reached = if missing.is_empty() {
        "all".to_owned()
    } else {
        format!(
            "{} of {}, without: {}",
            STATES.len() - missing.len(),
            STATES.len(),
            missing.join(", ")
        )
    };
    let (seeds, violations, faults) = (swept.seeds, swept.failures.len(), swept.faults);
    println!("seeds {seeds} violations {violations} faults {faults} reached {reached}");
    if violations == 0 && missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
