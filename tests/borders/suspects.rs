//! A job that ends the process: it is found, and its neighbours lose no attempt.
