//! The rules of the adapter: plain structs that know no server, read no clock and draw no random number.
//!
//! | file | what it decides |
//! |---|---|
//! | `watermark.rs` | up to which offset everything is done, and what is done above |
//! | `note.rs` | how that is written into the metadata of a commit, within its bound |
//! | `lane.rs` | one partition from its assignment to its end: lease, settle, commit, drain, loss |
//! | `flow.rs` | when fetching pauses, and when it goes on |

mod flow;
mod lane;
mod note;
mod watermark;

#[cfg(test)]
mod tests;

pub(crate) use flow::{Flow, Level};
pub(crate) use lane::{Commit, Lane};
pub(crate) use note::{MOST_BYTES, Note};
pub(crate) use watermark::Watermark;
