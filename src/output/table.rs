//! The table of descriptors: one row each, as wide as the terminal.
//!
//! The columns before the last are as wide as their widest cell; the last shows the two ends of a
//! connection, or a name. When the terminal is too narrow, first the less telling columns go (UID, SEND-Q,
//! RECV-Q, KIND where every row has a TCP state, IDLE, in this order; IDLE after COMM has shrunk), then COMM shrinks, then rows that still do not fit put the last column on
//! lines of their own, and names lose their beginning. Endpoints are never cut, and PID, FD and INODE never
//! go. Without a terminal everything is shown and nothing cut or broken: one line a descriptor.

use std::fmt::Write as _;
use std::io::{self, Write};

use anstyle::Style;

use super::Layout;
use super::sanitize::{columns, keep_start};

mod cells;
mod row;
mod shown;

use cells::{Column, Extent, Widths};
pub use row::Row;
use shown::Shown;

/// Between two columns.
const GAP: usize = 2;
/// Before lines that continue a row.
const INDENT: usize = 4;

/// Writes `rows`, which are gone through twice, under a heading; nothing at all if there are none.
///
/// # Errors
///
/// What `out` says.
pub fn write(
    mut rows: impl Iterator<Item = Row> + Clone,
    layout: &Layout,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Some(extent) = Extent::of(rows.clone(), layout.width.is_some()) else { return Ok(()) };
    let widths = Widths::fitting(&extent, layout.width);
    let mut table = Table { layout, widths, line: String::new(), cell: String::new(), out };
    table.heading(&extent)?;
    rows.try_for_each(|row| table.row(&row))
}

/// A table being written. The strings are kept from row to row: there may be 50,000.
struct Table<'a> {
    layout: &'a Layout,
    widths: Widths,
    line: String,
    cell: String,
    out: &'a mut dyn Write,
}

impl Table<'_> {
    fn heading(&mut self, extent: &Extent) -> io::Result<()> {
        let last = match (extent.any_ends, extent.all_ends) {
            (_, true) => "LOCAL -> PEER",
            (true, false) => "LOCAL -> PEER, NAME",
            (false, false) => "NAME",
        };
        let bold = self.layout.palette.heading;
        self.line.push_str(&bold.render().to_string());
        for (column, width) in self.widths.columns() {
            push_padded(&mut self.line, column, column.title(), width, Style::new());
        }
        let room =
            self.layout.width.map_or(usize::MAX, |width| width.saturating_sub(self.widths.before_last()));
        self.line.push_str(&keep_start(last, room));
        self.line.push_str(&bold.render_reset().to_string());
        self.end_line()
    }

    fn row(&mut self, row: &Row) -> io::Result<()> {
        for (column, width) in self.widths.columns() {
            self.cell.clear();
            column.write(row, width, &mut self.cell);
            let style = column.style(row, &self.layout.palette);
            push_padded(&mut self.line, column, &self.cell, width, style);
        }
        let before = self.widths.before_last();
        match Shown::new(row, self.layout.width, before, INDENT) {
            Shown::Beside(text) => self.line.push_str(&text),
            Shown::Stacked(first, second) => {
                self.line.push_str(&first);
                self.end_line()?;
                self.indented(before, &second);
            }
            Shown::Below(lines) => {
                for text in lines {
                    self.end_line()?;
                    self.indented(INDENT, &text);
                }
            }
        }
        self.end_line()
    }

    fn indented(&mut self, indent: usize, text: &str) {
        self.line.extend(std::iter::repeat_n(' ', indent));
        self.line.push_str(text);
    }

    fn end_line(&mut self) -> io::Result<()> {
        self.out.write_all(self.line.trim_end().as_bytes())?;
        self.line.clear();
        self.out.write_all(b"\n")
    }
}

/// Appends a cell, its filling and the gap after it. The style covers the text alone.
fn push_padded(line: &mut String, column: Column, text: &str, width: usize, style: Style) {
    let fill = width.saturating_sub(columns(text));
    let (before, after) = if column.is_number() { (fill, GAP) } else { (0, fill + GAP) };
    push_blanks(line, before);
    if style.is_plain() {
        line.push_str(text);
    } else {
        // Writing to a String can't fail.
        let _ = write!(line, "{style}{text}{style:#}");
    }
    push_blanks(line, after);
}

fn push_blanks(line: &mut String, count: usize) {
    const BLANKS: &str = "                                ";
    match BLANKS.get(..count) {
        Some(blanks) => line.push_str(blanks),
        None => line.extend(std::iter::repeat_n(' ', count)),
    }
}
