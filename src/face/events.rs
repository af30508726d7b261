//! What stands inside of [events](crate::EventKind) and of the [health view](crate::Health).

pub use crate::words::{
    DeliveryNumber, HeldCounts, Moment, PanicReport, QueueCounts, SlotHealth, SlotState, WriteFailure,
};
