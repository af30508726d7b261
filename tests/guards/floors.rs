//! The guard of the floors: the module graph of the library stays a directed graph without cycles.
//!
//! A file imports from floors below its own and from siblings in its own floor; in every folder the siblings form no
//! circle; nothing but `lib.rs` imports an edge. Paths are found by their shape, `name::name`, wherever they stand; a name
//! that a sibling re-exports leads to the module that it comes from. Comments do not count, nor does what is compiled for
//! tests only: a module with a file of its own, or what stands from `mod tests` to the end. A module and the modules below
//! it are one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The floors, from the ground up. A module at the top of the library that is not listed here is a failure, so that a new
/// one is placed with a thought. The last ones are the edges.
const FLOORS: [&[&str]; 6] = [
    &["words"],
    &["rules"],
    &["protocol"],
    &["actors"],
    &["group"],
    &["bin", "config_file", "durable", "sim", "testing"],
];

/// A module of the library, as a path: `["actors", "queue"]`. Empty for lib.rs.
type Module = Vec<String>;

/// The sources of a library: paths below `src` and their text.
type Tree = BTreeMap<String, String>;

/// A path in the code, and the name by which a `use` makes it known.
struct Found {
    names: Vec<String>,
    alias: String,
    line: usize,
}

/// One file: its paths, and those of its modules that are compiled for tests only.
#[derive(Default)]
struct File {
    found: Vec<Found>,
    uses: Vec<Found>,
    tests: Vec<String>,
}

impl File {
    fn read(text: &str) -> Self {
        let mut file = Self::default();
        let (mut tokens, mut is_test) = (Vec::new(), false);
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split("//").next().unwrap_or_default().trim();
            if let Some(module) = line.strip_prefix("mod ").filter(|_| is_test) {
                let Some(module) = module.strip_suffix(';') else {
                    break;
                };
                file.tests.push(module.to_owned());
            } else if !is_test || line.starts_with("#[") {
                tokens.extend(words(line).into_iter().map(|word| (number, word)));
            }
            is_test = line == "#[cfg(test)]" || (is_test && line.starts_with("#["));
        }
        let (mut at, mut is_use) = (0, false);
        while at < tokens.len() {
            is_use = tokens[at].1 == "use" || (is_use && tokens[at].1 != ";");
            let is_path = tokens.get(at + 1).is_some_and(|(_, word)| *word == "::");
            // `pub(in crate::words)` imports nothing.
            let is_visibility = at > 0 && tokens[at - 1].1 == "in" && tokens[at].1 == "crate";
            let into = if is_use { &mut file.uses } else { &mut file.found };
            at = match is_path && !is_visibility {
                true => path(&tokens, at, &[], into),
                false => at + 1,
            };
        }
        file
    }
}

/// Names, `::`, and every other sign alone.
fn words(line: &str) -> Vec<&str> {
    let (mut rest, mut found) = (line, Vec::new());
    while let Some(first) = rest.chars().next() {
        let is_name = |sign: char| sign.is_alphanumeric() || sign == '_';
        let name = rest.find(|sign| !is_name(sign)).unwrap_or(rest.len());
        let length = match name {
            0 if rest.starts_with("::") => 2,
            0 => first.len_utf8(),
            name => name,
        };
        let (word, further) = rest.split_at(length);
        found.extend(Some(word).filter(|word| !word.trim().is_empty()));
        rest = further;
    }
    found
}

/// Collects the paths that begin here, through braces, and gives the place behind them.
fn path(tokens: &[(usize, &str)], start: usize, before: &[String], into: &mut Vec<Found>) -> usize {
    let word = |at: usize| tokens.get(at).map_or("", |(_, word)| *word);
    let (mut at, mut names) = (start, before.to_vec());
    loop {
        match word(at) {
            "{" => {
                at += 1;
                while !matches!(word(at), "}" | "") {
                    at = if word(at) == "," {
                        at + 1
                    } else {
                        path(tokens, at, &names, into)
                    };
                }
                return at + 1;
            }
            "self" if !names.is_empty() => {}
            name => names.push(name.to_owned()),
        }
        at += 1;
        if word(at) != "::" {
            break;
        }
        at += 1;
    }
    let is_renamed = word(at) == "as";
    let alias = if is_renamed {
        word(at + 1)
    } else {
        names.last().map_or("", String::as_str)
    };
    let (alias, line) = (alias.to_owned(), tokens[start].0);
    into.push(Found { names, alias, line });
    at + 2 * usize::from(is_renamed)
}

/// The module that a file holds: `actors/mod.rs` and `actors.rs` are both `actors`.
fn module_of(file: &str) -> Module {
    let mut module: Module = file
        .trim_end_matches(".rs")
        .split('/')
        .map(str::to_owned)
        .collect();
    module.pop_if(|last| last == "mod" || last == "lib");
    module
}

/// All files of a library, read.
struct Library {
    files: BTreeMap<String, (Module, File)>,
    modules: BTreeSet<Module>,
    /// For each module, the names that a `use` brings in, and the paths that it brings them from.
    aliases: BTreeMap<(Module, String), Module>,
}

impl Library {
    fn read(tree: &Tree) -> Self {
        let mut files: BTreeMap<_, _> = tree
            .iter()
            .map(|(name, text)| (name.clone(), (module_of(name), File::read(text))))
            .collect();
        let tests: Vec<Module> = files
            .values()
            .flat_map(|(home, file)| {
                file.tests
                    .iter()
                    .map(|test| [home.as_slice(), std::slice::from_ref(test)].concat())
            })
            .collect();
        files.retain(|_, (home, _)| !tests.iter().any(|test| home.starts_with(test)));
        let modules = files.values().map(|(home, _)| home.clone()).collect();
        let mut library = Self {
            files,
            modules,
            aliases: BTreeMap::new(),
        };
        for (home, file) in library.files.values() {
            for found in &file.uses {
                if let Some(full) = library.full(home, &found.names) {
                    library.aliases.insert((home.clone(), found.alias.clone()), full);
                }
            }
        }
        library
    }

    /// A path counted from the root of the library, if it is one of ours.
    fn full(&self, home: &Module, names: &[String]) -> Option<Module> {
        let (first, rest) = names.split_first()?;
        let child = [home.as_slice(), std::slice::from_ref(first)].concat();
        let (mut full, mut rest) = match first.as_str() {
            "crate" => (Vec::new(), rest),
            "self" => (home.clone(), rest),
            "super" => (home.clone(), names),
            _ if self.modules.contains(&child) => (child, rest),
            _ => (self.aliases.get(&(home.clone(), first.clone()))?.clone(), rest),
        };
        while let Some((_, further)) = rest.split_first().filter(|(name, _)| *name == "super") {
            full.pop();
            rest = further;
        }
        Some([full.as_slice(), rest].concat())
    }

    /// The longest beginning of a path that is a module with a file.
    fn deepest(&self, path: &[String]) -> Module {
        let lengths = (0..=path.len()).rev();
        let mut beginnings = lengths.map(|length| path[..length].to_vec());
        beginnings
            .find(|beginning| self.modules.contains(beginning))
            .unwrap_or_default()
    }

    /// The modules that a path leads through: the one that it names, and those that re-export leads to.
    fn led_through(&self, path: Module) -> Vec<Module> {
        let (mut path, mut modules) = (path, Vec::new());
        for _hop in 0..32 {
            let module = self.deepest(&path);
            let name = path.get(module.len()).cloned().unwrap_or_default();
            modules.push(module.clone());
            match self.aliases.get(&(module, name)).filter(|from| **from != path) {
                Some(from) => path = from.clone(),
                None => break,
            }
        }
        modules
    }

    /// Who imports whom, with the place of the first import.
    fn imports(&self) -> BTreeMap<(Module, Module), String> {
        let mut imports = BTreeMap::new();
        for (name, (home, file)) in &self.files {
            for found in file.uses.iter().chain(&file.found) {
                let Some(full) = self.full(home, &found.names) else {
                    continue;
                };
                for to in self
                    .led_through(full)
                    .into_iter()
                    .filter(|to| !to.starts_with(home))
                {
                    let place = format!("src/{name}:{}", found.line);
                    imports.entry((home.clone(), to)).or_insert(place);
                }
            }
        }
        imports
    }
}

/// Everything in a tree that breaks the rules, in words.
fn violations(tree: &Tree) -> Vec<String> {
    let imports = Library::read(tree).imports();
    let floor = |module: &Module| {
        FLOORS
            .iter()
            .position(|floor| floor.contains(&module[0].as_str()))
    };
    let mut found = BTreeSet::new();
    // In every folder, the imports of siblings.
    let mut siblings: BTreeMap<Module, BTreeMap<(String, String), &String>> = BTreeMap::new();
    for module in tree
        .keys()
        .map(|file| module_of(file))
        .filter(|module| !module.is_empty())
    {
        if floor(&module).is_none() {
            found.insert(format!(
                "src/{}: it stands on no floor; give it one in FLOORS",
                module[0]
            ));
        }
    }
    for ((from, to), place) in imports.iter().filter(|((from, _), _)| !from.is_empty()) {
        let (from_name, to_name) = (from.join("::"), to.join("::"));
        if to.is_empty() {
            found.insert(format!(
                "{place}: `{from_name}` imports from lib.rs; name the module itself"
            ));
            continue;
        }
        let is_edge = floor(to) == Some(FLOORS.len() - 1);
        if from[0] != to[0] && (is_edge || floor(from) < floor(to)) {
            found.insert(format!(
                "{place}: `{from_name}` imports `{to_name}`, which stands above it"
            ));
        }
        let common = from
            .iter()
            .zip(to)
            .take_while(|(one, other)| one == other)
            .count();
        // Between two floors the rule above has the word.
        let are_siblings = common > 0 || floor(from) == floor(to);
        if let (Some(one), Some(other)) = (from.get(common), to.get(common))
            && are_siblings
        {
            let folder = siblings.entry(from[..common].to_vec()).or_default();
            folder.entry((one.clone(), other.clone())).or_insert(place);
        }
    }
    for (folder, mut edges) in siblings {
        // Whoever imports nobody that is left is in no circle; what stays in the end are circles and the way to them.
        while let Some(loose) = edges
            .keys()
            .find(|(_, to)| !edges.keys().any(|(from, _)| from == to))
            .cloned()
        {
            edges.remove(&loose);
        }
        let steps: Vec<_> = edges
            .iter()
            .map(|((from, to), place)| format!("\n  {place}: {from} -> {to}"))
            .collect();
        if !steps.is_empty() {
            found.insert(format!(
                "src/{}: a circle of siblings{}",
                folder.join("/"),
                steps.concat()
            ));
        }
    }
    found.into_iter().collect()
}

/// The Rust files below a folder.
fn collect(root: &Path, folder: &Path, tree: &mut Tree) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, tree);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_string_lossy()
                .replace('\\', "/");
            tree.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn the_modules_of_the_library_keep_to_their_floors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut tree = Tree::new();
    collect(&root, &root, &mut tree);
    assert!(Library::read(&tree).imports().len() > 300, "the guard is blind");
    let violations = violations(&tree);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// What a simulation does to the code stands in one place, and everything else is compiled alike with it and without.
#[test]
fn faults_go_through_one_seam() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut tree = Tree::new();
    collect(&root, &root, &mut tree);
    // Words of the library, the seam, and the bugs that can be planted into the ledger, which stands below the seam.
    let places = ["lib.rs", "sim/", "protocol/faults", "rules/ledger/plants.rs"];
    let knows = |(name, text): &(&String, &String)| {
        text.contains("feature = \"sim\"") && !places.iter().any(|place| name.starts_with(place))
    };
    let others: Vec<_> = tree.iter().filter(knows).map(|(name, _)| name).collect();
    assert!(others.is_empty(), "{others:?}");
}

/// A sound tree with one file changed.
fn tree(name: &str, text: &str) -> Tree {
    let sound = [
        ("lib.rs", "pub mod words; pub mod rules; pub use words::Job;"),
        ("words/mod.rs", "mod job; mod id; pub use job::Job;"),
        ("words/job.rs", "use super::id::Id; pub struct Job(Id);"),
        ("words/id.rs", "pub struct Id;"),
        ("rules/mod.rs", "pub mod store; use crate::words::Job;"),
        ("rules/store.rs", "use crate::words::{Job, id::{self, Id}};"),
        ("protocol/mod.rs", "use crate::{rules::store, words};"),
        ("actors/mod.rs", "mod queue; mod supervisor;"),
        (
            "actors/queue.rs",
            "use crate::protocol; fn f() { crate::rules::store::g() }",
        ),
        ("actors/supervisor/mod.rs", "use super::queue::Queue;"),
        ("config_file.rs", "use crate::words::Job;"),
    ];
    let changed = [(name, text)];
    let files = sound.iter().chain(&changed);
    files
        .map(|(name, text)| (name.to_string(), text.to_string()))
        .collect()
}

#[test]
fn the_guard_sees_every_way_to_break_the_rules() {
    let above = "imports `rules::store`, which stands above it";
    for (name, text, expected) in [
        (
            "words/key.rs",
            "//! A key.\n\nuse crate::rules::store::Store;",
            above,
        ),
        ("words/key.rs", "use super::super::rules::store;", above),
        (
            "words/key.rs",
            "use crate::{\n  words::{Job},\n  rules::{store::{self as q}},\n};",
            "key.rs:3: ",
        ),
        (
            "words/key.rs",
            "fn f() { let _ = <X as crate::rules::store::T>::g(); }",
            above,
        ),
        (
            "words/key.rs",
            "macro_rules! m { () => { $crate::rules::store::g() } }",
            above,
        ),
        ("words/key.rs", "use crate::rules::store::*;", above),
        ("words/key.rs", "pub use crate::rules::store as s;", above),
        ("words/key.rs", "use crate::Job;", "imports from lib.rs"),
        ("words/key.rs", "use crate::*;", "imports from lib.rs"),
        (
            "group/x.rs",
            "use crate::config_file::F;",
            "imports `config_file`",
        ),
        (
            "testing/x.rs",
            "use crate::config_file::F;",
            "imports `config_file`",
        ),
        (
            "actors/queue.rs",
            "use super::supervisor::S;",
            "src/actors: a circle of siblings\n  src/actors/queue.rs:1",
        ),
        (
            "actors/queue.rs",
            "use crate::actors; fn f() { actors::supervisor::g() }",
            "src/actors: a circle",
        ),
        (
            "words/id.rs",
            "use crate::words::job::Job;",
            "src/words: a circle",
        ),
        // `super::Job` is `words::job::Job`, and `job` imports `id`.
        ("words/id.rs", "fn f(_: super::Job) {}", "src/words: a circle"),
        (
            "words/id.rs",
            "use crate::words::{self, Job as J};",
            "src/words: a circle",
        ),
        ("helpers/mod.rs", "", "src/helpers: it stands on no floor"),
    ] {
        let violations = violations(&tree(name, text));
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
        "pub(crate) struct A; pub(super) struct B; pub(in crate::words) struct C;",
    ] {
        assert_eq!(violations(&tree("words/key.rs", text)), Vec::<String>::new());
    }
    let mut tree = tree("words/key.rs", "#[cfg(test)]\nmod tests;");
    tree.insert(
        "words/key/tests.rs".to_owned(),
        "use crate::rules::store;".to_owned(),
    );
    assert_eq!(violations(&tree), Vec::<String>::new());
}
