//! A hundred thousand children.

use actix::prelude::*;
use consumer_group::supervision::{Child, Ending, Shutdown, SupervisorSpec};

use crate::common::{system, within};

struct Idle;

impl Actor for Idle {
    type Context = Context<Self>;
}

#[test]
fn a_hundred_thousand_children_start_are_counted_and_stop() {
    system(async {
        let mut spec = SupervisorSpec::new("city");
        for number in 0..100_000 {
            let child = Child::new(format!("house-{number}"), || Idle);
            spec = spec.child(if number % 2 == 0 {
                child
            } else {
                child.shutdown(Shutdown::AtOnce)
            });
        }
        let city = within("all are up", spec.start()).await.unwrap();
        let counts = city.count().await.unwrap();
        assert_eq!(
            (counts.specs, counts.active, counts.workers),
            (100_000, 100_000, 100_000)
        );
        assert_eq!(within("all have ended", city.stop()).await, Ending::Stopped);
    });
}
