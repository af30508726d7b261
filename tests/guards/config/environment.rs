//! Variables of the environment over a configuration.

use super::*;

#[test]
fn variables_change_what_they_name_and_nothing_else() {
    let config = from_environment(&[
        ("CONSUMER_GROUP_CONSUMERS", "8"),
        ("CONSUMER_GROUP_QUEUE__CAPACITY", "100"),
        ("CONSUMER_GROUP_QUEUE__OVERFLOW", "reject"),
        ("CONSUMER_GROUP_WEIGHTS", "1, 2,3"),
        ("CONSUMER_GROUP_SEED", "18446744073709551615"),
        ("CONSUMER_GROUP_ORDER_BY_KEY", "true"),
        ("CONSUMER_GROUP_RETRY__BACKOFF__FACTOR", "3"),
        ("CONSUMER_GROUP_RETRY__BACKOFF__JITTER", "0.5"),
        ("CONSUMER_GROUP_STRATEGY", "two_choices"),
        ("CONSUMER_GROUP_AFFINITY", "strict"),
        ("HOME", "/home/user"),
        ("CONSUMER", "x"),
    ])
    .unwrap();
    let mut expected = GroupConfig {
        consumers: 8,
        weights: vec![1, 2, 3],
        seed: Some(u64::MAX),
        order_by_key: true,
        strategy: StrategyKind::TwoChoices,
        affinity: Some(Affinity::Strict),
        ..Default::default()
    };
    expected.queue.capacity = 100;
    expected.queue.overflow = Overflow::Reject;
    expected.retry.backoff.factor = 3.0;
    expected.retry.backoff.jitter = 0.5;
    assert_eq!(config, expected);
}

#[test]
fn no_variable_changes_nothing() {
    let config = GroupConfig {
        consumers: 7,
        seed: Some(u64::MAX),
        placement: Placement::Arbiters(2),
        ..Default::default()
    };
    assert_eq!(
        config.clone().with_environment([("PATH", "/bin")]).unwrap(),
        config
    );
}

#[test]
fn variables_win_over_the_file() {
    let config = GroupConfig::from_toml("consumers = 2\nhold = 5").unwrap();
    let config = config
        .with_environment(variables(&[("CONSUMER_GROUP_CONSUMERS", "3")]))
        .unwrap();
    assert_eq!((config.consumers, config.hold), (3, 5));
}

#[test]
fn every_placement_can_be_named() {
    let placement = |name: &str, value: &str| from_environment(&[(name, value)]).unwrap().placement;
    assert_eq!(placement("CONSUMER_GROUP_PLACEMENT", "local"), Placement::Local);
    assert_eq!(
        placement("CONSUMER_GROUP_PLACEMENT", "{ arbiters = 3 }"),
        Placement::Arbiters(3)
    );
    assert_eq!(
        placement("CONSUMER_GROUP_PLACEMENT__ARBITERS", "3"),
        Placement::Arbiters(3)
    );
}

#[test]
fn a_placement_replaces_the_one_of_the_file_whole() {
    let config = GroupConfig::from_toml("placement = { arbiters = 3 }").unwrap();
    let placed = |name: &str, value: &str| {
        let variables = [(name.to_owned(), value.to_owned())];
        config.clone().with_environment(variables).unwrap().placement
    };
    assert_eq!(placed("CONSUMER_GROUP_PLACEMENT", "local"), Placement::Local);
    assert_eq!(
        placed("CONSUMER_GROUP_PLACEMENT", "{ local = {} }"),
        Placement::Local
    );
    assert_eq!(
        placed("CONSUMER_GROUP_PLACEMENT__ARBITERS", "2"),
        Placement::Arbiters(2)
    );
}

#[test]
fn an_empty_list_is_an_empty_text() {
    let config = GroupConfig {
        weights: vec![2],
        ..Default::default()
    };
    let config = config
        .with_environment(variables(&[("CONSUMER_GROUP_WEIGHTS", "")]))
        .unwrap();
    assert_eq!(config.weights, Vec::<u32>::new());
}

/// A row of a table is one variable and what it is set to, the key that is told, and a part of the advice.
#[track_caller]
fn all_refused(rows: &str) {
    for row in rows.lines().map(str::trim_start) {
        let cells: Vec<&str> = row.splitn(3, " | ").collect();
        let (name, value) = cells[0].split_once('=').unwrap();
        variable_refused(&[(name, value)], cells[1], cells[2]);
    }
}

#[test]
fn an_unknown_variable_is_told_with_the_nearest_right_name() {
    all_refused(
        "CONSUMER_GROUP_CONSUMER=8 | CONSUMER_GROUP_CONSUMER | did you mean CONSUMER_GROUP_CONSUMERS?
        CONSUMER_GROUP_QUEUE_CAPACITY=8 | CONSUMER_GROUP_QUEUE_CAPACITY | did you mean CONSUMER_GROUP_QUEUE__CAPACITY?
        CONSUMER_GROUP_CAPACITY=8 | CONSUMER_GROUP_CAPACITY | did you mean CONSUMER_GROUP_QUEUE__CAPACITY?
        CONSUMER_GROUP_weights=8 | CONSUMER_GROUP_weights | did you mean CONSUMER_GROUP_WEIGHTS?
        CONSUMER_GROUP_ZEBRA=8 | CONSUMER_GROUP_ZEBRA | the names are CONSUMER_GROUP_AFFINITY, CONSUMER_GROUP_CIRCUIT__FAILURES,
        CONSUMER_GROUP_=8 | CONSUMER_GROUP_ | the names are ",
    );
}

#[test]
fn a_variable_of_the_wrong_type_or_out_of_range_is_told_by_its_name() {
    let hint = "use a whole number from 1 to";
    for nonsense in [
        "",
        " ",
        "-1",
        "1.5",
        "1\nhold = 2",
        "1 # one",
        "9999999999999999999999",
        "\0",
        "[1]",
    ] {
        variable_refused(&[("CONSUMER_GROUP_HOLD", nonsense)], "CONSUMER_GROUP_HOLD", hint);
    }
    all_refused(
        "CONSUMER_GROUP_CONSUMERS=many | CONSUMER_GROUP_CONSUMERS | use a whole number from 0 to 1000000
        CONSUMER_GROUP_WEIGHTS=1,0 | CONSUMER_GROUP_WEIGHTS[1] | from 1 to 4294967295
        CONSUMER_GROUP_WEIGHTS=1,,2 | CONSUMER_GROUP_WEIGHTS[1] | from 1 to
        CONSUMER_GROUP_ORDER_BY_KEY=yes | CONSUMER_GROUP_ORDER_BY_KEY | true or false
        CONSUMER_GROUP_PLACEMENT__ARBITERS=0 | CONSUMER_GROUP_PLACEMENT__ARBITERS | from 1 to 4096
        CONSUMER_GROUP_PLACEMENT={ arbiters = 0 } | CONSUMER_GROUP_PLACEMENT.arbiters | from 1 to 4096",
    );
}

#[test]
fn a_pair_that_cannot_be_is_told_by_the_variable_that_was_set() {
    all_refused(
        "CONSUMER_GROUP_WINDOW__MIN=9000 | CONSUMER_GROUP_WINDOW__MIN | at most the value of `window.max`
        CONSUMER_GROUP_RETRY__BACKOFF__MAX_MS=5 | CONSUMER_GROUP_RETRY__BACKOFF__MAX_MS | `retry.backoff.min_ms`
        CONSUMER_GROUP_WEIGHTS=1,1,1,1,1 | CONSUMER_GROUP_WEIGHTS | at most one weight for each consumer",
    );
}

#[test]
fn two_variables_for_the_placement_exclude_each_other() {
    let both = [
        ("CONSUMER_GROUP_PLACEMENT", "local"),
        ("CONSUMER_GROUP_PLACEMENT__ARBITERS", "3"),
    ];
    variable_refused(&both, "CONSUMER_GROUP_PLACEMENT__ARBITERS", "keep one of the two");
}

#[test]
fn every_key_can_be_set_by_a_variable() {
    for (key, default) in page::defaults() {
        let name = format!("CONSUMER_GROUP_{}", key.to_uppercase().replace('.', "__"));
        let value = match default {
            serde_json::Value::Null if key == "affinity" => "prefer".to_owned(),
            serde_json::Value::Null => "1".to_owned(),
            serde_json::Value::String(text) => text,
            serde_json::Value::Array(_) => String::new(),
            other => other.to_string(),
        };
        let config = from_environment(&[(&name, &value)]).unwrap();
        let mut expected = GroupConfig::default();
        match &*key {
            "seed" => expected.seed = Some(1),
            "affinity" => expected.affinity = Some(Affinity::Prefer),
            "rate.jobs" => expected.rate.jobs = Some(1),
            "key_rate.jobs" => expected.key_rate.jobs = Some(1),
            "circuit.failures" => expected.circuit.failures = Some(1),
            _ => {}
        }
        assert_eq!(config, expected, "{name}={value}");
    }
}
