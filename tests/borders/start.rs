//! Starting: in every runtime, on a bare thread, as a child, on a thread of its own.
