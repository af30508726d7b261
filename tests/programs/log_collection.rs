//! The example `log_collection`, run as the program that it is.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use crate::running::{Folder, errors, example, run_with_input};
use serde_json::{Value, json};

fn collect(input: &[u8], arguments: &[&str]) -> Output {
    let output = run_with_input(example("log_collection").args(arguments), input);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    output
}

fn records(output: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(output).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// How many lines were read, written, malformed and blank, as reported.
fn counts(output: &Output) -> [u64; 4] {
    let report = errors(output);
    let line = report.lines().find(|line| line.starts_with("lines ")).unwrap();
    let mut numbers = line.split_whitespace().filter_map(|word| word.parse().ok());
    std::array::from_fn(|_| numbers.next().unwrap())
}

fn reported(output: &Output, what: &str) -> Option<u64> {
    let report = errors(output);
    let line = report.lines().find(|line| line.starts_with(what))?;
    line.split_whitespace().last()?.parse().ok()
}

/// Lines of many hosts, mixed; `n` counts the lines of each host.
fn many_hosts(lines: usize) -> (String, BTreeMap<String, u64>) {
    let mut text = String::new();
    let mut counted = BTreeMap::new();
    for number in 0..lines {
        let host = format!("host-{}", (number * number + number / 7) % 23);
        let n = counted.entry(host.clone()).or_insert(0);
        *n += 1;
        let line = json!({"@timestamp": "2025-10-10T13:55:36Z", "host": host, "level": "info", "message": "m", "n": *n});
        text.push_str(&format!("{line}\n"));
    }
    (text, counted)
}

/// Checks that the lines of each host are complete and in order.
#[track_caller]
fn in_order(output: &[u8], expected: &BTreeMap<String, u64>) {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for record in records(output) {
        let host = record["host"].as_str().unwrap();
        let before = seen.entry(host.to_owned()).or_default();
        assert_eq!(record["n"].as_u64(), Some(*before + 1), "{host}");
        *before += 1;
    }
    assert_eq!(&seen, expected);
}

#[test]
fn the_lines_of_each_host_stay_in_order() {
    let (text, expected) = many_hosts(5_000);
    let output = collect(text.as_bytes(), &[]);
    in_order(&output.stdout, &expected);
    assert_eq!(counts(&output), [5_000, 5_000, 0, 0]);
    assert_eq!(reported(&output, "level info"), Some(5_000));
}

#[test]
fn the_lines_of_each_host_stay_in_order_while_parsers_panic() {
    let (text, expected) = many_hosts(3_000);
    for consumers in ["1", "4", "9"] {
        let output = collect(
            text.as_bytes(),
            &["--panic-every", "10", "--consumers", consumers],
        );
        in_order(&output.stdout, &expected);
        assert_eq!(counts(&output), [3_000, 3_000, 0, 0]);
        assert_eq!(reported(&output, "retries"), Some(300));
        assert!(!errors(&output).contains("panicked"), "{}", errors(&output));
    }
}

#[test]
fn json_lines_are_taken_in_all_their_shapes_and_keep_their_other_fields() {
    let input = br#"
{"@timestamp":"t1","host":"a","level":"INFO","message":"one","extra":{"deep":[1,2]}}
{"timestamp":1760104536,"host":{"name":"a"},"log.level":"Warn","message":"two"}
  {"@timestamp":"t3","host":"a","log":{"level":"error","logger":"x"},"message":"thr\u00e9\n","level":null}
"#;
    let output = collect(input, &[]);
    let expected = [
        json!({"@timestamp": "t1", "host": "a", "level": "info", "message": "one", "extra": {"deep": [1, 2]}}),
        json!({"@timestamp": 1760104536, "host": "a", "level": "warn", "message": "two"}),
        json!({"@timestamp": "t3", "host": "a", "level": "error", "message": "thr\u{e9}\n",
               "log": {"level": "error", "logger": "x"}}),
    ];
    assert_eq!(records(&output.stdout), expected);
    assert_eq!(counts(&output), [4, 3, 0, 1]);
    assert_eq!(reported(&output, "level warn"), Some(1));
}

#[test]
fn combined_lines_become_json_and_are_counted_by_status() {
    let input = br#"192.0.2.7 - anna b [10/Oct/2025:13:55:36 +0200] "GET /a?b=c HTTP/1.1" 200 2326 "https://example.org/" "Browser \"1\\2\" \x41"
192.0.2.7 - - [01/Jan/2026:00:00:00 -0330] "\x16\x03\x01" 400 - "-" "-" "extra"
2001:db8::5 - - [28/Feb/2026:23:59:60 +0000] "" 404 0 "-" ""
"#;
    let output = collect(input, &["--format", "combined", "--consumers", "1"]);
    let mut found = records(&output.stdout);
    found.sort_by_key(|record| record["@timestamp"].to_string());
    let expected = [
        json!({"@timestamp": "2025-10-10T13:55:36+02:00", "host": "192.0.2.7", "user": "anna b", "method": "GET",
               "path": "/a?b=c", "protocol": "HTTP/1.1", "status": 200, "bytes": 2326,
               "referrer": "https://example.org/", "agent": "Browser \"1\\2\" \\x41"}),
        json!({"@timestamp": "2026-01-01T00:00:00-03:30", "host": "192.0.2.7", "request": "\\x16\\x03\\x01",
               "status": 400, "bytes": 0}),
        json!({"@timestamp": "2026-02-28T23:59:60+00:00", "host": "2001:db8::5", "request": "", "status": 404,
               "bytes": 0, "agent": ""}),
    ];
    assert_eq!(found, expected);
    for status in ["status 200", "status 400", "status 404"] {
        assert_eq!(reported(&output, status), Some(1));
    }
}

#[test]
fn malformed_lines_go_to_the_dead_letter_file_with_number_reason_and_text() {
    let cases: &[(&[u8], &str)] = &[
        (b"{\"@timestamp\":\"t\"", "is not JSON"),
        (b"[1]", "is no JSON object"),
        (b"{}", "has no `host`"),
        (
            br#"{"@timestamp":"t","host":"a","host":"b","level":"l","message":"m"}"#,
            "duplicate field",
        ),
        (
            br#"{"@timestamp":"t","host":{"ip":"b"},"level":"l","message":"m"}"#,
            "has no `host`",
        ),
        (
            br#"{"host":"a","level":"l","message":"m"}"#,
            "has no `@timestamp`",
        ),
        (
            br#"{"@timestamp":"t","host":"a","message":"m"}"#,
            "has no `level`",
        ),
        (
            br#"{"@timestamp":"t","host":"a","level":"l","message":7}"#,
            "has no `message`",
        ),
        (
            b"{\"@timestamp\":\"t\",\"host\":\"a\",\"level\":\"l\",\"message\":\"\xff\"}",
            "is not UTF-8 text from byte 53",
        ),
        (
            br#"{"@timestamp":"t","host":"a","level":"l","message":"m"} and more"#,
            "is not JSON",
        ),
    ];
    let mut input = Vec::new();
    for (line, _) in cases {
        input.extend_from_slice(br#"{"@timestamp":"t","host":"a","level":"info","message":"good"}"#);
        input.push(b'\n');
        input.extend_from_slice(line);
        input.push(b'\n');
    }
    let folder = Folder::new();
    let dead = folder.path().join("dead");
    let arguments = [
        "--format",
        "json",
        "--dead",
        dead.to_str().unwrap(),
        "--panic-every",
        "4",
    ];
    let output = collect(&input, &arguments);
    assert_eq!(records(&output.stdout).len(), cases.len());
    assert_eq!(counts(&output), [20, 10, 10, 0]);

    let mut letters = records(&std::fs::read(dead).unwrap());
    letters.sort_by_key(|letter| letter["line"].as_u64());
    assert_eq!(letters.len(), cases.len());
    for (index, (letter, (line, reason))) in letters.iter().zip(cases).enumerate() {
        assert_eq!(letter["line"], json!(index * 2 + 2));
        assert!(
            letter["reason"].as_str().unwrap().contains(reason),
            "{letter} should say {reason}"
        );
        assert_eq!(letter["text"], json!(String::from_utf8_lossy(line)));
    }
}

#[test]
fn malformed_lines_of_an_access_log_are_told_on_the_error_stream_unless_a_file_is_named() {
    let cases = [
        (r#"192.0.2.7"#, "does not begin with a host"),
        (r#"192.0.2.7 -"#, "ends after the host"),
        (
            r#"192.0.2.7 - - 10/Oct/2025 "GET / HTTP/1.1" 200 1 "-" "-""#,
            "has no time in brackets",
        ),
        (
            r#"192.0.2.7 - - [32/Oct/2025:13:55:36 +0200] "GET / HTTP/1.1" 200 1 "-" "-""#,
            "has a time that cannot be",
        ),
        (
            r#"192.0.2.7 - - [10/Okt/2025:13:55:36 +0200] "GET / HTTP/1.1" 200 1 "-" "-""#,
            "has a time that cannot be",
        ),
        (
            r#"192.0.2.7 - - [10/Oct/2025:13:55:36 é200] "GET / HTTP/1.1" 200 1 "-" "-""#,
            "has a time that cannot be",
        ),
        (
            r#"192.0.2.7 - - [10/Oct/2025:13:55:36 +0200] "GET /"#,
            "has no request",
        ),
        (
            r#"192.0.2.7 - - [10/Oct/2025:13:55:36 +0200] "GET /\"#,
            "has no request",
        ),
        (
            r#"192.0.2.7 - - [10/Oct/2025:13:55:36 +0200] "GET / HTTP/1.1" 999 1 "-" "-""#,
            "has no status",
        ),
        (
            r#"192.0.2.7 - - [10/Oct/2025:13:55:36 +0200] "GET / HTTP/1.1" 200 x "-" "-""#,
            "has no size",
        ),
        (
            r#"192.0.2.7 - - [10/Oct/2025:13:55:36 +0200] "GET / HTTP/1.1" 200 1"#,
            "has no referrer",
        ),
        (
            r#"192.0.2.7 - - [10/Oct/2025:13:55:36 +0200] "GET / HTTP/1.1" 200 1 "-""#,
            "has no user agent",
        ),
    ];
    let input: String = cases.iter().map(|(line, _)| format!("{line}\n")).collect();
    let output = collect(input.as_bytes(), &[]);
    assert_eq!(counts(&output), [12, 0, 12, 0]);
    let told = errors(&output);
    for (number, (_, reason)) in (1..).zip(cases) {
        assert!(
            told.contains(&format!("line {number} {reason}")),
            "line {number} {reason}: {told}"
        );
    }
}

#[test]
fn ends_of_lines_a_byte_order_mark_blank_lines_and_a_last_line_without_end_are_no_trouble() {
    let good = r#"{"@timestamp":"t","host":"a","level":"info","message":"m"}"#;
    let input = format!("\u{feff}{good}\r\n\r\n   \n{good}\n\n{good}");
    let output = collect(input.as_bytes(), &["-"]);
    assert_eq!(records(&output.stdout).len(), 3);
    assert_eq!(counts(&output), [6, 3, 0, 3]);
}

#[test]
fn an_empty_input_gives_nothing_and_no_error() {
    let output = collect(b"", &[]);
    assert!(output.stdout.is_empty());
    assert_eq!(counts(&output), [0; 4]);
}

#[test]
fn long_lines_are_taken_up_to_a_limit_and_beyond_it_only_their_beginning_is_kept() {
    let line = |length: usize| {
        let head = r#"{"@timestamp":"t","host":"a","level":"info","message":""#;
        format!("{head}{}\"}}", "x".repeat(length - head.len() - 2))
    };
    let limit = 256 * 1024;
    let input = format!(
        "{}\n{}\r\n{}\n{}\n{}",
        line(limit),
        line(limit - 1),
        line(limit + 1),
        line(3_000_000),
        line(90)
    );
    let folder = Folder::new();
    let dead = folder.path().join("dead");
    let output = collect(input.as_bytes(), &["--dead", dead.to_str().unwrap()]);
    assert_eq!(counts(&output), [5, 3, 2, 0]);
    for letter in records(&std::fs::read(dead).unwrap()) {
        assert_eq!(letter["reason"], "is longer than 262144 bytes");
        assert_eq!(letter["text"].as_str().unwrap().len(), limit);
    }
}

#[test]
fn the_samples_are_collected_into_files() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/log_collection/samples");
    for (name, expected) in [("app.jsonl", [27, 24, 2, 1]), ("access.log", [28, 26, 2, 0])] {
        let folder = Folder::new();
        let (out, dead) = (folder.path().join("out"), folder.path().join("dead"));
        let mut command = example("log_collection");
        command
            .arg(samples.join(name))
            .arg("--out")
            .arg(&out)
            .arg("--dead")
            .arg(&dead);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        assert_eq!(counts(&output), expected);
        assert!(output.stdout.is_empty());
        assert_eq!(records(&std::fs::read(out).unwrap()).len() as u64, expected[1]);
        assert_eq!(records(&std::fs::read(dead).unwrap()).len() as u64, expected[2]);
    }
}

#[test]
fn files_that_cannot_be_used_are_told_with_status_2_and_the_input_is_never_overwritten() {
    let folder = Folder::new();
    let input = folder.put("input", b"precious\n");
    let input = input.to_str().unwrap();
    let nowhere = folder.path().join("no folder/out");
    let nowhere = nowhere.to_str().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&["not there"], "cannot read not there"),
        (&[folder.path().to_str().unwrap()], "the input cannot be read"),
        (&[input, "--out", input], "is named twice"),
        (&[input, "--dead", input], "is named twice"),
        (&[input, "--out", "new", "--dead", "new"], "is named twice"),
        (&[input, "--out", nowhere], "cannot write"),
        (&[input, "--consumers", "0"], "a whole number of 1 or more"),
        (&[input, "--format", "xml"], "possible values"),
    ];
    for (arguments, told) in cases {
        let output = example("log_collection").args(*arguments).output().unwrap();
        let errors = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(told), "{arguments:?}: {errors}");
    }
    assert_eq!(std::fs::read(input).unwrap(), b"precious\n");
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_cannot_be_written_is_told_with_status_2() {
    let (text, _) = many_hosts(500);
    let output = run_with_input(
        example("log_collection").args(["--out", "/dev/full"]),
        text.as_bytes(),
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(
        errors(&output).contains("the output cannot be written"),
        "{}",
        errors(&output)
    );
}
