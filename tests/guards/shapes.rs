//! The guard of the shapes: no file of the library is long without its tests, and no type has more fields than now.

use super::imports::library;

const MOST_LINES: usize = 350;

/// As many as the largest one has. The aim is 15.
const MOST_FIELDS: usize = 18;

/// The lines of a file without its tests.
fn lines(text: &str) -> usize {
    let code = text.split("#[cfg(test)]\nmod tests {").next();
    code.unwrap_or_default().lines().count()
}

/// The types of a file that have many fields. Every field has a line of its own, which begins with its name.
fn large_types(text: &str) -> Vec<&str> {
    let structs = text.split("struct ").skip(1);
    structs
        .filter(|rest| {
            let body = rest
                .lines()
                .take_while(|line| !line.trim_start().starts_with('}'));
            let is_field = |line: &&str| {
                let name = line.split(": ").next().unwrap_or_default();
                let name = name.rsplit(' ').next().unwrap_or_default();
                line.contains(": ") && name.chars().all(|sign| sign.is_alphanumeric() || sign == '_')
            };
            let is_code = |line: &&str| !line.trim_start().starts_with(['/', '#']);
            body.skip(1).filter(is_code).filter(is_field).count() > MOST_FIELDS
        })
        .filter_map(|rest| rest.split([' ', '<', '(']).next())
        .collect()
}

#[test]
fn no_file_of_the_library_is_long_and_no_type_is_large() {
    let mut long = Vec::new();
    for (name, text) in library() {
        let is_test = name.contains("/tests");
        if !is_test && lines(&text) > MOST_LINES {
            long.push(format!("src/{name}: {} lines", lines(&text)));
        }
        let large = large_types(&text).into_iter();
        long.extend(large.map(|large| format!("src/{name}: {large} has too many fields")));
    }
    assert!(long.is_empty(), "\n{}\n", long.join("\n"));
}

#[test]
fn the_guard_sees_a_long_file_and_a_large_type() {
    let fields: String = (0..=MOST_FIELDS)
        .map(|nth| format!("    /// One: {nth}.\n    pub(super) field_{nth}: u8,\n"))
        .collect();
    let large = format!("pub struct Large<J> {{\n{fields}}}\n\nstruct Small {{\n    field: u8,\n}}\n");
    assert_eq!(large_types(&large), ["Large"]);
    assert_eq!(
        lines(&format!("{large}#[cfg(test)]\nmod tests {{\n{large}}}\n")),
        large.lines().count()
    );
}
