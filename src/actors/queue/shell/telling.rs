//! The news of a queue: kept while nobody is attached, and told.

use super::QueueShell;
use crate::protocol::{DeadLetteredJobs, QueueNews};
use crate::rules::store::News;
use crate::types::{EventKind, LinkState, Moment, QueueState};

/// News of one kind that are kept at most while nobody takes them.
pub(super) const MOST_NEWS: usize = 65_536;

/// Unreadable jobs, with their bytes, that are kept at most while nobody takes them.
const MOST_UNREADABLE: usize = 1_024;

/// Nobody has been attached for long: the oldest news go, half of them at a time.
fn drop_oldest<T>(news: &mut Vec<T>, most: usize, what: &'static str) {
    if news.len() > most {
        let surplus = news.len() - most / 2;
        news.drain(..surplus);
        tracing::warn!(
            what,
            surplus,
            "nobody is attached to the queue: the oldest news are dropped"
        );
    }
}

impl<J: Send + Sync + 'static> QueueShell<J> {
    /// Notes how the link is to whoever keeps the jobs; a change is news. For a queue outside of the process: one that is inside
    /// is connected from the beginning.
    pub fn set_link(&mut self, link: LinkState, now: Moment) {
        if self.state.link != link {
            self.state = QueueState { link, since: now };
            let state = self.state.clone();
            self.news.events.push(EventKind::QueueStateChanged { state });
        }
    }

    /// How the link is, and since when.
    pub fn state(&self) -> &QueueState {
        &self.state
    }

    /// What the queue did by itself, for [`tell`](Self::tell).
    pub fn news(&mut self) -> &mut News<J> {
        &mut self.news
    }

    /// Passes on the news, each kind to whoever is there to take it. What nobody takes is kept, up to a bound.
    pub fn tell(&mut self) {
        if self.news.is_empty() {
            return;
        }
        if let Some(link) = &self.link {
            if !(self.news.events.is_empty() && self.news.unreadable.is_empty()) && link.tell.connected() {
                let events = std::mem::take(&mut self.news.events);
                let unreadable = std::mem::take(&mut self.news.unreadable);
                link.tell.do_send(QueueNews { events, unreadable });
            }
            if !self.news.dead.is_empty() && link.dead_lettered.connected() {
                let dead = std::mem::take(&mut self.news.dead);
                link.dead_lettered.do_send(DeadLetteredJobs { dead });
            }
        }
        drop_oldest(&mut self.news.events, MOST_NEWS, "events");
        drop_oldest(&mut self.news.dead, MOST_NEWS, "dead_lettered");
        drop_oldest(&mut self.news.unreadable, MOST_UNREADABLE, "unreadable");
    }
}
