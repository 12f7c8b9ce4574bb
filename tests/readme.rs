//! What README.md says of the command line is so: its commands are accepted, its options exist, its table of exit
//! statuses and its JSON document are those of the program.

mod common;

use std::collections::BTreeSet;
use std::ffi::OsString;

use common::{Victim, fdclose};
use fdclose::cli::{self, NotParsed};
use fdclose::exit::Exit;
use serde_json::Value;

const README: &str = include_str!("../README.md");

/// The commands shown, each as its words: lines and code spans that begin with `fdclose`, up to a pipe or comment.
fn commands() -> Vec<Vec<&'static str>> {
    let lines = README.lines().map(|line| line.trim_start_matches(['#', '$', ' ']));
    let all = lines.chain(code_spans());
    let words =
        all.map(|line| line.split_whitespace().take_while(|word| !["|", "#"].contains(word)).collect());
    // In prose, the name is followed by words; in a command, by an option or by a command's name.
    let is_command = |words: &Vec<&str>| {
        let second = words.get(1).copied().unwrap_or_default();
        words[0] == "fdclose" && (second.starts_with('-') || ["list", "demo", "generate"].contains(&second))
    };
    words.filter(|words: &Vec<&str>| !words.is_empty()).filter(is_command).collect()
}

/// What stands between backticks within a line.
fn code_spans() -> impl Iterator<Item = &'static str> {
    README.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[test]
fn the_commands_are_accepted() {
    let commands = commands();
    assert!(commands.len() >= 10, "{commands:?}");
    for words in commands {
        match cli::parse(words.iter().map(OsString::from)) {
            Ok(_) | Err(NotParsed::Help(_)) => {}
            Err(NotParsed::Usage(error)) => panic!("{words:?}: {error}"),
        }
    }
}

#[test]
fn the_options_exist() {
    let pages = ["list", "keepalive", "watch", "doctor"].map(|command| vec![command, "--help"]);
    let pages = [vec!["--help"]].into_iter().chain(pages);
    let help: String = pages.map(|page| fdclose(&page).exits(0).stdout).collect();
    let known: BTreeSet<&str> = help.split([' ', ',', '\n']).filter(|word| word.starts_with("--")).collect();
    let named: BTreeSet<&str> = code_spans().filter(|span| span.starts_with("--")).collect();
    let options = named.iter().map(|span| span.split(' ').next().unwrap_or_default());
    let unknown: Vec<&str> = options.filter(|option| !known.contains(option)).collect();
    assert!(named.len() >= 10 && unknown.is_empty(), "{unknown:?} of {named:?}");
}

#[test]
fn the_exit_statuses_are_those_of_the_program() {
    let rows = README.lines().skip_while(|line| *line != "| status | meaning |").skip(2);
    let shown: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    let actual: Vec<String> =
        Exit::TABLE.iter().map(|(exit, meaning)| format!("| {} | {meaning} |", exit.code())).collect();
    assert_eq!(shown, actual);
}

#[test]
fn the_document_has_these_fields() {
    let start = README.find("\n{\n").expect("a document");
    let end = README[start..].find("\n}\n").expect("its end");
    let shown: Value = serde_json::from_str(&README[start..start + end + 2]).expect("JSON");
    let victim = Victim::spawn("close_wait", &[]);
    let fd: i32 = victim.value("fds");
    let actual = fdclose(&["--pid", &victim.pid_arg(), "--fd", &fd.to_string(), "--json"]).exits(0).json();
    assert_eq!(paths(&shown), paths(&actual));
}

/// Every field of a document, as a path.
fn paths(value: &Value) -> BTreeSet<String> {
    let below = |name: &str, value: &Value| -> Vec<String> {
        paths(value).iter().map(|path| format!("{name}.{path}")).chain([name.to_owned()]).collect()
    };
    match value {
        Value::Object(fields) => fields.iter().flat_map(|(name, value)| below(name, value)).collect(),
        Value::Array(items) => items.iter().flat_map(|item| below("[]", item)).collect(),
        _ => BTreeSet::new(),
    }
}
