//! How each refusal of a text is told. A row of a table is a text, the key and the line that are told, and a part of the
//! advice; `↵` is the end of a line.

use super::{ConfigError, GroupConfig, refused};

/// Gives the last error.
#[track_caller]
fn all_refused(rows: &str) -> ConfigError {
    let errors = rows.lines().map(|row| {
        let cells: Vec<&str> = row.trim_start().splitn(4, " | ").collect();
        let text = cells[0].replace('↵', "\n");
        refused(&text, cells[1], cells[2].parse().unwrap(), cells[3])
    });
    errors.collect::<Vec<_>>().pop().unwrap()
}

#[test]
fn an_unknown_key_is_told_with_the_nearest_right_one_and_with_all_of_them() {
    let error = all_refused("consumers = 2↵↵[queue]↵capasity = 10↵ | queue.capasity | 4 | did you mean");
    assert_eq!(
        error.to_string(),
        "line 4: `queue.capasity` is not a key of the configuration; did you mean `queue.capacity`? \
         the keys of `queue` are capacity, overflow, dead_letters, dead_letter_bytes, dedup_window_ms, dedup_keys, history"
    );
}

#[test]
fn an_unknown_key_like_no_other_is_told_with_the_keys_there_are() {
    let error = all_refused("zebra = 1 | zebra | 1 | the keys here are consumers, placement, strategy");
    assert!(!error.right.contains("did you mean"), "{error}");
}

#[test]
fn a_key_is_told_with_its_whole_path_and_where_it_belongs() {
    all_refused(
        "capacity = 1 | capacity | 1 | did you mean `queue.capacity`?
        [queue]↵↵consumers = 1 | queue.consumers | 3 | did you mean `consumers`?
        ↵[que]↵capacity = 1 | que | 2 | did you mean `queue`?
        [retry]↵attempts = 2↵↵[retry.backoff]↵min_msec = 2 | retry.backoff.min_msec | 5 | `retry.backoff.min_ms`?",
    );
}

#[test]
fn a_value_of_the_wrong_type_is_told_with_the_right_one() {
    all_refused(
        r#"consumers = "four" | consumers | 1 | use a whole number from 0 to 1000000
        ↵consumers = 1.5 | consumers | 2 | use a whole number
        consumers = true | consumers | 1 | use a whole number
        consumers = [1] | consumers | 1 | use a whole number
        consumers = {} | consumers | 1 | use a whole number
        consumers = 1979-05-27 | consumers | 1 | use a whole number
        order_by_key = "yes" | order_by_key | 1 | use true or false
        weights = 3 | weights | 1 | use a list, each entry a whole number from 1 to 4294967295
        queue = 3 | queue | 1 | use a table with keys of capacity, overflow
        seed = -1 | seed | 1 | use a whole number from 0 to 18446744073709551615
        retry.backoff.factor = "2" | retry.backoff.factor | 1 | use a number that is 1 or more"#,
    );
}

#[test]
fn a_list_is_no_table_though_the_type_would_take_its_entries_for_the_fields() {
    all_refused(
        "queue = [5] | queue | 1 | use a table with keys of capacity
        ↵retry.backoff = [] | retry.backoff | 2 | use a table with keys of min_ms
        [[window]]↵min = 1 | window | 1 | use a table with keys of min",
    );
}

#[test]
fn a_name_that_is_no_choice_is_told_with_all_choices() {
    all_refused(
        r#"strategy = "roundrobin" | strategy | 1 | "round_robin", "weighted"
        [queue]↵overflow = "drop" | queue.overflow | 2 | "drop_oldest", "drop_newest"
        restart.past_budget = "die" | restart.past_budget | 1 | "quarantine", "escalate""#,
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
    all_refused(
        r#"↵placement = { arbiters = 0 } | placement.arbiters | 2 | from 1 to 4096
        [placement]↵arbiters = 0 | placement.arbiters | 2 | from 1 to 4096
        placement = { arbiters = "3" } | placement.arbiters | 1 | from 1 to 4096"#,
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
    let error = all_refused(
        "consumers = 2↵↵weights = [1, 2, 3] | weights | 3 | at most one weight for each consumer",
    );
    assert_eq!(error.problem, "has 3 entries for 2 consumers");
}

#[test]
fn a_number_out_of_its_range_is_refused() {
    all_refused(
        "[window]↵min = 0 | window.min | 2 | from 1 to 4294967295
        [window]↵min = 1↵max = 0 | window.max | 3 | from 1 to 4294967295
        window.target_us = 0 | window.target_us | 1 | from 1 to
        retry.backoff.factor = 0.5 | retry.backoff.factor | 1 | use a number that is 1 or more
        retry.backoff.factor = nan | retry.backoff.factor | 1 | use a number that is 1 or more
        restart.backoff.factor = inf | restart.backoff.factor | 1 | use a number that is 1 or more
        retry.backoff.factor = 1e999 | retry.backoff.factor | 1 | 1 or more
        restart.backoff.jitter = 1.5 | restart.backoff.jitter | 1 | use a number from 0 to 1
        restart.backoff.jitter = -0.1 | restart.backoff.jitter | 1 | use a number from 0 to 1
        restart.backoff.jitter = 2 | restart.backoff.jitter | 1 | use a number from 0 to 1",
    );
}

#[test]
fn a_pair_that_cannot_be_is_told_at_the_smaller_one() {
    let error = all_refused(
        "[retry.backoff]↵min_ms = 10↵max_ms = 5 | retry.backoff.min_ms | 2 | at most the value of `retry.backoff.max_ms`
        restart.backoff.min_ms = 2_000 | restart.backoff.min_ms | 1 | at most the value of `restart.backoff.max_ms`
        [window]↵max = 5↵min = 9 | window.min | 3 | at most the value of `window.max`",
    );
    assert_eq!(error.problem, "is 9, above `window.max`, which is 5");
}

#[test]
fn a_pair_of_which_only_the_larger_one_stands_in_the_file_is_told_there() {
    let error = all_refused(
        "↵retry.backoff.max_ms = 5 | retry.backoff.max_ms | 2 | at least the value of `retry.backoff.min_ms`",
    );
    assert_eq!(error.problem, "is 5, below `retry.backoff.min_ms`, which is 100");
}

#[test]
fn a_huge_number_is_refused_and_shown_shortened() {
    let huge = "9".repeat(100);
    for key in ["consumers", "deadline_ms", "hold", "seed"] {
        let error = refused(&format!("{key} = {huge}"), key, 1, "use a whole number");
        assert!(error.problem.len() < 60, "{error}");
    }
    let text = format!("weights = [-{huge}]");
    refused(&text, "weights[0]", 1, "use a whole number");
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
    all_refused(
        "consumers = 1↵consumers = 2 | consumers | 2 | keep one of the two
        [queue]↵capacity = 1↵capacity = 2 | queue.capacity | 3 | keep one of the two
        queue.capacity = 1↵queue.capacity = 2 | queue.capacity | 2 | keep one of the two
        queue = { capacity = 1,↵ capacity = 2 } | queue.capacity | 2 | keep one of the two
        [retry]↵[retry.backoff]↵[queue]↵[retry.backoff] | retry.backoff | 4 | keep one of the two",
    );
}

#[test]
fn text_that_is_not_toml_is_told_with_its_line_and_no_key() {
    let error = refused("consumers = 1\n[queue\n", "", 2, "`[table]`").to_string();
    assert!(error.starts_with("line 2: the text is not TOML: "), "{error}");
    all_refused(
        "consumers |  | 1 | `key = value`
        consumers = |  | 1 | `key = value`
        ↵↵= 3 |  | 3 | `key = value`
        a\0b = 1 |  | 1 | `key = value`",
    );
}

#[test]
fn a_wrong_value_from_the_program_has_a_key_and_no_line() {
    let mut config = GroupConfig::default();
    config.weights.extend([1, 0]);
    let error = config.check().unwrap_err();
    assert_eq!((error.key.as_str(), error.line), ("weights[1]", None));
    assert_eq!(
        error.to_string(),
        "`weights[1]` is 0; use a whole number from 1 to 4294967295; to take a consumer out, scale the group down"
    );
}
