//! Which method is the right one, and why: pure.

use super::host::UNCONFINED;
use crate::report::{Advice, Check, PatientReport};

/// What fdclose can work on, by the names of [`super::runtime::architecture`].
const WORKABLE: &[&str] = if cfg!(target_arch = "x86_64") { &["x86_64", "i386"] } else { &["aarch64"] };

/// How descriptors that are selected are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Use {
    /// An epoll instance watches one of them.
    pub(super) watched: bool,
    /// One of them is registered with an io_uring.
    pub(super) registered: bool,
}

/// What follows from what works here, for the process that was named if one was, and for some descriptors of it if it is
/// known how they are used.
pub(super) fn advice(checks: &[Check], target: Option<&PatientReport>, of: Option<Use>) -> Advice {
    let works = |name: &str| checks.iter().any(|check| check.name == name && check.ok);
    let use_it = |method, why: String| Advice { method: Some(method), why };
    // What ends a connection without any right over the process.
    let otherwise = |why: String| {
        if works("SOCK_DESTROY") {
            use_it("destroy", format!("{why}; it ends the connection and leaves the descriptor"))
        } else {
            Advice {
                method: None,
                why: format!("{why}, and the kernel ends no connections either: a restart is left"),
            }
        }
    };
    if of.is_none()
        && let Some(why) = target.and_then(out_of_reach)
    {
        return Advice { method: None, why };
    }
    // With a filter around fdclose the child has it, too, which others need not have.
    let can_close = works("close") || (works("ptrace") && works("process_vm") && !works(UNCONFINED));
    if !can_close {
        return otherwise("nothing can be closed in another process here".to_owned());
    }
    let Some(target) = target else {
        return use_it("close", "it works here, and only it frees the descriptor".to_owned());
    };
    if let Some(refusal) = &target.refusal {
        let way_out = target.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        return otherwise(format!("the process can't be traced: {refusal}{way_out}"));
    }
    let confined = matches!(target.seccomp, Some("strict" | "filter"));
    if confined && !works("seccomp suspension") {
        let why = "its seccomp filter can't be suspended, and might kill it for a call";
        return if works("pidfd_getfd") {
            use_it("shutdown", format!("{why}; this makes none in it"))
        } else {
            otherwise(why.to_owned())
        };
    }
    if target.architecture.is_some_and(|made_for| !WORKABLE.contains(&made_for)) {
        return otherwise("its program is made for another machine than fdclose can work on".to_owned());
    }
    // A shutdown goes through a copy, or is a call of the process itself: that can be made, as a close can.
    let has_files = target.io_urings.iter().any(|ring| ring.registered_files.is_none_or(|files| files > 0));
    if of.map_or(has_files, |of| of.registered) {
        let why = if of.is_some() {
            "one of these is registered with an io_uring, where it lives on when its descriptor is closed"
        } else {
            "it has files registered with an io_uring, where a connection lives on when its descriptor is closed"
        };
        return use_it("shutdown", why.to_owned());
    }
    if of.map_or(target.epoll_instances > 0, |of| of.watched) {
        let why = if of.is_some() {
            "an event loop of it still watches at least one of these, is told of the end and closes by itself; close \
             only what is not named as watched"
        } else {
            "it has an event loop, which is told of the end and closes by itself; close only what is not watched by \
             epoll: '--explain --dry-run' names what is, and so does watched_by in 'fdclose list --json'"
        };
        return use_it("shutdown", why.to_owned());
    }
    let why = match of {
        None => "it works here, only it frees the descriptor, and no event loop was found",
        Some(_) => "it works here, only it frees the descriptor, and no event loop is known to watch it",
    };
    use_it("close", why.to_owned())
}

/// Why no method finds a descriptor of the process to work on, if that is so.
fn out_of_reach(target: &PatientReport) -> Option<String> {
    let refusal = target.refusal.as_deref();
    match target.descriptors {
        Some(0) => {
            Some(format!("there is nothing to close: {}", refusal.unwrap_or("it has no descriptors open")))
        }
        Some(_) => None,
        None => {
            let why = refusal.map(|refusal| format!(": {refusal}")).unwrap_or_default();
            let way_out = target.hint.as_deref().unwrap_or("run fdclose as root");
            Some(format!(
                "fdclose may not look into the process, as every method has to{why} ({way_out}); without that \
                 right `ss --kill` ends a connection by its addresses, with CAP_NET_ADMIN"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Fd, Pid};
    use crate::report::RingReport;

    fn checks(broken: &[&str]) -> Vec<Check> {
        let all = [
            "ptrace",
            "process_vm",
            "close",
            UNCONFINED,
            "pidfd_getfd",
            "seccomp suspension",
            "SOCK_DESTROY",
        ];
        let check = |name| Check { name, ok: !broken.contains(&name), evidence: String::new(), purpose: "" };
        all.into_iter().map(check).collect()
    }

    fn plain() -> PatientReport {
        PatientReport {
            pid: Pid::new(5).unwrap(),
            comm: "x".into(),
            uid: 0,
            architecture: Some(WORKABLE[0]),
            threads: 1,
            seccomp: Some("disabled"),
            tracer: None,
            other_namespaces: Some(vec![]),
            runtime: None,
            runtime_risk: None,
            descriptors: Some(5),
            epoll_instances: 0,
            io_urings: vec![],
            refusal: None,
            hint: None,
        }
    }

    #[test]
    fn each_reason_has_its_method() {
        let ring = |registered_files| vec![RingReport { fd: Fd::new(7).unwrap(), registered_files }];
        let refused = PatientReport { refusal: Some("no".to_owned()), ..plain() };
        let confined = PatientReport { seccomp: Some("filter"), ..plain() };
        let looping = PatientReport { epoll_instances: 1, ..plain() };
        for (broken, target, method) in [
            (&[][..], None, Some("close")),
            (&[], Some(plain()), Some("close")),
            (&["close"], Some(plain()), Some("destroy")),
            (&["close", "SOCK_DESTROY"], Some(plain()), None),
            (&["close", UNCONFINED], Some(plain()), Some("close")),
            (&["close", UNCONFINED, "ptrace"], Some(plain()), Some("destroy")),
            (&[], Some(refused.clone()), Some("destroy")),
            (&["SOCK_DESTROY"], Some(refused.clone()), None),
            (&[], Some(PatientReport { descriptors: None, ..refused.clone() }), None),
            (&[], Some(PatientReport { descriptors: Some(0), ..refused }), None),
            (&[], Some(PatientReport { descriptors: Some(0), ..plain() }), None),
            (&["close"], Some(PatientReport { descriptors: None, ..plain() }), None),
            (&[], Some(confined.clone()), Some("close")),
            (&["seccomp suspension"], Some(confined.clone()), Some("shutdown")),
            (&["seccomp suspension", "pidfd_getfd"], Some(confined), Some("destroy")),
            (&[], Some(looping.clone()), Some("shutdown")),
            (&["pidfd_getfd"], Some(looping), Some("shutdown")),
            (&[], Some(PatientReport { io_urings: ring(Some(3)), ..plain() }), Some("shutdown")),
            (&[], Some(PatientReport { io_urings: ring(Some(0)), ..plain() }), Some("close")),
            (&[], Some(PatientReport { architecture: Some("x32"), ..plain() }), Some("destroy")),
        ] {
            let advice = advice(&checks(broken), target.as_ref(), None);
            assert_eq!(advice.method, method, "{broken:?} {target:?}: {}", advice.why);
        }
    }

    #[test]
    fn what_is_known_of_the_descriptors_counts_more() {
        let ring = vec![RingReport { fd: Fd::new(7).unwrap(), registered_files: Some(3) }];
        let busy = PatientReport { epoll_instances: 1, io_urings: ring, ..plain() };
        for (watched, registered, method) in
            [(false, false, "close"), (true, false, "shutdown"), (false, true, "shutdown")]
        {
            let advice = advice(&checks(&[]), Some(&busy), Some(Use { watched, registered }));
            assert_eq!(advice.method, Some(method), "{}", advice.why);
        }
    }
}
