//! Numbers that must not be mixed up: each its own type, checked where it is made.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// Why a text is no valid number of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// Not a decimal number that fits.
    #[error("not a number: {0}")]
    NotANumber(#[from] ParseIntError),
    /// A number, but never one of this kind.
    #[error("{0}")]
    OutOfRange(&'static str),
}

macro_rules! display_number {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

/// A process: its thread group id (tgid) as seen from fdclose's pid namespace. Always above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct Pid(i32);

/// A thread (tid) as seen from fdclose's pid namespace. Always above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Tid(i32);

/// A descriptor number in the target's table. Never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Fd(i32);

/// An inode number of sockfs or pipefs: what `socket:[N]` in `/proc/PID/fd` names (proc(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct Inode(pub u64);

/// An address in the target's memory. It can't be dereferenced here, only handed to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemoteAddr(pub u64);

display_number!(Pid);
display_number!(Tid);
display_number!(Fd);
display_number!(Inode);

impl Pid {
    /// A process id; `None` unless above 0.
    #[must_use]
    pub const fn new(raw: i32) -> Option<Self> {
        if raw > 0 { Some(Self(raw)) } else { None }
    }

    /// The number, for a system call.
    #[must_use]
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    /// The thread group leader, whose tid is the process's tgid.
    #[must_use]
    pub const fn leader(self) -> Tid {
        Tid(self.0)
    }
}

impl Tid {
    /// A thread id; `None` unless above 0.
    #[must_use]
    pub const fn new(raw: i32) -> Option<Self> {
        if raw > 0 { Some(Self(raw)) } else { None }
    }

    /// The number, for a system call.
    #[must_use]
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

impl Fd {
    /// A descriptor number; `None` if negative.
    #[must_use]
    pub const fn new(raw: i32) -> Option<Self> {
        if raw >= 0 { Some(Self(raw)) } else { None }
    }

    /// The number, for a system call.
    #[must_use]
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

impl FromStr for Pid {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text.parse()?).ok_or(ParseIdError::OutOfRange("a process id is above 0"))
    }
}

impl FromStr for Tid {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text.parse()?).ok_or(ParseIdError::OutOfRange("a thread id is above 0"))
    }
}

impl FromStr for Fd {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text.parse()?).ok_or(ParseIdError::OutOfRange("a descriptor number is not negative"))
    }
}

impl FromStr for Inode {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse()? {
            0 => Err(ParseIdError::OutOfRange(
                "inode 0 means that a socket has no descriptor: nothing to close",
            )),
            n => Ok(Self(n)),
        }
    }
}

impl RemoteAddr {
    /// The address `bytes` further on; `None` on overflow.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }
}

impl fmt::Debug for RemoteAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteAddr({:#x})", self.0)
    }
}

impl fmt::Display for RemoteAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_numbers_that_can_not_be() {
        assert!("0".parse::<Pid>().is_err());
        assert!("-1".parse::<Pid>().is_err());
        assert!("-1".parse::<Fd>().is_err());
        assert!("99999999999".parse::<Pid>().is_err());
        assert!("0".parse::<Inode>().is_err());
        assert!("12x".parse::<Inode>().is_err());
        assert_eq!("0".parse::<Fd>(), Ok(Fd(0)));
        assert_eq!("1".parse::<Pid>(), Ok(Pid(1)));
    }
}
