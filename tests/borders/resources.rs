//! No descriptors, no threads, no memory: who finds nothing left has not started and waits; the others work on.

mod nothing_left;
mod waiting_keys;
