//! What must hold of the reading of wait statuses; see [`crate::fuzzing`].
#![allow(clippy::missing_panics_doc, reason = "to panic is what they are for")]

use super::stop::{Report, Stop};
use super::sys::EVENT_STOP;

/// A status of waitpid(2): it means one thing, and a stop that is written back as the kernel would write it is the
/// same stop.
pub fn wait_status(status: i32) {
    let report = Report::from(status);
    let stops = libc::WIFSTOPPED(status);
    match report {
        Report::Ended => assert!(libc::WIFEXITED(status) || libc::WIFSIGNALED(status)),
        Report::Unexpected(same) => assert!(same == status && !libc::WIFEXITED(status)),
        Report::Stopped(stop) => {
            assert!(stops && !libc::WIFEXITED(status) && !libc::WIFSIGNALED(status));
            let (signal, event) = match stop {
                Stop::Syscall => (libc::SIGTRAP | 0x80, 0),
                Stop::Interrupt => (libc::SIGTRAP, EVENT_STOP),
                Stop::Group(signal) => (signal.as_raw(), EVENT_STOP),
                Stop::SignalDelivery(signal) => (signal.as_raw(), 0),
                Stop::OtherEvent(event) => (libc::SIGTRAP, event),
            };
            assert_eq!(Report::from(event << 16 | signal << 8 | 0x7f), report);
            // The one signal that would be lost if it were not handed on, and no other.
            let handed_on = stop.signal_to_hand_on();
            assert!((0..=64).contains(&handed_on));
            assert_eq!(handed_on != 0, matches!(stop, Stop::SignalDelivery(_)));
            assert!(handed_on == 0 || handed_on == libc::WSTOPSIG(status));
        }
    }
}
