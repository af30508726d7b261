//! A retry that waits keeps its own key waiting and no other.
