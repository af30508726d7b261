//! The guard of the documents: what README and docs/ name exists.
//!
//! | in a page | must be |
//! |---|---|
//! | a relative link, with or without an anchor | a file or folder, and a heading in it |
//! | a path in code marks, such as `scripts/test` | a file or folder |
//! | a name in code marks, such as `GroupConfig` or `order_by_key` | a word in the sources, tests or examples |
//! | `cargo run --example NAME` | an example |
//! | a row `| 256 | NAME | … |` with the name of a constant | the value of that constant |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders and files that a path in code marks can begin with.
const TOP: [&str; 8] = [
    "src",
    "tests",
    "docs",
    "examples",
    "benches",
    "scripts",
    ".ci",
    "Cargo.toml",
];

/// Names of others that the pages speak of.
const OF_OTHERS: [&str; 33] = [
    "ask",
    "alive",
    "cargo",
    "catch_unwind",
    "connected",
    "ctx",
    "do_send",
    "panic",
    "sha256sum",
    "stop",
    "Supervisor",
    "text",
    "unsafe",
    "unwrap",
    "warn",
    "DynamicSupervisor",
    "SyncContext",
    "SystemRegistry",
    "brutal_kill",
    "count_children",
    "delete_child",
    "gen_server",
    "gen_statem",
    "infinity",
    "restart_child",
    "set_mailbox_capacity",
    "simple_one_for_one",
    "start_child",
    "sys",
    "terminate_child",
    "via",
    "whereis",
    "which_children",
];

/// What the pages are held against.
struct World {
    root: PathBuf,
    /// Every word of the code: sources, tests, examples, benches, scripts, Cargo.toml.
    words: BTreeSet<String>,
    /// `NAME` and the digits of its value, for every constant of the sources.
    constants: BTreeSet<(String, String)>,
}

impl World {
    fn of_this_project() -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        for top in TOP.iter().filter(|top| **top != "docs") {
            collect(&root.join(top), &mut files);
        }
        let (mut words, mut constants) = (BTreeSet::new(), BTreeSet::new());
        for file in files {
            // This file names the things that do not exist.
            if file.ends_with("tests/documents.rs") {
                continue;
            }
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            words.insert(name);
            let Ok(text) = fs::read_to_string(&file) else {
                continue;
            };
            for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
                words.extend(
                    line.split(|c: char| !c.is_alphanumeric() && c != '_')
                        .map(str::to_owned),
                );
                constants.extend(constant(line));
            }
        }
        Self {
            root,
            words,
            constants,
        }
    }

    /// Everything in a page that is not so, in words.
    fn wrong_in(&self, page: &Path, text: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut in_block = false;
        for (number, line) in (1..).zip(text.lines()) {
            let mut say = |what: String| wrong.push(format!("{}:{number}: {what}", page.display()));
            for name in examples(line).filter(|name| !self.is_example(name)) {
                say(format!("there is no example `{name}`"));
            }
            if line.trim_start().starts_with("```") {
                in_block = !in_block;
                continue;
            }
            if in_block {
                continue;
            }
            for target in links(line) {
                if let Some(what) = self.broken(page, text, target) {
                    say(what);
                }
            }
            for code in codes(line) {
                if let Some(what) = self.unknown(code) {
                    say(what);
                }
            }
            if let Some((digits, name)) = number_row(line)
                && !self.constants.contains(&(name.clone(), digits.clone()))
            {
                say(format!("no constant `{name}` has the value {digits}"));
            }
        }
        wrong
    }

    fn is_example(&self, name: &str) -> bool {
        let examples = self.root.join("examples");
        examples.join(format!("{name}.rs")).exists() || examples.join(name).join("main.rs").exists()
    }

    fn broken(&self, page: &Path, text: &str, target: &str) -> Option<String> {
        if target.contains("://") || target.starts_with("mailto:") {
            return None;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let folder = self.root.join(page).parent().unwrap().to_owned();
        let file = folder.join(path);
        if !path.is_empty() && !file.exists() {
            return Some(format!("the link to {target} leads nowhere"));
        }
        let aim = if path.is_empty() {
            text.to_owned()
        } else {
            fs::read_to_string(&file).unwrap_or_default()
        };
        (!anchor.is_empty() && !anchors(&aim).contains(anchor))
            .then(|| format!("the link to {target} leads to no heading"))
    }

    /// What is not known of the things in code marks. Commands, values and code of more than a name are left alone.
    fn unknown(&self, code: &str) -> Option<String> {
        let is_path = TOP.iter().any(|top| {
            code.strip_prefix(top)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        if is_path && !code.contains(' ') && !code.contains('*') {
            return (!self.root.join(code).exists()).then(|| format!("there is no file `{code}`"));
        }
        let is_name = code
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '.'));
        if !is_name || !code.starts_with(char::is_alphabetic) || self.root.join(code).exists() {
            return None;
        }
        code.split([':', '.'])
            .filter(|word| !word.is_empty() && !OF_OTHERS.contains(word))
            // The choices of the configuration are written in small letters there, and in the code as variants.
            .find(|word| !self.words.contains(*word) && !self.words.contains(&as_variant(word)))
            .map(|word| format!("nothing in the code is called `{word}` (in `{code}`)"))
    }
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), files);
        }
    } else if path.exists() {
        files.push(path.to_owned());
    }
}

/// `const NAME: Type = …;` with the digits of its value.
fn constant(line: &str) -> Option<(String, String)> {
    let (_, rest) = line.split_once("const ")?;
    let (name, rest) = rest.split_once(':')?;
    let (_, value) = rest.split_once('=')?;
    let value = value.rsplit_once('(').map_or(value, |(_, value)| value);
    Some((name.to_owned(), digits(value)))
}

/// `order_by_key` as `OrderByKey`.
fn as_variant(word: &str) -> String {
    let capital = |part: &str| {
        part.chars()
            .take(1)
            .map(|c| c.to_ascii_uppercase())
            .chain(part.chars().skip(1))
            .collect::<String>()
    };
    word.split('_').map(capital).collect()
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// The names after `--example`.
fn examples(line: &str) -> impl Iterator<Item = &str> {
    line.split("--example ")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next())
}

/// The targets of `[text](target)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// What stands between code marks.
fn codes(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// `| 256 | `NAME` | …`: the digits and the name.
fn number_row(line: &str) -> Option<(String, String)> {
    let mut cells = line.strip_prefix("| ")?.split(" | ");
    let (number, name) = (cells.next()?, cells.next()?);
    let name = name.strip_prefix('`')?.strip_suffix('`')?;
    let is_constant = name.len() > 1 && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    (number.starts_with(|c: char| c.is_ascii_digit()) && is_constant)
        .then(|| (digits(number), name.to_owned()))
}

/// The anchors that a page offers, as they are made of its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

/// The pages, by their path from the root.
fn pages(root: &Path) -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        .map(PathBuf::from)
        .into();
    let mut docs = Vec::new();
    collect(&root.join("docs"), &mut docs);
    pages.extend(
        docs.into_iter()
            .filter(|page| page.extension().is_some_and(|kind| kind == "md"))
            .map(|page| page.strip_prefix(root).unwrap().to_owned()),
    );
    pages
}

#[test]
fn everything_that_the_documents_name_exists() {
    let world = World::of_this_project();
    let mut wrong = Vec::new();
    for page in pages(&world.root) {
        let text = fs::read_to_string(world.root.join(&page)).unwrap();
        assert!(!text.is_empty(), "{} is empty", page.display());
        wrong.extend(world.wrong_in(&page, &text));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn each_guarantee_has_a_chapter_a_row_in_the_readme_and_a_file_of_tests() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let page = fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let mut files = Vec::new();
    collect(&root.join("tests/guarantees"), &mut files);
    for number in 1..=10 {
        let begins = format!("g{number:02}_");
        let file = files
            .iter()
            .map(|file| file.file_name().unwrap().to_string_lossy().into_owned())
            .find(|file| file.starts_with(&begins))
            .unwrap_or_else(|| panic!("guarantee {number} has no file of tests"));
        assert!(
            readme.contains(&format!("tests/guarantees/{file}")),
            "README: {file}"
        );
        let chapter = page
            .split("\n## ")
            .find(|chapter| chapter.starts_with(&format!("{number}. ")))
            .unwrap_or_else(|| panic!("guarantee {number} has no chapter"));
        assert!(
            chapter.contains(&file),
            "the chapter of guarantee {number} does not name {file}"
        );
    }
}

#[test]
fn the_guard_sees_what_does_not_exist() {
    let world = World::of_this_project();
    let text = "# A page\n\
        [one](nowhere.md) and [two](../README.md#no-such-heading) and [three](#a-page)\n\
        `src/nothing.rs`, `NoSuchType`, `Group::no_such_method`, `Group::builder`, `a_test_that_was_never_written`\n\
        | 257 | `MOST_UNFLUSHED` | wrong by one |\n\
        ```sh\n\
        cargo run --example no_such_example\n\
        ```\n\
        | 256 | `MOST_UNFLUSHED` | right |\n";
    let wrong = world.wrong_in(Path::new("docs/page.md"), text);
    let expected = [
        "docs/page.md:2: the link to nowhere.md leads nowhere",
        "docs/page.md:2: the link to ../README.md#no-such-heading leads to no heading",
        "docs/page.md:3: there is no file `src/nothing.rs`",
        "docs/page.md:3: nothing in the code is called `NoSuchType` (in `NoSuchType`)",
        "docs/page.md:3: nothing in the code is called `no_such_method` (in `Group::no_such_method`)",
        "docs/page.md:3: nothing in the code is called `a_test_that_was_never_written` (in \
         `a_test_that_was_never_written`)",
        "docs/page.md:4: no constant `MOST_UNFLUSHED` has the value 257",
        "docs/page.md:6: there is no example `no_such_example`",
    ];
    assert_eq!(wrong, expected);
}
