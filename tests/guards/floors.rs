//! The guard of the floors: a module imports from floors below its own and from siblings, the siblings of a folder form no
//! circle, and nothing but `lib.rs` and the public face imports an edge. A module and the modules below it are one.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{Module, Tree, imports, library, module_of};

/// The floors, from the ground up; the last ones are the edges and the public face. A new module at the top of the library is
/// placed here.
const FLOORS: [&[&str]; 7] = [
    &["types"],
    &["codec", "rules"],
    &["protocol"],
    &["actors"],
    &["group"],
    &["bin", "config_file", "durable", "sim", "testing", "tower"],
    &["face"],
];
const EDGES: Option<usize> = Some(FLOORS.len() - 2);

/// The imports within one folder, with the place of each.
type Edges = BTreeMap<(String, String), String>;

fn floor_of(module: &Module) -> Option<usize> {
    let top = module.first()?;
    FLOORS.iter().position(|floor| floor.contains(&top.as_str()))
}

/// Everything in a tree that breaks the rules, in words.
pub(super) fn violations(tree: &Tree) -> BTreeSet<String> {
    let modules = tree.keys().map(|file| module_of(file));
    let unplaced = modules.filter(|module| !module.is_empty() && floor_of(module).is_none());
    let mut found: BTreeSet<String> = unplaced
        .map(|module| format!("src/{}: it stands on no floor; give it one in FLOORS", module[0]))
        .collect();
    let mut siblings: BTreeMap<Module, Edges> = BTreeMap::new();
    for ((from, to), place) in imports(tree) {
        let says = |what: &str| format!("{place}: `{}` imports {what}", from.join("::"));
        let (floor, below) = (floor_of(&from), floor_of(&to));
        if from.is_empty() {
            continue;
        } else if to.is_empty() {
            found.insert(says("from lib.rs; name the module itself"));
            continue;
        } else if from[0] != to[0] && (below == EDGES && floor == EDGES || floor < below) {
            found.insert(says(&format!("`{}`, which stands above it", to.join("::"))));
        }
        let common = from.iter().zip(&to).take_while(|(one, other)| one == other);
        let common = common.count();
        // Between two floors the rule above has the word.
        let are_siblings = common > 0 || floor == below;
        if let (true, Some(one), Some(other)) = (are_siblings, from.get(common), to.get(common)) {
            let folder = siblings.entry(from[..common].to_vec()).or_default();
            folder.entry((one.clone(), other.clone())).or_insert(place);
        }
    }
    found.extend(
        siblings
            .into_iter()
            .filter_map(|(folder, edges)| circle(&folder.join("/"), edges)),
    );
    found
}

/// The circles in a folder, if there are any.
fn circle(folder: &str, mut edges: Edges) -> Option<String> {
    // Whoever imports nobody that is left is in no circle; what stays in the end are circles and the way to them.
    let is_loose = |edges: &Edges, to: &str| !edges.keys().any(|(from, _)| from == to);
    while let Some(loose) = edges.keys().find(|(_, to)| is_loose(&edges, to)).cloned() {
        edges.remove(&loose);
    }
    let steps = edges
        .iter()
        .map(|((from, to), place)| format!("\n  {place}: {from} -> {to}"));
    let steps: String = steps.collect();
    (!steps.is_empty()).then(|| format!("src/{folder}: a circle of siblings{steps}"))
}

#[test]
fn the_modules_of_the_library_keep_to_their_floors() {
    let tree = library();
    assert!(imports(&tree).len() > 300, "the guard is blind");
    let violations: Vec<_> = violations(&tree).into_iter().collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// What a simulation does to the code stands in one place, and everything else is compiled alike with it and without.
#[test]
fn faults_go_through_one_seam() {
    // Words of the library, the seam, and the bugs that can be planted into the ledger, which stands below the seam.
    let places = ["lib.rs", "sim/", "protocol/faults", "rules/ledger/plants.rs"];
    let is_elsewhere = |name: &str| !places.iter().any(|place| name.starts_with(place));
    let mut tree = library();
    tree.retain(|name, text| is_elsewhere(name) && text.contains("feature = \"sim\""));
    assert!(tree.is_empty(), "{:?}", tree.keys());
}
