//! The raw status of waitpid(2), made a closed set of values.

use super::sys::EVENT_STOP;

/// A signal number, 1 to 64: real-time ones too, which the usual enums leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(i32);

impl Signal {
    /// SIGKILL.
    pub const KILL: Self = Self(libc::SIGKILL);

    /// The number, for a system call.
    #[must_use]
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    /// The number as a signal; `None` unless 1 to 64.
    #[must_use]
    pub const fn new(raw: i32) -> Option<Self> {
        if raw >= 1 && raw <= 64 { Some(Self(raw)) } else { None }
    }
}

/// Why a tracee is stopped: a ptrace-stop, in ptrace(2)'s words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Syscall-entry-stop or syscall-exit-stop; the kernel does not say which.
    Syscall,
    /// PTRACE_EVENT_STOP after PTRACE_INTERRUPT (or at the end of a group-stop).
    Interrupt,
    /// PTRACE_EVENT_STOP as a member of a group-stop by this signal: the process is stopped for its parent, too.
    Group(Signal),
    /// A signal is about to be delivered; it is lost unless it is handed on when the tracee resumes.
    SignalDelivery(Signal),
    /// Another PTRACE_EVENT stop. fdclose asks for none; one may still be queued by an earlier tracer.
    OtherEvent(i32),
}

impl Stop {
    /// Whether registers put back in this stop are taken as they are, pending restart included. At a syscall-stop
    /// the restart codes would leak to the application instead.
    #[must_use]
    pub const fn is_signal_type(self) -> bool {
        matches!(self, Self::Interrupt | Self::Group(_) | Self::SignalDelivery(_))
    }

    /// What must be handed to the kernel when the tracee resumes, or 0.
    pub(super) const fn signal_to_hand_on(self) -> i32 {
        match self {
            Self::SignalDelivery(signal) => signal.0,
            _ => 0,
        }
    }
}

/// What a tracee reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It stopped.
    Stopped(Stop),
    /// It ended: by exit or by a signal, which of them is of no interest to a tracer.
    Ended,
    /// Something no tracee of ours should say; ignored by waiting on.
    Unexpected(i32),
}

impl From<i32> for Report {
    fn from(status: i32) -> Self {
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            return Self::Ended;
        }
        if !libc::WIFSTOPPED(status) {
            return Self::Unexpected(status);
        }
        let raw = libc::WSTOPSIG(status);
        let event = status >> 16;
        if event == 0 && raw == libc::SIGTRAP | 0x80 {
            return Self::Stopped(Stop::Syscall);
        }
        let Some(signal) = Signal::new(raw) else { return Self::Unexpected(status) };
        Self::Stopped(match event {
            0 => Stop::SignalDelivery(signal),
            // The trap of PTRACE_INTERRUPT reports SIGTRAP; a group-stop reports the signal that stopped it.
            EVENT_STOP if raw == libc::SIGTRAP => Stop::Interrupt,
            EVENT_STOP => Stop::Group(signal),
            event => Stop::OtherEvent(event),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopped(signal: i32, event: i32) -> Report {
        Report::from(event << 16 | signal << 8 | 0x7f)
    }

    #[test]
    fn stops_are_told_apart() {
        let signal = |n| Signal::new(n).unwrap();
        for (report, stop) in [
            (stopped(5 | 0x80, 0), Stop::Syscall),
            (stopped(5, 0), Stop::SignalDelivery(signal(5))),
            (stopped(5, 128), Stop::Interrupt),
            (stopped(19, 128), Stop::Group(signal(19))),
            (stopped(20, 128), Stop::Group(signal(20))),
            (stopped(34, 0), Stop::SignalDelivery(signal(34))),
            (stopped(64, 0), Stop::SignalDelivery(signal(64))),
            (stopped(5, 4), Stop::OtherEvent(4)),
        ] {
            assert_eq!(report, Report::Stopped(stop));
        }
        assert_eq!(Report::from(0), Report::Ended, "exit(0)");
        assert_eq!(Report::from(9), Report::Ended, "SIGKILL");
        assert_eq!(Report::from(0xffff), Report::Unexpected(0xffff), "WIFCONTINUED");
        assert_eq!(stopped(0, 0), Report::Unexpected(0x7f));
    }

    proptest::proptest! {
        #[test]
        fn any_status_is_some_report(status: i32) {
            if let Report::Stopped(stop) = Report::from(status) {
                proptest::prop_assert!((0..=64).contains(&stop.signal_to_hand_on()));
            }
        }
    }

    #[test]
    fn a_signal_is_handed_on_only_from_its_own_stop() {
        let usr1 = Signal::new(10).unwrap();
        assert_eq!(Stop::SignalDelivery(usr1).signal_to_hand_on(), 10);
        assert_eq!(Stop::Group(usr1).signal_to_hand_on(), 0);
        assert_eq!(Stop::Syscall.signal_to_hand_on(), 0);
    }
}
