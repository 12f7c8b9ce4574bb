//! What is said when a command line can't be carried out: one line, and at most one more with a way out.

use std::fmt;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::values;
use crate::output::sanitize::bounded;
use crate::selectors::TooBroad;

/// What is quoted of an argument, in columns.
const QUOTE_WIDTH: usize = 60;

/// Why there is nothing to carry out.
#[derive(Debug, Clone)]
pub enum NotParsed {
    /// Help or the version was asked for: to be printed on standard output, with success.
    Help(Help),
    /// The command line is wrong.
    Usage(UsageError),
}

/// Help as it was asked for.
#[derive(Debug, Clone)]
pub struct Help(StyledStr);

impl Help {
    /// The text, with its final newline.
    #[must_use]
    pub fn text(&self, colored: bool) -> String {
        if colored { self.0.ansi().to_string() } else { self.0.to_string() }
    }
}

/// What is wrong with a command line. Displays as `error: ...`, and maybe `hint: ...` on a second line; has
/// no other line breaks and nothing a terminal could take for more than text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError {
    /// What is wrong, naming the option and the value.
    pub message: String,
    /// What to do instead, where the message does not say.
    pub hint: Option<String>,
}

impl std::error::Error for UsageError {}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

/// An argument in quotes, fit to be shown.
pub(super) fn quoted(argument: &[u8]) -> String {
    format!("'{}'", bounded(argument, QUOTE_WIDTH))
}

impl UsageError {
    pub(super) fn too_broad(reason: TooBroad) -> Self {
        let hint = (reason == TooBroad::Nothing).then(|| {
            "'fdclose list --state close-wait' shows what leaks; 'fdclose --help' has more examples"
                .to_owned()
        });
        Self { message: reason.to_string(), hint }
    }

    pub(super) fn needs_idle_time() -> Self {
        Self {
            message: "watch closes what has been idle: say for how long, for example --idle-for 10min"
                .to_owned(),
            hint: None,
        }
    }

    pub(super) fn watches_all() -> Self {
        Self {
            message: "this would close every idle connection of every process, and nobody is asked: say which are meant"
                .to_owned(),
            hint: Some(
                "--state close-wait means those that leak, --comm or --pid those of a process, --local or --peer those of a \
                 service"
                    .to_owned(),
            ),
        }
    }

    pub(super) fn several_patients() -> Self {
        Self {
            message: "doctor looks at one process: give one --pid".to_owned(),
            hint: Some("run it again for each of the others".to_owned()),
        }
    }

    pub(super) fn misplaced(option: &str, command: &str, also_there: bool) -> Self {
        let message = if also_there {
            format!("--{option} belongs after '{command}': fdclose {command} --{option} ...")
        } else {
            format!("--{option} has no meaning for '{command}'")
        };
        Self { message, hint: None }
    }
}

impl NotParsed {
    /// Condenses clap's several lines into one.
    pub(super) fn from_clap(err: &clap::Error) -> Self {
        if matches!(err.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            return Self::Help(Help(err.render()));
        }
        Self::Usage(UsageError { message: condensed(err), hint: None })
    }
}

fn condensed(err: &clap::Error) -> String {
    if let Some(line) = context(err, ContextKind::Custom).into_iter().next() {
        return line.to_owned();
    }
    // `--pid <PID>` as clap puts it; the name alone is enough.
    let argument = context(err, ContextKind::InvalidArg);
    let whole = argument.first().copied().unwrap_or_default();
    let name = whole.split_once([' ', '=', '[']).map_or(whole, |(name, _)| name);
    let shown = bounded(name.as_bytes(), QUOTE_WIDTH);
    let value = context(err, ContextKind::InvalidValue).first().copied().unwrap_or_default();
    let accepted = context(err, ContextKind::ValidValue).join(", ");
    match err.kind() {
        ErrorKind::InvalidValue if value.is_empty() => {
            let accepted = values::accepted(name).unwrap_or(accepted);
            format!("{shown} needs a value; accepted: {accepted}")
        }
        ErrorKind::InvalidValue => {
            format!("{shown}: {} is not accepted; accepted: {accepted}", quoted(value.as_bytes()))
        }
        ErrorKind::TooManyValues => format!("{shown} takes no value, {} was given", quoted(value.as_bytes())),
        ErrorKind::UnknownArgument if name.starts_with('-') => {
            let hint = context(err, ContextKind::SuggestedArg);
            let hint = hint.first().map_or_else(
                || format!("{} --help lists them all", command(err)),
                |like| format!("did you mean {like}?"),
            );
            format!("{shown} is no option here; {hint}")
        }
        ErrorKind::UnknownArgument => stray(whole),
        ErrorKind::InvalidSubcommand => {
            stray(context(err, ContextKind::InvalidSubcommand).first().copied().unwrap_or_default())
        }
        ErrorKind::MissingRequiredArgument => format!("missing: {}", argument.join(", ")),
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "something is missing; accepted: man, completions SHELL".to_owned()
        }
        ErrorKind::InvalidUtf8 => "an argument is not valid UTF-8".to_owned(),
        kind => format!("{} {shown}", kind.as_str().unwrap_or("wrong usage")).trim_end().to_owned(),
    }
}

/// The command that was given: what its usage begins with.
fn command(err: &clap::Error) -> String {
    let Some(ContextValue::StyledStr(usage)) = err.get(ContextKind::Usage) else {
        return "fdclose".to_owned();
    };
    let usage = usage.to_string();
    let mut words = usage.split_whitespace().skip_while(|word| *word != "fdclose").skip(1);
    let is_command = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
    words.next().filter(is_command).map_or("fdclose".to_owned(), |command| format!("fdclose {command}"))
}

/// A word that is neither option nor command.
fn stray(word: &str) -> String {
    let way_out = if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("a process is named with --pid {}", bounded(word.as_bytes(), QUOTE_WIDTH))
    } else if word == "help" {
        "fdclose --help is what you want".to_owned()
    } else if ["close", "kill", "rm", "end"].contains(&word) {
        "to close is what fdclose does without a command: fdclose --pid ... --inode ...".to_owned()
    } else {
        "commands: list, keepalive, watch, doctor, demo".to_owned()
    };
    format!("{} is no command; {way_out}", quoted(word.as_bytes()))
}

fn context(err: &clap::Error, kind: ContextKind) -> Vec<&str> {
    match err.get(kind) {
        Some(ContextValue::String(one)) => vec![one],
        Some(ContextValue::Strings(many)) => many.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}
