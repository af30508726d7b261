//! The end: drain, stop, expiry.
