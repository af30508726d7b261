//! The queue on disk: jobs that outlive the process. The edge behind the feature `durable`.
//!
//! ```text
//! DurableActor ──▶ index (state) ──changes──▶ thread (writer) ──one commit, one fsync──▶ file (engine: redb)
//!      ▲                                          │
//!      └────────────── answers ◀──────────────────┘
//! ```
//!
//! | module | what lives there |
//! |---|---|
//! | `source` | [`DurableQueue`]: opening, options |
//! | `error` | what can be wrong with a file |
//! | `actor` | the messages of the queue protocol |
//! | `state` | the index: which jobs there are, and where each stands |
//! | `writer` | the one thread that writes: group commit |
//! | `encoding`, `format` | jobs as bytes, by the [codec](crate::codec) of the queue |
//! | `engine` | the only place that knows redb |
//! | `gate`, `disk`, `owner`, `wait` | what the engine may do to the file, the file and its lock, which files this process has open, what an opening waits for |
//! | `simulated_disk`, `simulated_thread`, `second_opener` | the file and the thread of a simulation, and another process in it |
//! | `listing` | a page of jobs, out of a file at work or one that nobody has open |
//! | [`inspect`] | looking into a file without its program |
//!
//! The reasons, the comparison of engines and the figures stand in `docs/durable-queue.md`.

mod actor;
mod core;
mod disk;
mod durability;
mod engine;
mod error;
// Open for the fuzzer and for tests that break files.
mod encoding;
#[doc(hidden)]
pub mod format;
mod gate;
pub mod inspect;
mod listing;
mod owner;
mod second_opener;
mod simulated_disk;
mod simulated_thread;
mod source;
mod state;
mod wait;
mod writer;

pub use actor::DurableActor;
pub use durability::Durability;
pub use error::{EngineWords, FileError, OpenError, OpenErrorReason, OtherFile};
pub use source::{DurableBuilder, DurableQueue};
