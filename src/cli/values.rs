//! How the values of options are read, and what is said of wrong ones.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::usage;
use crate::ids::{Inode, Pid};
use crate::kind::Kind;
use crate::net::{AddrFilter, ParseAddrError, TcpState};
use crate::policy::{MinCount, ParseMinCountError};
use crate::selectors::{Comm, FdRange, KindChoice, NetnsChoice, ParseCommError, ParseFdRangeError};
use crate::trace::Signal;

/// A parser of one option's values.
///
/// clap's own parsers do not name the option when a value is not UTF-8, and quote it raw.
#[derive(Clone, Copy)]
pub(super) struct Value<T> {
    parse: fn(&OsStr) -> Result<T, Reason>,
    names: fn() -> Vec<&'static str>,
}

/// What is wrong with a value: the rest of a sentence that starts with it.
type Reason = Cow<'static, str>;

/// MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL (include/net/tcp.h), in seconds.
const KEEPALIVE_MOST: u64 = 32_767;

impl<T> Value<T> {
    /// Values that are not one of a few names.
    fn new(parse: fn(&OsStr) -> Result<T, Reason>) -> Self {
        Self { parse, names: Vec::new }
    }
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Value<T> {
    type Value = T;

    fn parse_ref(&self, _: &clap::Command, arg: Option<&clap::Arg>, value: &OsStr) -> Result<T, clap::Error> {
        (self.parse)(value).map_err(|reason| {
            let mut err = clap::Error::new(ErrorKind::ValueValidation);
            let option = format!("--{}", arg.and_then(clap::Arg::get_long).unwrap_or_default());
            let mut line = format!("{option}: {} {reason}", usage::quoted(value.as_bytes()));
            if let Some(accepted) = accepted(&option) {
                line.push_str("; accepted: ");
                line.push_str(&accepted);
            }
            err.insert(ContextKind::Custom, ContextValue::String(line));
            err
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let names = (self.names)();
        if names.is_empty() { None } else { Some(Box::new(names.into_iter().map(PossibleValue::new))) }
    }
}

fn text(value: &OsStr) -> &str {
    // No accepted value has a NUL, so what is not UTF-8 is refused like any other wrong text.
    value.to_str().unwrap_or("\0")
}

/// Digits alone: the number types would let `+5` pass.
fn digits(value: &OsStr) -> &str {
    let text = text(value);
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text } else { "" }
}

/// What each option accepts, as `--help` says it at more length.
pub(super) fn accepted(option: &str) -> Option<String> {
    let text = match option {
        "--pid" => "a number from 1 to 2147483647",
        "--inode" => "a number above 0, such as 43000 for socket:[43000]",
        "--fd" => "N or N-M, N not above M, from 0 to 2147483647",
        "--state" => return Some(STATES.join(", ")),
        "--local" | "--peer" => "ADDR, ADDR:PORT, :PORT, NET/LEN, NET/LEN:PORT, [V6]:PORT, [V6NET/LEN]:PORT",
        "--comm" => "1 to 15 bytes, as ps -o comm shows them",
        "--kind" => return Some(kind_names().join(", ")),
        "--netns" => "a process id, a path, a name that ip netns gave, or all",
        "--every" => "a time from 100ms to 1day, such as 30s",
        "--max-per-run" => "a number above 0",
        "--min-count" => "a number above 0, or a percentage from 1% to 100%",
        "--metrics" => "an address and a port, such as 127.0.0.1:9464 or [::1]:9464",
        "--idle-for" => "a time from 1ms to 49days, such as 10min",
        "--watch" => "a time from 100ms to 1day, such as 5s",
        "--max-pause" => "a time from 1us to 1min, such as 10ms",
        "--signal" => "a name such as TERM or SIGTERM, or a number from 1 to 64",
        "--idle" | "--interval" => "a time in whole seconds from 1s to 32767s, such as 5min",
        "--count" => "a number from 1 to 127",
        "--user-timeout" => "a time from 1ms to 1day, such as 30s",
        "--timeout" => "a time from 1ms to 1h, such as 5s",
        _ => return None,
    };
    Some(text.to_owned())
}

pub(super) fn pid() -> Value<Pid> {
    Value::new(|value| {
        digits(value).parse().map_err(|_| {
            // People type what they know the process by.
            let name = value.as_bytes();
            if name.first().is_some_and(u8::is_ascii_alphabetic) && Comm::new(name).is_ok() {
                "is no process id (a name goes with --comm)".into()
            } else {
                "is no process id".into()
            }
        })
    })
}

pub(super) fn inode() -> Value<Inode> {
    Value::new(|value| {
        // As /proc shows it, and as it is pasted.
        let bare = ["socket:[", "pipe:["]
            .into_iter()
            .find_map(|start| text(value).strip_prefix(start)?.strip_suffix(']'))
            .map_or(value, OsStr::new);
        digits(bare).parse().map_err(|_| "is no inode".into())
    })
}

pub(super) fn signal() -> Value<Signal> {
    Value::new(|value| {
        let text = text(value);
        let name = text.to_ascii_uppercase();
        let named = || {
            let long = if name.starts_with("SIG") { name.clone() } else { format!("SIG{name}") };
            long.parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
        };
        let number = digits(value).parse().ok().or_else(named);
        number.and_then(Signal::new).ok_or_else(|| "is no signal".into())
    })
}

pub(super) fn fd() -> Value<FdRange> {
    Value::new(|value| text(value).parse().map_err(|err: ParseFdRangeError| err.to_string().into()))
}

pub(super) fn addr() -> Value<AddrFilter> {
    Value::new(|value| text(value).parse().map_err(|err: ParseAddrError| err.to_string().into()))
}

pub(super) fn state() -> Value<TcpState> {
    let parse = |value: &OsStr| text(value).parse().map_err(|_| "is no TCP state".into());
    Value { parse, names: || STATES.to_vec() }
}

pub(super) fn kind() -> Value<KindChoice> {
    let parse = |value: &OsStr| text(value).parse().map_err(|_| "is no kind of descriptor".into());
    Value { parse, names: kind_names }
}

pub(super) fn comm() -> Value<Comm> {
    Value::new(|value| {
        let bytes = value.as_bytes();
        Comm::new(bytes).map_err(|err| {
            let cut = bytes.get(..Comm::MAX).and_then(|cut| std::str::from_utf8(cut).ok());
            match (err, cut) {
                (ParseCommError::TooLong, Some(cut)) => {
                    format!("{err}; say {} if you mean that", usage::quoted(cut.as_bytes())).into()
                }
                _ => err.to_string().into(),
            }
        })
    })
}

pub(super) fn max_pause() -> Value<Duration> {
    Value::new(|value| {
        let bounds = Duration::from_micros(1)..=Duration::from_secs(60);
        duration(value, &bounds).ok_or_else(|| no_duration(value, "is no pause"))
    })
}

pub(super) fn netns() -> Value<NetnsChoice> {
    Value::new(|value| NetnsChoice::parse(value).ok_or_else(|| "is no network namespace".into()))
}

pub(super) fn count() -> Value<usize> {
    Value::new(|value| {
        let count = digits(value).parse().ok().filter(|count| *count > 0);
        count.ok_or_else(|| "is no count".into())
    })
}

pub(super) fn min_count() -> Value<MinCount> {
    Value::new(|value| text(value).parse().map_err(|err: ParseMinCountError| err.to_string().into()))
}

pub(super) fn listen_on() -> Value<SocketAddr> {
    Value::new(|value| text(value).parse().map_err(|_| "is no address with a port".into()))
}

pub(super) fn idle_for() -> Value<Duration> {
    Value::new(|value| {
        // The kernel counts milliseconds in 32 bits.
        let bounds = Duration::from_millis(1)..=Duration::from_secs(49 * 86_400);
        duration(value, &bounds).ok_or_else(|| no_duration(value, "is no idle time"))
    })
}

/// How often something is done again.
pub(super) fn period() -> Value<Duration> {
    Value::new(|value| {
        let bounds = Duration::from_millis(100)..=Duration::from_secs(86_400);
        duration(value, &bounds).ok_or_else(|| no_duration(value, "is no time between two looks"))
    })
}

pub(super) fn timeout() -> Value<Duration> {
    Value::new(|value| {
        let bounds = Duration::from_millis(1)..=Duration::from_secs(3600);
        duration(value, &bounds).ok_or_else(|| no_duration(value, "is no timeout"))
    })
}

/// A time in whole seconds, as the kernel keeps it.
pub(super) fn keepalive_time() -> Value<u32> {
    Value::new(|value| {
        let bounds = Duration::from_secs(1)..=Duration::from_secs(KEEPALIVE_MOST);
        let whole = duration(value, &bounds).filter(|time| time.subsec_nanos() == 0);
        let seconds = whole.and_then(|time| u32::try_from(time.as_secs()).ok());
        seconds.ok_or_else(|| no_duration(value, "is no time between keepalive questions"))
    })
}

pub(super) fn keepalive_count() -> Value<u32> {
    Value::new(|value| {
        let count = digits(value).parse().ok().filter(|count| (1..=127).contains(count));
        count.ok_or_else(|| "is no count".into())
    })
}

/// A number as TCP counts: 32 bits.
pub(super) fn seq() -> Value<u32> {
    Value::new(|value| {
        digits(value)
            .parse()
            .map_err(|_| "is no sequence number; accepted: a number from 0 to 4294967295".into())
    })
}

pub(super) fn user_timeout() -> Value<u32> {
    Value::new(|value| {
        let bounds = Duration::from_millis(1)..=Duration::from_secs(86_400);
        let millis = duration(value, &bounds).and_then(|time| u32::try_from(time.as_millis()).ok());
        millis.ok_or_else(|| no_duration(value, "is no timeout"))
    })
}

fn kind_names() -> Vec<&'static str> {
    Kind::ALL.iter().map(|kind| kind.name()).chain(["any"]).collect()
}

/// The states as they are typed, in the kernel's order: `ss` prints ESTAB, everybody writes it in full, and
/// both are accepted.
const STATES: [&str; 12] = [
    "established",
    "syn-sent",
    "syn-recv",
    "fin-wait-1",
    "fin-wait-2",
    "time-wait",
    "unconn",
    "close-wait",
    "last-ack",
    "listen",
    "closing",
    "new-syn-recv",
];

/// What is wrong with a time: most often that its unit is missing.
fn no_duration(value: &OsStr, otherwise: &'static str) -> Reason {
    if digits(value).is_empty() { otherwise.into() } else { "has no unit, such as s or ms".into() }
}

fn duration(value: &OsStr, bounds: &RangeInclusive<Duration>) -> Option<Duration> {
    humantime::parse_duration(text(value)).ok().filter(|time| bounds.contains(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_listed_under_a_name_that_reads_back() {
        let read: Vec<TcpState> = STATES.iter().map(|name| name.parse().unwrap()).collect();
        assert_eq!(read, TcpState::ALL);
    }
}
