//! Names for actors, which survive their restarts.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use actix::{Actor, Context};

use super::handle::{Handle, WeakHandle};

/// A register of names. Clones share it. It holds its actors weakly: a name whose actor is over is free again.
#[derive(Clone, Default)]
pub struct Registry {
    names: Arc<RwLock<BTreeMap<Arc<str>, Named>>>,
}

struct Named {
    /// A `WeakHandle<A>`.
    weak: Box<dyn Any + Send + Sync>,
    actor: &'static str,
    is_over: Box<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// Why a name was not registered, or an actor not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The name belongs to an actor that is not over.
    #[error("`{0}` is the name of another actor")]
    Taken(Arc<str>),
    /// Nobody has this name, or its actor is over.
    #[error("nobody is registered as `{0}`")]
    Unknown(Arc<str>),
    /// The name belongs to another kind of actor.
    #[error("`{name}` is a {is}, not a {asked}")]
    OtherActor {
        /// The name.
        name: Arc<str>,
        /// The type of the actor there is.
        is: &'static str,
        /// The type that was asked for.
        asked: &'static str,
    },
}

impl Registry {
    /// An empty register.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives an actor a name. It keeps it over all its lives.
    ///
    /// # Errors
    /// [`RegistryError::Taken`] if another actor has it and is not over.
    pub fn register<A: Actor<Context = Context<A>>>(
        &self,
        name: impl Into<Arc<str>>,
        handle: &Handle<A>,
    ) -> Result<(), RegistryError> {
        let name = name.into();
        let weak = handle.downgrade();
        let watched = weak.clone();
        let named = Named {
            weak: Box::new(weak),
            actor: std::any::type_name::<A>(),
            is_over: Box::new(move || watched.upgrade().is_none_or(|handle| handle.is_over())),
        };
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if names.get(&name).is_some_and(|named| !(named.is_over)()) {
            return Err(RegistryError::Taken(name));
        }
        names.insert(name, named);
        Ok(())
    }

    /// The actor of this name.
    ///
    /// # Errors
    /// [`RegistryError::Unknown`], [`RegistryError::OtherActor`].
    pub fn find<A: Actor<Context = Context<A>>>(&self, name: &str) -> Result<Handle<A>, RegistryError> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let unknown = || RegistryError::Unknown(name.into());
        let named = names
            .get(name)
            .filter(|named| !(named.is_over)())
            .ok_or_else(unknown)?;
        match named.weak.downcast_ref::<WeakHandle<A>>() {
            Some(weak) => weak.upgrade().ok_or_else(unknown),
            None => Err(RegistryError::OtherActor {
                name: name.into(),
                is: named.actor,
                asked: std::any::type_name::<A>(),
            }),
        }
    }

    /// Makes a name free. True if somebody had it.
    pub fn remove(&self, name: &str) -> bool {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.remove(name).is_some()
    }

    /// All names whose actors are not over, in order.
    pub fn names(&self) -> Vec<Arc<str>> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let living = names.iter().filter(|(_, named)| !(named.is_over)());
        living.map(|(name, _)| Arc::clone(name)).collect()
    }
}
