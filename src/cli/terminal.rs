//! Where results and diagnostics go, and how wide and colourful.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal as _, Write};

use nix::errno::Errno;

use crate::output::style::{ColorChoice, Palette};
use crate::output::{Layout, screen, terminal_height, terminal_width, unless_unread};

/// A result that nobody got: standard output can't be written to, for another reason than that its reader has left.
#[derive(Debug)]
pub struct Unwritten(io::Error);

impl Unwritten {
    /// The same where it is the end of an action that has touched nothing yet.
    #[must_use]
    pub fn untouched(self) -> anyhow::Error {
        anyhow::anyhow!("{self}; nothing was touched")
    }
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

impl std::error::Error for Unwritten {}

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("can't write to standard output: ")?;
        match self.0.raw_os_error() {
            Some(errno) => f.write_str(Errno::from_raw(errno).desc()),
            None => self.0.fmt(f),
        }
    }
}

/// The two streams of the command, as the user set them up.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    stdout: Layout,
    stderr: Layout,
}

impl Terminal {
    /// Looks at the streams and the environment.
    #[must_use]
    pub fn detect(color: ColorChoice) -> Self {
        let palette =
            |is_terminal| Palette::new(color.wants_color(is_terminal, |name| std::env::var_os(name)));
        Self {
            stdout: Layout {
                width: terminal_width(&io::stdout()),
                palette: palette(io::stdout().is_terminal()),
            },
            stderr: Layout {
                width: terminal_width(&io::stderr()),
                palette: palette(io::stderr().is_terminal()),
            },
        }
    }

    /// The same, for text meant for people wherever it goes: 80 columns where there is no terminal.
    #[must_use]
    pub fn for_people(mut self) -> Self {
        self.stdout.width.get_or_insert(80);
        self
    }

    /// Writes a result. That nobody reads it to its end is no error.
    ///
    /// # Errors
    /// Any other failure of the stream.
    pub fn result(
        &self,
        write: impl FnOnce(&Layout, &mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Unwritten> {
        let mut out = BufWriter::new(io::stdout().lock());
        unless_unread(write(&self.stdout, &mut out).and_then(|()| out.flush())).map_err(Unwritten)
    }

    /// Writes a result in the place of the one before: on a terminal that is `cleared`, as much of it as fits on the
    /// screen, with its last lines kept, and below the `first`; elsewhere as [`Self::result`]. Whether somebody reads on.
    ///
    /// # Errors
    /// A failure of the stream other than that nobody does.
    pub fn screen(
        &self,
        cleared: bool,
        first: bool,
        write: impl FnOnce(&Layout, &mut dyn Write) -> io::Result<()>,
    ) -> Result<bool, Unwritten> {
        let mut out = BufWriter::new(io::stdout().lock());
        let height = if cleared { terminal_height(&io::stdout()) } else { None };
        let written = match height {
            Some(height) => {
                let mut text = Vec::new();
                write(&self.stdout, &mut text)?;
                screen::write(&text, height, &mut out)
            }
            None if cleared && !first => writeln!(out).and_then(|()| write(&self.stdout, &mut out)),
            None => write(&self.stdout, &mut out),
        };
        match written.and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            other => Ok(other.map(|()| true)?),
        }
    }

    /// Writes a diagnostic.
    ///
    /// # Errors
    /// A failure of the stream, if it is not that nobody reads on.
    pub fn diagnostic(
        &self,
        write: impl FnOnce(&Layout, &mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut out = BufWriter::new(io::stderr().lock());
        unless_unread(write(&self.stderr, &mut out).and_then(|()| out.flush()))
    }

    /// Writes an `error:` line, and a `hint:` line if there is one. Texts from outside are to be sanitised before.
    ///
    /// # Errors
    /// As [`Self::diagnostic`].
    pub fn error(&self, what: &str, hint: Option<&str>) -> io::Result<()> {
        self.diagnostic(|layout, out| {
            let Palette { bad, hint: style, .. } = layout.palette;
            writeln!(out, "{bad}error:{bad:#} {what}")?;
            match hint {
                Some(hint) => writeln!(out, "{style}hint:{style:#} {hint}"),
                None => Ok(()),
            }
        })
    }

    /// Writes a `note:` line.
    ///
    /// # Errors
    /// As [`Self::diagnostic`].
    pub fn note(&self, what: &str) -> io::Result<()> {
        self.diagnostic(|layout, out| {
            let style = layout.palette.hint;
            writeln!(out, "{style}note:{style:#} {what}")
        })
    }

    /// Whether there is somebody to ask.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }
}
