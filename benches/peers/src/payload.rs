//! What jobs carry.

/// A payload: made of a number by whoever sends, looked at by whoever handles it.
pub trait Payload: Send + Sync + 'static {
    /// The payload of the job of this number.
    fn make(number: u64) -> Self;

    /// A look at it.
    fn look(&self) -> u64;
}

/// A number owns nothing.
impl Payload for u64 {
    fn make(number: u64) -> Self {
        number
    }

    fn look(&self) -> u64 {
        *self
    }
}

/// What people send: a text of 64 letters, made anew for each job.
impl Payload for String {
    fn make(number: u64) -> Self {
        format!("{number:064}")
    }

    fn look(&self) -> u64 {
        self.len() as u64
    }
}
