//! The end: drain, stop, expiry.

mod batches;
