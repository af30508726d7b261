//! The file of a durable queue: failed commits, second openers, foreign and broken files.
