//! Everything that is shown: tables and lines for people, one JSON document for programs.
//!
//! Results go to standard output, diagnostics to standard error; which is which is the caller's doing, since
//! every function here writes to the writer it is given. Give them a buffered one.

use std::io;

pub mod confirm;
mod digits;
pub mod doctor;
pub mod explain;
pub mod failures;
pub mod json;
pub mod keepalive;
pub mod progress;
pub mod result;
pub mod sanitize;
pub mod screen;
pub mod style;
pub mod summary;
pub mod table;
pub mod units;
pub mod unreadable;
pub mod wrap;

#[cfg(test)]
mod tests;

/// How to show things on one stream.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// The columns of the terminal. `None` where there is no terminal: nothing is then cut or put on a
    /// second line, so that every descriptor stays one whole line for `grep`.
    pub width: Option<usize>,
    /// The colours.
    pub palette: style::Palette,
}

/// The columns of the terminal that `stream` is, if it is one.
#[must_use]
pub fn terminal_width(stream: &impl std::os::fd::AsFd) -> Option<usize> {
    terminal_size::terminal_size_of(stream).map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0)
}

/// Its lines.
#[must_use]
pub fn terminal_height(stream: &impl std::os::fd::AsFd) -> Option<usize> {
    terminal_size::terminal_size_of(stream)
        .map(|(_, height)| usize::from(height.0))
        .filter(|height| *height > 0)
}

/// The result of writing, without the error that only says that nobody reads on (`fdclose list | head`).
///
/// # Errors
///
/// Every other error of `written`.
pub fn unless_unread(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
