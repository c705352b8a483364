//! The end: nothing more is taken, what is at work and on the move is finished, every settlement is sent, and then it closes.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until};

use super::{Finished, Worker};
use crate::rules::verdict::Why;
use crate::seams::{Arrival, Delivery, Inlet, Outlet, Settle};

impl<I: Inlet, O: Outlet> Worker<I, O> {
    /// Takes nothing more, finishes what is at work and on the move, sends every settlement, closes.
    pub(super) async fn finish(mut self, within: Duration) -> Finished {
        self.stopping = true;
        let deadline: Instant = self.given.clock.instant(self.now().mono + within);
        self.steer_lanes();
        if !self.keeps_order() {
            self.let_go();
        }
        while !(self.at_work.is_empty() && self.moving.len() == 0)
            || self.ordered.blocks.are_written()
        {
            self.write_ledger();
            tokio::select! {
                biased;
                () = sleep_until(deadline) => break,
                Some((id, answer)) = self.answers.next() => self.came_back(id, &answer),
                Some(step) = self.moving.next() => self.moved(step),
                Some(written) = self.ordered.blocks.next() => self.blocks_written(written),
                arrival = self.given.inlet.next() => match arrival {
                    Arrival::Message(delivery) => self.return_unread(*delivery),
                    other => self.arrived(other),
                },
            }
        }
        self.let_go();
        let at_work = self.at_work.drain().map(|(_, work)| work.held);
        let left: Vec<_> = at_work.chain(self.moving.abandon()).collect();
        let mut stragglers = Vec::new();
        for held in left {
            let _ = held.receipt.spend();
            self.ledger.settled[Why::Unsettled as usize] += 1;
            stragglers.push(held.facts.id.to_string());
        }
        let told = self.given.inlet.close().await;
        self.arrived(Arrival::Settled(told));
        self.given.outlet.close().await;
        self.write_ledger();
        Finished { stragglers }
    }

    fn return_unread(&mut self, delivery: Delivery) {
        self.ledger.received += 1;
        if self.keeps_order() {
            return self.ordered.unread.push(delivery.receipt);
        }
        self.given
            .inlet
            .settle(delivery.receipt, Settle::GiveBack, Why::GivenBack);
    }
}
