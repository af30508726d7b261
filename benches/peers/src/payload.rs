//! What jobs carry.

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};

/// A payload: made of a number by whoever sends, looked at by whoever handles it.
pub trait Payload: Clone + Debug + Send + Sync + Serialize + DeserializeOwned + 'static {
    /// Whether it is a text, for peers whose handlers know no generics.
    const IS_TEXT: bool;

    /// The payload of the job of this number.
    fn make(number: u64) -> Self;

    /// A look at it.
    fn look(&self) -> u64;
}

/// A number owns nothing.
impl Payload for u64 {
    const IS_TEXT: bool = false;

    fn make(number: u64) -> Self {
        number
    }

    fn look(&self) -> u64 {
        *self
    }
}

/// What people send: a text of 64 letters, made anew for each job.
impl Payload for String {
    const IS_TEXT: bool = true;

    fn make(number: u64) -> Self {
        format!("{number:064}")
    }

    fn look(&self) -> u64 {
        self.len() as u64
    }
}
