//! The example `quickstart`, run as the program that it is.

#[path = "../../examples/quickstart/hasher.rs"]
#[allow(dead_code, reason = "only a part of it is tested alone")]
mod hasher;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::running::{Folder, errors, example};
use consumer_group::Advice;
use sha2::{Digest, Sha256};

fn quickstart(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = example("quickstart");
    command.arg(folder).args(arguments);
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    quickstart(folder, arguments).output().unwrap()
}

/// A tree of `count` small files; the names have no need of an escape.
fn tree(count: usize) -> (Folder, Vec<u8>) {
    let folder = Folder::new();
    let mut files = Vec::new();
    for number in 0..count {
        let content = format!("content {number}").repeat(number % 7);
        let name = format!("a{}/b{}/file {number}", number % 3, number % 2);
        files.push((folder.put(name, content.as_bytes()), content.into_bytes()));
    }
    let expected = checksums(files);
    (folder, expected)
}

/// What `sha256sum` would print, sorted by path.
fn checksums(mut files: Vec<(PathBuf, Vec<u8>)>) -> Vec<u8> {
    files.sort_by(|(one, _), (other, _)| {
        let bytes = |path: &PathBuf| path.as_os_str().as_encoded_bytes().to_vec();
        bytes(one).cmp(&bytes(other))
    });
    let mut lines = Vec::new();
    for (path, content) in files {
        let (mut name, mut is_escaped) = (Vec::new(), false);
        for byte in path.as_os_str().as_encoded_bytes() {
            let escape = match byte {
                b'\n' => b'n',
                b'\r' => b'r',
                b'\\' if cfg!(unix) => b'\\',
                other => {
                    name.push(*other);
                    continue;
                }
            };
            is_escaped = true;
            name.extend([b'\\', escape]);
        }
        lines.extend(is_escaped.then_some(b'\\'));
        lines.extend(hex::encode(Sha256::digest(content)).into_bytes());
        lines.extend(b"  ");
        lines.extend(name);
        lines.push(b'\n');
    }
    lines
}

/// The number behind a word of the report.
fn reported(report: &str, word: &str) -> u64 {
    let line = report.lines().find(|line| line.starts_with(word));
    let line = line.unwrap_or_else(|| panic!("no {word} in {report}"));
    let number = line[word.len()..].split_whitespace().next().unwrap();
    number.replace(',', "").parse().unwrap()
}

/// Weight and jobs of each slot, as reported.
fn shares(report: &str) -> Vec<(u32, u64)> {
    let words = report.lines().filter_map(|line| line.strip_prefix("slot "));
    words
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            (words[1].parse().unwrap(), words[2].parse().unwrap())
        })
        .collect()
}

#[test]
fn every_file_has_the_checksum_that_sha256_gives_sorted_by_path() {
    let (folder, expected) = tree(200);
    let output = run(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&expected)
    );
    let report = errors(&output);
    assert_eq!(reported(&report, "jobs"), 200);
    assert_eq!(reported(&report, "dead letters"), 0);
    let shares = shares(&report);
    assert_eq!(shares.len(), 5, "five consumers");
    assert_eq!(shares.iter().map(|(_, jobs)| jobs).sum::<u64>(), 200);
}

#[cfg(unix)]
#[test]
fn odd_names_empty_files_and_large_files_come_out_as_sha256sum_has_them() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let folder = Folder::new();
    let large = vec![7; 1_000_003];
    let mut names: Vec<(&[u8], &[u8])> = vec![
        (b"new\nline", b"a"),
        (b"back\\slash", b"b"),
        (b"return\r", b"c"),
        (b"-n", b"d"),
        (b" blank ", b"e"),
        (b"empty", b""),
        (b"sub/\\n\n/x", b"f"),
        (b"sub/*", b"g"),
        ("sub/naïve".as_bytes(), b"h"),
        (b"large", &large),
    ];
    // Some file systems take only names in UTF-8.
    if cfg!(target_os = "linux") {
        names.push((b"latin-1 \xe9", b"i"));
    }
    let put =
        |(name, content): (&[u8], &[u8])| (folder.put(OsStr::from_bytes(name), content), content.to_vec());
    let expected = checksums(names.into_iter().map(put).collect());
    std::os::unix::fs::symlink(folder.path().join("large"), folder.path().join("a link")).unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("sub/a loop")).unwrap();

    let output = run(folder.path(), &["--consumers", "3"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&expected)
    );
    assert_eq!(output.stdout, expected);

    let version = Command::new("sha256sum").arg("--version").output();
    if version.is_ok_and(|version| version.stdout.starts_with(b"sha256sum (GNU")) {
        let mut checker = Command::new("sha256sum");
        checker.args(["--check", "--strict", "--quiet", "-"]);
        let checked = crate::running::run_with_input(&mut checker, &output.stdout);
        assert!(checked.status.success(), "{}", errors(&checked));
    }
}

#[test]
fn panics_in_the_consumers_lose_no_file() {
    let (folder, expected) = tree(150);
    let output = run(folder.path(), &["--panic-every", "3"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(output.stdout, expected);
    let report = errors(&output);
    assert_eq!(reported(&report, "restarts"), 50);
    assert_eq!(
        reported(&report, "retries"),
        50,
        "a panic costs an attempt of its own job alone"
    );
    assert!(
        !report.contains("panicked"),
        "the messages would tear the bar: {report}"
    );
}

#[test]
fn consumers_that_block_their_threads_for_a_minute_hold_nothing_up_for_long_and_lose_no_file() {
    let (folder, expected) = tree(60);
    let start = Instant::now();
    let output = run(folder.path(), &["--block-every", "20"]);
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "took {:?}",
        start.elapsed()
    );
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(output.stdout, expected);
    assert!(reported(&errors(&output), "retries") >= 3);
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_cannot_be_read_is_named_with_its_reason_and_the_others_are_printed() {
    let (folder, expected) = tree(20);
    // No privilege helps against a path that is too long to be opened: 4,096 bytes on Linux, with the folder just below.
    let mut deep = folder.path().to_owned();
    while deep.as_os_str().len() < 3_900 {
        deep.push("d".repeat(120));
    }
    std::fs::create_dir_all(&deep).unwrap();
    let name = "unreadable".repeat(20);
    let made = Command::new("touch")
        .arg(&name)
        .current_dir(&deep)
        .status()
        .unwrap();
    assert!(made.success());

    let output = run(folder.path(), &[]);
    let report = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert_eq!(output.stdout, expected);
    assert_eq!(reported(&report, "dead letters"), 1);
    let told = report
        .lines()
        .find(|line| line.starts_with("not hashed: "))
        .unwrap();
    assert!(told.contains(&format!("/{name}: File name too long")), "{told}");
}

#[test]
fn a_file_that_is_gone_or_no_file_any_more_is_rejected_at_once_and_other_troubles_are_tried_again() {
    let folder = Folder::new();
    let gone = hasher::open(&folder.path().join("gone")).unwrap_err();
    assert_eq!(hasher::verdict(gone).advice(), Advice::Reject);
    let swapped = hasher::open(folder.path()).unwrap_err();
    let failure = hasher::verdict(swapped);
    assert_eq!(
        (failure.advice(), failure.text()),
        (Advice::Reject, "is no regular file any more")
    );
    let broken = std::io::Error::other("the device is busy");
    assert_eq!(hasher::verdict(broken).advice(), Advice::Retry(None));
    assert!(hasher::open(&folder.put("there", b"x")).is_ok());
}

#[test]
fn an_empty_folder_gives_no_line_and_no_error() {
    let folder = Folder::new();
    let output = run(folder.path(), &[]);
    assert_eq!(
        (output.status.code(), output.stdout.len()),
        (Some(0), 0),
        "{}",
        errors(&output)
    );
}

#[test]
fn without_a_folder_the_current_one_is_taken() {
    let folder = Folder::new();
    folder.put("one", b"1");
    let output = example("quickstart").current_dir(folder.path()).output().unwrap();
    let expected = checksums(vec![(Path::new(".").join("one"), b"1".to_vec())]);
    assert_eq!(output.stdout, expected, "{}", errors(&output));
}

#[test]
fn weights_and_every_strategy_by_name_are_taken_and_the_weights_are_reported() {
    let (folder, expected) = tree(70);
    let output = run(folder.path(), &["--weights", "3,1,1"]);
    assert_eq!(output.stdout, expected);
    let weights: Vec<_> = shares(&errors(&output))
        .into_iter()
        .map(|(weight, _)| weight)
        .collect();
    assert_eq!(weights, [3, 1, 1, 1, 1]);
    for strategy in [
        "round_robin",
        "weighted",
        "consistent_hash",
        "least_loaded",
        "two_choices",
        "sticky",
    ] {
        let output = run(folder.path(), &["--strategy", strategy, "--panic-every", "9"]);
        assert_eq!(output.stdout, expected, "{strategy}: {}", errors(&output));
    }
}

#[test]
fn a_configuration_file_the_environment_and_the_arguments_go_before_one_another_in_this_order() {
    let (folder, expected) = tree(10);
    let other = Folder::new();
    let file = other.put(
        "group.toml",
        b"consumers = 3\nstrategy = \"least_loaded\"\nweights = [7]\n",
    );
    let file = file.to_str().unwrap();
    let consumers = |command: &mut Command| {
        let output = command.output().unwrap();
        assert_eq!(output.stdout, expected, "{}", errors(&output));
        shares(&errors(&output)).len()
    };
    assert_eq!(consumers(&mut quickstart(folder.path(), &["--config", file])), 3);
    let variable = ("CONSUMER_GROUP_CONSUMERS", "2");
    let mut with_variable = quickstart(folder.path(), &["--config", file]);
    assert_eq!(consumers(with_variable.env(variable.0, variable.1)), 2);
    let mut with_all = quickstart(folder.path(), &["--config", file, "--consumers", "1"]);
    assert_eq!(consumers(with_all.env(variable.0, variable.1)), 1);
}

#[test]
fn what_cannot_be_is_told_with_status_2() {
    let folder = Folder::new();
    let file = folder.put("a file", b"");
    let wrong_config = folder.put("wrong.toml", b"consumers = 2\nconsumer = 3\n");
    let wrong_config = wrong_config.to_str().unwrap();
    let cases: &[(&Path, &[&str], &str)] = &[
        (&folder.path().join("not there"), &[], "not there cannot be used"),
        (&file, &[], "a file is not a folder"),
        (
            folder.path(),
            &["--consumers", "0"],
            "a whole number of 1 or more",
        ),
        (
            folder.path(),
            &["--panic-every", "0"],
            "a whole number of 1 or more",
        ),
        (
            folder.path(),
            &["--block-every", "x"],
            "a whole number of 1 or more",
        ),
        (
            folder.path(),
            &["--weights", "1,0"],
            "a whole number of 1 or more",
        ),
        (
            folder.path(),
            &["--weights", "1,2,3", "--consumers", "2"],
            "has 3 entries for 2 consumers",
        ),
        (folder.path(), &["--strategy", "robin"], "`least_loaded`"),
        (
            folder.path(),
            &["--config", "not there"],
            "not there cannot be read",
        ),
        (folder.path(), &["--config", wrong_config], "line 2"),
        (folder.path(), &["--bogus"], "--bogus"),
    ];
    for (folder, arguments, told) in cases {
        let output = run(folder, arguments);
        let errors = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(told), "{arguments:?}: {errors}");
        assert!(output.stdout.is_empty());
    }
    let mut local = quickstart(folder.path(), &["--block-every", "2"]);
    let output = local.env("CONSUMER_GROUP_PLACEMENT", "local").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let (folder, _) = tree(1_000);
    let mut child = quickstart(folder.path(), &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::with_capacity(100, child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    drop(out);
    let mut report = String::new();
    child.stderr.take().unwrap().read_to_string(&mut report).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{report}");
    assert_eq!(reported(&report, "jobs"), 1_000);
    assert!(!report.contains("panicked"), "{report}");
}
