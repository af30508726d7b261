//! The host: the system, the arbiter or the thread under a group or a tree ends.
