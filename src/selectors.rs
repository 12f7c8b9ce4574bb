//! What the user selects: different selectors are ANDed, one given twice is ORed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::ids::{Fd, Inode, Pid};
use crate::kind::Kind;
use crate::net::{AddrFilter, TcpState};

mod apart;
mod impossible;

pub use impossible::Impossible;

/// Everything that can be selected by. An empty list selects nothing out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selectors {
    /// These processes.
    pub pids: Vec<Pid>,
    /// Descriptors that refer to these inodes.
    pub inodes: BTreeSet<Inode>,
    /// These descriptor numbers.
    pub fds: Vec<FdRange>,
    /// TCP sockets in these states.
    pub states: Vec<TcpState>,
    /// Sockets whose own end is one of these.
    pub local: Vec<AddrFilter>,
    /// Sockets whose other end is one of these.
    pub peer: Vec<AddrFilter>,
    /// Processes of these names.
    pub comms: Vec<Comm>,
    /// Descriptors of these kinds.
    pub kinds: Vec<KindChoice>,
    /// Only files whose last name was removed.
    pub deleted: bool,
    /// Sockets of these network namespaces.
    pub netns: Vec<NetnsChoice>,
    /// TCP connections whose peer has not been heard of for so long.
    pub idle_for: Option<Duration>,
}

/// Why a selection is too broad to act on. `list` takes it all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooBroad {
    /// No selector at all.
    #[error("nothing is selected: say which descriptors, for example --pid 1234 --inode 43000")]
    Nothing,
    /// Processes alone.
    #[error(
        "--pid or --comm alone means every descriptor there: narrow it, or say --kind any if you mean that"
    )]
    WholeProcess,
    /// `--fd` without a process: a number means something in one table only.
    #[error("--fd counts in one process's table: say which with --pid or --comm")]
    FdOfAnyone,
    /// A network namespace alone.
    #[error("--netns alone means every socket there: narrow it, or say --kind any if you mean that")]
    WholeNetns,
    /// `--kind any` without a process: the whole host.
    #[error("--kind any without --pid or --comm would close every descriptor on this host")]
    WholeHost,
}

impl Selectors {
    /// Whether nothing at all was selected by.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// Whether this is narrow enough to act on, confirmed or not.
    ///
    /// # Errors
    ///
    /// [`TooBroad`] if not a single selector says which descriptors are meant, or if a selector has no
    /// meaning without a process to go with it.
    pub fn check_for_action(&self) -> Result<(), TooBroad> {
        if self.is_empty() {
            return Err(TooBroad::Nothing);
        }
        let narrows = self.tells_files_apart();
        let any_kind = self.kinds.contains(&KindChoice::Any);
        let has_process = !self.pids.is_empty() || !self.comms.is_empty();
        match (has_process, narrows) {
            (_, true) => Ok(()),
            (true, false) if self.fds.is_empty() && !any_kind => Err(TooBroad::WholeProcess),
            (true, false) => Ok(()),
            (false, false) if !self.fds.is_empty() => Err(TooBroad::FdOfAnyone),
            (false, false) if self.netns.is_empty() => Err(TooBroad::WholeHost),
            (false, false) if !any_kind => Err(TooBroad::WholeNetns),
            (false, false) => Ok(()),
        }
    }

    /// Whether this names pids together with exact inodes or descriptors, so that there is nothing to ask
    /// about. A range of descriptors is not exact.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        let exact_fds = !self.fds.is_empty() && self.fds.iter().all(|range| range.is_single());
        !self.pids.is_empty() && (!self.inodes.is_empty() || exact_fds)
    }

    /// Whether something other than process, number and `--kind any` narrows the selection.
    fn tells_files_apart(&self) -> bool {
        let kinds = !self.kinds.is_empty() && !self.kinds.contains(&KindChoice::Any);
        kinds
            || self.deleted
            || !self.inodes.is_empty()
            || !self.states.is_empty()
            || !self.local.is_empty()
            || !self.peer.is_empty()
            || self.idle_for.is_some()
    }
}

/// One value of `--netns`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NetnsChoice {
    /// Every one that can be found.
    All,
    /// The one this process is in.
    Process(Pid),
    /// The one at this path.
    Path(PathBuf),
}

impl NetnsChoice {
    /// Where ip-netns(8) keeps the names it gives.
    const NAMED: &'static str = "/run/netns";

    /// What a text means: `all`, a pid, a path, or a name that ip-netns(8) gave. `None` if it is nothing of these.
    #[must_use]
    pub fn parse(text: &OsStr) -> Option<Self> {
        let path = Path::new(text);
        match text.to_str() {
            _ if text.is_empty() => None,
            Some("all") => Some(Self::All),
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().map(Self::Process)
            }
            _ if path.components().count() > 1 => Some(Self::Path(path.to_owned())),
            _ if matches!(path.components().next(), Some(Component::Normal(_))) => {
                Some(Self::Path(Path::new(Self::NAMED).join(path)))
            }
            _ => None,
        }
    }
}

/// Descriptor numbers from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FdRange {
    first: Fd,
    last: Fd,
}

/// A text that is no [`FdRange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseFdRangeError {
    /// Neither `N` nor `N-M`.
    #[error("is no descriptor number or range")]
    NotARange,
    /// `N-M` with N above M.
    #[error("is a range that runs backwards")]
    Backwards,
}

impl FdRange {
    /// The range from `first` to `last`; `None` if it runs backwards.
    #[must_use]
    pub fn new(first: Fd, last: Fd) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    /// The lowest number.
    #[must_use]
    pub const fn first(self) -> Fd {
        self.first
    }

    /// The highest number.
    #[must_use]
    pub const fn last(self) -> Fd {
        self.last
    }

    /// Whether `fd` is in it.
    #[must_use]
    pub fn contains(self, fd: Fd) -> bool {
        (self.first..=self.last).contains(&fd)
    }

    /// Whether it is one number.
    #[must_use]
    pub fn is_single(self) -> bool {
        self.first == self.last
    }
}

impl FromStr for FdRange {
    type Err = ParseFdRangeError;

    /// `N` or `N-M`, decimal.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit());
            if plain { text.parse::<Fd>().ok() } else { None }.ok_or(ParseFdRangeError::NotARange)
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Self::new(number(first)?, number(last)?).ok_or(ParseFdRangeError::Backwards)
    }
}

impl fmt::Display for FdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_single() { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// A process name, as the kernel keeps it: any 1 to 15 bytes but NUL (`TASK_COMM_LEN`, proc(5)).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Comm(Vec<u8>);

/// Bytes that no process can have as its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseCommError {
    /// No byte at all, or a NUL.
    #[error("is no process name")]
    NotAName,
    /// More than [`Comm::MAX`] bytes. The kernel cuts longer names, so this one would never match, and
    /// cutting it here could match another program.
    #[error("is longer than the 15 bytes the kernel keeps of a name")]
    TooLong,
}

impl Comm {
    /// The longest name the kernel keeps, in bytes.
    pub const MAX: usize = 15;

    /// A name to look for.
    ///
    /// # Errors
    ///
    /// [`ParseCommError`] if no process can have this name.
    pub fn new(name: &[u8]) -> Result<Self, ParseCommError> {
        if name.is_empty() || name.contains(&0) {
            Err(ParseCommError::NotAName)
        } else if name.len() > Self::MAX {
            Err(ParseCommError::TooLong)
        } else {
            Ok(Self(name.to_vec()))
        }
    }

    /// Whether the kernel's `comm` is exactly this name.
    #[must_use]
    pub fn matches(&self, comm: &[u8]) -> bool {
        self.0 == comm
    }
}

/// One value of `--kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KindChoice {
    /// Every kind: said on purpose, where leaving `--kind` out would be an oversight.
    Any,
    /// This kind.
    Only(Kind),
}

impl KindChoice {
    /// Whether `kind` is meant.
    #[must_use]
    pub fn matches(self, kind: Kind) -> bool {
        match self {
            Self::Any => true,
            Self::Only(only) => only == kind,
        }
    }
}

impl FromStr for KindChoice {
    type Err = crate::kind::ParseKindError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case("any") { Ok(Self::Any) } else { text.parse().map(Self::Only) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let range = |text: &str| text.parse::<FdRange>();
        assert_eq!(range("5").map(|r| r.to_string()), Ok("5".to_owned()));
        assert_eq!(range("7-9").map(|r| r.to_string()), Ok("7-9".to_owned()));
        assert_eq!(range("7-7").map(FdRange::is_single), Ok(true));
        let fd = |raw| Fd::new(raw).unwrap();
        let seven_to_nine = range("7-9").unwrap();
        let inside: Vec<bool> = [6, 7, 8, 9, 10].map(|n| seven_to_nine.contains(fd(n))).to_vec();
        assert_eq!(inside, [false, true, true, true, false]);
        assert_eq!(range("9-7"), Err(ParseFdRangeError::Backwards));
        for text in ["", "-", "7-", "-7", "+7", "7-+9", "7--9", "7-8-9", "x", "2147483648", " 7"] {
            assert_eq!(range(text), Err(ParseFdRangeError::NotARange), "{text}");
        }
    }

    #[test]
    fn names() {
        assert!(Comm::new(b"nginx").unwrap().matches(b"nginx"));
        assert!(!Comm::new(b"nginx").unwrap().matches(b"nginx2"));
        assert!(Comm::new(b"\xff\x1b").unwrap().matches(b"\xff\x1b"));
        assert!(Comm::new(b"123456789012345").is_ok());
        assert_eq!(Comm::new(b"1234567890123456"), Err(ParseCommError::TooLong));
        assert_eq!(Comm::new(b""), Err(ParseCommError::NotAName));
    }

    #[test]
    fn namespaces() {
        let parse = |text: &str| NetnsChoice::parse(OsStr::new(text));
        let path = |path: &str| Some(NetnsChoice::Path(PathBuf::from(path)));
        assert_eq!(parse("all"), Some(NetnsChoice::All));
        assert_eq!(parse("5"), Some(NetnsChoice::Process(Pid::new(5).unwrap())));
        assert_eq!(parse("blue"), path("/run/netns/blue"));
        for given in ["/proc/5/ns/net", "./all", "/run/netns/5"] {
            assert_eq!(parse(given), path(given));
        }
        for wrong in ["", "0", "99999999999", "/", ".", ".."] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn kinds() {
        assert_eq!("ANY".parse(), Ok(KindChoice::Any));
        assert_eq!("tcp".parse(), Ok(KindChoice::Only(Kind::Tcp)));
        assert!(KindChoice::Any.matches(Kind::Pipe));
        assert!(!KindChoice::Only(Kind::Tcp).matches(Kind::Pipe));
    }

    #[test]
    fn too_broad_to_act_on() {
        let pid = || Selectors { pids: vec![Pid::new(5).unwrap()], ..Selectors::default() };
        let comm = || Selectors { comms: vec![Comm::new(b"x").unwrap()], ..Selectors::default() };
        let fds: Vec<FdRange> = vec!["5".parse().unwrap()];
        assert_eq!(Selectors::default().check_for_action(), Err(TooBroad::Nothing));
        for alone in [pid(), comm()] {
            assert_eq!(alone.check_for_action(), Err(TooBroad::WholeProcess));
            let any = Selectors { kinds: vec![KindChoice::Any], ..alone.clone() };
            assert_eq!(any.check_for_action(), Ok(()));
            assert_eq!(Selectors { fds: fds.clone(), ..alone.clone() }.check_for_action(), Ok(()));
            assert_eq!(Selectors { deleted: true, ..alone }.check_for_action(), Ok(()));
        }
        let base = Selectors::default;
        assert_eq!(Selectors { fds: fds.clone(), ..base() }.check_for_action(), Err(TooBroad::FdOfAnyone));
        assert_eq!(
            Selectors { kinds: vec![KindChoice::Any], ..base() }.check_for_action(),
            Err(TooBroad::WholeHost)
        );
        assert_eq!(Selectors { states: vec![TcpState::CloseWait], ..base() }.check_for_action(), Ok(()));
        assert_eq!(Selectors { inodes: [Inode(7)].into(), ..base() }.check_for_action(), Ok(()));
        let netns = || Selectors { netns: vec![NetnsChoice::All], ..Selectors::default() };
        assert_eq!(netns().check_for_action(), Err(TooBroad::WholeNetns));
        assert_eq!(Selectors { kinds: vec![KindChoice::Any], ..netns() }.check_for_action(), Ok(()));
        assert_eq!(Selectors { fds, ..netns() }.check_for_action(), Err(TooBroad::FdOfAnyone));
        let idle_for = Some(Duration::from_secs(60));
        assert_eq!(Selectors { idle_for, ..base() }.check_for_action(), Ok(()));
        assert_eq!(Selectors { idle_for, ..pid() }.check_for_action(), Ok(()));
    }

    #[test]
    fn exact_is_a_pid_and_inodes_or_single_numbers() {
        let pids = || vec![Pid::new(5).unwrap()];
        let base = || Selectors { pids: pids(), ..Selectors::default() };
        let fds = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<FdRange>>();
        assert!(!base().is_exact());
        assert!(Selectors { inodes: [Inode(7)].into(), ..base() }.is_exact());
        assert!(Selectors { fds: fds(&["5", "6"]), ..base() }.is_exact());
        assert!(!Selectors { fds: fds(&["5", "6-7"]), ..base() }.is_exact());
        assert!(!Selectors { inodes: [Inode(7)].into(), ..Selectors::default() }.is_exact());
    }
}
