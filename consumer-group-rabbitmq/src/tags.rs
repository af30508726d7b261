//! Delivery tags of one channel: which are open, and by which acks the server learns what is done.

use std::collections::BTreeSet;

/// The tags of one channel. Bounded by what is prefetched.
#[derive(Debug, Default)]
pub(crate) struct Tags {
    /// Delivered and not decided about.
    open: BTreeSet<u64>,
    /// Done, and the server does not know it yet.
    done: BTreeSet<u64>,
}

/// What the server is to be told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Acks {
    /// Everything up to this tag is done: one ack for all of it.
    pub(crate) through: Option<u64>,
    /// These are done, and something before them is open: an ack each.
    pub(crate) single: Vec<u64>,
}

impl Tags {
    /// A message came.
    pub(crate) fn came(&mut self, tag: u64) {
        self.open.insert(tag);
    }

    /// It is done. False if it is not open.
    pub(crate) fn done(&mut self, tag: u64) -> bool {
        let was_open = self.open.remove(&tag);
        if was_open {
            self.done.insert(tag);
        }
        was_open
    }

    /// It goes back to the server by another way.
    pub(crate) fn given_back(&mut self, tag: u64) {
        self.open.remove(&tag);
    }

    /// Takes what one ack can say for all up to a tag.
    ///
    /// Safe although the ack counts for every tag before it: whatever was delivered before it is not open, so it is either done
    /// or has been decided about already.
    pub(crate) fn take_through(&mut self) -> Acks {
        let done = match self.open.first() {
            Some(open) => {
                let behind = self.done.split_off(open);
                std::mem::replace(&mut self.done, behind)
            }
            None => std::mem::take(&mut self.done),
        };
        Acks {
            through: done.last().copied(),
            single: Vec::new(),
        }
    }

    /// Takes everything that is done.
    pub(crate) fn take_all(&mut self) -> Acks {
        let through = self.take_through().through;
        let single = std::mem::take(&mut self.done).into_iter().collect();
        Acks { through, single }
    }

    /// Whether something is done that waits for what came before it.
    pub(crate) fn has_done(&self) -> bool {
        !self.done.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(came: u64) -> Tags {
        let mut tags = Tags::default();
        (1..=came).for_each(|tag| tags.came(tag));
        tags
    }

    #[test]
    fn one_ack_tells_all_that_is_done_without_a_gap() {
        let mut tags = tags(5);
        for tag in [2, 1, 3, 5] {
            assert!(tags.done(tag));
        }
        assert_eq!(
            tags.take_through(),
            Acks {
                through: Some(3),
                single: vec![]
            }
        );
        assert!(tags.has_done());
        assert_eq!(tags.take_through(), Acks::default());
        assert!(tags.done(4));
        assert_eq!(
            tags.take_through(),
            Acks {
                through: Some(5),
                single: vec![]
            }
        );
        assert!(tags.open.is_empty());
    }

    #[test]
    fn what_waits_behind_a_slow_one_is_acked_by_itself_when_asked_for() {
        let mut tags = tags(4);
        tags.done(2);
        tags.done(4);
        assert_eq!(
            tags.take_all(),
            Acks {
                through: None,
                single: vec![2, 4]
            }
        );
        tags.given_back(1);
        tags.done(3);
        assert_eq!(
            tags.take_all(),
            Acks {
                through: Some(3),
                single: vec![]
            }
        );
    }

    #[test]
    fn a_tag_is_done_once() {
        let mut tags = tags(1);
        assert!(tags.done(1));
        assert!(!tags.done(1) && !tags.done(7));
    }
}
