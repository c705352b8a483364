//! Asks the broker how deep lanes are, one after another, on a channel of its own, which the question for a lane that is missing
//! closes without harm. May import `rules`.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use lapin::Channel;
use tokio::time::{Sleep, sleep, timeout};

use super::connection::{Link, Lost};
use super::probe::depth;
use crate::rules::lane::Lane;
use crate::rules::names::lane_queue;

/// How often every lane is asked for.
const EVERY: Duration = Duration::from_secs(3);
/// How long the broker may take to answer for all of them.
const ANSWER: Duration = Duration::from_secs(10);

/// So many messages are ready; `None`: the lane is not there.
pub(super) type Found = (Lane, Option<u64>);

type Round = (Option<Channel>, Vec<Found>);

/// Asks again and again.
pub(super) struct Depths {
    link: Rc<Link>,
    queue: String,
    channel: Option<Channel>,
    round: Option<LocalBoxFuture<'static, Round>>,
    due: BTreeSet<Lane>,
    pause: Pin<Box<Sleep>>,
}

impl Depths {
    /// Asks for lanes of `queue`, as soon as there are some.
    pub(super) fn new(link: Rc<Link>, queue: String) -> Self {
        Self {
            link,
            queue,
            channel: None,
            round: None,
            due: BTreeSet::new(),
            pause: Box::pin(sleep(Duration::ZERO)),
        }
    }

    /// Asks for this one soon.
    pub(super) fn hurry(&mut self, lane: Lane) {
        self.due.insert(lane);
    }

    /// What the broker answered for some of `lanes`; what it could not be asked for is asked in the next round. Cancel safe.
    pub(super) fn poll_round(
        &mut self,
        lanes: impl Iterator<Item = Lane>,
        context: &mut Context<'_>,
    ) -> Poll<Vec<Found>> {
        if self.round.is_none() {
            if self.pause.as_mut().poll(context).is_ready() {
                self.due.extend(lanes);
                self.pause = Box::pin(sleep(EVERY));
                // It is asked at once, so that it wakes us when it is over.
                let _ = self.pause.as_mut().poll(context);
            }
            if self.due.is_empty() {
                return Poll::Pending;
            }
        }
        let round = self.round.get_or_insert_with(|| {
            let link = Rc::clone(&self.link);
            let (channel, due) = (self.channel.take(), std::mem::take(&mut self.due));
            ask(link, channel, self.queue.clone(), due).boxed_local()
        });
        let (channel, found) = ready!(round.as_mut().poll(context));
        self.round = None;
        self.channel = channel;
        Poll::Ready(found)
    }
}

async fn ask(
    link: Rc<Link>,
    mut channel: Option<Channel>,
    queue: String,
    lanes: BTreeSet<Lane>,
) -> Round {
    let mut found = Vec::new();
    let all = async {
        for lane in lanes {
            let open = match channel.take().filter(|open| open.status().connected()) {
                Some(open) => open,
                None => link.channel().await?,
            };
            match depth(&open, &lane_queue(&queue, lane)).await {
                Ok(ready) => {
                    found.push((lane, Some(ready)));
                    channel = Some(open);
                }
                Err(Lost::Missing(_)) => found.push((lane, None)),
                // It belongs to another connection, say: the others are asked all the same.
                Err(_) if link.up() => {}
                Err(lost) => return Err(lost),
            }
        }
        Ok(channel)
    };
    match timeout(ANSWER, all).await {
        Ok(Ok(channel)) => (channel, found),
        // The probe of the queue watches the connection, and says what is wrong with it.
        Ok(Err(_)) | Err(_) => (None, found),
    }
}
