//! Supervision of any actix actor, as OTP does it for its processes: children, trees, and [groups](GroupChild) in them.
//!
//! The guide stands in `docs/supervision.md`.
//!
//! ```
//! use actix::prelude::*;
//! use consumer_group::supervision::{Child, SendError, SupervisorSpec};
//!
//! #[derive(Default)]
//! struct Till(u32);
//!
//! impl Actor for Till {
//!     type Context = Context<Self>;
//! }
//!
//! #[derive(Message)]
//! #[rtype(result = "u32")]
//! struct Sell(u32);
//!
//! impl Handler<Sell> for Till {
//!     type Result = u32;
//!
//!     fn handle(&mut self, Sell(price): Sell, _: &mut Context<Self>) -> u32 {
//!         assert!(price > 0, "nothing is for free");
//!         self.0 += price;
//!         self.0
//!     }
//! }
//!
//! # System::new().block_on(async {
//! let mut till = Child::new("till", Till::default).quiet_panics();
//! let handle = till.handle();
//! let shop = SupervisorSpec::new("shop").child(till).start().await?;
//! assert_eq!(handle.send(Sell(3)).await.unwrap(), 3);
//! // A panic ends this life, and the sender learns of what.
//! let error = handle.send(Sell(0)).await.unwrap_err();
//! assert!(matches!(&error, SendError::Died { down, .. } if down.life == 1));
//! // The next life begins fresh; the handle is the same.
//! assert_eq!(handle.send(Sell(5)).await.unwrap(), 5);
//! println!("{}", shop.tree().await?);
//! shop.stop().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

pub use crate::actors::supervision::{
    Child, ChildError, Handle, Monitor, NotDelivered, Recipient, Registry, RegistryError, Reply, SendError,
    SupervisorHandle, SupervisorSpec, SupervisorStartError, TreeEvents, UndeliveredMessage, WeakHandle, link,
    stop_with_error,
};
pub use crate::group::{GroupChild, GroupHandle, GroupRunner, NoGroupError};
pub use crate::types::{
    AutoShutdown, ChildCounts, ChildKind, ChildState, Down, Ending, Restart, RestartReach, Shutdown,
    SupervisorConfig, TreeEvent, TreeNode,
};
