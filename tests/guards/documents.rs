//! The guard of the documents: the links, paths and examples that README and docs/ name exist, and each guarantee has a
//! chapter and a file of tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that a path in code marks can begin with.
const TOP: [&str; 7] = [
    "src/",
    "tests/",
    "docs/",
    "examples/",
    "benches/",
    "scripts/",
    ".ci/",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files in a folder, by their path from the root.
fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name());
    names.map(|name| Path::new(folder).join(name)).collect()
}

/// What stands between these two marks.
fn between<'t>(text: &'t str, open: &str, close: &str) -> Vec<&'t str> {
    let pieces = text.split(open).skip(1);
    pieces.filter_map(|piece| piece.split(close).next()).collect()
}

/// The headings of a page, as they are written in links to them.
fn anchors(text: &str) -> Vec<String> {
    let is_kept = |sign: &char| sign.is_alphanumeric() || matches!(sign, '-' | '_');
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let names = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    names
        .map(|name| name.replace(' ', "-").chars().filter(is_kept).collect())
        .collect()
}

/// Everything in a page that is named and is not there.
fn missing_in(page: &Path, text: &str) -> Vec<String> {
    let mut missing = Vec::new();
    for target in between(text, "](", ")")
        .into_iter()
        .filter(|target| !target.contains("://"))
    {
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let aim = if path.is_empty() {
            page.to_owned()
        } else {
            page.parent().unwrap().join(path)
        };
        let there = if path.is_empty() {
            text.to_owned()
        } else {
            fs::read_to_string(root().join(&aim)).unwrap_or_default()
        };
        let is_there = path.is_empty() || root().join(&aim).exists();
        if !is_there || !(anchor.is_empty() || anchors(&there).iter().any(|heading| heading == anchor)) {
            missing.push(target.to_owned());
        }
    }
    let prose: Vec<&str> = text.split("```").step_by(2).collect();
    for code in prose.iter().flat_map(|prose| prose.split('`').skip(1).step_by(2)) {
        let is_path = TOP.iter().any(|top| code.starts_with(top)) && !code.contains([' ', '*', '…']);
        if is_path && !root().join(code).exists() {
            missing.push(code.to_owned());
        }
    }
    for rest in text.split("--example ").skip(1) {
        let name = rest
            .split(|sign: char| !sign.is_alphanumeric() && sign != '_')
            .next()
            .unwrap_or_default();
        let example = root().join("examples").join(name);
        if !example.join("main.rs").exists() && !example.with_extension("rs").exists() {
            missing.push(format!("--example {name}"));
        }
    }
    missing
}

#[test]
fn everything_that_the_documents_name_exists() {
    let mut pages = files("docs");
    pages.retain(|page| page.extension().is_some_and(|kind| kind == "md"));
    assert!(pages.len() > 5, "the pages were not found");
    for page in pages
        .into_iter()
        .chain(["README.md", "README.zh-CN.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(PathBuf::from))
    {
        let text = fs::read_to_string(root().join(&page)).unwrap();
        assert_eq!(
            missing_in(&page, &text),
            Vec::<String>::new(),
            "{}",
            page.display()
        );
    }
}

#[test]
fn the_readme_can_be_read_in_two_minutes_and_pasted() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() <= 120, "{} lines", readme.lines().count());
    // A line of code that the compiler sees and the page would hide begins so.
    let is_hidden = |line: &str| line == "#" || line.starts_with("# ") && line != "# consumer-group";
    assert!(!readme.lines().any(is_hidden));
}

/// What two versions of a page in two languages have in common: where headings and rows of tables stand, and the code without
/// its comments.
fn skeleton(page: &str) -> Vec<&str> {
    let mut is_code = false;
    let kept = page.lines().filter_map(|line| {
        if line.starts_with("```") {
            is_code = !is_code;
            return Some(line);
        }
        if is_code {
            return Some(line.split(" // ").next().unwrap_or_default());
        }
        line.starts_with('#')
            .then(|| line.split(' ').next().unwrap_or_default())
    });
    kept.collect()
}

/// The targets of the links of a page, but for the one to the page in another language.
fn links(page: &str) -> Vec<&str> {
    let targets = between(page, "](", ")").into_iter();
    targets.filter(|target| !target.starts_with("README")).collect()
}

#[test]
fn the_readme_in_chinese_says_what_the_readme_says() {
    use sha2::{Digest as _, Sha256};

    let read = |page: &str| fs::read_to_string(root().join(page)).unwrap();
    let (english, chinese) = (read("README.md"), read("README.zh-CN.md"));
    assert_eq!(skeleton(&chinese), skeleton(&english));
    assert_eq!(links(&chinese), links(&english));
    let mark = format!(
        "<!-- README.md: {} -->",
        hex::encode(Sha256::digest(english.as_bytes()))
    );
    assert!(
        chinese.contains(&mark),
        "README.md has moved on. Make README.zh-CN.md say the same, then put this at its end: {mark}"
    );
}

#[test]
fn each_guarantee_has_a_chapter_that_names_its_file_of_tests() {
    let page = fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let chapters = page
        .split("\n## ")
        .map(|chapter| (chapter.split_once(". "), chapter));
    let number = |text: &str| text.parse::<u32>().ok();
    let told: BTreeMap<u32, &str> = chapters
        .filter_map(|(begin, chapter)| Some((number(begin?.0)?, chapter)))
        .collect();
    let names = files("tests/guarantees").into_iter();
    let names = names.filter_map(|file| Some(file.file_name()?.to_str()?.to_owned()));
    let tested: BTreeMap<u32, String> = names
        .filter_map(|name| Some((number(name.strip_prefix('g')?.get(..2)?)?, name)))
        .collect();
    assert!(told.len() > 10 && told.keys().eq(tested.keys()));
    for (number, file) in tested {
        assert!(
            told[&number].contains(&file),
            "the chapter of guarantee {number} does not name {file}"
        );
    }
}

#[test]
fn the_guard_sees_what_does_not_exist() {
    let text = "# A page\n[one](nowhere.md) and [two](../README.md#no-such-heading) and [three](#a-page)\n\
        `src/nothing.rs` and `src/lib.rs`\n```sh\ncargo run --example no_such_example\n```\n";
    let missing = missing_in(Path::new("docs/page.md"), text);
    let expected = [
        "nowhere.md",
        "../README.md#no-such-heading",
        "src/nothing.rs",
        "--example no_such_example",
    ];
    assert_eq!(missing, expected);
}
