//! Edge **config file**: reading a [`GroupConfig`] from TOML and from the environment.
//!
//! | file | what it does |
//! |---|---|
//! | `refusal` | the words of every refusal: what is wrong, and what would be right |
//! | `document` | a TOML text, value by value, and the line of each |
//! | `environment` | variables such as `CONSUMER_GROUP_QUEUE__CAPACITY` |
//!
//! Architecture invariant: no list of keys stands here. The keys come from the type, the bounds from `words`.

mod refusal;

mod document;
mod environment;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::types::{ConfigError, GroupConfig};

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigFileError {
    /// The file cannot be read, or it is not text in UTF-8.
    #[error("the configuration file {} cannot be read: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file was read, and something in it cannot be.
    #[error("the configuration file {} cannot be used: {source}", .path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The key, the line, and what would be right.
        source: ConfigError,
    },
}

impl GroupConfig {
    /// Reads a configuration from the text of a TOML file. Keys that the text leaves out have their default.
    ///
    /// ```
    /// # use consumer_group::GroupConfig;
    /// let config = GroupConfig::from_toml("consumers = 8\n[queue]\ncapacity = 1000\n")?;
    /// assert_eq!((config.consumers, config.queue.capacity), (8, 1000));
    ///
    /// let wrong = GroupConfig::from_toml("consumers = 8\n[queue]\ncapasity = 1000\n").unwrap_err();
    /// assert_eq!((wrong.key.as_str(), wrong.line), ("queue.capasity", Some(3)));
    /// # Ok::<(), consumer_group::config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// The first thing in the text that cannot be: an unknown key, a value of the wrong type or out of range, two values
    /// that exclude each other, or text that is not TOML. The error names the key, its line, and what would be right.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        document::read(text)
    }

    /// Reads a configuration from a TOML file.
    ///
    /// # Errors
    /// [`ConfigFileError::Read`] if the file cannot be read, else as [`from_toml`](Self::from_toml) with the path added;
    /// its text holds the cause, which is its `source()` as well.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigFileError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigFileError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::from_toml(&text).map_err(|source| ConfigFileError::Wrong {
            path: path.to_owned(),
            source,
        })
    }

    /// Changes this configuration by environment variables: `CONSUMER_GROUP_` and the key in capital letters, with two
    /// underscores where the file has a table. Other variables are ignored.
    ///
    /// A list is written with commas. The variables come as an argument, so that a test needs no real environment; a
    /// program gives [`std::env::vars_os()`].
    ///
    /// ```
    /// # use consumer_group::GroupConfig;
    /// let variables = [
    ///     ("CONSUMER_GROUP_CONSUMERS", "3"),
    ///     ("CONSUMER_GROUP_WEIGHTS", "1,2,3"),
    ///     ("CONSUMER_GROUP_QUEUE__CAPACITY", "100"),
    ///     ("PATH", "/bin"),
    /// ];
    /// let config = GroupConfig::default().with_environment(variables)?;
    /// assert_eq!((config.weights, config.queue.capacity), (vec![1, 2, 3], 100));
    /// # Ok::<(), consumer_group::config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// As [`from_toml`](Self::from_toml), with the variable's name as the key and no line. A variable that has the prefix
    /// but names no key is refused too, with the nearest right name.
    pub fn with_environment<N: Into<OsString>, V: Into<OsString>>(
        self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, ConfigError> {
        // What is no Unicode becomes the replacement character, which no key and no value of the configuration has; so it is
        // ignored or refused like every other wrong text.
        let text = |text: OsString| text.to_string_lossy().into_owned();
        let variables = variables
            .into_iter()
            .map(|(name, value)| (text(name.into()), text(value.into())));
        environment::apply(&self, variables)
    }
}
