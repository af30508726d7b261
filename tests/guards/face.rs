//! The guard of the public face: whoever learns from our pages, examples and adapters learns no name of the engine.

use std::path::{Path, PathBuf};

/// The floors of the engine, which are public only for benches and for the model checker.
const ENGINE: [&str; 4] = ["types", "rules", "protocol", "actors"];

/// What users read or copy: files, and folders with everything below.
const SHOWN: [&str; 6] = [
    "README.md",
    "docs",
    "examples",
    "src",
    "benches/engines",
    "benches/peers",
];

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), files);
        }
    } else if path.extension().is_some_and(|kind| kind == "md" || kind == "rs") {
        files.push(path.to_owned());
    }
}

/// What follows each `consumer_group::`, up to the end of its statement or path.
fn names_the_engine(text: &str) -> bool {
    let paths = text.split("consumer_group::").skip(1).map(|rest| {
        let is_list = rest.starts_with('{');
        let ends = |sign: char| {
            if is_list {
                sign == ';'
            } else {
                !sign.is_alphanumeric() && !"_:".contains(sign)
            }
        };
        rest.split(ends).next().unwrap_or_default()
    });
    let words = paths.flat_map(|path| path.split(|sign: char| !sign.is_alphanumeric() && sign != '_'));
    words.into_iter().any(|word| ENGINE.contains(&word))
}

#[test]
fn no_page_example_or_adapter_names_the_engine() {
    let mut files = Vec::new();
    for shown in SHOWN {
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(shown), &mut files);
    }
    assert!(files.len() > 300, "the guard is blind");
    files.retain(|file| names_the_engine(&std::fs::read_to_string(file).unwrap()));
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn the_guard_sees_the_engine_in_paths_and_in_lists() {
    assert!(names_the_engine("use consumer_group::protocol::Assign;"));
    assert!(names_the_engine("use consumer_group::{Group,\n types::Job};"));
    assert!(!names_the_engine(
        "use consumer_group::{Group,\n Job}; use super::types::Job;"
    ));
}

fn crosses_threads<T: Send + Sync + 'static>() {}

fn is_an_error<T: std::error::Error + Send + Sync + 'static>() {}

struct Nobody;

impl actix::Actor for Nobody {
    type Context = actix::Context<Self>;
}

/// It is enough that this compiles.
#[test]
fn handles_and_errors_cross_threads() {
    use consumer_group::supervision::{Handle, Registry, SupervisorHandle, SupervisorSpec, WeakHandle};
    use consumer_group::{
        BatchSendError, CallError, DeadLetter, DeadLetters, Events, Group, GroupBuilder, Host, Job, Outcome,
        Producer, ProducerGroup, Results, SendError, StartError, StoppedError, Undelivered, config, host,
        queue, supervision,
    };
    crosses_threads::<(
        Group<String, u64>,
        Producer<String, u64>,
        ProducerGroup<String, u64>,
    )>();
    crosses_threads::<(
        Results<String, u64>,
        Outcome<String, u64>,
        DeadLetters<String>,
        Events,
    )>();
    crosses_threads::<(Job<String>, DeadLetter<String>, Undelivered<String>, Host)>();
    crosses_threads::<(Handle<Nobody>, WeakHandle<Nobody>, SupervisorHandle, Registry)>();
    crosses_threads::<(supervision::GroupHandle<String, u64>, queue::MemoryQueue<String>)>();
    fn moves_to_another_thread<T: Send + 'static>() {}
    moves_to_another_thread::<(GroupBuilder<String, u64>, SupervisorSpec)>();
    is_an_error::<SendError<String>>();
    is_an_error::<BatchSendError<String>>();
    is_an_error::<CallError<String>>();
    is_an_error::<StartError>();
    is_an_error::<StoppedError>();
    is_an_error::<config::ConfigError>();
    is_an_error::<host::HostStartError>();
    is_an_error::<host::HostRunError>();
    is_an_error::<supervision::SendError<String>>();
    is_an_error::<supervision::NoGroupError>();
    is_an_error::<supervision::RegistryError>();
    is_an_error::<supervision::SupervisorStartError>();
}
