//! No descriptors, no threads, no room.
