//! The columns before the last, and which of them there is room for.

use std::fmt::Write as _;

use anstyle::Style;

use super::super::digits::push_number;
use super::super::sanitize::{columns, keep_start, printable};
use super::super::style::Palette;
use super::super::units::Idle;
use super::GAP;
use super::row::Row;
use super::shown;
use crate::net::TcpState;

/// A name alone asks for no more than this before less telling columns go.
const NAME_WANTED: usize = 40;
/// COMM shrinks no further than this.
const COMM_LEAST: usize = 6;

/// A column before the last, in the order shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Pid,
    Tid,
    Comm,
    Uid,
    Fd,
    Inode,
    Kind,
    State,
    RecvQ,
    SendQ,
    Idle,
    Outcome,
}

impl Column {
    const ALL: [Self; 12] = [
        Self::Pid,
        Self::Tid,
        Self::Comm,
        Self::Uid,
        Self::Fd,
        Self::Inode,
        Self::Kind,
        Self::State,
        Self::RecvQ,
        Self::SendQ,
        Self::Idle,
        Self::Outcome,
    ];

    /// What goes first when there is no room; KIND only where every row has a state.
    const DISPENSABLE: [Self; 5] = [Self::Uid, Self::SendQ, Self::RecvQ, Self::Kind, Self::Idle];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Pid => "PID",
            Self::Tid => "TID",
            Self::Comm => "COMM",
            Self::Uid => "UID",
            Self::Fd => "FD",
            Self::Inode => "INODE",
            Self::Kind => "KIND",
            Self::State => "STATE",
            Self::RecvQ => "RECV-Q",
            Self::SendQ => "SEND-Q",
            Self::Idle => "IDLE",
            Self::Outcome => "OUTCOME",
        }
    }

    /// Whether it is aligned to the right.
    pub(super) const fn is_number(self) -> bool {
        !matches!(self, Self::Comm | Self::Kind | Self::State | Self::Outcome)
    }

    /// Appends the cell of `row`, at most `width` columns; `-` if there is nothing to say.
    pub(super) fn write(self, row: &Row, width: usize, cell: &mut String) {
        match self {
            Self::Comm => cell.push_str(&keep_start(&printable(row.comm.as_bytes()), width)),
            Self::Kind => cell.push_str(row.kind.name()),
            Self::State => cell.push_str(row.state.map_or("-", TcpState::name)),
            Self::Outcome => cell.push_str(row.outcome.map_or("-", |outcome| outcome.name())),
            Self::Idle => match row.idle_ms {
                Some(ms) => {
                    // Writing to a String can't fail.
                    let _ = write!(cell, "{}", Idle(ms));
                }
                None => cell.push('-'),
            },
            Self::Pid | Self::Tid | Self::Uid | Self::Fd | Self::Inode | Self::RecvQ | Self::SendQ => {
                match self.number(row) {
                    Some(number) => push_number(cell, number),
                    None => cell.push('-'),
                }
            }
        }
    }

    /// The number in a column of numbers.
    fn number(self, row: &Row) -> Option<u64> {
        match self {
            Self::Pid => row.pid.and_then(|pid| u64::try_from(pid.as_raw()).ok()),
            Self::Tid => row.tid.and_then(|tid| u64::try_from(tid.as_raw()).ok()),
            Self::Fd => row.fd.and_then(|fd| u64::try_from(fd.as_raw()).ok()),
            Self::Uid => row.uid.map(u64::from),
            Self::Inode => row.inode.map(|inode| inode.0),
            Self::RecvQ => row.recv_q.map(u64::from),
            Self::SendQ => row.send_q.map(u64::from),
            _ => None,
        }
    }

    pub(super) fn style(self, row: &Row, palette: &Palette) -> Style {
        match (self, row.state, row.outcome) {
            (Self::State, Some(TcpState::CloseWait), _) => palette.notable,
            (Self::Outcome, _, Some(outcome)) => palette.outcome(outcome),
            _ => Style::new(),
        }
    }

    /// The columns that the cell takes; `None` if the row has nothing to say here.
    fn columns(self, row: &Row) -> Option<usize> {
        match self {
            Self::Comm => row.pid.map(|_| columns(&printable(row.comm.as_bytes()))),
            Self::Kind => Some(row.kind.name().len()),
            Self::State => row.state.map(|state| state.name().len()),
            Self::Outcome => row.outcome.map(|word| word.name().len()),
            Self::Idle => row.idle_ms.map(|ms| Idle(ms).columns()),
            Self::Pid | Self::Tid | Self::Uid | Self::Fd | Self::Inode | Self::RecvQ | Self::SendQ => {
                self.number(row).map(|n| n.checked_ilog10().map_or(1, |digits| digits as usize + 1))
            }
        }
    }
}

/// What has to be known of all rows before the first is shown.
#[derive(Default)]
pub(super) struct Extent {
    /// The widest cell of each column, if a row has anything to say there.
    widest: [Option<usize>; Column::ALL.len()],
    /// How wide the last column would like to be.
    last: usize,
    /// Whether every row has a state.
    pub(super) all_states: bool,
    /// Whether any row shows a connection, and whether all do.
    pub(super) any_ends: bool,
    pub(super) all_ends: bool,
}

impl Extent {
    /// Of `rows`; `None` if there are none. How wide the last column is matters only on a terminal.
    pub(super) fn of(rows: impl Iterator<Item = Row>, is_terminal: bool) -> Option<Self> {
        let mut extent = Self { all_states: true, all_ends: true, ..Self::default() };
        let mut any = false;
        for row in rows {
            any = true;
            for (widest, column) in extent.widest.iter_mut().zip(Column::ALL) {
                *widest = (*widest).max(column.columns(&row));
            }
            if is_terminal {
                extent.last = extent.last.max(wanted(&row));
            }
            extent.all_states &= row.state.is_some();
            extent.any_ends |= row.has_ends();
            extent.all_ends &= row.has_ends();
        }
        any.then_some(extent)
    }

    fn width(&self, column: Column) -> Option<usize> {
        // Rows without a holder have neither of the other two that never go.
        let must_stay = column == Column::Inode;
        let widest = self.widest.get(column as usize).copied().flatten();
        widest.or(must_stay.then_some(1)).map(|width| width.max(column.title().len()))
    }
}

/// How wide each column is; `None` if it is not shown.
pub(super) struct Widths([Option<usize>; Column::ALL.len()]);

impl Widths {
    /// What to show of rows on a terminal `width` columns wide, or where there is none.
    pub(super) fn fitting(extent: &Extent, width: Option<usize>) -> Self {
        let mut widths = Self(Column::ALL.map(|column| extent.width(column)));
        let Some(width) = width else { return widths };
        let wanted = extent.last;
        // A state already says that it is TCP.
        let kind_is_plain = extent.all_states;
        for column in Column::DISPENSABLE {
            let may_go = column != Column::Kind || kind_is_plain;
            // The rows are in the order of this one: a name loses its end before that.
            let spare = if column == Column::Idle { widths.spare() } else { 0 };
            if may_go && widths.before_last() + wanted > width + spare {
                widths.0[column as usize] = None;
            }
        }
        let missing = (widths.before_last() + wanted).saturating_sub(width);
        let spare = widths.spare();
        if let Some(comm) = &mut widths.0[Column::Comm as usize] {
            *comm -= missing.min(spare);
        }
        widths
    }

    /// By how much COMM can shrink.
    fn spare(&self) -> usize {
        self.0[Column::Comm as usize].map_or(0, |comm| comm.saturating_sub(COMM_LEAST))
    }

    /// The columns that are shown.
    pub(super) fn columns(&self) -> impl Iterator<Item = (Column, usize)> + use<> {
        Column::ALL.into_iter().zip(self.0).filter_map(|(column, width)| Some((column, width?)))
    }

    /// Where the last column starts.
    pub(super) fn before_last(&self) -> usize {
        self.0.iter().flatten().map(|width| width + GAP).sum()
    }
}

/// How wide the last column of `row` would like to be.
fn wanted(row: &Row) -> usize {
    let all = columns(&shown::whole(row));
    if row.has_ends() { all } else { all.min(NAME_WANTED) }
}
