//! The status page as text, for curl and bad days.

use std::fmt::Write;

use super::{COLUMNS, Page, Row, Turned, Why, plain};

/// The page, in lines of text.
pub(super) fn show(page: &Page) -> String {
    let mut lines = format!(
        "sluicegate {}   revision {}   {}\n",
        env!("CARGO_PKG_VERSION"),
        page.revision,
        page.at.shown
    );
    if page.stopping {
        lines.push_str("\nSTOPPING: nothing more is taken\n");
    }
    lines.push_str("\nTURNED\n");
    if page.turned.is_empty() {
        lines.push_str("  nothing: every valve is neutral\n");
    }
    for turned in &page.turned {
        let _ = writeln!(lines, "{}", one(turned));
    }
    lines.push_str("\nQUEUES\n");
    lines.push_str(&table(&page.queues));
    lines
}

fn one(turned: &Turned) -> String {
    let (flag, now) = (plain(&turned.flag), plain(&turned.now));
    match &turned.why {
        Why::Set { revision, by } => {
            let by = by.as_ref().map_or(String::new(), |(owner, reason)| {
                format!(" by {}: {}", plain(owner), plain(reason))
            });
            format!("  {flag} = {now}   set at revision {revision}{by}")
        }
        Why::Opened {
            id,
            owner,
            reason,
            until,
            left,
        } => format!(
            "  {flag} = {now}   {id} by {}: {} (until {}, {left} left)",
            plain(owner),
            plain(reason),
            until.shown
        ),
    }
}

fn table(queues: &[Row]) -> String {
    if queues.is_empty() {
        return "  none\n".to_owned();
    }
    let width = |heading: &str, cells: &mut dyn Iterator<Item = usize>| {
        cells.fold(heading.len(), usize::max)
    };
    let names = width("Queue", &mut queues.iter().map(|row| row.name.len()));
    let states = width("State", &mut queues.iter().map(|row| row.state.len()));
    let widths: Vec<usize> = (0..COLUMNS.len())
        .map(|column| {
            let cells = &mut queues.iter().map(|row| row.cells[column].chars().count());
            width(COLUMNS[column], cells)
        })
        .collect();
    let line = |name: &str, state: &str, cells: &[String]| {
        let mut line = format!("  {name:<names$}  {state:<states$}");
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(line, "  {cell:>width$}");
        }
        line + "\n"
    };
    let mut lines = line("Queue", "State", &COLUMNS.map(str::to_owned));
    for row in queues {
        lines.push_str(&line(&row.name, &row.state, &row.cells));
        for (what, said) in [
            (if row.served { "" } else { "not served: " }, &row.detail),
            ("most messages: ", &row.top_by_count),
            ("most work: ", &row.top_by_work),
        ] {
            if !said.is_empty() {
                let _ = writeln!(lines, "    {what}{}", plain(said));
            }
        }
    }
    lines
}
