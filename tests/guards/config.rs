//! Reading the configuration: what is accepted, and how each refusal is told.

use std::collections::BTreeMap;
use std::error::Error;

use consumer_group::{
    Affinity, ConfigError, ConfigFileError, GroupConfig, Overflow, PastBudget, Placement, StrategyName,
};

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

mod what_is_accepted {
    use super::*;

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
            strategy: StrategyName::Weighted,
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
        expected.retry.backoff.min_ms = 7;
        expected.restart.backoff.factor = 3.0;
        assert_eq!(config, expected);
    }

    #[test]
    fn numbers_may_be_written_in_every_way_that_toml_knows() {
        let config = GroupConfig::from_toml("consumers = 0x10\nhold = 1_000\nresults = 0b11").unwrap();
        assert_eq!((config.consumers, config.hold, config.results), (16, 1_000, 3));
    }
}

mod refusals {
    use super::*;

    #[test]
    fn an_unknown_key_is_told_with_the_nearest_right_one_and_with_all_of_them() {
        let error = refused(
            "consumers = 2\n\n[queue]\ncapasity = 10\n",
            "queue.capasity",
            4,
            "did you mean `queue.capacity`?",
        );
        assert_eq!(
            error.to_string(),
            "line 4: `queue.capasity` is not a key of the configuration; did you mean `queue.capacity`? \
             the keys of `queue` are capacity, overflow, dead_letters, dead_letter_bytes, dedup_window_ms, dedup_keys, history"
        );
    }

    #[test]
    fn an_unknown_key_like_no_other_is_told_with_the_keys_there_are() {
        let error = refused(
            "zebra = 1",
            "zebra",
            1,
            "the keys here are consumers, placement, strategy",
        );
        assert!(!error.right.contains("did you mean"), "{error}");
    }

    #[test]
    fn a_key_in_the_wrong_table_is_told_where_it_belongs() {
        refused("capacity = 1", "capacity", 1, "did you mean `queue.capacity`?");
        refused(
            "[queue]\n\nconsumers = 1",
            "queue.consumers",
            3,
            "did you mean `consumers`?",
        );
    }

    #[test]
    fn an_unknown_table_is_refused_at_its_header() {
        refused("\n[que]\ncapacity = 1", "que", 2, "did you mean `queue`?");
    }

    #[test]
    fn a_key_in_a_table_in_a_table_is_told_with_its_whole_path() {
        refused(
            "[retry]\nattempts = 2\n\n[retry.backoff]\nmin_msec = 2",
            "retry.backoff.min_msec",
            5,
            "did you mean `retry.backoff.min_ms`?",
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_told_with_the_right_one() {
        refused(
            "consumers = \"four\"",
            "consumers",
            1,
            "use a whole number from 0 to 1000000",
        );
        refused("\nconsumers = 1.5", "consumers", 2, "use a whole number");
        refused("consumers = true", "consumers", 1, "use a whole number");
        refused("consumers = [1]", "consumers", 1, "use a whole number");
        refused("consumers = 1979-05-27", "consumers", 1, "use a whole number");
        refused("order_by_key = \"yes\"", "order_by_key", 1, "use true or false");
        refused(
            "weights = 3",
            "weights",
            1,
            "use a list, each entry a whole number from 1 to 4294967295",
        );
        refused(
            "queue = 3",
            "queue",
            1,
            "use a table with keys of capacity, overflow",
        );
        refused(
            "seed = -1",
            "seed",
            1,
            "use a whole number from 0 to 18446744073709551615",
        );
        refused(
            "retry.backoff.factor = \"2\"",
            "retry.backoff.factor",
            1,
            "use a number that is 1 or more",
        );
    }

    #[test]
    fn a_list_is_no_table_though_the_type_would_take_its_entries_for_the_fields() {
        refused("queue = [5]", "queue", 1, "use a table with keys of capacity");
        refused(
            "\nretry.backoff = []",
            "retry.backoff",
            2,
            "use a table with keys of min_ms",
        );
        refused("[[window]]\nmin = 1", "window", 1, "use a table with keys of min");
    }

    #[test]
    fn a_name_that_is_no_choice_is_told_with_all_choices() {
        refused(
            "strategy = \"roundrobin\"",
            "strategy",
            1,
            "\"round_robin\", \"weighted\"",
        );
        refused(
            "[queue]\noverflow = \"drop\"",
            "queue.overflow",
            2,
            "\"drop_oldest\", \"drop_newest\"",
        );
        refused(
            "restart.past_budget = \"die\"",
            "restart.past_budget",
            1,
            "\"quarantine\", \"escalate\"",
        );
    }

    #[test]
    fn a_placement_that_is_none_is_told_with_all_of_them() {
        let all = "\"local\", { arbiters = a whole number from 1 to 4096 }, \"processors\", \"dedicated\"";
        refused("placement = \"arbiters\"", "placement", 1, all);
        refused("placement = 3", "placement", 1, all);
        refused("placement = {}", "placement", 1, all);
        refused("placement = { arbiters = 1, local = 2 }", "placement", 1, all);
        refused("[placement]\nthreads = 3", "placement.threads", 2, all);
        refused("placement = { local = 1 }", "placement.local", 1, all);
        refused(
            "\nplacement = { arbiters = 0 }",
            "placement.arbiters",
            2,
            "from 1 to 4096",
        );
        refused(
            "placement = { arbiters = \"3\" }",
            "placement.arbiters",
            1,
            "from 1 to 4096",
        );
    }

    #[test]
    fn a_weight_of_zero_or_below_is_told_with_its_place_and_its_own_line() {
        let hint = "use a whole number from 1 to 4294967295; to take a consumer out, scale the group down";
        refused("weights = [1, 0]", "weights[1]", 1, hint);
        refused("weights = [\n  1,\n  2,\n  -3,\n]", "weights[2]", 4, hint);
        refused("weights = [1,\n 2,\n 0]", "weights[2]", 3, hint);
        refused("weights = [1.5]", "weights[0]", 1, hint);
        refused("weights = [4294967296]", "weights[0]", 1, hint);
    }

    #[test]
    fn more_weights_than_consumers_are_refused() {
        let error = refused(
            "consumers = 2\n\nweights = [1, 2, 3]",
            "weights",
            3,
            "give at most one weight for each consumer",
        );
        assert_eq!(error.problem, "has 3 entries for 2 consumers");
    }

    #[test]
    fn a_window_of_zero_is_refused() {
        refused("[window]\nmin = 0", "window.min", 2, "from 1 to 4294967295");
        refused(
            "[window]\nmin = 1\nmax = 0",
            "window.max",
            3,
            "from 1 to 4294967295",
        );
        refused("window.target_us = 0", "window.target_us", 1, "from 1 to");
    }

    #[test]
    fn a_pair_that_cannot_be_is_told_at_the_smaller_one() {
        let error = refused(
            "[window]\nmax = 5\nmin = 9",
            "window.min",
            3,
            "at most the value of `window.max`",
        );
        assert_eq!(error.problem, "is 9, above `window.max`, which is 5");
        refused(
            "[retry.backoff]\nmin_ms = 10\nmax_ms = 5",
            "retry.backoff.min_ms",
            2,
            "at most the value of `retry.backoff.max_ms`",
        );
        refused(
            "restart.backoff.min_ms = 2_000",
            "restart.backoff.min_ms",
            1,
            "at most the value of `restart.backoff.max_ms`",
        );
    }

    #[test]
    fn a_pair_of_which_only_the_larger_one_stands_in_the_file_is_told_there() {
        let error = refused(
            "\nretry.backoff.max_ms = 5",
            "retry.backoff.max_ms",
            2,
            "at least the value of `retry.backoff.min_ms`",
        );
        assert_eq!(error.problem, "is 5, below `retry.backoff.min_ms`, which is 100");
    }

    #[test]
    fn a_factor_or_a_jitter_that_cannot_be_is_refused() {
        refused(
            "retry.backoff.factor = 0.5",
            "retry.backoff.factor",
            1,
            "use a number that is 1 or more",
        );
        refused(
            "retry.backoff.factor = nan",
            "retry.backoff.factor",
            1,
            "use a number that is 1 or more",
        );
        refused(
            "restart.backoff.factor = inf",
            "restart.backoff.factor",
            1,
            "use a number that is 1 or more",
        );
        refused(
            "restart.backoff.jitter = 1.5",
            "restart.backoff.jitter",
            1,
            "use a number from 0 to 1",
        );
        refused(
            "restart.backoff.jitter = -0.1",
            "restart.backoff.jitter",
            1,
            "use a number from 0 to 1",
        );
        refused(
            "restart.backoff.jitter = 2",
            "restart.backoff.jitter",
            1,
            "use a number from 0 to 1",
        );
    }

    #[test]
    fn a_huge_number_is_refused_and_shown_shortened() {
        let huge = "9".repeat(100);
        for key in ["consumers", "deadline_ms", "hold", "seed"] {
            let error = refused(&format!("{key} = {huge}"), key, 1, "use a whole number");
            assert!(error.problem.len() < 60, "{error}");
        }
        refused(
            &format!("weights = [-{huge}]"),
            "weights[0]",
            1,
            "use a whole number",
        );
        refused(
            "retry.backoff.factor = 1e999",
            "retry.backoff.factor",
            1,
            "1 or more",
        );
    }

    #[test]
    fn the_first_mistake_in_the_file_is_the_one_that_is_told() {
        refused(
            "results = 0\nconsumers = -1\nb = 1\na = 1",
            "results",
            1,
            "from 1",
        );
    }

    #[test]
    fn a_key_that_is_set_twice_is_told_at_the_second_place() {
        refused(
            "consumers = 1\nconsumers = 2",
            "consumers",
            2,
            "keep one of the two",
        );
        refused(
            "[queue]\ncapacity = 1\ncapacity = 2",
            "queue.capacity",
            3,
            "keep one of the two",
        );
        refused(
            "queue.capacity = 1\nqueue.capacity = 2",
            "queue.capacity",
            2,
            "keep one of the two",
        );
        refused(
            "queue = { capacity = 1,\n capacity = 2 }",
            "queue.capacity",
            2,
            "keep one of the two",
        );
        refused(
            "[retry]\n[retry.backoff]\n[queue]\n[retry.backoff]",
            "retry.backoff",
            4,
            "keep one of the two",
        );
    }

    #[test]
    fn text_that_is_not_toml_is_told_with_its_line_and_no_key() {
        let error = refused("consumers = 1\n[queue\n", "", 2, "`[table]`");
        assert!(
            error.to_string().starts_with("line 2: the text is not TOML: "),
            "{error}"
        );
        refused("consumers", "", 1, "`key = value`");
        refused("consumers =", "", 1, "`key = value`");
        refused("\n\n= 3", "", 3, "`key = value`");
        refused("a\0b = 1", "", 1, "`key = value`");
    }

    #[test]
    fn a_wrong_value_from_the_program_has_a_key_and_no_line() {
        let config = GroupConfig {
            weights: vec![1, 0],
            ..Default::default()
        };
        let error = config.check().unwrap_err();
        assert_eq!((error.key.as_str(), error.line), ("weights[1]", None));
        assert_eq!(
            error.to_string(),
            "`weights[1]` is 0; use a whole number from 1 to 4294967295; to take a consumer out, scale the group down"
        );
    }
}

mod files {
    use super::*;

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
}

mod environment {
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
            strategy: StrategyName::TwoChoices,
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

    #[test]
    fn an_unknown_variable_is_told_with_the_nearest_right_name() {
        variable_refused(
            &[("CONSUMER_GROUP_CONSUMER", "8")],
            "CONSUMER_GROUP_CONSUMER",
            "did you mean CONSUMER_GROUP_CONSUMERS?",
        );
        variable_refused(
            &[("CONSUMER_GROUP_QUEUE_CAPACITY", "8")],
            "CONSUMER_GROUP_QUEUE_CAPACITY",
            "did you mean CONSUMER_GROUP_QUEUE__CAPACITY?",
        );
        variable_refused(
            &[("CONSUMER_GROUP_CAPACITY", "8")],
            "CONSUMER_GROUP_CAPACITY",
            "did you mean CONSUMER_GROUP_QUEUE__CAPACITY?",
        );
        variable_refused(
            &[("CONSUMER_GROUP_weights", "8")],
            "CONSUMER_GROUP_weights",
            "did you mean CONSUMER_GROUP_WEIGHTS?",
        );
        variable_refused(
            &[("CONSUMER_GROUP_ZEBRA", "8")],
            "CONSUMER_GROUP_ZEBRA",
            "the names are CONSUMER_GROUP_AFFINITY, CONSUMER_GROUP_CONSUMERS, ",
        );
        variable_refused(&[("CONSUMER_GROUP_", "8")], "CONSUMER_GROUP_", "the names are ");
    }

    #[test]
    fn a_variable_of_the_wrong_type_or_out_of_range_is_told_by_its_name() {
        variable_refused(
            &[("CONSUMER_GROUP_CONSUMERS", "many")],
            "CONSUMER_GROUP_CONSUMERS",
            "use a whole number from 0 to 1000000",
        );
        for nonsense in [
            "",
            " ",
            "-1",
            "1.5",
            "1\nhold = 2",
            "9999999999999999999999",
            "\0",
            "[1]",
        ] {
            variable_refused(
                &[("CONSUMER_GROUP_HOLD", nonsense)],
                "CONSUMER_GROUP_HOLD",
                "use a whole number from 1 to",
            );
        }
        variable_refused(
            &[("CONSUMER_GROUP_WEIGHTS", "1,0")],
            "CONSUMER_GROUP_WEIGHTS[1]",
            "from 1 to 4294967295",
        );
        variable_refused(
            &[("CONSUMER_GROUP_WEIGHTS", "1,,2")],
            "CONSUMER_GROUP_WEIGHTS[1]",
            "from 1 to",
        );
        variable_refused(
            &[("CONSUMER_GROUP_ORDER_BY_KEY", "yes")],
            "CONSUMER_GROUP_ORDER_BY_KEY",
            "true or false",
        );
        variable_refused(
            &[("CONSUMER_GROUP_PLACEMENT__ARBITERS", "0")],
            "CONSUMER_GROUP_PLACEMENT__ARBITERS",
            "from 1 to 4096",
        );
    }

    #[test]
    fn a_pair_that_cannot_be_is_told_by_the_variable_that_was_set() {
        variable_refused(
            &[("CONSUMER_GROUP_WINDOW__MIN", "9000")],
            "CONSUMER_GROUP_WINDOW__MIN",
            "at most the value of `window.max`",
        );
        variable_refused(
            &[("CONSUMER_GROUP_RETRY__BACKOFF__MAX_MS", "5")],
            "CONSUMER_GROUP_RETRY__BACKOFF__MAX_MS",
            "at least the value of `retry.backoff.min_ms`",
        );
        variable_refused(
            &[("CONSUMER_GROUP_WEIGHTS", "1,1,1,1,1")],
            "CONSUMER_GROUP_WEIGHTS",
            "at most one weight for each consumer",
        );
    }

    #[test]
    fn two_variables_for_the_placement_exclude_each_other() {
        variable_refused(
            &[
                ("CONSUMER_GROUP_PLACEMENT", "local"),
                ("CONSUMER_GROUP_PLACEMENT__ARBITERS", "3"),
            ],
            "CONSUMER_GROUP_PLACEMENT__ARBITERS",
            "keep one of the two",
        );
    }

    #[test]
    fn every_key_can_be_set_by_a_variable() {
        for (key, default) in documentation::defaults() {
            let name = format!("CONSUMER_GROUP_{}", key.to_uppercase().replace('.', "__"));
            let value = match default {
                serde_json::Value::Null if key == "affinity" => "prefer".to_owned(),
                serde_json::Value::Null => "1".to_owned(),
                serde_json::Value::String(text) => text,
                serde_json::Value::Array(_) => String::new(),
                other => other.to_string(),
            };
            let config = from_environment(&[(&name, &value)]).unwrap();
            let seed = (key == "seed").then_some(1);
            let affinity = (key == "affinity").then_some(Affinity::Prefer);
            assert_eq!(
                config,
                GroupConfig {
                    seed,
                    affinity,
                    ..Default::default()
                },
                "{name}={value}"
            );
        }
    }
}

mod documentation {
    use super::*;

    const PAGE: &str = include_str!("../../docs/configuration.md");

    /// The keys of the type with their defaults, as serde tells them.
    pub(super) fn defaults() -> BTreeMap<String, serde_json::Value> {
        fn flatten(prefix: &str, value: serde_json::Value, into: &mut BTreeMap<String, serde_json::Value>) {
            match value {
                serde_json::Value::Object(keys) => {
                    for (key, value) in keys {
                        let path = if prefix.is_empty() {
                            key
                        } else {
                            format!("{prefix}.{key}")
                        };
                        flatten(&path, value, into);
                    }
                }
                leaf => {
                    into.insert(prefix.to_owned(), leaf);
                }
            }
        }
        let mut keys = BTreeMap::new();
        flatten(
            "",
            serde_json::to_value(GroupConfig::default()).unwrap(),
            &mut keys,
        );
        keys
    }

    /// The rows of the table of keys, cell by cell.
    fn rows() -> Vec<Vec<&'static str>> {
        let section = PAGE
            .split("\n## ")
            .find(|section| section.starts_with("Every key"))
            .unwrap();
        section
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
            .collect()
    }

    fn unquoted(cell: &str) -> &str {
        cell.trim_matches('`')
    }

    #[test]
    fn the_table_names_exactly_the_keys_of_the_type_and_their_defaults() {
        let documented: BTreeMap<String, serde_json::Value> = rows()
            .iter()
            .map(|row| {
                let default = match row[1] {
                    "none" => serde_json::Value::Null,
                    shown => serde_json::from_str(unquoted(shown)).unwrap(),
                };
                (unquoted(row[0]).to_owned(), default)
            })
            .collect();
        assert_eq!(documented, defaults());
        assert_eq!(rows().len(), documented.len(), "a key stands in the table twice");
    }

    #[test]
    fn the_table_names_the_ranges_that_are_enforced() {
        for row in rows() {
            let (key, range) = (unquoted(row[0]), row[3]);
            let accepted = |value: &str| {
                let value = if key == "weights" {
                    format!("[{value}]")
                } else {
                    value.to_owned()
                };
                // A window or a backoff needs room for the key that is tried.
                let room = match key {
                    "window.min" => "window.max = 4294967295\n",
                    "retry.backoff.min_ms" => "retry.backoff.max_ms = 315360000000\n",
                    "retry.backoff.max_ms" => "retry.backoff.min_ms = 0\n",
                    "restart.backoff.min_ms" => "restart.backoff.max_ms = 315360000000\n",
                    _ => "",
                };
                GroupConfig::from_toml(&format!("{room}{key} = {value}")).is_ok()
            };
            if let Some((least, most)) = range.split_once(" to ").filter(|(least, _)| !least.contains('{')) {
                let (least, most): (i128, i128) = (least.parse().unwrap(), most.parse().unwrap());
                for (value, expected) in [(least - 1, false), (least, true), (most, true), (most + 1, false)]
                {
                    assert_eq!(accepted(&value.to_string()), expected, "{key} = {value}");
                }
            } else if range == "1 or more" {
                assert!(accepted("1") && accepted("1e300") && !accepted("0.999"), "{key}");
            } else {
                let values: Vec<&str> = range.split('`').skip(1).step_by(2).collect();
                assert!(values.len() >= 2, "{key}");
                for value in values {
                    assert!(accepted(value), "{key} = {value}");
                }
            }
        }
    }

    #[test]
    fn the_table_shows_each_choice_that_there_is() {
        for key in [
            "placement",
            "strategy",
            "affinity",
            "queue.overflow",
            "restart.past_budget",
        ] {
            let right = GroupConfig::from_toml(&format!("{key} = \"nothing\""))
                .unwrap_err()
                .right;
            let rows = rows();
            let range = rows.iter().find(|row| unquoted(row[0]) == key).unwrap()[3];
            for choice in right.split('"').skip(1).step_by(2) {
                assert!(range.contains(&format!("`\"{choice}\"`")), "{key}: {choice}");
            }
        }
    }

    #[test]
    fn the_examples_of_the_page_are_read_and_its_refusals_are_told_word_for_word() {
        let example = PAGE
            .split("```toml\n")
            .nth(1)
            .unwrap()
            .split("```")
            .next()
            .unwrap();
        GroupConfig::from_toml(example).unwrap();

        let section = PAGE
            .split("\n## ")
            .find(|section| section.starts_with("What a refusal"))
            .unwrap();
        let told: Vec<&str> = section.lines().filter(|line| line.contains("| line ")).collect();
        let texts = [
            "[queue]\ncapasity = 10",
            "consumers = \"many\"",
            "weights = [3, -1]",
            "window = { min = 9, max = 5 }",
        ];
        assert_eq!(told.len(), texts.len());
        for (row, text) in told.iter().zip(texts) {
            let error = GroupConfig::from_toml(text).unwrap_err().to_string();
            assert!(row.ends_with(&format!("| {error} |")), "{row}\n{error}");
        }
    }
}
