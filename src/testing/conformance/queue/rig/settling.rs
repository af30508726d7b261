//! How the rig settles, as a supervisor does, and what it asks of the queue.

use super::{Rig, item, wrong};
use crate::actors::queue::QueueSource;
use crate::protocol::{Command, QueueCommand, QueueReply, Settle, SettleReply};
use crate::rules::store::Leased;
use crate::testing::conformance::runner::{Held, Stop, ensure};
use crate::types::{DeadLetter, Epoch, QueueCounts, SettleItem, Verdict};

impl<S: QueueSource<u64>> Rig<S> {
    /// Sends verdicts; says how many were refused.
    pub(in crate::testing::conformance::queue) async fn settle_as(
        &mut self,
        epoch: u64,
        items: Vec<SettleItem>,
    ) -> Held<usize> {
        let settle = Settle::new(Epoch(epoch), items);
        let to = self.life.door.settle.clone();
        match self.ask(&to, settle, "Settle").await? {
            SettleReply::Applied { refused } => Ok(refused.len()),
            SettleReply::LinkDown => Err(Stop::Broken("it says that its link is down".into())),
        }
    }

    /// Sends one verdict on each lease; all must count.
    pub(in crate::testing::conformance::queue) async fn settle(
        &mut self,
        leased: &[Leased<u64>],
        verdict: &Verdict,
    ) -> Held {
        let items = leased.iter().map(|leased| item(leased, verdict)).collect();
        let stale = self.settle_as(self.epoch, items).await?;
        ensure(stale == 0, || {
            format!(
                "{stale} of {} verdicts on living leases were refused as stale",
                leased.len()
            )
        })
    }

    pub(in crate::testing::conformance::queue) async fn ack(&mut self, leased: &[Leased<u64>]) -> Held {
        self.settle(leased, &Verdict::Ack).await
    }

    pub(in crate::testing::conformance::queue) async fn command(
        &mut self,
        command: QueueCommand,
    ) -> Held<QueueReply<u64>> {
        let to = self.life.door.command.clone();
        self.ask(&to, Command::new(command), "Command").await
    }

    /// What the queue says that it holds; `None` if it does not count.
    pub(in crate::testing::conformance::queue) async fn counts(&mut self) -> Held<Option<QueueCounts>> {
        match self.command(QueueCommand::Counts).await? {
            QueueReply::Counts(counts) => Ok(Some(counts)),
            QueueReply::Unsupported(_) => Ok(None),
            other => Err(wrong("Counts", &other)),
        }
    }

    /// The numbers of the dead letters.
    pub(in crate::testing::conformance::queue) async fn letters(&mut self) -> Held<Vec<DeadLetter<u64>>> {
        match self.command(QueueCommand::DeadLetters { most: 100 }).await? {
            QueueReply::DeadLetters(letters) => Ok(letters),
            other => Err(wrong("DeadLetters", &other)),
        }
    }

    /// The next job of which the queue tells that it is dead.
    pub(in crate::testing::conformance::queue) async fn told_dead(&mut self) -> Held<DeadLetter<u64>> {
        let letter = self
            .pace
            .wait("the word of a dead letter (DeadLetteredJobs)", self.dead.recv());
        letter
            .await?
            .ok_or_else(|| Stop::Broken("the desk has gone".into()))
    }
}
