//! A bar on the terminal, for an action that takes its time.

use std::cell::{Cell, OnceCell};
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::terminal_width;
use super::units::Count;
use crate::progress::{self, Progress};

/// What is over sooner needs no bar.
const SOON: Duration = Duration::from_millis(500);
/// More often nobody reads it.
const AGAIN: Duration = Duration::from_millis(100);
/// Of the bar alone, where there is room.
const LENGTH: usize = 30;
/// Besides the bar: brackets, two counts, a time.
const BESIDES: usize = 48;

/// To the beginning of the line, and erase it (ECMA-48: EL; console_codes(4)).
const ERASE: &str = "\r\x1b[2K";

/// Shows how far the present action has got, on a standard error that is a terminal. Dropped, it takes itself away.
///
/// Made here, as the library for such bars brings libm with it, which every start of fdclose would wait for.
#[derive(Debug, Default)]
pub struct Bar {
    /// Of the terminal, if there is one. Looked at when there is something to show: most actions are over before.
    width: OnceCell<Option<usize>>,
    /// When the action was first seen at work.
    since: Cell<Option<Instant>>,
    drawn: Cell<Option<Instant>>,
}

impl Bar {
    /// To be called now and then.
    pub fn show(&self) {
        let Some(progress) = progress::now().filter(|progress| progress.total > 1) else { return };
        let since = self.since.get().unwrap_or_else(Instant::now);
        self.since.set(Some(since));
        let is_due = self.drawn.get().is_none_or(|drawn| drawn.elapsed() >= AGAIN);
        if since.elapsed() >= SOON
            && is_due
            && let Some(width) = *self.width.get_or_init(width)
        {
            self.drawn.set(Some(Instant::now()));
            write(&(ERASE.to_owned() + &line(progress, since.elapsed(), width)));
        }
    }

    /// Takes it away, if it was shown.
    pub fn erase(&self) {
        if self.drawn.take().is_some() {
            write(ERASE);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.erase();
    }
}

/// How wide the terminal is, if standard error is one.
fn width() -> Option<usize> {
    let stderr = io::stderr();
    stderr.is_terminal().then(|| terminal_width(&stderr).unwrap_or(80))
}

/// A bar that can't be shown is no reason to stop.
fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// On a line `width` columns wide, after `elapsed`.
fn line(progress: Progress, elapsed: Duration, width: usize) -> String {
    let Progress { done, total } = progress;
    let length = LENGTH.min(width.saturating_sub(BESIDES));
    let filled = length * done.min(total) / total.max(1);
    let bar = if length < 5 {
        String::new()
    } else {
        let (filled, rest) = ("=".repeat(filled.saturating_sub(1)), " ".repeat(length - filled.max(1)));
        format!("[{filled}>{rest}] ")
    };
    let left = u128::try_from(total.saturating_sub(done))
        .ok()
        .and_then(|left| (elapsed.as_millis() * left).checked_div(done as u128))
        .map(|millis| format!(", {} s left", millis.div_ceil(1000)));
    let text = format!("{bar}{} of {} descriptors{}", Count(done), Count(total), left.unwrap_or_default());
    // A line that is full would go on in the next one, and stay there.
    text.chars().take(width.saturating_sub(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_into_its_line() {
        let line =
            |done, total, millis, width| line(Progress { done, total }, Duration::from_millis(millis), width);
        assert_eq!(
            line(1_500, 6_000, 1_000, 80),
            "[======>                       ] 1,500 of 6,000 descriptors, 3 s left"
        );
        assert_eq!(line(0, 10, 600, 80), "[>                             ] 0 of 10 descriptors");
        assert_eq!(line(10, 10, 600, 80), "[=============================>] 10 of 10 descriptors, 0 s left");
        assert_eq!(line(5, 10, 600, 58), "[====>     ] 5 of 10 descriptors, 1 s left");
        assert_eq!(line(5, 10, 600, 40), "5 of 10 descriptors, 1 s left");
        assert_eq!(line(5, 10, 600, 10), "5 of 10 d");
        for done in 0..=100 {
            let shown = line(done * 10_000_000, 1_000_000_000, 86_400_000, 80);
            assert!(shown.len() < 80 && shown.contains('>'), "{shown}");
        }
    }
}
