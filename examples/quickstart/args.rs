//! The arguments of the program.

use std::path::PathBuf;

use clap::Parser;
use consumer_group::StrategyName;
use serde::Deserialize;
use serde::de::value::{Error, StrDeserializer};

/// Prints the SHA-256 checksum of every regular file under DIR, as sha256sum does, computed by a consumer group.
#[derive(Debug, Parser)]
#[command(
    name = "quickstart",
    after_help = "Checksums go to the standard output, the report to the standard error stream."
)]
pub(crate) struct Args {
    /// The folder; symbolic links in it are not followed.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,

    /// How many consumers the group has; 5 unless a configuration says otherwise.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) consumers: Option<u64>,

    /// How jobs find their consumer: round_robin, weighted, consistent_hash, least_loaded, two_choices or sticky.
    #[arg(long, value_name = "NAME", value_parser = strategy)]
    pub(crate) strategy: Option<StrategyName>,

    /// The weights of the consumers, first to last; the others weigh 1. Uses the strategy "weighted" unless another one is
    /// named.
    #[arg(long, value_name = "3,1,1", value_delimiter = ',', value_parser = weight)]
    pub(crate) weights: Vec<u32>,

    /// A configuration of the group in TOML, see docs/configuration.md. Environment variables (CONSUMER_GROUP_…) and then
    /// the other arguments go before it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// The first attempt of every Nth job panics in its consumer.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) panic_every: Option<u64>,

    /// The first attempt of every Nth job blocks its thread for a minute; the group gives such a consumer up after half a
    /// second.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) block_every: Option<u64>,
}

fn at_least_one(text: &str) -> Result<u64, &'static str> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("use a whole number of 1 or more"),
    }
}

fn weight(text: &str) -> Result<u32, String> {
    u32::try_from(at_least_one(text)?).map_err(|_| format!("use at most {}", u32::MAX))
}

/// The names are those of the configuration file, and so are the words for a wrong one.
fn strategy(name: &str) -> Result<StrategyName, Error> {
    StrategyName::deserialize(StrDeserializer::<Error>::new(name))
}
