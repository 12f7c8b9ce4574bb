//! How far a long action has got is shown on a terminal, and nowhere else.

mod common;

use std::fs::File;
use std::io::Read as _;
use std::process::Stdio;

use common::Victim;
use nix::pty::{Winsize, openpty};

/// So many leaks, one in each stop.
const SLOWLY: [&str; 5] = ["--state", "close-wait", "--yes", "--max-pause", "10us"];
const LEAKS: usize = 4000;

/// What fdclose writes to a terminal that is its standard error, on its way through a new victim's leaks.
fn on_a_terminal(arguments: &[&str]) -> String {
    let mut victim = Victim::spawn("close_wait", &["--count", &LEAKS.to_string()]);
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(Some(&size), None).expect("a pseudoterminal");
    let mut fdclose = common::command()
        .args(["--pid", &victim.pid_arg()])
        .args(SLOWLY)
        .args(arguments)
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(terminal.slave)
        .spawn()
        .expect("fdclose starts");
    let mut written = Vec::new();
    // Its other end is closed: EIO (pty(7)), after all that was written.
    if let Err(error) = File::from(terminal.master).read_to_end(&mut written) {
        assert_eq!(error.raw_os_error(), Some(nix::libc::EIO), "{error}");
    }
    assert!(fdclose.wait().expect("its end").success());
    assert_eq!(victim.ask("check"), "open=0");
    victim.serves();
    String::from_utf8(written).expect("text")
}

#[test]
fn a_bar_shows_how_far_it_is_and_goes_away() {
    let shown = on_a_terminal(&[]);
    let shown = shown.replace(',', "");
    let counts: Vec<usize> = shown
        .split(&format!(" of {LEAKS} descriptors"))
        .filter_map(|before| before.rsplit(' ').next()?.parse().ok())
        .collect();
    assert!(counts.len() > 2, "{shown:?}");
    assert!(counts.is_sorted() && counts[0] < counts[counts.len() - 1], "{counts:?}");
    assert!(counts.iter().all(|count| (1..=LEAKS).contains(count)), "{counts:?}");
    // The last it does is to erase the line (ECMA-48, EL).
    assert!(shown.trim_end_matches('\r').ends_with("\x1b[2K"), "{shown:?}");
}

#[test]
fn a_quiet_one_shows_none() {
    assert_eq!(on_a_terminal(&["--quiet"]), "");
}
