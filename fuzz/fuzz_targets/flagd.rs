//! flagd's JSON: whatever is taken can be written again, and is then taken as the same flags but for the names of rules.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate::compat::flagd::{export, import};

fuzz_target!(|input: &str| {
    let Ok(imported) = import(input) else {
        return;
    };
    for refused in &imported.refused {
        assert!(!refused.what.is_empty());
    }
    let written = export(&imported.flags);
    assert!(written.refused.is_empty(), "{:?}", written.refused);
    let again = import(&written.json.to_string()).expect("what was written can be read");
    assert!(
        again.refused.is_empty(),
        "{} {:?}",
        written.json,
        again.refused
    );
});
