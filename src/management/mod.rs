//! RabbitMQ's management API: what AMQP cannot tell. Arguments and policies of queues, who else reads them, and how old their
//! heads are. It only reads, and is never needed for a message: while it is away, all of that is unknown.
//! May import `clock`, `config`, `rules`, `topology` and `vitals`.

mod bindings;
mod client;
mod findings;
#[cfg(test)]
mod tests;
mod told;
mod watch;

pub use bindings::{bound, kind_of, published};
pub use client::{Client, Trouble};
pub use watch::{Watched, watch};

use crate::config::Settings;
use crate::rules::finding::{Finding, Weight};
use crate::rules::names::CONSUMER_TAG;
use told::Consumers;

/// What `sluicegate check --connect` asks: each queue of the file, and the queues that we keep beside it.
pub async fn check(settings: &Settings) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(management) = &settings.management else {
        for queue in &settings.queues {
            let text = "arguments, policy and other consumers: AMQP cannot tell; set [management] to have them looked at";
            found.push(Finding {
                weight: Weight::Unknown,
                about: queue.name.to_string(),
                text: text.to_owned(),
            });
        }
        return found;
    };
    let client = Client::new(management);
    for queue in &settings.queues {
        let notes = match &client {
            Ok(client) => one_queue(client, settings, queue).await,
            Err(trouble) => vec![unknown(trouble)],
        };
        let about = || queue.name.to_string();
        found.extend(notes.into_iter().map(|(weight, text)| Finding {
            weight,
            about: about(),
            text,
        }));
    }
    found
}

type Notes = Vec<(Weight, String)>;

fn unknown(trouble: &Trouble) -> (Weight, String) {
    let text = format!("arguments, policy and other consumers are unknown: {trouble}");
    (Weight::Warning, text)
}

async fn one_queue(client: &Client, settings: &Settings, queue: &crate::config::Queue) -> Notes {
    let vhost = settings.vhost_of(queue);
    let told = match client.queue(vhost, &queue.broker_name).await {
        Ok(Some(told)) => told,
        // AMQP has said already that the queue is missing, if it is; else the user may not see it.
        Ok(None) => {
            let text = "the management API does not show the queue: it is not there, or its user has no permission in the vhost";
            return vec![(Weight::Warning, text.to_owned())];
        }
        Err(trouble) => return vec![unknown(&trouble)],
    };
    let mut notes = findings::of_queue(queue, &told);
    notes.extend(findings::of_consumers(&Consumers::of(&told, CONSUMER_TAG)));
    if !queue.admitted().is_empty() {
        match client.queue(vhost, queue.admitted()).await {
            Ok(Some(told)) => notes.extend(findings::of_admitted(queue, &told)),
            Ok(None) => {} // AMQP has said so already
            Err(trouble) => notes.push(unknown(&trouble)),
        }
    }
    match client.ours(vhost).await {
        Ok(ours) => notes.extend(findings::of_our_own(queue, vhost, &ours)),
        Err(trouble) => notes.push(unknown(&trouble)),
    }
    notes
}
