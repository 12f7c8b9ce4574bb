//! When there is colour, and which.

use std::ffi::{OsStr, OsString};

use anstyle::{AnsiColor, Style};

use crate::report::Outcome;

/// The values of `--color`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ColorChoice {
    /// On a terminal that can, unless the environment says no.
    #[default]
    Auto,
    /// Always, also into a file.
    Always,
    /// Never.
    Never,
}

impl ColorChoice {
    /// Whether to colour a stream that is a terminal or not.
    ///
    /// `env` looks up a variable of the environment. `NO_COLOR` (not empty, see no-color.org), `CLICOLOR=0`
    /// and a `TERM` that is `dumb` or not set each mean no.
    pub fn wants_color(self, is_terminal: bool, env: impl Fn(&str) -> Option<OsString>) -> bool {
        let set = |name| env(name).filter(|value| !value.is_empty());
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                is_terminal
                    && set("NO_COLOR").is_none()
                    && set("CLICOLOR").is_none_or(|value| value != OsStr::new("0"))
                    && set("TERM").is_some_and(|term| term != OsStr::new("dumb"))
            }
        }
    }
}

/// The styles in use. The plain one writes no escape sequence at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Palette {
    /// Headings of tables.
    pub heading: Style,
    /// Something went as wanted.
    pub good: Style,
    /// Worth a look: CLOSE-WAIT, a connection that remains.
    pub notable: Style,
    /// Something went wrong.
    pub bad: Style,
    /// What to do next.
    pub hint: Style,
}

impl Palette {
    /// The styles, coloured or plain.
    #[must_use]
    pub fn new(colored: bool) -> Self {
        if !colored {
            return Self::default();
        }
        Self {
            heading: Style::new().bold(),
            good: AnsiColor::Green.on_default(),
            notable: AnsiColor::Yellow.on_default(),
            bad: AnsiColor::Red.on_default().bold(),
            hint: AnsiColor::Cyan.on_default(),
        }
    }

    /// The style of an outcome's word.
    #[must_use]
    pub fn outcome(&self, outcome: Outcome) -> Style {
        match outcome {
            Outcome::Done => self.good,
            Outcome::Gone | Outcome::WouldDo => Style::new(),
            Outcome::Changed => self.notable,
            Outcome::Refused | Outcome::Failed => self.bad,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Vars<'a> = &'a [(&'a str, &'a str)];

    #[test]
    fn color_only_where_it_is_wanted() {
        let wants = |choice: ColorChoice, terminal, vars: &[(&str, &str)]| {
            choice.wants_color(terminal, |name| {
                vars.iter().find(|(var, _)| *var == name).map(|(_, value)| OsString::from(value))
            })
        };
        let xterm = ("TERM", "xterm");
        let table: &[(ColorChoice, bool, Vars<'_>, bool)] = &[
            (ColorChoice::Auto, true, &[xterm], true),
            (ColorChoice::Auto, false, &[xterm], false),
            (ColorChoice::Auto, true, &[], false),
            (ColorChoice::Auto, true, &[("TERM", "dumb")], false),
            (ColorChoice::Auto, true, &[xterm, ("NO_COLOR", "1")], false),
            (ColorChoice::Auto, true, &[xterm, ("NO_COLOR", "")], true),
            (ColorChoice::Auto, true, &[xterm, ("CLICOLOR", "0")], false),
            (ColorChoice::Auto, false, &[xterm, ("CLICOLOR", "1")], false),
            (ColorChoice::Always, false, &[("NO_COLOR", "1")], true),
            (ColorChoice::Never, true, &[xterm], false),
        ];
        for (choice, terminal, vars, want) in table {
            assert_eq!(wants(*choice, *terminal, vars), *want, "{choice:?} {terminal} {vars:?}");
        }
    }

    #[test]
    fn the_plain_palette_writes_nothing() {
        let plain = Palette::new(false);
        for style in [plain.heading, plain.good, plain.notable, plain.bad, plain.hint] {
            assert_eq!(format!("{style}x{style:#}"), "x");
        }
        let colored = Palette::new(true);
        assert_eq!(format!("{0}x{0:#}", colored.good), "\x1b[32mx\x1b[0m");
    }
}
