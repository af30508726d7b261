//! Who imports whom in the library. Paths are found by their shape, `crate::name`, wherever they stand; a name that a module
//! re-exports leads on to the module that it comes from. What is compiled for tests only does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A path from the root of the library: `["actors", "queue"]`. Empty for lib.rs.
pub(super) type Module = Vec<String>;

/// The sources of a library: paths below `src` and their text.
pub(super) type Tree = BTreeMap<String, String>;

/// The sources of this library.
pub(super) fn library() -> Tree {
    fn collect(root: &Path, folder: &Path, tree: &mut Tree) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(root, &path, tree);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_string_lossy();
                tree.insert(name.replace('\\', "/"), std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut tree = Tree::new();
    collect(&root, &root, &mut tree);
    tree
}

/// The module that a file holds: `actors/mod.rs` and `actors.rs` are both `actors`.
pub(super) fn module_of(file: &str) -> Module {
    let names = file.trim_end_matches(".rs").split('/').map(str::to_owned);
    let mut module: Module = names.collect();
    module.pop_if(|last| last == "mod" || last == "lib");
    module
}

/// The code of a file without comments and tests, and the names of its modules that are compiled for tests only.
fn code_and_tests(text: &str) -> (String, Vec<&str>) {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let pieces = text.split("#[cfg(test)]\n").skip(1);
    let tests = pieces.filter_map(|piece| piece.lines().next()?.split_once("mod ")?.1.strip_suffix(';'));
    let code = text
        .lines()
        .flat_map(|line| [line.split("//").next().unwrap_or_default(), "\n"]);
    (code.collect(), tests.collect())
}

/// Collects the paths that begin here, through braces, each with the name by which a `use` makes it known. What is behind
/// them is given back.
fn expand<'t>(text: &'t str, before: &[&'t str], into: &mut Vec<(Vec<&'t str>, &'t str)>) -> &'t str {
    let word = |text: &'t str| {
        let is_end = |sign: char| !sign.is_alphanumeric() && sign != '_';
        text.split_at(text.find(is_end).unwrap_or(text.len()))
    };
    let text = text.trim_start();
    if let Some(mut inner) = text.strip_prefix('{') {
        while !inner.is_empty() && !inner.starts_with('}') {
            inner = expand(inner, before, into).trim_start_matches([' ', '\n', ',']);
        }
        return inner.strip_prefix('}').unwrap_or_default();
    }
    let (name, mut rest) = word(text);
    let mut names = before.to_vec();
    names.extend(Some(name).filter(|name| *name != "self" || before.is_empty()));
    if let Some(below) = rest.strip_prefix("::") {
        return expand(below, &names, into);
    }
    let mut alias = names.last().copied().unwrap_or_default();
    if let Some(renamed) = rest.strip_prefix(" as ") {
        (alias, rest) = word(renamed);
    } else if name.is_empty() {
        rest = rest.trim_start_matches(|sign| !",}".contains(sign));
    }
    into.push((names, alias));
    rest
}

/// The paths in a code that begin so, each with the name by which a `use` makes it known, and with their line.
fn paths<'c>(code: &'c str, begin: &str) -> Vec<(Vec<&'c str>, &'c str, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(begin) {
        let before = &code[..at];
        // `pub(in crate::types)` imports nothing.
        let is_inside = |sign: char| sign.is_alphanumeric() || matches!(sign, '_' | ':');
        if !before.ends_with(is_inside) && !before.ends_with("(in ") {
            let (mut paths, line) = (Vec::new(), before.matches('\n').count() + 1);
            expand(code[at..].trim_start_matches("use "), &[], &mut paths);
            found.extend(paths.into_iter().map(|(names, alias)| (names, alias, line)));
        }
    }
    found
}

fn below(module: &[String], name: &str) -> Module {
    [module, &[name.to_owned()]].concat()
}

/// A path counted from the root of the library, if it is one of ours.
fn full(modules: &BTreeSet<Module>, home: &Module, names: &[&str]) -> Option<Module> {
    let ups = names.iter().take_while(|name| **name == "super").count();
    let (outer, rest) = match *names.first()? {
        "crate" => (&[][..], &names[1..]),
        "self" => (&home[..], &names[1..]),
        "super" => (&home[..home.len().checked_sub(ups)?], &names[ups..]),
        child => (&home[..], modules.contains(&below(home, child)).then_some(names)?),
    };
    Some(rest.iter().fold(outer.to_vec(), |path, name| below(&path, name)))
}

/// Who imports whom, with the place of the first import.
pub(super) fn imports(tree: &Tree) -> BTreeMap<(Module, Module), String> {
    let mut codes = BTreeMap::new();
    let mut tests = Vec::new();
    for (name, text) in tree {
        let (home, (code, own_tests)) = (module_of(name), code_and_tests(text));
        tests.extend(own_tests.iter().map(|test| below(&home, test)));
        codes.insert(home, (name, code));
    }
    codes.retain(|home, _| !tests.iter().any(|test| home.starts_with(test)));
    let modules: BTreeSet<Module> = codes.keys().cloned().collect();
    let (mut aliases, mut found) = (BTreeMap::new(), Vec::new());
    for (home, (name, code)) in &codes {
        for begin in ["use ", "crate::", "super::", "self::"] {
            for (names, alias, line) in paths(code, begin) {
                let Some(path) = full(&modules, home, &names) else {
                    continue;
                };
                if begin == "use " {
                    aliases.insert(below(home, alias), path.clone());
                }
                found.push((home, path, format!("src/{name}:{line}")));
            }
        }
    }
    let mut imports = BTreeMap::new();
    for (home, mut path, place) in found {
        // A path leads through the module that it names, and through those that re-exports lead to.
        for _hop in 0..32 {
            let is_module = |length: &usize| modules.contains(&path[..*length]);
            let length = (0..=path.len()).rev().find(is_module).unwrap_or_default();
            let module = path[..length].to_vec();
            if !module.starts_with(home) {
                imports.entry((home.clone(), module)).or_insert(place.clone());
            }
            let alias = path.get(..=length).and_then(|name| aliases.get(name));
            match alias.filter(|from| **from != path) {
                Some(from) => path = from.clone(),
                None => break,
            }
        }
    }
    imports
}
