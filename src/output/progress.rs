//! A bar on the terminal, for an action that takes its time.

use std::cell::{Cell, OnceCell};
use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::progress::{self, Progress};

/// What is over sooner needs no bar.
const SOON: Duration = Duration::from_millis(500);

const STYLE: &str = "[{bar:30}] {pos} of {len} descriptors, {eta} left";

/// Shows how far the present action has got, on a standard error that is a terminal. Dropped, it takes itself away.
#[derive(Debug)]
pub struct Bar {
    /// When the action was first seen at work.
    since: Cell<Option<Instant>>,
    drawn: OnceCell<ProgressBar>,
}

impl Bar {
    /// Shows nothing yet. `None` where nobody would see it.
    #[must_use]
    pub fn on_terminal() -> Option<Self> {
        let bar = Self { since: Cell::new(None), drawn: OnceCell::new() };
        io::stderr().is_terminal().then_some(bar)
    }

    /// To be called now and then.
    pub fn show(&self) {
        let Some(Progress { done, total }) = progress::now() else { return };
        let since = self.since.get().unwrap_or_else(Instant::now);
        self.since.set(Some(since));
        if total > 1 && since.elapsed() >= SOON {
            self.drawn.get_or_init(|| draw(total)).set_position(done as u64);
        }
    }
}

fn draw(total: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
    // The template is right, or there is a bar of another look.
    let style = ProgressStyle::with_template(STYLE).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style.progress_chars("=> "))
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.drawn.get() {
            bar.finish_and_clear();
        }
    }
}
