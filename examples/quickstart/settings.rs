//! The configuration of the group: a file, then the environment, then the arguments.

use consumer_group::{GroupConfig, Placement, StrategyKind};
use std::time::Duration;

use crate::Told;
use crate::args::Args;

/// How many consumers there are if nobody says.
const CONSUMERS: usize = 5;

/// With `--block-every` a consumer without a sign of life for this long is given up.
const SHORT_DEADLINE: Duration = Duration::from_millis(500);

pub(crate) fn group_config(args: &Args) -> Told<GroupConfig> {
    let mut config = match &args.config {
        Some(file) => GroupConfig::from_file(file)?,
        None => GroupConfig {
            consumers: CONSUMERS,
            ..GroupConfig::default()
        },
    };
    config = config.with_environment(std::env::vars_os())?;
    if let Some(consumers) = args.consumers {
        config.consumers = usize::try_from(consumers)?;
    }
    if !args.weights.is_empty() {
        config.weights = args.weights.clone();
        config.strategy = StrategyKind::Weighted;
    }
    if let Some(strategy) = args.strategy {
        config.strategy = strategy;
    }
    // A panic is told in the report; on the screen it would tear the bar.
    config.quiet_panics = true;
    prepare_for_faults(args, &mut config)?;
    if config.consumers == 0 {
        return Err(
            "`consumers` is 0 in the configuration, so nobody would ever do the work; use 1 or more".into(),
        );
    }
    Ok(config)
}

fn prepare_for_faults(args: &Args, config: &mut GroupConfig) -> Told<()> {
    if args.panic_every.is_some() || args.block_every.is_some() {
        // The default budget takes a consumer that dies again and again for broken and lets it rest. Here the deaths are
        // ordered, thousands of them in a few seconds, and the consumers are well.
        config.restart.intensity = u32::MAX;
    }
    if args.block_every.is_some() {
        if config.placement == Placement::Local {
            return Err("--block-every blocks threads, and with the placement `local` the whole group is on one thread; \
                        use another placement"
                .into());
        }
        config.deadline = config
            .deadline()
            .map_or(SHORT_DEADLINE, |deadline| deadline.min(SHORT_DEADLINE));
    }
    Ok(())
}
