//! The example `fault_sweep` with a faster allocator, for long sweeps; it takes the same arguments.
//!
//! ```text
//! cargo run --release -p sweep -- --seeds 100000
//! ```

use std::process::ExitCode;

#[path = "../../../examples/fault_sweep.rs"]
mod fault_sweep;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    fault_sweep::main()
}
