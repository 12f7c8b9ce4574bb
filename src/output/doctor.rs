//! What the doctor found, for people.

use std::io::{self, Write};

use super::sanitize::printable;
use super::units::Counted;
use super::{Layout, wrap};
use crate::report::{Advice, Check, DoctorReport, PatientReport};

/// Writes all of it.
///
/// # Errors
///
/// What `out` says.
pub fn write(report: &DoctorReport, layout: &Layout, out: &mut dyn Write) -> io::Result<()> {
    let kernel = printable(report.kernel.as_bytes());
    writeln!(out, "Linux {kernel}, {}", report.architecture)?;
    report.checks.iter().try_for_each(|check| write_check(check, layout, out))?;
    if let Some(target) = &report.target {
        write_target(target, layout, out)?;
    }
    writeln!(out)?;
    write_advice(&report.advice, layout, out)
}

/// Writes which method is the right one, and why.
pub(super) fn write_advice(advice: &Advice, layout: &Layout, out: &mut dyn Write) -> io::Result<()> {
    let style = layout.palette.heading;
    let method = advice.method.map_or("none".to_owned(), |method| format!("--method {method}"));
    wrap::write(&format!("{style}Best here: {method}{style:#}: {}\n", advice.why), layout.width, out)
}

/// Writes one thing that works, or does not.
pub(super) fn write_check(check: &Check, layout: &Layout, out: &mut dyn Write) -> io::Result<()> {
    let (word, style) = if check.ok { ("yes", layout.palette.good) } else { ("no ", layout.palette.bad) };
    // Only what does not work needs a word about what it would be good for.
    let purpose = if check.ok { String::new() } else { format!(" (it is for: {})", check.purpose) };
    let evidence = printable(check.evidence.as_bytes());
    wrap::write(&format!("{style}{word}{style:#} {}: {evidence}{purpose}\n", check.name), layout.width, out)
}

/// Writes what a process is like.
pub(super) fn write_target(target: &PatientReport, layout: &Layout, out: &mut dyn Write) -> io::Result<()> {
    let bad = layout.palette.bad;
    let comm = printable(target.comm.as_bytes());
    let threads = Counted(usize::try_from(target.threads).unwrap_or(usize::MAX), "thread");
    let machine = target.architecture.unwrap_or("unknown architecture");
    let mut lines = vec![format!("\n{comm} ({}): {machine}, {threads}, user {}", target.pid, target.uid)];
    lines.push(match (&target.refusal, &target.hint) {
        (None, _) => "can be traced".to_owned(),
        (Some(why), None) => format!("{bad}can't be traced{bad:#}: {}", printable(why.as_bytes())),
        (Some(why), Some(hint)) => {
            format!(
                "{bad}can't be traced{bad:#}: {}; {}",
                printable(why.as_bytes()),
                printable(hint.as_bytes())
            )
        }
    });
    if let Some(mode) = target.seccomp.filter(|mode| *mode != "disabled") {
        lines.push(format!("seccomp: {mode}"));
    }
    match target.other_namespaces.as_deref() {
        Some([]) => {}
        Some(others) => lines.push(format!("in other namespaces than fdclose: {}", others.join(", "))),
        None => lines.push("its namespaces can't be told".to_owned()),
    }
    if let (Some(runtime), Some(risk)) = (target.runtime, target.runtime_risk) {
        lines.push(format!("runtime {runtime}: {risk}"));
    }
    if target.descriptors.is_none() {
        lines.push("its descriptors can't be looked at".to_owned());
    }
    if target.epoll_instances > 0 {
        lines.push(format!("{}: it has an event loop", Counted(target.epoll_instances, "epoll instance")));
    }
    for ring in &target.io_urings {
        let files = match ring.registered_files {
            Some(0) => "no registered files".to_owned(),
            Some(count) => {
                Counted(usize::try_from(count).unwrap_or(usize::MAX), "registered file").to_string()
            }
            None => "registered files unknown".to_owned(),
        };
        lines.push(format!("io_uring at fd {}: {files}", ring.fd));
    }
    lines.iter().try_for_each(|line| wrap::write(&format!("{line}\n"), layout.width, out))
}
