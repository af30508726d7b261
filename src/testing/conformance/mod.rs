//! Conformance suites: one line in a test says whether a custom part keeps the promises of its role.
//!
//! ```
//! use consumer_group::Delivery;
//! use consumer_group::queue::MemoryQueue;
//! use consumer_group::strategy::RoundRobin;
//! use consumer_group::testing::conformance;
//!
//! conformance::queue(|| MemoryQueue::bounded(100)).assert();
//! conformance::chooser(RoundRobin::default).assert();
//! conformance::consumer_fn([1, 2, 3], async |delivery: &Delivery<u64>| Ok(delivery.job() * 2)).assert();
//! ```
//!
//! | your part | suite |
//! |---|---|
//! | a [`QueueSource`](crate::queue::QueueSource): a store, an actor | [`queue`] |
//! | a strategy actor | [`strategy`] |
//! | a [`Strategy`](crate::strategy::Strategy) | [`chooser`] |
//! | a [`Consumer`](crate::Consumer) | [`consumer`] |
//! | an async closure | [`consumer_fn`] |
//! | an actor that handles [`Deliver`](crate::Deliver) | [`actor_consumer`] |
//! | a [`BatchConsumer`](crate::BatchConsumer) | [`batch_consumer`] |
//!
//! `.assert()` panics and names each broken promise with what was seen; `.run()` gives the [`Report`], also with the
//! promises that the part does not claim and were not asked for. Call a suite from a plain `#[test]`; it makes its own
//! threads and runtimes.
//!
//! # Time
//!
//! The suites run on a paused clock, so waits cost nothing and end at an exact moment. For a part that waits for a disk, a
//! network or threads of its own, `.real_time()` puts the suite on the real clock.
//!
//! # What is checked of a queue
//!
//! | checks | always | if claimed |
//! |---|---|---|
//! | jobs | come out with name and key; of one key in order; pushes of 0 to 59 jobs | in order (`QueueTraits::fifo`); by priority; delayed; expired; duplicates |
//! | credit | none without, never more, kept until jobs come, void after an attach | room comes back when jobs are done (`room`) |
//! | leases | not leased twice, never named twice, renewed ones go on | extended ones go on (`extend`) |
//! | verdicts | ack forgets; retry leases again at the old place; sent twice harmless | delay kept (`delay`); attempts counted (`attempts`); stale ones refused (`fencing`); reject makes a dead letter, listed, sent back, purged (`dead_letter`) |
//! | supervisors | a later epoch takes leases back in order; the same one takes none; an earlier one is refused | late words of an earlier one are refused, also after a restart (`fencing`) |
//! | the actor dies | nothing is lost, leases and acks hold; a push on its way is taken or handed back, never both | attempts hold (`attempts`) |
//! | commands | close refuses and hands out the rest | counts are right; unfinished jobs are handed out (must, if `volatile`) |
//!
//! # What is checked of a strategy
//!
//! | checks | always | if claimed |
//! |---|---|---|
//! | answers | as many as jobs (0 to 10,000); live slots only, with gaps among them; a roster that does no harm | alike for the same questions (unless `draws_at_random`) |
//! | rosters | nobody alive, one slot, no room, members that come and go, 10,000 slots, extreme weights and loads | |
//! | room | some jobs go while there is room | full slots are never named (`never_parks`) |
//! | keys | | of one key to one slot, and nowhere else while it is full (`keeps_keys`) |
//! | lives | a new life starts with any roster | |
//!
//! # What is checked of a consumer
//!
//! | checks | promise |
//! |---|---|
//! | deliveries | each is settled exactly once, none dropped without a word: in one batch, one by one, 256 at once, after an empty batch |
//! | redelivery | a job that comes again, or twice at once, is settled each time |
//! | life | starts; ends when told, idle or at any moment of its work; then holds no delivery any more |
//! | lives | the next one settles what the last one held; ten follow each other; three work side by side |

mod consumer;
mod queue;
mod report;
mod runner;
mod strategy;

pub use self::consumer::{ConsumerSuite, actor_consumer, batch_consumer, consumer, consumer_fn};
pub use self::queue::{QueueSuite, QueueTraits, queue};
pub use self::report::{CheckReport, ConformanceError, Finding, Report};
pub use self::strategy::{StrategySuite, chooser, strategy};
