//! The page of the configuration: its keys, defaults, ranges and refusals are those of the type.

use super::*;

const PAGE: &str = include_str!("../../../docs/configuration.md");

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
            for (value, expected) in [(least - 1, false), (least, true), (most, true), (most + 1, false)] {
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
