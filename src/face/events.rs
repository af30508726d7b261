//! What stands inside of [events](crate::EventKind) and of the [health view](crate::Health).

pub use crate::words::{
    DeliveryNumber, HeldCounts, PanicReport, QueueCounts, SlotHealth, SlotState, WriteFailure,
};
