//! One man page for everything: the commands are few and share most of their options.

use std::io::{self, Write};

use clap::{Arg, Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::super::{args, help};

/// The name that [`Man`] gives the section of options without a heading of their own.
const OPTIONS: &str = "\n.SH OPTIONS\n";

pub(super) fn write(out: &mut dyn Write) -> io::Result<()> {
    let mut command = args::Raw::command();
    command.build();
    let command = command.mut_args(with_some_help);
    let page = Man::new(command.clone()).manual("User Commands");
    page.render_title(out)?;
    page.render_name_section(out)?;
    synopsis(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    Roff::new().control("SH", ["COMMANDS"]).to_writer(out)?;
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.into_iter().try_for_each(|shown| describe(shown, &command, out))?;
    let mut roff = Roff::new();
    sections(&mut roff, help::AFTER_LONG);
    roff.control("SH", ["SEE ALSO"]);
    let see = [("ss", "(8), "), ("lsof", "(8), "), ("ptrace", "(2), "), ("proc", "(5)")];
    roff.text(see.map(|(name, section)| [bold(name), roman(section)]).concat());
    roff.to_writer(out)
}

/// [`Man`] looks for nothing else where an option is left out of the short help.
fn with_some_help(arg: Arg) -> Arg {
    match (arg.get_long_help(), arg.get_help().cloned()) {
        (None, Some(short)) => arg.long_help(short),
        _ => arg,
    }
}

fn synopsis(out: &mut dyn Write) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]).control("nf", []);
    for line in help::USAGE.lines() {
        roff.text([roman(line.trim())]);
    }
    roff.control("fi", []).to_writer(out)
}

/// One command: what it does, the options that are its own, and what else its help has. Those that it shares with the
/// `main` action are only named.
fn describe(command: &Command, main: &Command, out: &mut dyn Write) -> io::Result<()> {
    let name = format!("fdclose {}", command.get_name());
    let mut roff = Roff::new();
    roff.control("SS", [name.as_str()]);
    let usage = command.get_overridden_usage().map_or(name, ToString::to_string);
    roff.text([bold(usage)]);
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string);
    paragraphs(&mut roff, &about.unwrap_or_default());
    roff.to_writer(out)?;
    let visible = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let (shared, own): (Vec<&Arg>, Vec<&Arg>) = visible.partition(|arg| is_the_same(arg, main));
    let own = own.into_iter().cloned().map(|arg| with_some_help(arg).help_heading(None::<&str>));
    options(Command::new("fdclose").disable_help_flag(true).args(own), out)?;
    let mut roff = Roff::new();
    let names: Vec<String> = shared.iter().filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect();
    roff.control("PP", []).text([roman(format!("As above: {}.", names.join(", ")))]);
    let after = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    blocks(&mut roff, &after);
    roff.to_writer(out)
}

/// Whether `main` has the option, and means the same by it.
fn is_the_same(arg: &Arg, main: &Command) -> bool {
    let in_short = |arg: &Arg| arg.get_help().map(ToString::to_string);
    main.get_arguments().any(|other| {
        other.get_id() == arg.get_id()
            && in_short(other) == in_short(arg)
            && other.get_default_values() == arg.get_default_values()
    })
}

/// The options of `command`, without the heading of a section.
fn options(command: Command, out: &mut dyn Write) -> io::Result<()> {
    let mut text = Vec::new();
    Man::new(command).render_options_section(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    text.split_once(OPTIONS).map_or(Ok(()), |(_, options)| out.write_all(options.as_bytes()))
}

fn paragraphs(roff: &mut Roff, text: &str) {
    for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        roff.control("PP", []).text([roman(paragraph)]);
    }
}

/// Sections as the help text has them: a heading that ends in a colon, and lines under it.
fn sections(roff: &mut Roff, text: &str) {
    for line in text.lines() {
        match heading(line) {
            Some(heading) => {
                roff.control("fi", []).control("SH", [heading.to_uppercase().as_str()]).control("nf", []);
            }
            None => {
                roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
            }
        }
    }
    roff.control("fi", []);
}

/// The same within a section: a heading of two levels down is a paragraph.
fn blocks(roff: &mut Roff, text: &str) {
    for block in text.split("\n\n") {
        let first = block.lines().next().unwrap_or_default();
        let Some(heading) = heading(first) else {
            paragraphs(roff, block);
            continue;
        };
        roff.control("PP", []).text([bold(format!("{heading}:"))]).control("RS", []).control("nf", []);
        for line in block.lines().skip(1) {
            roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
        roff.control("fi", []).control("RE", []);
    }
}

fn heading(line: &str) -> Option<&str> {
    line.strip_suffix(':').filter(|_| !line.starts_with(' '))
}
