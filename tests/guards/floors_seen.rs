//! The guard of the floors sees every way to break the rules, and lets sound code alone.

use super::floors::violations;
use super::imports::Tree;

/// A sound library: a file a line, and what is in it.
const SOUND: &str = "lib.rs: pub mod types; pub mod rules; pub use types::Job;
types/mod.rs: mod job; mod id; pub use job::Job;
types/job.rs: use super::id::Id; pub struct Job(Id);
types/id.rs: pub struct Id;
rules/mod.rs: pub mod store; use crate::types::Job;
rules/store.rs: use crate::types::{Job, id::{self, Id}};
protocol/mod.rs: use crate::{rules::store, types};
actors/mod.rs: mod queue; mod supervisor;
actors/queue.rs: use crate::protocol; fn f() { crate::rules::store::g() }
actors/supervisor/mod.rs: use super::queue::Queue;
config_file.rs: use crate::types::Job;";

/// A file, its code, and what the guard says to it in the sound library.
const BROKEN: [[&str; 3]; 17] = [
    [
        "types/key.rs",
        "//! A key.\n\nuse crate::rules::store::Store;",
        "key.rs:3: `types::key` imports `rules::store`, which stands above it",
    ],
    [
        "types/key.rs",
        "use super::super::rules::store;",
        "which stands above it",
    ],
    [
        "types/key.rs",
        "use crate::{\n  types::{Job},\n  rules::{store::{self as q}},\n};",
        "which stands above it",
    ],
    [
        "types/key.rs",
        "fn f() { let _ = <X as crate::rules::store::T>::g(); }",
        "which stands above it",
    ],
    [
        "types/key.rs",
        "macro_rules! m { () => { $crate::rules::store::g() } }",
        "which stands above it",
    ],
    [
        "types/key.rs",
        "use crate::rules::store::*;",
        "which stands above it",
    ],
    [
        "types/key.rs",
        "pub use crate::rules::store as s;",
        "which stands above it",
    ],
    ["types/key.rs", "use crate::Job;", "imports from lib.rs"],
    ["types/key.rs", "use crate::*;", "imports from lib.rs"],
    [
        "group/x.rs",
        "use crate::config_file::F;",
        "imports `config_file`",
    ],
    [
        "testing/x.rs",
        "use crate::config_file::F;",
        "imports `config_file`",
    ],
    [
        "actors/queue.rs",
        "use super::supervisor::S;",
        "src/actors: a circle of siblings\n  src/actors/queue.rs:1",
    ],
    [
        "actors/queue.rs",
        "use crate::actors::{self, supervisor as s};",
        "src/actors: a circle",
    ],
    [
        "types/id.rs",
        "use crate::types::job::Job;",
        "src/types: a circle",
    ],
    // `super::Job` is `types::job::Job`, and `job` imports `id`.
    ["types/id.rs", "fn f(_: super::Job) {}", "src/types: a circle"],
    [
        "types/id.rs",
        "use crate::types::{self, Job as J};",
        "src/types: a circle",
    ],
    ["helpers/mod.rs", "", "src/helpers: it stands on no floor"],
];

/// The sound library with one file changed.
fn tree(name: &str, text: &str) -> Tree {
    let files = SOUND.lines().filter_map(|line| line.split_once(": "));
    let files = files.chain([(name, text)]);
    files
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .collect()
}

#[test]
fn the_guard_sees_every_way_to_break_the_rules() {
    for [name, text, expected] in BROKEN {
        let violations: Vec<_> = violations(&tree(name, text)).into_iter().collect();
        assert_eq!(violations.len(), 1, "{text}: {violations:#?}");
        assert!(violations[0].contains(expected), "{text}: {violations:#?}");
    }
}

#[test]
fn the_guard_lets_sound_code_and_tests_alone() {
    for text in [
        "",
        "// use crate::rules::store;",
        "#[cfg(test)]\nmod tests {\nuse crate::rules::store; }",
        "pub(crate) struct A; pub(super) struct B; pub(in crate::types) struct C;",
    ] {
        assert_eq!(violations(&tree("types/key.rs", text)), [].into());
    }
    let mut tree = tree("types/key.rs", "#[cfg(test)]\nmod tests;");
    tree.insert(
        "types/key/tests.rs".to_owned(),
        "use crate::rules::store;".to_owned(),
    );
    assert_eq!(violations(&tree), [].into());
}
