//! Files that commands read. Imports no room.

use std::path::Path;

use super::console::Console;
use super::failure::{Exit, Failure};

/// A file as text; `-` is standard input.
pub(super) fn read(console: &mut Console, file: &Path) -> Result<String, Failure> {
    let text = if file == Path::new("-") {
        console.read_all()
    } else {
        std::fs::read_to_string(file)
    };
    text.map_err(|why| {
        let sentence = format!("{} cannot be read: {why}", file.display());
        Failure::new(Exit::Failed, sentence)
    })
}

/// The lines of a list: one item each, without empty ones and those that begin with `#`.
pub(super) fn items(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    let wanted = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    wanted.map(str::to_owned).collect()
}
