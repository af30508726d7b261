//! How a [`Host`](crate::Host) is made, and what is said of its end.

#[cfg(feature = "signals")]
pub use crate::actors::SignalsError;
pub use crate::actors::{HostBuilder, HostRunError, HostStartError, NoArbiter};
pub use crate::types::{HostReport, LeftOnHost};
