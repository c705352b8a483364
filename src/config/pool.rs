//! The pools of providers: `[[pool]]`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::build::Section;
use super::near::nearest;
use super::problems::Notes;
use super::provider::{Kind, Provider};
use super::{Queue, TargetSettings};
use crate::rules::route::Member;
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
}

/// Every pool, when nothing in them is wrong.
pub(super) fn pools(
    sections: &[Section<'_>],
    providers: &[Provider],
    notes: &mut Notes,
) -> Option<Vec<Pool>> {
    let mut names = BTreeSet::new();
    let read = sections.iter().map(|section| {
        let pool = pool(*section, providers, notes)?;
        if !names.insert(Arc::clone(&pool.name)) {
            let what = format!("there are two pools of the name `{}`", pool.name);
            notes.add(section.place("name"), what, "give one of them another name");
        }
        Some(pool)
    });
    read.collect::<Vec<_>>().into_iter().collect()
}

fn pool(section: Section<'_>, providers: &[Provider], notes: &mut Notes) -> Option<Pool> {
    let name: String = section.get("name")?;
    let path = format!("pool.{name}");
    let names: Vec<String> = section.get("providers")?;
    let known = |name: &str| providers.iter().find(|known| known.name.as_ref() == name);
    if names.is_empty() {
        let what = format!("`{path}.providers` is empty, so nothing could ever be sent");
        notes.add(section.place("providers"), what, "name at least one");
    }
    for name in names.iter().filter(|name| known(name).is_none()) {
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
    Some(Pool {
        members: members.collect(),
        sticky: section.get("sticky")?,
        largest_share: section.get("largest_share")?,
        mail: found.iter().any(|provider| provider.kind != Kind::Http),
        idempotent: !found.is_empty() && found.iter().all(|provider| provider.idempotent),
        name: name.into(),
    })
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
