//! The pools of providers: `[[pool]]`, and who is told what came of their jobs: `[pool.results]`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::build::{Around, Section};
use super::list::URL_WAYS;
use super::near::nearest;
use super::problems::Notes;
use super::provider::{Kind, Provider};
use super::secret::{Key, Secret};
use super::{Queue, TargetSettings, notify, url};
use crate::rules::route::Member;
use crate::rules::segment::SegmentName;
use crate::rules::units::Ratio;

/// `[[pool]]`
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// Its name.
    pub name: Arc<str>,
    /// Its providers, the first choice first.
    pub members: Vec<Member>,
    /// Whether the messages of a key stay with a provider.
    pub sticky: bool,
    /// The share of all slots that one provider may hold.
    pub largest_share: Ratio,
    /// Whether its jobs are mails: one of its providers is no plain HTTP service.
    pub mail: bool,
    /// Whether all of its providers take an idempotency key.
    pub idempotent: bool,
    /// The addresses that get no mail.
    pub suppress: Option<SegmentName>,
    /// Who is told what came of each job.
    pub results: Option<Results>,
}

/// Who is told what came of each job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Results {
    /// A queue of this name, in the vhost of the queue that the job comes from.
    Queue(String),
    /// A webhook.
    Webhook(Webhook),
}

/// A webhook that is told of results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where results are posted; shown by its host alone.
    pub url: Secret,
    /// The host of the URL, for people.
    pub host: String,
    /// What signs the results.
    pub secret: Option<Key>,
}

/// Every pool, when nothing in them is wrong.
pub(super) fn pools(
    sections: &[Section<'_>],
    providers: Option<&[Provider]>,
    around: &Around<'_>,
    notes: &mut Notes,
) -> Option<Vec<Pool>> {
    let mut names = BTreeSet::new();
    let read = sections.iter().map(|section| {
        let pool = pool(*section, providers, around, notes)?;
        if !names.insert(Arc::clone(&pool.name)) {
            let what = format!("there are two pools of the name `{}`", pool.name);
            notes.add(section.place("name"), what, "give one of them another name");
        }
        Some(pool)
    });
    read.collect::<Vec<_>>().into_iter().collect()
}

fn pool(
    section: Section<'_>,
    providers: Option<&[Provider]>,
    around: &Around<'_>,
    notes: &mut Notes,
) -> Option<Pool> {
    let name: String = section.get("name")?;
    let path = format!("pool.{name}");
    let names: Vec<String> = section.get("providers")?;
    // What is wrong with them was said already, if they cannot be read.
    let all_known = providers.is_some();
    let providers = providers.unwrap_or_default();
    let known = |name: &str| providers.iter().find(|known| known.name.as_ref() == name);
    if names.is_empty() {
        let what = format!("`{path}.providers` is empty, so nothing could ever be sent");
        notes.add(section.place("providers"), what, "name at least one");
    }
    for name in names
        .iter()
        .filter(|name| all_known && known(name).is_none())
    {
        let what = format!("`{path}.providers` names `{name}`, and there is no such [[provider]]");
        let all = providers.iter().map(|known| known.name.as_ref());
        let help = match nearest(name, all) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "add the [[provider]], or take the name out".to_owned(),
        };
        notes.add(section.place("providers"), what, help);
    }
    let weights: BTreeMap<String, Ratio> = section.get("weights").unwrap_or_default();
    for name in weights.keys().filter(|name| !names.contains(name)) {
        let what = format!("`{path}.weights` names `{name}`, which is none of its providers");
        notes.add(
            section.place("weights"),
            what,
            "take it out, or add it to `providers`",
        );
    }
    let members = names.iter().map(|name| Member {
        name: name.as_str().into(),
        weight: weights
            .get(name)
            .map_or(0, |share| (share.get() * 100_000.0) as u32),
    });
    let found: Vec<&Provider> = names.iter().filter_map(|name| known(name)).collect();
    let mail = found.iter().any(|provider| provider.kind != Kind::Http);
    let suppress: Option<String> = section.get("suppress");
    if suppress.is_some() && !mail && !found.is_empty() {
        let what =
            format!("`{path}.suppress` is about recipients, and none of its providers sends mail");
        notes.add(section.place("suppress"), what, "leave it out");
    }
    Some(Pool {
        suppress: suppress.and_then(|name| name.parse().ok()),
        results: results(section.section("results"), &path, around, notes)?,
        members: members.collect(),
        sticky: section.get("sticky")?,
        largest_share: section.get("largest_share")?,
        mail,
        idempotent: !found.is_empty() && found.iter().all(|provider| provider.idempotent),
        name: name.into(),
    })
}

/// Who is told of results; `Some(None)`: nobody.
fn results(
    section: Section<'_>,
    path: &str,
    around: &Around<'_>,
    notes: &mut Notes,
) -> Option<Option<Results>> {
    let name = format!("{path}.results");
    let written = |way: &&str| section.table.get(way).is_some();
    let posted = URL_WAYS.iter().any(written);
    let queue: Option<String> = section.get("queue");
    match (written(&"queue"), posted) {
        (true, true) => {
            let what = format!("`{name}` names a queue and a URL");
            notes.add(section.place("queue"), what, "leave one of them out");
            None
        }
        (true, false) => Some(Some(Results::Queue(queue?))),
        (false, true) => {
            let secret = notify::secret(section, &name, around, notes);
            let url = notify::address(section, &name, around, notes)?;
            Some(Some(Results::Webhook(Webhook {
                host: url::webhook(&url).ok()?.host,
                url: Secret::new(url),
                secret: secret?,
            })))
        }
        (false, false) => Some(None),
    }
}

/// Refuses queues whose pool is not there.
pub(super) fn check_queues(
    sections: &[Section<'_>],
    queues: &[Queue],
    pools: &[Pool],
    notes: &mut Notes,
) {
    for (section, queue) in sections.iter().zip(queues) {
        let TargetSettings::Pool(name) = &queue.target else {
            continue;
        };
        if pools.iter().any(|pool| pool.name == *name) {
            continue;
        }
        let what = format!(
            "`queue.{}.target` names the pool `{name}`, and there is no such [[pool]]",
            queue.name
        );
        let all = pools.iter().map(|pool| pool.name.as_ref());
        let help = match nearest(name, all) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "add the [[pool]] with its providers".to_owned(),
        };
        notes.add(section.section("target").place("pool"), what, help);
    }
}
