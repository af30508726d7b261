//! Nonsense as a configuration: it is refused with a problem, a cure and a line, and nothing panics.

use consumer_group::GroupConfig;
use consumer_group::config::ConfigError;
use proptest::prelude::*;

#[track_caller]
fn refused(text: &str, line: usize, hint: &str) {
    let error = GroupConfig::from_toml(text).expect_err("the text should be refused");
    assert_eq!(error.line, Some(line), "{error}");
    assert!(error.right.contains(hint), "{error}");
}

fn from_environment(name: &str, value: &str) -> Result<GroupConfig, ConfigError> {
    GroupConfig::default().with_environment([(name.to_owned(), value.to_owned())])
}

const GOOD: &str = "consumers = 3\nweights = [1, 2, 3]\nplacement = { arbiters = 3 }\nseed = 5\n\
    [queue]\ncapacity = 10\noverflow = \"wait\"\n[window]\nmin = 1\nmax = 5\n\
    [retry.backoff]\nmin_ms = 1\nmax_ms = 2\nfactor = 2.5\n";

/// Whatever the text is, it is a checked configuration or an error that tells something.
fn judged(text: &str) {
    match GroupConfig::from_toml(text) {
        Ok(config) => assert_eq!(config.check(), Ok(())),
        Err(error) => {
            assert!(!error.problem.is_empty() && !error.right.is_empty(), "{error:?}");
            let lines = text.split('\n').count();
            assert!(
                error.line.is_none_or(|line| (1..=lines).contains(&line)),
                "{error:?}"
            );
        }
    }
}

#[test]
fn tables_in_tables_without_end_are_refused_and_exhaust_no_stack() {
    let deep = "a.".repeat(200_000);
    refused(&format!("{deep}a = 1"), 1, "deeper than three tables");
    refused(&format!("\n[{deep}a]"), 2, "deeper than three tables");
    // Dots in quotes are no tables.
    judged(&format!("\"{}a\" = {{}}", "a\\u002e".repeat(200_000)));
    judged(&format!("a = {}", "[".repeat(200_000)));
    judged(&format!("a = {}", "{a=".repeat(200_000)));
    judged(&format!("a = {}1{}", "[".repeat(70), "]".repeat(70)));
    // The deepest text that the parser lets through: each inline table adds a line full of dots.
    let line = format!("{}a = {{\n", "a.".repeat(16));
    for tables in [40, 70, 79, 80, 200] {
        let deep = format!("{}a = 1{}", line.repeat(tables), "}".repeat(tables));
        judged(&deep);
        for key in ["consumers", "placement", "queue", "weights"] {
            judged(&format!("{key} = {{ {deep} }}"));
            judged(&format!("{key} = {{ arbiters = {{ {deep} }} }}"));
            judged(&format!("{key} = [{{ {deep} }}]"));
        }
    }
}

#[test]
fn dots_in_a_comment_are_no_tables() {
    let text = format!("# {}\nconsumers = 2", ".".repeat(1_000));
    assert_eq!(GroupConfig::from_toml(&text).unwrap().consumers, 2);
}

#[test]
fn a_very_long_list_is_read() {
    let text = format!("consumers = 100000\nweights = [{}]", "1,".repeat(100_000));
    assert_eq!(GroupConfig::from_toml(&text).unwrap().weights.len(), 100_000);
}

proptest! {
    #[test]
    fn random_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        judged(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn random_toml_is_judged_without_a_panic(
        text in "(\\[?[a-z_.\"]{1,12}\\]?( = (-?[0-9]{1,30}|\"[a-z]*\"|\\[[0-9, -]*\\]|\\{[a-z =0-9]*\\}|true|1e9|nan))?\n){0,8}",
    ) {
        judged(&text);
    }

    #[test]
    fn a_good_file_with_a_piece_replaced_is_judged_without_a_panic(
        from in 0..GOOD.len(),
        length in 0..20_usize,
        piece in "[a-z0-9=.,\\[\\]{}\" \n-]{0,12}|\\PC{0,4}",
    ) {
        let to = (from + length).min(GOOD.len());
        judged(&format!("{}{piece}{}", &GOOD[..from], &GOOD[to..]));
    }

    #[test]
    fn a_random_variable_is_judged_without_a_panic(
        name in "(CONSUMERS|WEIGHTS|PLACEMENT|QUEUE__CAPACITY|SEED|RETRY__BACKOFF__FACTOR|[A-Z_]{0,12})",
        value in "[0-9,.{}=\\[\\] -]{0,12}|\\PC{0,8}",
    ) {
        let name = format!("CONSUMER_GROUP_{name}");
        if let Ok(config) = from_environment(&name, &value) {
            prop_assert_eq!(config.check(), Ok(()));
        }
    }
}
