//! What stands below the table of `list`: a sentence for each process, and one on the kernel's memory for TCP.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Write};

use super::sanitize::printable;
use super::style::Palette;
use super::units::{Count, Counted, Idle};
use super::{Layout, wrap};
use crate::net::TcpState;
use crate::report::{ListReport, ProcessUse, SocketsReport, TcpMemoryReport};

/// Above so many percent of its descriptors a process is worth a look, and above so many in trouble.
const NOTABLE: u64 = 70;
const BAD: u64 = 90;

/// Writes the sentences below a table of `report`; nothing if nothing is listed.
///
/// # Errors
///
/// What `out` says.
pub fn write(report: &ListReport, layout: &Layout, out: &mut dyn Write) -> io::Result<()> {
    if report.fds.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    for process in &report.processes {
        wrap::write(&of_process(process, &layout.palette), layout.width, out)?;
    }
    match &report.tcp_memory {
        Some(memory) if report.processes.iter().any(|process| !process.states.is_empty()) => {
            wrap::write(&of_memory(memory, &layout.palette), layout.width, out)
        }
        _ => Ok(()),
    }
}

/// Writes the sentences below a table of sockets without their holders; nothing if nothing is listed.
///
/// # Errors
///
/// What `out` says.
pub fn write_sockets(report: &SocketsReport, layout: &Layout, out: &mut dyn Write) -> io::Result<()> {
    if report.sockets.is_empty() {
        return Ok(());
    }
    let states = of_states(&report.states, &layout.palette).join(", ");
    let idle = report.idle_ms_max.map(|ms| format!(", idle up to {}", Idle(ms))).unwrap_or_default();
    let sentence = format!("{}: {states}{idle}\n", Counted(report.sockets.len(), "socket"));
    writeln!(out)?;
    wrap::write(&sentence, layout.width, out)?;
    match &report.tcp_memory {
        Some(memory) => wrap::write(&of_memory(memory, &layout.palette), layout.width, out),
        None => Ok(()),
    }
}

/// `2 CLOSE-WAIT`, most of them first.
fn of_states(states: &BTreeMap<TcpState, usize>, palette: &Palette) -> Vec<String> {
    let mut parts: Vec<(TcpState, usize)> = states.iter().map(|(state, n)| (*state, *n)).collect();
    parts.sort_by_key(|(_, count)| Reverse(*count));
    let part = |(state, count)| match state {
        TcpState::CloseWait => format!("{0}{1} {state}{0:#}", palette.notable, Count(count)),
        _ => format!("{} {state}", Count(count)),
    };
    parts.into_iter().map(part).collect()
}

fn of_process(process: &ProcessUse, palette: &Palette) -> String {
    let mut parts = of_states(&process.states, palette);
    if process.tcp > process.states.values().sum()
        && let Some(last) = parts.last_mut()
    {
        *last = format!("{last} (by {})", Counted(process.tcp, "descriptor"));
    }
    let others = process.listed.saturating_sub(process.tcp);
    if others > 0 {
        let noun = if parts.is_empty() { "descriptor" } else { "other" };
        parts.push(Counted(others, noun).to_string());
    }
    let idle = process.idle_ms_max.map(|ms| format!(", idle up to {}", Idle(ms))).unwrap_or_default();
    let watched = match process.watched {
        0 => String::new(),
        count => format!("; {} watched by epoll", Count(count)),
    };
    let comm = printable(process.comm.as_bytes());
    let used = of_descriptors(process, palette);
    let thread = process.tid.map(|tid| format!(", thread {tid}")).unwrap_or_default();
    format!("{comm} ({}{thread}): {}{idle}{watched}{used}\n", process.pid, parts.join(", "))
}

/// `; 95 of 100 descriptors in use (95 %), none left in 5m at this rate`.
fn of_descriptors(process: &ProcessUse, palette: &Palette) -> String {
    let Some(open) = process.descriptors else { return String::new() };
    let Some(limit) = process.descriptors_limit else {
        return format!("; {} in use, without a limit", Counted(open, "descriptor"));
    };
    let percent =
        u64::try_from(open).unwrap_or(u64::MAX).saturating_mul(100).checked_div(limit).unwrap_or(100);
    let style = match percent {
        BAD.. => palette.bad,
        NOTABLE.. => palette.notable,
        _ => anstyle::Style::new(),
    };
    let share = if percent >= NOTABLE { format!(" ({percent} %)") } else { String::new() };
    let limit = Count(usize::try_from(limit).unwrap_or(usize::MAX));
    let forecast = match process.runs_out_in_s {
        Some(0) => format!(", {0}none left{0:#}", palette.bad),
        Some(seconds) => {
            let span = Idle(seconds.saturating_mul(1000));
            format!(", {0}none left in {span}{0:#} at this rate", palette.bad)
        }
        None => String::new(),
    };
    format!("; {style}{} of {limit} descriptors{share}{style:#}{forecast}", Count(open))
}

fn of_memory(memory: &TcpMemoryReport, palette: &Palette) -> String {
    let pages = |count: u64| Count(usize::try_from(count).unwrap_or(usize::MAX));
    let used = pages(memory.used_pages);
    let limits = match (memory.pressure_pages, memory.max_pages) {
        (Some(pressure), Some(max)) => {
            format!(" of {} pages (pressure from {})", pages(max), pages(pressure))
        }
        _ => format!(" {}", if memory.used_pages == 1 { "page" } else { "pages" }),
    };
    let word = match memory.state {
        Some("pressure") => {
            format!(
                ": {0}under pressure{0:#}, the kernel keeps buffers small and connections slow",
                palette.bad
            )
        }
        Some("exhausted") => {
            format!(
                ": {0}exhausted{0:#}, the kernel drops segments and resets orphaned connections",
                palette.bad
            )
        }
        Some(_) => ": no shortage".to_owned(),
        None => String::new(),
    };
    format!("TCP memory of this host: {used}{limits}{word}\n")
}
