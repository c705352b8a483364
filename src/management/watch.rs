//! While the daemon runs: every few seconds the age of each queue's head and who else reads it, into the vitals. Imports `clock`,
//! `rules` and `vitals`.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::client::{Client, Trouble};
use super::told::{Consumers, QueueTold};
use crate::clock::Clock;
use crate::vitals::{QueueVitals, Surroundings};

/// How often each queue is asked about.
const EVERY: Duration = Duration::from_secs(15);

/// A queue that is watched.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The vhost it lies in.
    pub vhost: String,
    /// Its name at the broker.
    pub name: String,
    /// Where what is told goes.
    pub vitals: Arc<QueueVitals>,
}

/// Asks until it is stopped. `own_tag` is what the tags of this daemon's consumers begin with. Trouble makes things unknown, is
/// said once, and disturbs nothing.
pub async fn watch(
    client: Result<Client, Trouble>,
    queues: Vec<Watched>,
    own_tag: String,
    clock: Clock,
    stop: CancellationToken,
) {
    let mut said: Vec<Option<Trouble>> = vec![None; queues.len()];
    loop {
        let round = async {
            for (queue, said) in queues.iter().zip(&mut said) {
                let told = match &client {
                    Ok(client) => client.queue(&queue.vhost, &queue.name).await,
                    Err(trouble) => Err(trouble.clone()),
                };
                let trouble = told.as_ref().err().cloned();
                let seen = surroundings(told, &own_tag, clock.now().ms);
                queue.vitals.surroundings(seen);
                let nobody_there = matches!(trouble, Some(Trouble::Unreachable(_)));
                if *said != trouble {
                    say(queue, trouble.as_ref());
                    *said = trouble;
                }
                if nobody_there {
                    // The others would only wait for the same.
                    forget(&queues);
                    break;
                }
            }
            tokio::time::sleep(EVERY).await;
        };
        if stop.run_until_cancelled(round).await.is_none() {
            return;
        }
    }
}

fn say(queue: &Watched, trouble: Option<&Trouble>) {
    match trouble {
        Some(trouble) => tracing::warn!(
            queue = queue.name,
            reason = %trouble,
            "the age of heads and other consumers are unknown; messages are not disturbed"
        ),
        None => tracing::info!("the management API tells again what AMQP cannot"),
    }
}

fn forget(queues: &[Watched]) {
    for queue in queues {
        queue.vitals.surroundings(Surroundings::default());
    }
}

fn surroundings(
    told: Result<Option<QueueTold>, Trouble>,
    own_tag: &str,
    now_ms: i64,
) -> Surroundings {
    let Ok(Some(told)) = told else {
        return Surroundings::default();
    };
    let others = Consumers::of(&told, own_tag).others;
    Surroundings {
        head_age_ms: told.head_ms().map(|at| now_ms.saturating_sub(at).max(0)),
        other_consumers: others.map(|others| others.len() as u64),
    }
}
