//! A list of which the first thing costs no allocation, if there is only one.

use std::ops::{Deref, DerefMut};

/// One thing, or a list of them.
#[derive(Debug)]
pub(super) enum Few<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> Few<T> {
    /// A list of these.
    pub(super) fn of(mut list: Vec<T>) -> Self {
        match (list.len(), list.pop()) {
            (1, Some(one)) => Self::One(one),
            (_, last) => {
                list.extend(last);
                Self::Many(list)
            }
        }
    }

    /// Exchanges the list for another one, with the memory of both.
    pub(super) fn swap(&mut self, other: &mut Vec<T>) {
        match self {
            Self::Many(list) => std::mem::swap(list, other),
            Self::One(_) => *self = Self::Many(std::mem::take(other)),
        }
    }

    /// Empties the list and keeps its memory.
    pub(super) fn clear(&mut self) {
        match self {
            Self::Many(list) => list.clear(),
            Self::One(_) => *self = Self::default(),
        }
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(list) => list,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::One(one) => std::slice::from_mut(one),
            Self::Many(list) => list,
        }
    }
}
