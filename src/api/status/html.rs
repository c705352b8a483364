//! The status page as HTML: one file, no script, nothing loaded; every text goes through [`safe`].

use std::fmt::Write;

use super::{COLUMNS, Moment, Page, Row, STYLE, Turned, Why, plain};

/// How often the page asks anew, in seconds.
const REFRESH: u8 = 5;

/// The page.
pub(super) fn show(page: &Page) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let at = time(&page.at);
    let stopping = if page.stopping {
        "<p class=\"note bad\">The daemon is stopping: nothing more is taken.</p>"
    } else {
        ""
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"refresh\" content=\"{REFRESH}\">\n\
         <title>{}Sluicegate</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>Sluicegate</h1><p>revision {} · {at}</p></header>\n\
         <main>\n{stopping}{}{}</main>\n\
         <footer><p>{version} · renewed every {REFRESH} s · <a href=\"/readyz?verbose\">readiness</a> · \
         <a href=\"/metrics\">metrics</a> · <a href=\"/api/v1/openapi.json\">API</a></p></footer>\n</body>\n</html>\n",
        title(page),
        page.revision,
        turned(&page.turned),
        queues(&page.queues),
    )
}

/// What the tab says before the name: how many valves are turned, or that something is not served.
fn title(page: &Page) -> String {
    if page.queues.iter().any(|queue| !queue.served) {
        "(!) ".to_owned()
    } else if page.turned.is_empty() {
        String::new()
    } else {
        format!("({}) ", page.turned.len())
    }
}

fn turned(all: &[Turned]) -> String {
    let mut section =
        "<section aria-labelledby=\"turned\">\n<h2 id=\"turned\">Turned</h2>\n".to_owned();
    if all.is_empty() {
        section.push_str("<p class=\"note\">Nothing: every valve is neutral.</p>\n");
    } else {
        section.push_str("<ul class=\"turned\">\n");
        for turned in all {
            let _ = writeln!(
                section,
                "<li><p class=\"knob\"><code>{}</code> <strong>{}</strong></p>{}</li>",
                safe(&turned.flag),
                safe(&turned.now),
                why(&turned.why)
            );
        }
        section.push_str("</ul>\n");
    }
    section + "</section>\n"
}

fn why(why: &Why) -> String {
    match why {
        Why::Set { revision, by } => {
            let (by, reason) = by
                .as_ref()
                .map_or_else(Default::default, |(owner, reason)| {
                    let (owner, reason) = (safe(owner), safe(reason));
                    (
                        format!(" by <bdi>{owner}</bdi>"),
                        format!("<p class=\"reason\"><bdi>{reason}</bdi></p>"),
                    )
                });
            format!("{reason}<p>set{by} at revision {revision}; it stays until it is set again</p>")
        }
        Why::Opened {
            id,
            owner,
            reason,
            until,
            left,
        } => {
            let (id, owner, reason) = (safe(id), safe(owner), safe(reason));
            let (until, left) = (time(until), safe(left));
            format!(
                "<p class=\"reason\"><bdi>{reason}</bdi></p><p>{id} by <bdi>{owner}</bdi> · {left} left, until {until}</p>"
            )
        }
    }
}

fn queues(all: &[Row]) -> String {
    let mut section =
        "<section aria-labelledby=\"queues\">\n<h2 id=\"queues\">Queues</h2>\n".to_owned();
    if all.is_empty() {
        return section + "<p class=\"note\">None.</p>\n</section>\n";
    }
    section
        .push_str("<table>\n<thead><tr><th scope=\"col\">Queue</th><th scope=\"col\">State</th>");
    for column in COLUMNS {
        let _ = write!(section, "<th scope=\"col\" class=\"number\">{column}</th>");
    }
    section.push_str("</tr></thead>\n");
    for row in all {
        section.push_str(&queue(row));
    }
    section + "</table>\n</section>\n"
}

fn queue(row: &Row) -> String {
    let mood = if row.served { "good" } else { "bad" };
    let mut rows = format!(
        "<tbody>\n<tr><th scope=\"row\"><bdi>{}</bdi></th><td data-label=\"State\"><span class=\"{mood}\">{}</span></td>",
        safe(&row.name),
        safe(&row.state)
    );
    for (column, cell) in COLUMNS.iter().zip(&row.cells) {
        let _ = write!(
            rows,
            "<td class=\"number\" data-label=\"{column}\">{}</td>",
            safe(cell)
        );
    }
    rows.push_str("</tr>\n");
    let about_state = if row.served { "" } else { "not served: " };
    for (what, said) in [
        (about_state, &row.detail),
        ("most messages: ", &row.top_by_count),
        ("most work: ", &row.top_by_work),
    ] {
        if !said.is_empty() {
            let span = COLUMNS.len() + 2;
            let _ = writeln!(
                rows,
                "<tr class=\"more\"><td colspan=\"{span}\">{what}<bdi>{}</bdi></td></tr>",
                safe(said)
            );
        }
    }
    rows + "</tbody>\n"
}

fn time(moment: &Moment) -> String {
    let (shown, rfc3339) = (safe(&moment.shown), safe(&moment.rfc3339));
    format!("<time datetime=\"{rfc3339}\">{shown}</time>")
}

/// A text that is nothing but text, wherever it stands in the page.
fn safe(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in plain(text).chars() {
        match character {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '"' => shown.push_str("&quot;"),
            '\'' => shown.push_str("&#39;"),
            other => shown.push(other),
        }
    }
    shown
}
