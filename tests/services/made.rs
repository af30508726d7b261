//! Consumers are tested as plain code, with deliveries that no group has made.

use std::time::Duration;

use consumer_group::testing::{Settled, deliver, delivery};
use consumer_group::{BatchConsumer, Deliver, Delivery, Failure, Job, Key};
use futures_util::FutureExt;

#[test]
fn a_delivery_is_made_of_any_job_and_says_what_was_wished_for_it() {
    let made = delivery(Job::new("text").key(7), 3);
    assert_eq!((*made.job(), made.attempt()), ("text", 3));
    assert_eq!(made.key(), Some(&Key::from(7)));
    assert!(made.producer::<()>().is_none() && !made.is_fenced() && !made.has_expired());
    made.extend();
}

#[test]
fn a_closure_that_consumes_is_called_with_a_delivery() {
    let work = async |delivery: &Delivery<u64>| Ok::<_, Failure>(delivery.job() * 2);
    assert_eq!(work(&delivery(21, 1)).now_or_never().unwrap(), Ok(42));
}

#[test]
fn how_a_delivery_was_settled_is_heard() {
    let (done, settled) = deliver::<u64, String>(1, 1);
    assert_eq!(settled.take(), None);
    done.ack("done".to_owned());
    assert_eq!(settled.take(), Some(Settled::Done("done".to_owned())));
    assert_eq!(settled.take(), None);
    let (failed, settled) = deliver::<u64, String>(1, 1);
    failed.fail(Failure::reject("no"));
    assert_eq!(settled.take(), Some(Settled::Failed(Failure::reject("no"))));
    let (dropped, settled) = deliver::<u64, String>(1, 1);
    drop(dropped);
    assert_eq!(settled.take(), Some(Settled::Abandoned));
    let (expired, settled) = deliver::<u64, String>(Job::new(1).expires_after(Duration::ZERO), 1);
    assert!(expired.unless_expired().is_none());
    assert_eq!(settled.take(), Some(Settled::Expired));
}

/// Does the even ones.
struct Evens;

impl BatchConsumer for Evens {
    type Job = u64;
    type Output = u64;

    async fn consume(&mut self, batch: &mut Vec<Deliver<u64, u64>>) -> Result<(), Failure> {
        for delivery in batch.drain(..) {
            match *delivery.job() {
                even if even % 2 == 0 => delivery.ack(even),
                _ => delivery.fail(Failure::reject("odd")),
            }
        }
        Ok(())
    }
}

#[test]
fn a_batch_of_deliveries_is_settled_one_by_one() {
    let (mut batch, settled): (Vec<_>, Vec<_>) = (0..4).map(|job| deliver(job, 1)).unzip();
    Evens.consume(&mut batch).now_or_never().unwrap().unwrap();
    let settled: Vec<_> = settled.iter().map(|settled| settled.take().unwrap()).collect();
    let odd = || Settled::Failed(Failure::reject("odd"));
    assert_eq!(settled, [Settled::Done(0), odd(), Settled::Done(2), odd()]);
}
