//! What is said of a value of the configuration that cannot be.

/// A value of the configuration that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{} {problem}; {right}", place(.line), subject(.key))]
#[non_exhaustive]
pub struct ConfigError {
    /// The key, with the tables around it: `queue.capacity`, `weights[2]`; or the name of the environment variable. Empty
    /// where the text is not TOML at all.
    pub key: String,
    /// The line in the file, counted from one, where there is a file and the key stands in it.
    pub line: Option<usize>,
    /// What is wrong with it.
    pub problem: String,
    /// What would be right.
    pub right: String,
}

fn place(line: &Option<usize>) -> String {
    line.map(|line| format!("line {line}: ")).unwrap_or_default()
}

fn subject(key: &str) -> String {
    if key.is_empty() {
        "the text".to_owned()
    } else {
        format!("`{key}`")
    }
}
