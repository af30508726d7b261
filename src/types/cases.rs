//! Tests over many random cases: the same ones in every run, and a failure says which one it was.

use std::ops::Range;
use std::thread::panicking;

use fastrand::Rng;

/// Runs a test so many times, each time with another source of random values.
pub(crate) fn cases(count: u64, test: impl Fn(&mut Rng)) {
    for seed in 0..count {
        let _named = Named(seed);
        test(&mut Rng::with_seed(seed));
    }
}

/// A list with a random length in this range.
pub(crate) fn some<T>(random: &mut Rng, length: Range<usize>, mut one: impl FnMut(&mut Rng) -> T) -> Vec<T> {
    (0..random.usize(length)).map(|_| one(random)).collect()
}

/// Says at a failure which case it was.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if panicking() {
            println!("it was the case with seed {}", self.0);
        }
    }
}
