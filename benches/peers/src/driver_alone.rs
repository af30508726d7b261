//! No pool at all: the producer calls the handler. What it measures is the machine's own, and in every other figure too.

use std::ops::Range;
use std::sync::Arc;

use crate::drive::Pool;
use crate::meter::Meter;

pub struct DriverAlone(Arc<Meter>);

impl DriverAlone {
    pub fn new(workers: usize, meter: &Arc<Meter>) -> Self {
        (0..workers).for_each(|_| meter.note_up());
        Self(Arc::clone(meter))
    }
}

impl Pool for DriverAlone {
    async fn send(&mut self, jobs: Range<u64>) {
        for job in jobs {
            self.0.handle(job).await;
        }
    }
}
