//! Arrivals: jobs that came from a queue outside of the process, with what is known of where they come from.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{JobId, Lane, Moment};

/// The value of a header.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum HeaderValue {
    /// A text.
    Text(Arc<str>),
    /// A number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
    /// Bytes that are not known to be anything else.
    Bytes(Arc<[u8]>),
    /// There is a name and no value.
    Empty,
}

impl HeaderValue {
    /// The text, also if it came as bytes; `None` for anything else.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            Self::Number(_) | Self::Flag(_) | Self::Empty => None,
        }
    }

    /// The number, also if it came as a text; `None` for anything else.
    pub fn as_number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(_) | Self::Bytes(_) => self.as_text()?.parse().ok(),
            Self::Flag(_) | Self::Empty => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Number(_) | Self::Flag(_) | Self::Empty => 0,
        }
    }
}

impl From<&str> for HeaderValue {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for HeaderValue {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for HeaderValue {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<&[u8]> for HeaderValue {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// The headers of a job, in the order in which they came. A clone shares them; none cost nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(Option<Arc<[Header]>>);

/// A name with its value.
type Header = (Arc<str>, HeaderValue);

impl Headers {
    /// No headers.
    pub const NONE: Self = Self(None);

    /// The value of this name: the last one, if there are several. Upper and lower case differ.
    pub fn get(&self, name: &str) -> Option<&HeaderValue> {
        let named = |(own, value)| (own == name).then_some(value);
        self.iter().rev().find_map(named)
    }

    /// Every name with its value.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &HeaderValue)> {
        let headers = self.0.as_deref().unwrap_or_default();
        headers.iter().map(|(name, value)| (&**name, value))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn bytes(&self) -> usize {
        let one = |(name, value): (&str, &HeaderValue)| name.len() + value.bytes();
        self.iter().map(one).sum()
    }
}

impl<N: Into<Arc<str>>, V: Into<HeaderValue>> FromIterator<(N, V)> for Headers {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(headers: T) -> Self {
        let headers = headers.into_iter();
        let headers: Arc<[Header]> = headers.map(|(name, value)| (name.into(), value.into())).collect();
        Self(Some(headers).filter(|headers| !headers.is_empty()))
    }
}

/// Where the outcome of a job is waited for, outside of this process. What the parts mean is known to the queue and to the
/// [sink](crate::queue::ResultSink) of the group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReplyAddress {
    /// The queue or topic.
    pub to: Arc<str>,
    /// By which the sender knows to what it is the answer.
    pub correlation: Option<Arc<str>>,
}

/// Where a job comes from that was not sent in this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Origin {
    /// The lane on which it came.
    pub lane: Lane,
    /// Its place there: an offset, or the broker's tag.
    pub position: u64,
    /// When it was sent, as its sender or the broker says: not by the group's clock.
    pub time: Option<Moment>,
    /// Whether the broker says that it handed it out before, to whomever.
    pub redelivered: bool,
    /// What the broker counts up whenever it gives the lane to another reader; 0 for one that does not. See
    /// [`FencingToken`](crate::FencingToken).
    pub fence: u64,
    /// What the sender wrote on it.
    pub headers: Headers,
    /// Who waits for its outcome outside of this process. A box, as few jobs have one.
    pub reply: Option<Box<ReplyAddress>>,
}

impl Origin {
    /// A place on a lane, of which nothing else is known; the rest is set by its fields.
    pub fn new(lane: Lane, position: u64) -> Self {
        Self {
            lane,
            position,
            time: None,
            redelivered: false,
            fence: 0,
            headers: Headers::NONE,
            reply: None,
        }
    }
}

/// What is known of a job that was not sent in this process: the name that its queue gave it, and where it comes from.
///
/// The name must be the same whenever the job comes again: [`JobId::of_message_id`] or [`JobId::of_place`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The name.
    pub id: JobId,
    /// Where it comes from.
    pub origin: Origin,
}

impl Origin {
    /// The bytes that it takes beside itself. A text that others share counts for each who holds it.
    pub(super) fn bytes(&self) -> usize {
        let reply = self.reply.as_deref().map_or(0, |reply| {
            let correlation = reply.correlation.as_deref().map_or(0, str::len);
            size_of::<ReplyAddress>() + reply.to.len() + correlation
        });
        self.lane.source.len() + self.headers.bytes() + reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_headers_with_one_name_the_last_counts_and_all_are_there() {
        let headers: Headers = [("a", "1"), ("b", "two"), ("a", "3")].into_iter().collect();
        assert_eq!(headers.get("a").and_then(HeaderValue::as_number), Some(3));
        assert_eq!(headers.get("b").and_then(HeaderValue::as_text), Some("two"));
        assert_eq!((headers.iter().count(), headers.get("A")), (3, None));
    }

    #[test]
    fn headers_of_nothing_are_none() {
        let headers: Headers = std::iter::empty::<(&str, &str)>().collect();
        assert!(headers.is_empty() && headers == Headers::NONE);
    }
}
