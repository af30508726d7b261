//! No pool at all: the producer calls the handler. What it measures is the machine's own and what the payload costs, and in
//! every other figure too.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use crate::drive::Pool;
use crate::meter::Meter;
use crate::payload::Payload;

pub struct DriverAlone<J>(Arc<Meter>, PhantomData<J>);

impl<J: Payload> DriverAlone<J> {
    pub fn new(workers: usize, meter: &Arc<Meter>) -> Self {
        (0..workers).for_each(|_| meter.note_up());
        Self(Arc::clone(meter), PhantomData)
    }
}

impl<J: Payload> Pool for DriverAlone<J> {
    async fn send(&mut self, jobs: Range<u64>) {
        for job in jobs {
            self.0.handle(J::make(job).look()).await;
        }
    }
}
