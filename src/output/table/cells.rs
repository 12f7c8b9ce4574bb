//! The columns before the last, and which of them there is room for.

use std::fmt::Write as _;

use anstyle::Style;

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
    const ALL: [Self; 11] = [
        Self::Pid,
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
    pub(super) fn write(self, row: &Row<'_>, width: usize, cell: &mut String) {
        // Writing to a String can't fail.
        let mut number = |n: Option<u64>| {
            let _ = match n {
                Some(n) => write!(cell, "{n}"),
                None => write!(cell, "-"),
            };
        };
        match self {
            Self::Comm => cell.push_str(&keep_start(&printable(row.comm), width)),
            Self::Kind => cell.push_str(row.kind.name()),
            Self::State => cell.push_str(row.state.map_or("-", TcpState::name)),
            Self::Outcome => cell.push_str(row.outcome.map_or("-", |outcome| outcome.name())),
            Self::Idle => match row.idle_ms {
                Some(ms) => {
                    let _ = write!(cell, "{}", Idle(ms));
                }
                None => cell.push('-'),
            },
            Self::Pid | Self::Uid | Self::Fd | Self::Inode | Self::RecvQ | Self::SendQ => {
                number(self.number(row));
            }
        }
    }

    /// The number in a column of numbers.
    fn number(self, row: &Row<'_>) -> Option<u64> {
        match self {
            Self::Pid => u64::try_from(row.pid.as_raw()).ok(),
            Self::Fd => u64::try_from(row.fd.as_raw()).ok(),
            Self::Uid => row.uid.map(u64::from),
            Self::Inode => row.inode.map(|inode| inode.0),
            Self::RecvQ => row.recv_q.map(u64::from),
            Self::SendQ => row.send_q.map(u64::from),
            _ => None,
        }
    }

    pub(super) fn style(self, row: &Row<'_>, palette: &Palette) -> Style {
        match (self, row.state, row.outcome) {
            (Self::State, Some(TcpState::CloseWait), _) => palette.notable,
            (Self::Outcome, _, Some(outcome)) => palette.outcome(outcome),
            _ => Style::new(),
        }
    }

    /// The columns that the widest cell takes; `None` if no row has anything to say here.
    fn widest(self, rows: &[Row<'_>]) -> Option<usize> {
        let widest = match self {
            Self::Comm => rows.iter().map(|row| columns(&printable(row.comm))).max(),
            Self::Kind => rows.iter().map(|row| row.kind.name().len()).max(),
            Self::State => rows.iter().filter_map(|row| row.state).map(|state| state.name().len()).max(),
            Self::Outcome => rows.iter().filter_map(|row| row.outcome).map(|word| word.name().len()).max(),
            Self::Idle => {
                rows.iter().filter_map(|row| row.idle_ms).map(|ms| Idle(ms).to_string().len()).max()
            }
            Self::Pid | Self::Uid | Self::Fd | Self::Inode | Self::RecvQ | Self::SendQ => {
                let most = rows.iter().filter_map(|row| self.number(row)).max();
                most.map(|n| n.checked_ilog10().map_or(1, |digits| digits as usize + 1))
            }
        };
        let must_stay = matches!(self, Self::Pid | Self::Fd | Self::Inode);
        widest.or(must_stay.then_some(1)).map(|width| width.max(self.title().len()))
    }
}

/// How wide each column is; `None` if it is not shown.
pub(super) struct Widths([Option<usize>; Column::ALL.len()]);

impl Widths {
    /// What to show of `rows` on a terminal `width` columns wide, or where there is none.
    pub(super) fn fitting(rows: &[Row<'_>], width: Option<usize>) -> Self {
        let mut widths = Self(Column::ALL.map(|column| column.widest(rows)));
        let Some(width) = width else { return widths };
        let wanted = rows.iter().map(wanted).max().unwrap_or(0);
        // A state already says that it is TCP.
        let kind_is_plain = rows.iter().all(|row| row.state.is_some());
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
fn wanted(row: &Row<'_>) -> usize {
    let all = columns(&shown::whole(row));
    if row.has_ends() { all } else { all.min(NAME_WANTED) }
}
