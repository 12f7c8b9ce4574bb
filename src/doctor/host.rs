//! What this kernel and these privileges can do.

use super::probes::{self, Evidence};
use super::subject::Subject;
use crate::proc::Procfs;
use crate::report::Check;

/// That no seccomp filter is around fdclose.
pub(super) const UNCONFINED: &str = "no filter around fdclose";

/// Tries everything.
pub(super) fn checks(procfs: &Procfs) -> Vec<Check> {
    let subject = Subject::start(procfs);
    let on_subject = |probe: fn(&Procfs, &Subject) -> Evidence| match &subject {
        Ok(subject) => probe(procfs, subject),
        Err(why) => Err(why.clone()),
    };
    let connection = probes::connection();
    let on_socket = |probe: fn(&probes::Connection) -> Evidence| match &connection {
        Ok(connection) => probe(connection),
        Err(why) => Err(why.clone()),
    };
    let mut checks = Vec::new();
    let mut note = |name, purpose, evidence: Evidence| {
        let (ok, evidence) = match evidence {
            Ok(evidence) => (true, evidence),
            Err(evidence) => (false, evidence),
        };
        checks.push(Check { name, ok, evidence, purpose });
    };
    note("pidfd_open", "to hold a process by more than its number", on_subject(probes::pidfd_open));
    note(
        "pidfd_getfd",
        "--method shutdown, keepalive, and telling sockets apart",
        on_subject(probes::pidfd_getfd),
    );
    note("kcmp", "to tell files apart, and who shares a descriptor table", on_subject(probes::kcmp));
    note(
        "process_vm",
        "to read and write the little memory that a close takes",
        on_subject(probes::process_vm),
    );
    note(
        "seccomp suspension",
        "to act in a process with a seccomp filter",
        on_subject(probes::seccomp_suspension),
    );
    note("ptrace", "to stop a process and look into it", on_subject(probes::ptrace));
    // Last of those on the child: it closes the descriptor.
    note("close", "--method close", on_subject(probes::close));
    note(UNCONFINED, "to act in a process with a seccomp filter", probes::unconfined(procfs));
    note(
        "ptrace of others",
        "to act on processes that are not children of fdclose",
        probes::ptrace_of_others(procfs),
    );
    note("sock_diag", "states and idle times of sockets", probes::sock_diag());
    note("TCP_REPAIR", "to find out sequence numbers", on_socket(probes::tcp_repair));
    // Last of those on the connection: it ends it.
    note("SOCK_DESTROY", "--method destroy", on_socket(probes::sock_destroy));
    note("raw sockets", "to send segments of one's own", probes::raw_sockets());
    note("packet sockets", "to hear the answers to them", probes::packet_sockets());
    note("network namespaces", "to ask for sockets in containers, --netns", probes::netns(procfs));
    note("close_range", "to close many descriptors in one call", probes::close_range());
    checks
}
