//! Command lines and what comes of them.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use super::*;
use crate::exit::Exit;
use crate::ids::{Inode, Pid};
use crate::kind::Kind;
use crate::net::TcpState;
use crate::selectors::{Comm, KindChoice};

fn parsed(line: &str) -> Result<Cli, NotParsed> {
    parse(std::iter::once("fdclose").chain(line.split_whitespace()).map(OsString::from))
}

fn accepted(line: &str) -> Cli {
    parsed(line).unwrap_or_else(|err| panic!("{line}: {err:?}"))
}

fn action(line: &str) -> Action {
    match accepted(line).command {
        Command::Act(action) => action,
        other => panic!("{line}: {other:?}"),
    }
}

fn shown(err: NotParsed) -> String {
    match err {
        NotParsed::Usage(err) => err.to_string(),
        NotParsed::Help(help) => help.text(false),
    }
}

fn refused(line: &str) -> String {
    match parsed(line) {
        Err(NotParsed::Usage(err)) => err.to_string(),
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn every_selector() {
    let given = action(
        "--pid 5 --pid 6,7 --inode 43000 --fd 5,7-9 --state close-wait,ESTABLISHED --local :80 \
         --peer 10.0.0.0/8:443,[::1]:5 --comm nginx --kind tcp,any",
    )
    .selectors;
    assert_eq!(given.pids, [5, 6, 7].map(|pid| Pid::new(pid).unwrap()));
    assert_eq!(given.inodes, [Inode(43000)].into());
    assert_eq!(given.fds.iter().map(ToString::to_string).collect::<Vec<_>>(), ["5", "7-9"]);
    assert_eq!(given.states, [TcpState::CloseWait, TcpState::Established]);
    assert_eq!(given.local.len(), 1);
    assert_eq!(given.peer.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8:443", "[::1]:5"]);
    assert_eq!(given.comms, [Comm::new(b"nginx").unwrap()]);
    assert_eq!(given.kinds, [KindChoice::Only(Kind::Tcp), KindChoice::Any]);
    assert!(!given.deleted && action("--pid 5 --deleted").selectors.deleted);
}

#[test]
fn conduct_and_its_defaults() {
    let plain = action("--pid 5 --fd 3");
    let conduct = Conduct {
        dry_run: false,
        yes: false,
        all_holders: false,
        explain: false,
        force: false,
        max_pause: Duration::from_millis(10),
        timeout: Duration::from_secs(5),
    };
    assert_eq!((plain.conduct, plain.method, plain.output), (conduct, Method::Close, Output::default()));

    let full = accepted(
        "--pid 5 --fd 3 -ny --force --max-pause 500us --timeout 1m30s --json -q -vv --color never --method close",
    );
    assert_eq!((full.verbose, full.color), (2, ColorChoice::Never));
    let Command::Act(full) = full.command else { panic!() };
    assert_eq!(full.output, Output { json: true, quiet: true });
    assert_eq!(full.conduct.max_pause, Duration::from_micros(500));
    assert_eq!(full.conduct.timeout, Duration::from_secs(90));
    assert!(full.conduct.dry_run && full.conduct.yes && full.conduct.force);
}

#[test]
fn a_value_given_twice_is_the_last_one() {
    let given = action("--pid 5 --fd 3 --timeout 1s --timeout 2s --yes --yes");
    assert_eq!(given.conduct.timeout, Duration::from_secs(2));
}

#[test]
fn commands() {
    assert!(matches!(accepted("list").command, Command::List(list) if list.selectors.is_empty()));
    let Command::List(list) = accepted("list --state listen --pid 5 --json").command else { panic!() };
    assert!(list.output.json && list.selectors.pids.len() == 1);
    assert_eq!(accepted("demo").command, Command::Demo);
    assert_eq!(accepted("--color always demo -v").color, ColorChoice::Always);
    assert_eq!(accepted("demo -v").verbose, 1);
    assert_eq!(accepted("generate man").command, Command::Generate(generate::What::Man));
    let zsh = generate::What::Completions(clap_complete::Shell::Zsh);
    assert_eq!(accepted("generate completions zsh").command, Command::Generate(zsh));
}

#[test]
fn one_line_for_everything_wrong() {
    let lines = [
        "",
        "--pid 5",
        "--comm nginx",
        "--fd 5",
        "--kind any",
        "--json",
        "--pid",
        "--pid=",
        "--pid 0",
        "--pid -5",
        "--pid +5",
        "--pid 5x",
        "--pid 5,",
        "--pid 99999999999",
        "--inode 0",
        "--fd 9-7",
        "--fd -1",
        "--fd 2147483648",
        "--state closed-wait",
        "--state",
        "--local localhost:80",
        "--peer 10.0.0.0/33",
        "--peer fe80::1%eth0",
        "--peer *",
        "--comm a-name-of-more-than-15",
        "--kind socket,tpc",
        "--max-pause 10",
        "--max-pause 0s",
        "--max-pause 2min",
        "--timeout 1day",
        "--timeout -1s",
        "--color sometimes",
        "--color",
        "--method kill",
        "--dry-run=yes",
        "--deleted=1",
        "--frce",
        "--nothing-like-it",
        "-x",
        "-nx",
        "1234",
        "lst",
        "close it",
        "list extra",
        "list 1234",
        "list -Z",
        "demo --pid 5",
        "list --force",
        "--pid 5 list",
        "--json list",
        "--yes list",
        "--pid 5 demo",
        "generate",
        "generate completions",
        "generate completions ksh",
        "-- 5",
        "help",
        "--pid 5 --kind udp --state listen",
        "--pid 5 --kind file,pipe --idle-for 1h",
        "list --kind unix --peer 10.0.0.1",
        "--pid 5 --deleted --state close-wait",
        "list --state listen --idle-for 1h",
        "watch --idle-for 1h",
        "watch --idle-for 1h --kind tcp --netns all",
        "watch --pid 5 --idle-for 1h --json",
        "keepalive --pid 5 --method close",
        "doctor --inode 5",
        "doctor --pid 5 --pid 6",
        "doctor --pid 5,6",
        "--pid 5 --fd 3 --method reset --signal TERM",
        "--pid 5 --fd 3 --method reset --seq x",
    ];
    let mut all = String::new();
    for line in lines {
        let text = refused(line);
        assert!(text.starts_with("error: "), "{line}: {text}");
        let hints = text.lines().skip(1).filter(|line| line.starts_with("hint: ")).count();
        assert_eq!(text.lines().count(), 1 + hints, "{line}: {text}");
        let _infallible = writeln!(all, "$ fdclose {line}\n{text}");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn hostile_arguments_are_not_echoed_raw() {
    let hostile: &[&[u8]] = &[b"\xff", b"\x1b[2J\x07", "\u{202e}\u{9b}\n".as_bytes(), &[b'a'; 10_000]];
    let places: &[&[u8]] = &[
        b"",
        b"--",
        b"-",
        b"--pid=",
        b"--inode=",
        b"--fd=",
        b"--state=",
        b"--local=",
        b"--peer=",
        b"--comm=",
        b"--kind=",
        b"--color=",
        b"--method=",
        b"--timeout=",
        b"--max-pause=",
        b"--yes=",
    ];
    for argument in hostile {
        for place in places {
            let whole = OsString::from_vec([place, *argument].concat());
            let text = match parse(["fdclose".into(), whole.clone()]) {
                Err(err) => shown(err),
                Ok(cli) => panic!("{whole:?}: {cli:?}"),
            };
            assert!(text.starts_with("error: ") && text.len() < 600, "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(
                text.chars().all(|c| c == '…' || c == '\u{fffd}' || (' '..='~').contains(&c)),
                "{text:?}"
            );
        }
    }
}

#[test]
fn a_comm_may_be_any_bytes() {
    let args = [b"fdclose".to_vec(), b"--comm".to_vec(), b"\xff\x1b,".to_vec(), b"--deleted".to_vec()];
    let cli = parse(args.map(OsString::from_vec)).unwrap();
    let Command::Act(action) = cli.command else { panic!() };
    assert_eq!(action.selectors.comms, [Comm::new(b"\xff\x1b,").unwrap()]);
}

fn help(line: &str) -> String {
    match parsed(line) {
        Err(NotParsed::Help(help)) => help.text(false),
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn short_help_fits_a_screen() {
    let text = help("-h");
    insta::assert_snapshot!(text);
    assert!(text.lines().count() <= 40, "{}", text.lines().count());
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{widest:?}");
}

#[test]
fn long_help() {
    let text = help("--help");
    assert!(text.lines().all(|line| line.len() <= 85), "80, but for examples");
    insta::assert_snapshot!(text);
}

#[test]
fn long_help_tells_every_exit_status() {
    let text = help("--help");
    for (exit, meaning) in Exit::TABLE {
        assert!(text.contains(&format!("  {}  {meaning}\n", exit.code())), "{meaning}");
    }
}

#[test]
fn long_help_tells_every_state_and_kind() {
    let words = help("list --help").split_whitespace().collect::<Vec<_>>().join(" ");
    for option in ["--state", "--kind"] {
        for name in values::accepted(option).unwrap().split(", ") {
            assert!([",", ".", " ("].iter().any(|end| words.contains(&format!(" {name}{end}"))), "{name}");
        }
    }
}

#[test]
fn help_of_commands() {
    let lines =
        ["list --help", "list -h", "keepalive --help", "watch --help", "doctor --help", "demo --help"];
    insta::assert_snapshot!(lines.map(help).join("\n"));
}

#[test]
fn version_is_one_line() {
    assert_eq!(help("-V"), format!("fdclose {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_definition_is_sound() {
    args::Raw::command().debug_assert();
}
