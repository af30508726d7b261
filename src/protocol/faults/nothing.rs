//! The same without the feature `sim`: no thread has a world, and nothing happens.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::{Order, Seen, Who, World};

/// No thread has a world.
#[inline(always)]
pub fn world() -> Option<Arc<dyn World>> {
    None
}

/// No thread can have one.
#[inline(always)]
pub fn adopt(_world: Option<Arc<dyn World>>) -> Option<Arc<dyn World>> {
    None
}

/// Nobody is asked.
#[inline(always)]
pub fn ask<T>(_question: impl FnOnce(&dyn World) -> T) -> Option<T> {
    None
}

/// The present moment is what the clock says.
#[inline(always)]
pub(crate) fn elapsed(_began: Instant, read: impl FnOnce() -> Duration) -> Duration {
    read()
}

/// Nobody asks for the name.
#[inline(always)]
pub(crate) fn named<T>(_who: Who, work: impl FnOnce() -> T) -> T {
    work()
}

/// There are no arbiters of a world.
#[inline(always)]
pub(crate) fn at_home(_home: u64, _work: impl FnOnce()) -> bool {
    false
}

/// Nobody asks for the cell.
#[inline(always)]
pub(super) fn present_cell() -> Option<u64> {
    None
}

/// The tie of a cell to a world: there is none.
pub(crate) struct CellSeam(Infallible);

impl CellSeam {
    #[inline(always)]
    pub(crate) fn new() -> Option<Self> {
        None
    }

    pub(crate) fn order(&self, _waker: &Waker) -> Order {
        match self.0 {}
    }

    pub(crate) fn is_blocking(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn enter<T>(&mut self, _waker: &Waker, _poll: impl FnOnce(&Waker) -> T) -> T {
        match self.0 {}
    }
}

/// No delivery meets a fault.
#[inline(always)]
pub(crate) fn before_work(_delivery: Seen) -> Ready<bool> {
    ready(false)
}

/// No delivery meets a fault.
#[inline(always)]
pub(crate) fn after_work(_delivery: Seen, _is_done: bool) -> Ready<bool> {
    ready(false)
}
