//! What stands inside of [events](crate::EventKind) and of the [health view](crate::Health).

pub use crate::types::{
    CircuitState, DeliveryNumber, HeldCounts, LinkState, Moment, PanicReport, QueueCounts, QueueState,
    SlotHealth, SlotState, WriteFailure,
};
