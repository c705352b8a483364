//! A flag's document, then lines of `name=text` that are known of whoever asks: whatever is taken can be asked, is explained with
//! the same answer, and is taken again as it is shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate::rules::context::Attribute;
use sluicegate::rules::explain::explain;
use sluicegate::rules::flag::{Flag, FlagDocument};
use sluicegate::rules::snapshot::{GatedQueue, Snapshot, Stored};

fuzz_target!(|input: &str| {
    let (document, told) = input.split_once('\n').unwrap_or((input, ""));
    let Ok(document) = serde_json::from_str::<FlagDocument>(document) else {
        return;
    };
    let flag = match Flag::try_from(document) {
        Ok(flag) => flag,
        Err(why) => return assert!(!why.to_string().is_empty()),
    };
    let again = Flag::try_from(flag.document()).expect("what was taken is taken again");
    assert_eq!(again, flag);
    let key = flag.key.to_string();
    let stored = Stored {
        flags: vec![flag],
        ..Stored::default()
    };
    let queue = GatedQueue::named("orders".parse().expect("a name"));
    let snapshot = Snapshot::of(vec![queue], stored);
    let told = told.lines().filter_map(|line| line.split_once('='));
    let context = snapshot.context(told.map(|(name, text)| (name, Attribute::of(text))));
    let handle = snapshot.handle(&key).expect("the flag is there");
    let chosen = snapshot.ask(handle, &*context).expect("the flag is there");
    let told = explain(&snapshot, &key, &*context).expect("the flag is there");
    assert_eq!(told.value, chosen.value.to_json());
});
