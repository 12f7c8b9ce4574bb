//! The command line, and the values that say which descriptors are meant. They come from the user; but scripts put
//! together what the user types, from what targets are called.
#![no_main]

use std::ffi::OsString;
use std::fmt::{Debug, Display};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt as _;
use std::str::FromStr;

use fdclose::cli::{self, Command, NotParsed};
use fdclose::ids::{Fd, Inode, Pid};
use fdclose::net::{AddrFilter, TcpState};
use fdclose::selectors::{Comm, FdRange, KindChoice};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        reads_back::<AddrFilter>(text);
        reads_back::<FdRange>(text);
        reads_back::<TcpState>(text);
        reads_back::<Pid>(text);
        reads_back::<Inode>(text);
        reads_back::<Fd>(text);
        let _known_or_not = text.parse::<KindChoice>();
        address(text);
    }
    if let Ok(comm) = Comm::new(bytes) {
        assert!((1..=15).contains(&bytes.len()) && !bytes.contains(&0), "{comm:?}");
    }
    command_line(bytes);
});

/// What is written of a value means that value.
fn reads_back<T: FromStr<Err: Debug + PartialEq> + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let again = value.to_string().parse();
        assert!(again.as_ref() == Ok(&value), "{text:?} is {value:?}, then {again:?}");
    }
}

/// An endpoint that is given in full matches itself.
fn address(text: &str) {
    if let Ok(addr) = text.parse::<SocketAddr>()
        && let Ok(filter) = text.parse::<AddrFilter>()
    {
        assert!(filter.matches(&addr), "{text:?}");
    }
}

fn command_line(bytes: &[u8]) {
    let words = bytes.split(|byte| *byte == b'\n').map(|word| OsString::from_vec(word.to_vec()));
    match cli::parse(std::iter::once("fdclose".into()).chain(words)) {
        // Nothing too broad comes through.
        Ok(cli) => {
            if let Command::Act(action) = cli.command {
                assert_eq!(action.selectors.check_for_action(), Ok(()));
            }
        }
        Err(NotParsed::Usage(error)) => {
            let said = error.to_string();
            assert!(
                said.lines().count() <= 2 && !said.replace('\n', "").contains(char::is_control),
                "{said:?}"
            );
            assert!(said.starts_with("error: "), "{said:?}");
        }
        Err(NotParsed::Help(_)) => {}
    }
}
