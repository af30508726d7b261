//! Panics in code of the user that is not a handler.
