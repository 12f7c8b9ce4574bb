//! The man page and shell completions, made from the command line's own definition.

use std::io::{self, Write};

use clap::CommandFactory as _;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::{args, help};
use crate::host::Fallback;

/// What to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The man page fdclose(1), in roff.
    Man,
    /// The completions for a shell.
    Completions(clap_complete::Shell),
    /// What is done on kernels that lack something.
    Fallbacks,
}

/// Writes `what` to `out`.
///
/// # Errors
///
/// What `out` says.
pub fn write(what: What, out: &mut dyn Write) -> io::Result<()> {
    match what {
        What::Man => man(out),
        What::Completions(shell) => {
            // clap_complete panics on a writer that fails; a vector never does.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut args::Raw::command(), "fdclose", &mut script);
            out.write_all(&script)
        }
        What::Fallbacks => Fallback::ALL.iter().try_for_each(|fallback| {
            writeln!(out, "{}\t{}\t{}", fallback.name(), fallback.feature(), fallback.what())
        }),
    }
}

/// One page for everything: the commands are few and share their options.
fn man(out: &mut dyn Write) -> io::Result<()> {
    let mut command = args::Raw::command();
    command.build();
    let commands: Vec<clap::Command> =
        command.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    let page = Man::new(command.clone()).manual("User Commands");
    page.render_title(out)?;
    page.render_name_section(out)?;
    synopsis(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    for command in commands {
        roff.control("TP", []).text([bold(format!("fdclose {}", command.get_name()))]);
        let about = command.get_long_about().or(command.get_about());
        paragraphs(&mut roff, &about.map(ToString::to_string).unwrap_or_default());
    }
    sections(&mut roff, help::AFTER_LONG);
    roff.control("SH", ["SEE ALSO"]);
    let see = [("ss", "(8), "), ("lsof", "(8), "), ("ptrace", "(2), "), ("proc", "(5)")];
    roff.text(see.map(|(name, section)| [bold(name), roman(section)]).concat());
    roff.to_writer(out)
}

fn synopsis(out: &mut dyn Write) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]).control("nf", []);
    for line in help::USAGE.lines() {
        roff.text([roman(line.trim())]);
    }
    roff.control("fi", []).to_writer(out)
}

fn paragraphs(roff: &mut Roff, text: &str) {
    for (at, paragraph) in text.split("\n\n").enumerate() {
        if at > 0 {
            roff.control("IP", []);
        }
        roff.text([roman(paragraph)]);
    }
}

/// Sections as the help text has them: a heading that ends in a colon, and lines under it.
fn sections(roff: &mut Roff, text: &str) {
    for line in text.lines() {
        match line.strip_suffix(':').filter(|_| !line.starts_with(' ')) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(what: What) -> String {
        let mut out = Vec::new();
        write(what, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_man_page() {
        insta::assert_snapshot!(generated(What::Man));
    }

    #[test]
    fn completions_know_the_options_and_states() {
        use clap_complete::Shell;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let script = generated(What::Completions(shell));
            assert!(script.contains("inode") && script.contains("list"), "{shell}");
        }
        let bash = generated(What::Completions(Shell::Bash));
        assert!(bash.contains("close-wait") && bash.contains("eventfd"));
    }
}
