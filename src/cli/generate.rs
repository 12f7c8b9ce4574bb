//! The man page and shell completions, made from the command line's own definition.

use std::io::{self, Write};

use clap::CommandFactory as _;

use super::args;
use crate::host::Fallback;

mod man;

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
        What::Man => man::write(out),
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
    fn the_man_page_has_every_option_of_every_command() {
        let page = generated(What::Man);
        let mut command = args::Raw::command();
        command.build();
        for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            let (_, rest) = page.split_once(&format!("\n.SS \"fdclose {name}\"\n")).expect(name);
            let section = rest.split("\n.S").next().unwrap_or_default();
            let words = section.replace("\\-", "-").replace("\\f", " ");
            let words: Vec<&str> =
                words.split_whitespace().map(|word| word.trim_matches(['B', ',', '.'])).collect();
            let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
            for option in shown.filter_map(clap::Arg::get_long) {
                assert!(words.contains(&format!("--{option}").as_str()), "{option} of {name}: {section}");
            }
            let after = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            assert_eq!(section.contains("Exit status:"), after.contains("Exit status:"), "{name}: {section}");
        }
        assert!(!page.contains("\\fR\n\n"), "an option without a word about it: {page}");
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
