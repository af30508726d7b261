//! Texts and causes of the user: each has a bound.
