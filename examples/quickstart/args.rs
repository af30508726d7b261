//! The arguments of the program.

use std::path::PathBuf;

use consumer_group::StrategyKind;
use serde::Deserialize;
use serde::de::value::{Error, StrDeserializer};

use crate::arguments::{Arguments, at_least_one};

const HELP: &str = "
Prints the SHA-256 checksum of every regular file under DIR, as sha256sum does, computed by a consumer group.

Usage: quickstart [DIR] [OPTIONS]

  DIR                the folder, or the present one; symbolic links in it are not followed
  --consumers N      how many consumers the group has; 5 unless a configuration says otherwise
  --strategy NAME    how jobs find their consumer: round_robin, weighted, consistent_hash, least_loaded, two_choices or sticky
  --weights 3,1,1    the weights of the consumers, first to last; the others weigh 1. Uses the strategy `weighted` unless
                     another one is named
  --config FILE      a configuration of the group in TOML, see docs/configuration.md. Environment variables
                     (CONSUMER_GROUP_…) and then the other arguments go before it
  --panic-every N    the first attempt of every Nth job panics in its consumer
  --block-every N    the first attempt of every Nth job blocks its thread for a minute; the group gives such a consumer up
                     after half a second

Checksums go to the standard output, the report to the standard error stream.";

#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) dir: PathBuf,
    pub(crate) consumers: Option<u64>,
    pub(crate) strategy: Option<StrategyKind>,
    pub(crate) weights: Vec<u32>,
    pub(crate) config: Option<PathBuf>,
    pub(crate) panic_every: Option<u64>,
    pub(crate) block_every: Option<u64>,
}

impl Args {
    pub(crate) fn parse() -> Self {
        let mut arguments = Arguments::of_this_process(HELP);
        let args = Self {
            consumers: arguments.read("--consumers", at_least_one),
            strategy: arguments.read("--strategy", strategy),
            weights: arguments.read("--weights", weights).unwrap_or_default(),
            config: arguments.path("--config"),
            panic_every: arguments.read("--panic-every", at_least_one),
            block_every: arguments.read("--block-every", at_least_one),
            dir: arguments.word().unwrap_or_else(|| PathBuf::from(".")),
        };
        arguments.end();
        args
    }
}

fn weights(text: &str) -> Result<Vec<u32>, &'static str> {
    text.split(',').map(at_least_one).collect()
}

/// The names are those of the configuration file, and so are the words for a wrong one.
fn strategy(name: &str) -> Result<StrategyKind, Error> {
    StrategyKind::deserialize(StrDeserializer::<Error>::new(name))
}
