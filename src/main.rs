//! The program `sluicegate`. What it does stands in the library.

fn main() {}
