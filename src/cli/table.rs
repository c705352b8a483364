//! Plain tables: columns aligned, numbers to the right, no lines drawn. Imports no room.

use super::console::harmless;

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// What a cell's colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tint {
    Plain,
    Good,
    Notable,
    Bad,
}

impl Tint {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\u{1b}[32m",
            Self::Notable => "\u{1b}[33m",
            Self::Bad => "\u{1b}[31m",
        }
    }
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell(String, Tint);

impl Cell {
    pub(super) fn tinted(text: &str, tint: Tint) -> Self {
        Self(harmless(text), tint)
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::tinted(text.as_ref(), Tint::Plain)
    }
}

/// Rows under a head.
#[derive(Debug)]
pub(super) struct Table {
    sides: Vec<Side>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new<const N: usize>(columns: [(&str, Side); N]) -> Self {
        Self {
            sides: columns.iter().map(|(_, side)| *side).collect(),
            rows: vec![columns.iter().map(|(name, _)| Cell::from(name)).collect()],
        }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// Whether there is nothing under the head.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// The table as text, a line for each row.
    pub(super) fn render(&self, colour: bool) -> String {
        let widths = self.widths();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, side), width) in row.iter().zip(&self.sides).zip(&widths) {
                // The colour goes around the words alone, so that it does not count as width.
                let room = " ".repeat(width.saturating_sub(cell.0.chars().count()));
                let words = paint(cell, colour);
                line += &match side {
                    Side::Left => format!("{words}{room}  "),
                    Side::Right => format!("{room}{words}  "),
                };
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        (0..self.sides.len())
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells
                    .map(|cell| cell.0.chars().count())
                    .max()
                    .unwrap_or_default()
            })
            .collect()
    }
}

fn paint(cell: &Cell, colour: bool) -> String {
    let code = if colour { cell.1.code() } else { "" };
    if code.is_empty() {
        cell.0.clone()
    } else {
        format!("{code}{}\u{1b}[0m", cell.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new([
            ("QUEUE", Side::Left),
            ("READY", Side::Right),
            ("STATE", Side::Left),
        ]);
        table.row([
            "orders".into(),
            "1200".into(),
            Cell::tinted("denied", Tint::Bad),
        ]);
        table.row(["größe\u{1b}[2J".into(), "7".into(), "".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_lines_end_where_words_do() {
        let wanted = "\
QUEUE      READY  STATE
orders      1200  denied
größe\u{fffd}[2J      7
";
        assert_eq!(sample().render(false), wanted);
    }

    #[test]
    fn colour_changes_no_width_and_only_we_colour() {
        let coloured = sample().render(true);
        assert!(coloured.contains("  \u{1b}[31mdenied\u{1b}[0m\n"));
        let bare = coloured.replace("\u{1b}[31m", "").replace("\u{1b}[0m", "");
        assert_eq!(bare, sample().render(false));
    }
}
