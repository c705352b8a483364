//! What the queue and its lanes write down for the worker, until it asks. May import `rules` and `seams`.

use std::collections::VecDeque;

use crate::rules::lane::Lane;
use crate::rules::watermark::Tally;
use crate::seams::{Arrival, LaneNews};

/// What all sources of an inlet write down for the worker.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// What came and was not told yet.
    pub(super) news: VecDeque<Arrival>,
    /// What became of settlements since the worker last heard of it.
    pub(super) tally: Tally,
    /// The number of the newest channel.
    epoch: u32,
}

impl Notes {
    /// The number of a channel that is new.
    pub(super) fn new_epoch(&mut self) -> u32 {
        self.epoch = self.epoch.wrapping_add(1);
        self.epoch
    }

    /// News of a lane.
    pub(super) fn tell(&mut self, lane: Lane, news: LaneNews) {
        self.news.push_back(Arrival::Lane(lane, news));
    }
}
