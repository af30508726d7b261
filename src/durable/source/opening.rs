//! The opening itself, on the thread that will write.

use std::sync::{Arc, Mutex, mpsc};

use super::{DurableBuilder, DurableQueue};
use crate::actors::Clock;
use crate::durable::core::{Core, Progress, Requests};
use crate::durable::disk::Purpose;
use crate::durable::encoding::JobEncoding;
use crate::durable::engine::{Change, Engine, Meta, Table};
use crate::durable::error::OpenErrorReason;
use crate::durable::format::FORMAT;
use crate::durable::state::Recovered;
use crate::durable::wait::Wait;
use crate::durable::writer::{Round, Writer};
use crate::durable::{second_opener, simulated_disk};
use crate::protocol::faults;
use crate::types::GroupConfig;

impl<J: Send + Sync + 'static> DurableBuilder<J> {
    /// Opens the queue on the thread that will write it, which is the only one that ever touches the file.
    pub(super) fn start(
        self,
        wait: Wait,
        answer: impl FnOnce(Result<DurableQueue<J>, OpenErrorReason>) + Send + 'static,
    ) -> Result<(), OpenErrorReason> {
        if simulated_disk::has_disks() {
            faults::ask(|world| world.visited_by(second_opener::visit));
            answer(self.opened(&wait).map(|(queue, writer)| {
                if let Some(bell) = queue.core.requests.bell.0.clone() {
                    actix_rt::spawn(writer.run_simulated(bell));
                }
                queue
            }));
            return Ok(());
        }
        let work = move || match self.opened(&wait) {
            Ok((queue, writer)) => {
                answer(Ok(queue));
                writer.run();
            }
            Err(reason) => answer(Err(reason)),
        };
        let thread = std::thread::Builder::new().name("durable queue".into());
        thread.spawn(work).map_err(OpenErrorReason::Thread)?;
        Ok(())
    }

    fn opened(self, wait: &Wait) -> Result<(DurableQueue<J>, Writer<J>), OpenErrorReason> {
        let group = GroupConfig {
            queue: self.config,
            ..GroupConfig::default()
        };
        group.check()?;
        let mut engine = Engine::open(&self.path, self.cache, Purpose::Queue, wait)?;
        let first = check(&mut engine, self.codec.name())?;
        let clock = Clock::start();
        let paper = Arc::new(JobEncoding {
            codec: self.codec,
            clock,
        });
        let Recovered { state, mut changes } = Recovered::read(
            &mut engine,
            Arc::clone(&paper),
            group.queue,
            (self.capacity_bytes, self.dead_age),
        )?;
        changes.extend(first);
        if state.suspects() > 0 {
            tracing::warn!(
                jobs = state.suspects(),
                "the process before ended while these jobs were leased: they are begun one at a time, before all others"
            );
        }
        engine.commit(&changes, true)?;
        let state = Arc::new(Mutex::new(state));
        let (requests, asked) = mpsc::channel();
        let progress = Arc::<Progress>::default();
        let core = Arc::new(Core {
            state: Arc::clone(&state),
            requests: Requests::new(requests),
            progress: Arc::clone(&progress),
            owner: engine.owner(),
        });
        let writer = Writer {
            engine,
            state,
            paper,
            durability: self.durability,
            requests: asked,
            round: Round::default(),
            unsaved: Vec::new(),
            waiting: Vec::new(),
            must_flush: false,
            flush_by: None,
            is_untidy: true,
            failing: None,
            needed: Vec::new(),
            unread: None,
            progress,
        };
        Ok((DurableQueue { core, clock }, writer))
    }
}

/// Compares format and codec. Gives what has to be written into a new file.
fn check(engine: &mut Engine, codec: &'static str) -> Result<Vec<Change>, OpenErrorReason> {
    if engine.is_new() {
        return Ok(vec![
            Change::meta(Meta::Format, FORMAT),
            Change::Put(Table::Meta, Meta::Codec as u64, codec.as_bytes().to_vec()),
        ]);
    }
    let format = engine.get(Table::Meta, Meta::Format as u64)?;
    let format = format.and_then(|format| format.try_into().ok());
    let format = format.map_or(u64::MAX, u64::from_le_bytes);
    if format != FORMAT {
        return Err(OpenErrorReason::Format {
            found: format,
            known: FORMAT,
        });
    }
    let found = engine.get(Table::Meta, Meta::Codec as u64)?.unwrap_or_default();
    if found != codec.as_bytes() {
        return Err(OpenErrorReason::Codec {
            found: String::from_utf8_lossy(&found).into_owned(),
            wanted: codec,
        });
    }
    Ok(Vec::new())
}
