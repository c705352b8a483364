//! Clauses as JSON, then a text that every attribute has: whatever compiles can be asked, and says the same each time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate::rules::audience::Audiences;
use sluicegate::rules::clause::{ClauseDocument, all_hold, compile_all};
use sluicegate::rules::context::{Attribute, Vocabulary};
use sluicegate::rules::segment::Segments;

fuzz_target!(|input: &str| {
    let (documents, text) = input.split_once('\n').unwrap_or((input, ""));
    let Ok(documents) = serde_json::from_str::<Vec<ClauseDocument>>(documents) else {
        return;
    };
    let mut vocabulary = Vocabulary::default();
    let clauses = match compile_all(&documents, &Segments::default(), &mut vocabulary) {
        Ok(clauses) => clauses,
        Err(why) => return assert!(!why.to_string().is_empty()),
    };
    let told = vocabulary.clone();
    let told = told
        .names()
        .iter()
        .map(|name| (&**name, Attribute::of(text)));
    let context = vocabulary.context(told);
    let audiences = Audiences::default();
    let holds = all_hold(&clauses, &*context, &audiences);
    assert_eq!(
        holds,
        clauses
            .iter()
            .all(|clause| clause.holds(&*context, &audiences))
    );
    // With nothing known it can be asked all the same.
    all_hold(&clauses, &[][..], &audiences);
});
