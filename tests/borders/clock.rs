//! Time: a process that stood still, waits that grow, durations without end.
