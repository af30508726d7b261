//! Reading the configuration: what is accepted, and how each refusal is told.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use consumer_group::config::{Affinity, ConfigError, ConfigFileError, Overflow, PastBudget};
use consumer_group::{GroupConfig, Placement, StrategyKind};

mod environment;
mod page;
mod refusals;

/// Reads a text that has to be refused, and checks key, line and a part of the hint.
#[track_caller]
fn refused(text: &str, key: &str, line: usize, hint: &str) -> ConfigError {
    let error = GroupConfig::from_toml(text).expect_err("the text should be refused");
    assert_eq!((error.key.as_str(), error.line), (key, Some(line)), "{error}");
    assert!(error.right.contains(hint), "{error}");
    error
}

fn variables(set: &[(&str, &str)]) -> Vec<(String, String)> {
    set.iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

fn from_environment(set: &[(&str, &str)]) -> Result<GroupConfig, ConfigError> {
    GroupConfig::default().with_environment(variables(set))
}

#[track_caller]
fn variable_refused(set: &[(&str, &str)], key: &str, hint: &str) -> ConfigError {
    let error = from_environment(set).expect_err("the variables should be refused");
    assert_eq!((error.key.as_str(), error.line), (key, None), "{error}");
    assert!(error.right.contains(hint), "{error}");
    error
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(GroupConfig::from_toml("").unwrap(), GroupConfig::default());
}

#[test]
fn the_default_survives_the_way_through_toml() {
    let text = toml::to_string(&GroupConfig::default()).unwrap();
    assert_eq!(GroupConfig::from_toml(&text).unwrap(), GroupConfig::default());
}

#[test]
fn a_file_states_only_what_differs() {
    let config = GroupConfig::from_toml(
        "consumers = 3\nstrategy = \"weighted\"\nweights = [1, 2, 3]\nseed = 18446744073709551615\n\
         [queue]\noverflow = \"drop_oldest\"\n[restart]\npast_budget = \"escalate\"\n",
    )
    .unwrap();
    let mut expected = GroupConfig {
        consumers: 3,
        strategy: StrategyKind::Weighted,
        weights: vec![1, 2, 3],
        seed: Some(u64::MAX),
        ..Default::default()
    };
    expected.queue.overflow = Overflow::DropOldest;
    expected.restart.past_budget = PastBudget::Escalate;
    assert_eq!(config, expected);
}

#[test]
fn placement_is_a_name_or_a_number_of_arbiters() {
    let placement = |text: &str| GroupConfig::from_toml(text).unwrap().placement;
    assert_eq!(placement("placement = \"local\""), Placement::Local);
    assert_eq!(placement("placement = \"processors\""), Placement::Processors);
    assert_eq!(placement("placement = \"dedicated\""), Placement::Dedicated);
    assert_eq!(placement("placement = { arbiters = 3 }"), Placement::Arbiters(3));
    assert_eq!(placement("[placement]\narbiters = 3"), Placement::Arbiters(3));
}

#[test]
fn a_part_of_a_backoff_keeps_the_other_defaults_of_its_place() {
    let config =
        GroupConfig::from_toml("retry.backoff.min_ms = 7\nrestart.backoff = { factor = 3 }").unwrap();
    let mut expected = GroupConfig::default();
    expected.retry.backoff.min = Duration::from_millis(7);
    expected.restart.backoff.factor = 3.0;
    assert_eq!(config, expected);
}

#[test]
fn numbers_may_be_written_in_every_way_that_toml_knows() {
    let config = GroupConfig::from_toml("consumers = 0x10\nhold = 1_000\nresults = 0b11").unwrap();
    assert_eq!((config.consumers, config.hold, config.results), (16, 1_000, 3));
}

#[test]
fn a_file_that_does_not_exist_is_told_with_its_path_and_the_cause() {
    let error = GroupConfig::from_file("no/such/group.toml").unwrap_err();
    assert!(error.to_string().contains("no/such/group.toml"));
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<std::io::Error>())
        .unwrap();
    assert_eq!(cause.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn a_mistake_in_a_file_is_told_with_the_path_and_the_line_as_the_cause() {
    let file = file_with("mistake.toml", b"consumers = 2\nhold = 0\n");
    let error = GroupConfig::from_file(&file).unwrap_err();
    assert!(error.to_string().contains("mistake.toml"));
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<ConfigError>())
        .unwrap();
    assert_eq!((cause.key.as_str(), cause.line), ("hold", Some(2)));
    let ConfigFileError::Wrong { path, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(path, file);
}

#[test]
fn a_file_that_is_no_text_cannot_be_read() {
    let file = file_with("binary.toml", &[0, 159, 146, 150]);
    let error = GroupConfig::from_file(&file).unwrap_err();
    assert!(matches!(error, ConfigFileError::Read { .. }), "{error}");
}

#[test]
fn a_good_file_is_read() {
    let file = file_with("good.toml", b"consumers = 2\n");
    assert_eq!(GroupConfig::from_file(&file).unwrap().consumers, 2);
}

fn file_with(name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, bytes).unwrap();
    file
}
