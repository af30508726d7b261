//! The guard of the floors: the module graph of the library stays a directed graph without cycles.
//!
//! ```text
//! edges      config_file, durable, testing nothing but lib.rs imports them
//! group      builder, handle, producers
//! actors     thin shells
//! protocol   messages and roles
//! rules      pure decisions
//! words      plain data
//! ```
//!
//! A file imports from floors below its own and from siblings in its own floor; the siblings form a graph without cycles
//! too, in every folder. The sources are read as Rust, so a `use`, a path in the code, in an attribute and in a macro call
//! all count, and a name that a sibling re-exports counts as an import of the module that it comes from. Comments and
//! `#[cfg(test)]` modules do not count. A module and the modules below it are one: they may import each other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;

/// The floors, from the ground up. A module at the top of the library that is not listed here is a failure, so that a new
/// one is placed with a thought.
const FLOORS: [&[&str]; 6] = [
    &["words"],
    &["rules"],
    &["protocol"],
    &["actors"],
    &["group"],
    &["bin", "config_file", "durable", "sim", "testing"],
];

/// The floor whose modules nothing but lib.rs may import.
const EDGES: usize = 5;

/// A module of the library, as a path: `["actors", "queue"]`. Empty for lib.rs.
type Module = Vec<String>;

/// One import: who, in which line, of what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    file: String,
    line: usize,
    from: Module,
    to: Module,
}

/// The sources of a library: paths below `src` and their text.
type Tree = BTreeMap<String, String>;

#[test]
fn the_modules_of_the_library_keep_to_their_floors() {
    let tree = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(tree.contains_key("lib.rs"), "the sources were not found");
    let imports = imports(&tree);
    assert!(!imports.is_empty(), "no import was found: the guard is blind");
    let violations = violations(&tree);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// Everything in a tree that breaks the rules, in words.
fn violations(tree: &Tree) -> Vec<String> {
    let imports = imports(tree);
    let mut found = BTreeSet::new();
    for module in tree.keys().filter_map(|file| module_of(file).into_iter().next()) {
        if floor_of(&module).is_none() {
            found.insert(format!(
                "src/{module}: this module stands on no floor; give it one in FLOORS of tests/floors.rs"
            ));
        }
    }
    for import in &imports {
        found.extend(wrong_floor(import));
    }
    for circle in circles(tree, &imports) {
        found.insert(circle);
    }
    found.into_iter().collect()
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn wrong_floor(import: &Import) -> Option<String> {
    let from = import.from.first()?;
    let place = format!("src/{}:{}", import.file, import.line);
    let Some(to) = import.to.first() else {
        return Some(format!(
            "{place}: `{from}` imports from lib.rs, which stands above all floors; name the module itself"
        ));
    };
    let (own, other) = (floor_of(from)?, floor_of(to)?);
    if from == to {
        None
    } else if other == EDGES {
        Some(format!(
            "{place}: `{from}` imports the edge `{to}`; nothing but lib.rs may"
        ))
    } else if other > own {
        Some(format!(
            "{place}: `{from}` (floor {}) imports `{to}` (floor {}), which stands above it",
            own + 1,
            other + 1
        ))
    } else {
        None
    }
}

/// Circles among siblings: in every folder, a module stands for all files below it.
fn circles(tree: &Tree, imports: &[Import]) -> Vec<String> {
    let folders: BTreeSet<Module> = tree
        .keys()
        .flat_map(|file| {
            let module = module_of(file);
            (0..module.len()).map(move |depth| module[..depth].to_vec())
        })
        .collect();
    let mut found = Vec::new();
    for folder in folders {
        let sibling = |module: &Module| {
            let (above, rest) = module.split_at_checked(folder.len())?;
            (above == folder.as_slice())
                .then(|| rest.first().cloned())
                .flatten()
        };
        let mut edges: BTreeMap<String, BTreeMap<String, &Import>> = BTreeMap::new();
        for import in imports {
            if let (Some(from), Some(to)) = (sibling(&import.from), sibling(&import.to))
                && from != to
                // At the top the floors have the word; here only the modules of one floor are left to look at.
                && (!folder.is_empty() || floor_of(&from) == floor_of(&to))
            {
                edges.entry(from).or_default().entry(to).or_insert(import);
            }
        }
        if let Some(circle) = circle(&edges) {
            let steps: Vec<String> = circle
                .iter()
                .map(|import| {
                    format!(
                        "  src/{}:{} imports `{}`",
                        import.file,
                        import.line,
                        import.to.join("::")
                    )
                })
                .collect();
            let place = if folder.is_empty() {
                "src".to_owned()
            } else {
                format!("src/{}", folder.join("/"))
            };
            found.push(format!("{place}: a circle of siblings:\n{}", steps.join("\n")));
        }
    }
    found
}

/// One circle of a graph, if there is one, as the imports along it.
fn circle<'i>(edges: &BTreeMap<String, BTreeMap<String, &'i Import>>) -> Option<Vec<&'i Import>> {
    fn walk<'i>(
        at: &str,
        edges: &BTreeMap<String, BTreeMap<String, &'i Import>>,
        path: &mut Vec<(String, &'i Import)>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<&'i Import>> {
        for (next, import) in edges.get(at).into_iter().flatten() {
            path.push((at.to_owned(), import));
            if let Some(start) = path.iter().position(|(name, _)| name == next) {
                return Some(path[start..].iter().map(|(_, import)| *import).collect());
            }
            if !done.contains(next)
                && let Some(circle) = walk(next, edges, path, done)
            {
                return Some(circle);
            }
            path.pop();
        }
        done.insert(at.to_owned());
        None
    }
    let mut done = BTreeSet::new();
    edges
        .keys()
        .find_map(|start| walk(start, edges, &mut Vec::new(), &mut done))
}

/// The module that a file holds: `actors/mod.rs` and `actors.rs` are both `actors`.
fn module_of(file: &str) -> Module {
    let path = file.trim_end_matches(".rs");
    let mut module: Module = path.split('/').map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
        module.pop();
    }
    module
}

/// What one file says about names.
struct Source {
    home: Module,
    reader: Reader,
}

/// All files of a library, read.
struct Library {
    sources: BTreeMap<String, Source>,
    modules: BTreeSet<Module>,
    /// For each module, the names that a `use` brings in, and the path it brings them from.
    aliases: BTreeMap<Module, BTreeMap<String, Module>>,
    /// For each module, the modules that it takes everything from.
    globs: BTreeMap<Module, Vec<Module>>,
    /// For each module, the names that are written down in its file.
    items: BTreeMap<Module, BTreeSet<String>>,
}

impl Library {
    fn read(tree: &Tree) -> Self {
        let mut library = Self {
            sources: BTreeMap::new(),
            modules: tree.keys().map(|file| module_of(file)).collect(),
            aliases: BTreeMap::new(),
            globs: BTreeMap::new(),
            items: BTreeMap::new(),
        };
        for (file, text) in tree {
            let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("src/{file}: {error}"));
            let mut reader = Reader::default();
            reader.visit_file(&parsed);
            let home = module_of(file);
            for (path, alias) in &reader.uses {
                if let Some(full) = library.resolve(&home, path) {
                    library
                        .aliases
                        .entry(home.clone())
                        .or_default()
                        .insert(alias.clone(), full);
                }
            }
            for path in &reader.globs {
                if let Some(full) = library.resolve(&home, path) {
                    library.globs.entry(home.clone()).or_default().push(full);
                }
            }
            library
                .items
                .insert(home.clone(), reader.items.iter().cloned().collect());
            library.sources.insert(file.clone(), Source { home, reader });
        }
        let tests: Vec<Module> = library
            .sources
            .values()
            .flat_map(|source| {
                let below = |name: &String| [source.home.as_slice(), std::slice::from_ref(name)].concat();
                source.reader.tests.iter().map(below)
            })
            .collect();
        library
            .sources
            .retain(|_, source| !tests.iter().any(|test| source.home.starts_with(test)));
        library
    }

    /// A path counted from the root of the library, if it is a path of ours: it begins with `crate`, `self` or `super`,
    /// or with a module below this one.
    fn resolve(&self, home: &Module, path: &Found) -> Option<Module> {
        let mut here = home.clone();
        here.extend_from_slice(&path.inside);
        let (first, rest) = path.names.split_first()?;
        let (mut full, mut rest) = match first.as_str() {
            "crate" => (Vec::new(), rest),
            "self" => (here, rest),
            "super" => (here, path.names.as_slice()),
            child => {
                here.push(child.to_owned());
                return self
                    .modules
                    .contains(&here)
                    .then(|| [here.as_slice(), rest].concat());
            }
        };
        while let Some(("super", further)) =
            rest.split_first().map(|(name, further)| (name.as_str(), further))
        {
            full.pop();
            rest = further;
        }
        Some([full.as_slice(), rest].concat())
    }

    /// The module that a path leads to in the end: re-exports are followed, so that `super::Job` is known to come from
    /// the sibling `job`.
    fn origin(&self, path: &[String]) -> Module {
        let mut path = path.to_vec();
        for _hop in 0..32 {
            let module = self.deepest(&path);
            let Some((name, rest)) = path[module.len()..].split_first() else {
                return module;
            };
            let alias = self
                .aliases
                .get(&module)
                .and_then(|aliases| aliases.get(name))
                .cloned();
            let through_glob = || {
                self.globs.get(&module)?.iter().find_map(|from| {
                    let there = self.deepest(from);
                    let known = self.items.get(&there).is_some_and(|items| items.contains(name))
                        || self
                            .aliases
                            .get(&there)
                            .is_some_and(|aliases| aliases.contains_key(name));
                    known.then(|| [there.as_slice(), std::slice::from_ref(name)].concat())
                })
            };
            match alias.or_else(through_glob) {
                Some(from) if from != path => path = [from.as_slice(), rest].concat(),
                _ => return module,
            }
        }
        self.deepest(&path)
    }

    /// The longest beginning of a path that is a module with a file.
    fn deepest(&self, path: &[String]) -> Module {
        (0..=path.len())
            .rev()
            .map(|length| path[..length].to_vec())
            .find(|beginning| self.modules.contains(beginning))
            .unwrap_or_default()
    }
}

/// Every import of one module of the tree by another.
fn imports(tree: &Tree) -> Vec<Import> {
    let library = Library::read(tree);
    let mut found = Vec::new();
    for (file, Source { home, reader }) in &library.sources {
        let uses = reader.uses.iter().map(|(path, _)| path);
        for path in reader.paths.iter().chain(&reader.globs).chain(uses) {
            // A path may also begin with a name that a `use` brought in: `use crate::rules; rules::store::f()`.
            let through_alias = || {
                let (first, rest) = path.names.split_first()?;
                let from = library.aliases.get(home)?.get(first)?;
                Some([from.as_slice(), rest].concat())
            };
            let Some(full) = library.resolve(home, path).or_else(through_alias) else {
                continue;
            };
            // The module that is named, and the one that a re-export leads to.
            for to in [library.deepest(&full), library.origin(&full)] {
                found.push(Import {
                    file: file.clone(),
                    line: path.line,
                    from: home.clone(),
                    to,
                });
            }
        }
    }
    // A file that names itself or its own children (`mod`, `pub use`) imports nothing.
    found.retain(|import| !import.to.starts_with(&import.from));
    found.sort();
    found.dedup();
    found
}

/// A path in a file, with the inline modules around it.
struct Found {
    names: Vec<String>,
    line: usize,
    inside: Vec<String>,
}

/// Collects every path of a file.
#[derive(Default)]
struct Reader {
    /// Paths in the code.
    paths: Vec<Found>,
    /// Paths of `use`, with the name that each brings in.
    uses: Vec<(Found, String)>,
    /// Paths of `use` that end in a star.
    globs: Vec<Found>,
    /// Modules with a file of their own that are compiled for tests only.
    tests: Vec<String>,
    /// Names of the items of the file itself.
    items: Vec<String>,
    inside: Vec<String>,
}

impl Reader {
    fn collect_use(&mut self, before: &[String], tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => {
                let mut names = before.to_vec();
                names.push(path.ident.to_string());
                self.collect_use(&names, &path.tree);
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.collect_use(before, tree);
                }
            }
            syn::UseTree::Name(name) => self.push_use(before, &name.ident, &name.ident),
            syn::UseTree::Rename(rename) => self.push_use(before, &rename.ident, &rename.rename),
            syn::UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                self.globs.push(Found {
                    names: before.to_vec(),
                    line,
                    inside: self.inside.clone(),
                });
            }
        }
    }

    fn push_use(&mut self, before: &[String], ident: &syn::Ident, alias: &syn::Ident) {
        let mut names = before.to_vec();
        let mut alias = alias.to_string();
        if ident == "self" {
            // `use crate::rules::{self}` brings in `rules`.
            alias = before.last().cloned().unwrap_or_default();
        } else {
            names.push(ident.to_string());
        }
        let found = Found {
            names,
            line: ident.span().start().line,
            inside: self.inside.clone(),
        };
        self.uses.push((found, alias));
    }

    /// The tokens of a macro call are no parsed Rust; paths in them are found by their shape: name, `::`, name.
    fn collect_tokens(&mut self, tokens: &TokenStream) {
        let mut names: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
        for token in &tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.push_path(&mut names, line);
                    }
                    if names.is_empty() {
                        line = ident.span().start().line;
                    }
                    names.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.push_path(&mut names, line);
                    colons = 0;
                    self.collect_tokens(&group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.push_path(&mut names, line);
                    colons = 0;
                }
            }
        }
        self.push_path(&mut names, line);
    }

    fn push_path(&mut self, names: &mut Vec<String>, line: usize) {
        let names = std::mem::take(names);
        if names.len() > 1 {
            self.paths.push(Found {
                names,
                line,
                inside: self.inside.clone(),
            });
        }
    }
}

/// Whether an item is compiled for tests only: a test may look at anything.
fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("test"))
    })
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if is_test(&module.attrs) {
            self.tests.push(module.ident.to_string());
        } else {
            self.inside.push(module.ident.to_string());
            syn::visit::visit_item_mod(self, module);
            self.inside.pop();
        }
    }

    fn visit_item(&mut self, item: &'ast syn::Item) {
        let name = match item {
            syn::Item::Const(item) => Some(&item.ident),
            syn::Item::Enum(item) => Some(&item.ident),
            syn::Item::Fn(item) => Some(&item.sig.ident),
            syn::Item::Static(item) => Some(&item.ident),
            syn::Item::Struct(item) => Some(&item.ident),
            syn::Item::Trait(item) => Some(&item.ident),
            syn::Item::Type(item) => Some(&item.ident),
            syn::Item::Union(item) => Some(&item.ident),
            _ => None,
        };
        if self.inside.is_empty() {
            self.items.extend(name.map(ToString::to_string));
        }
        syn::visit::visit_item(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_test(&item.attrs) {
            self.collect_use(&[], &item.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        let line = path
            .segments
            .first()
            .map_or(0, |first| first.ident.span().start().line);
        self.paths.push(Found {
            names,
            line,
            inside: self.inside.clone(),
        });
        syn::visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _visibility: &'ast syn::Visibility) {
        // `pub(crate)` and `pub(super)` import nothing.
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.collect_tokens(&call.tokens);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.collect_tokens(&list.tokens);
        }
    }
}

/// The Rust files below a folder.
fn sources(root: &Path) -> Tree {
    fn walk(root: &Path, folder: &Path, tree: &mut Tree) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, tree);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().components();
                let name: Vec<_> = name.map(|part| part.as_os_str().to_string_lossy()).collect();
                tree.insert(name.join("/"), std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut tree = Tree::new();
    walk(root, root, &mut tree);
    tree
}

/// The guard itself: a violation is planted, and it has to be seen.
mod the_guard_bites {
    use super::{Tree, violations};

    fn tree(files: &[(&str, &str)]) -> Tree {
        let sound = [
            (
                "lib.rs",
                "pub mod words; pub mod rules; pub mod actors; pub use words::Job;",
            ),
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
        sound
            .iter()
            .chain(files)
            .map(|(name, text)| (name.to_string(), text.to_string()))
            .collect()
    }

    /// Puts one file into a sound tree and gives what the guard says of it.
    #[track_caller]
    fn seen(name: &str, text: &str, expected: &str) {
        let violations = violations(&tree(&[(name, text)]));
        assert!(
            violations.len() == 1 && violations[0].contains(expected),
            "expected one violation with {expected:?}, got {violations:#?}"
        );
    }

    #[test]
    fn a_sound_tree_is_left_alone() {
        assert_eq!(violations(&tree(&[])), Vec::<String>::new());
    }

    #[test]
    fn a_use_of_a_floor_above_is_seen_with_its_line() {
        seen(
            "words/key.rs",
            "//! A key.\n\nuse crate::rules::store::Store;",
            "src/words/key.rs:3: `words` (floor 1) imports `rules` (floor 2), which stands above it",
        );
    }

    #[test]
    fn a_use_inside_braces_is_seen() {
        seen(
            "rules/x.rs",
            "use crate::{\n  words::{Job},\n  actors::{queue::{self as q}},\n};",
            "src/rules/x.rs:3: `rules` (floor 2) imports `actors` (floor 4)",
        );
    }

    #[test]
    fn a_use_through_super_is_seen() {
        seen(
            "words/key.rs",
            "use super::super::rules::store;",
            "`words` (floor 1) imports `rules`",
        );
        seen(
            "rules/deep/inner.rs",
            "mod inline { use super::super::super::super::actors::queue; }",
            "`rules` (floor 2) imports `actors`",
        );
    }

    #[test]
    fn a_path_in_the_code_is_seen() {
        seen(
            "words/key.rs",
            "fn f() -> crate::rules::X { todo!() }",
            "`words` (floor 1) imports `rules`",
        );
        seen(
            "words/key.rs",
            "fn f() { let _ = <X as crate::rules::T>::g(); }",
            "imports `rules`",
        );
        seen("words/key.rs", "impl crate::rules::T for X {}", "imports `rules`");
    }

    #[test]
    fn a_path_inside_a_macro_call_is_seen() {
        seen(
            "words/key.rs",
            "fn f() { assert!(x, \"{}\", crate::rules::g()); }",
            "imports `rules`",
        );
        seen(
            "words/key.rs",
            "macro_rules! m { () => { $crate::rules::g() } }",
            "imports `rules`",
        );
    }

    #[test]
    fn a_glob_and_a_re_export_are_seen() {
        seen("words/key.rs", "use crate::rules::*;", "imports `rules`");
        seen(
            "words/key.rs",
            "pub use crate::rules::store as s;",
            "imports `rules`",
        );
    }

    #[test]
    fn an_import_from_the_root_of_the_library_is_seen() {
        seen("words/key.rs", "use crate::Job;", "`words` imports from lib.rs");
        seen("words/key.rs", "use crate::*;", "`words` imports from lib.rs");
    }

    #[test]
    fn an_import_of_an_edge_is_seen_even_from_above() {
        seen(
            "group/x.rs",
            "use crate::config_file::F;",
            "`group` imports the edge `config_file`",
        );
        seen(
            "testing/x.rs",
            "use crate::config_file::F;",
            "`testing` imports the edge `config_file`",
        );
    }

    #[test]
    fn a_circle_of_siblings_is_seen_with_every_step() {
        seen(
            "actors/queue.rs",
            "use super::supervisor::S;",
            "src/actors: a circle of siblings:\n  src/actors/queue.rs:1 imports `actors::supervisor`\n  \
             src/actors/supervisor/mod.rs:1 imports `actors::queue`",
        );
        seen(
            "words/id.rs",
            "use crate::words::job::Job;",
            "src/words: a circle of siblings",
        );
    }

    #[test]
    fn a_circle_through_three_siblings_is_seen() {
        let files = [
            ("rules/a.rs", "use super::b;"),
            ("rules/b.rs", "use super::c::X;"),
            ("rules/c.rs", "fn f() { super::a::g() }"),
        ];
        let violations = violations(&tree(&files));
        assert_eq!(violations.len(), 1, "{violations:#?}");
        assert_eq!(violations[0].lines().count(), 4, "{violations:#?}");
    }

    #[test]
    fn a_circle_through_a_re_export_is_seen() {
        // `super::Job` is `words::job::Job`, and `job` imports `id`.
        seen(
            "words/id.rs",
            "use super::Job;",
            "src/words: a circle of siblings",
        );
        seen(
            "words/id.rs",
            "fn f(_: super::Job) {}",
            "src/words: a circle of siblings",
        );
        seen(
            "words/id.rs",
            "use crate::words::{self, Job as J};",
            "src/words: a circle of siblings",
        );
        let files = [
            ("words/mod.rs", "mod job; mod id; pub use job::*;"),
            ("words/id.rs", "use super::Job;"),
        ];
        assert_eq!(violations(&tree(&files)).len(), 1);
    }

    #[test]
    fn a_circle_through_an_imported_module_name_is_seen() {
        seen(
            "actors/queue.rs",
            "use crate::actors; fn f() { actors::supervisor::g() }",
            "src/actors: a circle of siblings",
        );
    }

    #[test]
    fn a_module_without_a_floor_is_seen() {
        seen(
            "helpers/mod.rs",
            "",
            "src/helpers: this module stands on no floor",
        );
    }

    #[test]
    fn a_test_module_may_look_at_anything() {
        let text = "#[cfg(test)] mod tests { use crate::rules::store; }";
        assert_eq!(violations(&tree(&[("words/key.rs", text)])), Vec::<String>::new());
        let files = [
            ("words/key.rs", "#[cfg(test)] mod tests;"),
            ("words/key/tests.rs", "use crate::rules::store;"),
        ];
        assert_eq!(violations(&tree(&files)), Vec::<String>::new());
    }

    #[test]
    fn visibility_imports_nothing() {
        let text = "pub(crate) struct A; pub(super) struct B; pub(in crate::words) struct C;";
        assert_eq!(violations(&tree(&[("words/key.rs", text)])), Vec::<String>::new());
    }
}
