//! Looking into a queue file.
