//! `/proc/PID/status` and `/proc/PID/task/TID/status`.

use super::error::Malformed;
use super::stat::is_dead;
use super::text::{decimal, lines, number, split_once, words};
use crate::host::{self, Feature};
use crate::ids::{Pid, Tid};

/// The four user ids of a process (credentials(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Uids {
    /// Who started it.
    pub real: u32,
    /// Whose rights it has.
    pub effective: u32,
    /// What it may change back to.
    pub saved: u32,
    /// Whose rights count for files, and for being traced.
    pub filesystem: u32,
}

/// Signal masks of a thread; bit 0 is signal 1. Pending signals are told for the thread and for its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SignalMasks {
    /// Pending for this thread (`SigPnd`).
    pub pending: u64,
    /// Pending for the process (`ShdPnd`).
    pub shared_pending: u64,
    /// Blocked by this thread (`SigBlk`).
    pub blocked: u64,
    /// Ignored (`SigIgn`).
    pub ignored: u64,
    /// Handled (`SigCgt`).
    pub caught: u64,
}

/// seccomp(2) mode of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seccomp {
    /// None.
    Disabled,
    /// Only read, write, exit and sigreturn; any other call kills.
    Strict,
    /// A filter decides on every call.
    Filter,
    /// A filter has killed it and it is about to end (shown since 5.17).
    Dead,
}

/// What `status` says about a process or thread (proc_pid_status(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The command name as the target has it, up to 15 bytes (more for kernel threads), any bytes but NUL.
    pub name: Vec<u8>,
    /// State letter: `R` runs, `S` sleeps, `D` sleeps uninterruptibly, `T` stopped, `t` in a ptrace-stop,
    /// `Z` zombie, `X` dead, `I` idle kernel thread.
    pub state: char,
    /// The process the thread belongs to.
    pub tgid: Pid,
    /// The parent; `None` if it has none, or none in this pid namespace.
    pub ppid: Option<Pid>,
    /// The thread that traces it; `None` if there is none, or none in this pid namespace.
    pub tracer_pid: Option<Tid>,
    /// User ids.
    pub uid: Uids,
    /// How many threads the process has; 0 for one that is being reaped.
    pub threads: u32,
    /// Its number in each pid namespace, from this one to the innermost (4.1).
    pub ns_pid: Option<Vec<Pid>>,
    /// Queued signals of its user and their limit.
    pub sigq: Option<(u64, u64)>,
    /// Signal masks.
    pub signals: SignalMasks,
    /// Effective capabilities, one bit each (capabilities(7)).
    pub cap_eff: u64,
    /// Permitted capabilities.
    pub cap_prm: u64,
    /// Whether it has given up gaining privileges (4.10).
    pub no_new_privs: Option<bool>,
    /// Seccomp mode (3.8, if the kernel was built with it).
    pub seccomp: Option<Seccomp>,
    /// Whether it is a thread of the kernel (6.8). [`Stat`](super::Stat) tells on every kernel.
    pub kthread: Option<bool>,
}

/// What has been read so far; the options are lines not seen yet.
#[derive(Default)]
struct Lines {
    name: Option<Vec<u8>>,
    state: Option<char>,
    tgid: Option<Pid>,
    ppid: Option<i32>,
    tracer_pid: Option<i32>,
    uid: Option<Uids>,
    threads: Option<u32>,
    ns_pid: Option<Vec<Pid>>,
    sigq: Option<(u64, u64)>,
    signals: SignalMasks,
    cap_eff: Option<u64>,
    cap_prm: Option<u64>,
    no_new_privs: Option<bool>,
    seccomp: Option<Seccomp>,
    kthread: Option<bool>,
}

impl Status {
    /// Reads the text of a `status` file. Lines this version does not know are skipped; lines that older
    /// kernels lack are `None`.
    ///
    /// # Errors
    /// If a line every kernel since 3.4 writes is missing, or a known one is not what it should be.
    pub fn parse(text: &[u8]) -> Result<Self, Malformed> {
        let mut seen = Lines::default();
        for line in lines(text) {
            if let Some((key, value)) = split_once(line, b':') {
                seen.take(key, value)?;
            }
        }
        Ok(Self {
            name: seen.name.ok_or(Malformed("no Name line"))?,
            state: seen.state.ok_or(Malformed("no State line"))?,
            tgid: seen.tgid.ok_or(Malformed("no Tgid line"))?,
            ppid: Pid::new(seen.ppid.ok_or(Malformed("no PPid line"))?),
            tracer_pid: Tid::new(seen.tracer_pid.ok_or(Malformed("no TracerPid line"))?),
            uid: seen.uid.ok_or(Malformed("no Uid line"))?,
            threads: seen.threads.ok_or(Malformed("no Threads line"))?,
            ns_pid: seen.ns_pid,
            sigq: seen.sigq,
            signals: seen.signals,
            cap_eff: seen.cap_eff.ok_or(Malformed("no CapEff line"))?,
            cap_prm: seen.cap_prm.ok_or(Malformed("no CapPrm line"))?,
            no_new_privs: seen.no_new_privs,
            seccomp: seen.seccomp,
            kthread: seen.kthread,
        })
    }

    /// Without what the kernel is known not to tell, which is something under [`host::assume`] alone.
    #[must_use]
    pub(super) fn told(self) -> Self {
        Self { ns_pid: self.ns_pid.filter(|_| host::has(Feature::PidsInNamespaces)), ..self }
    }

    /// Whether it has ended and only waits to be reaped, or is ending.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        is_dead(self.state)
    }
}

impl Lines {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Malformed> {
        if key == b"Name" {
            // Blanks at its ends belong to the name.
            self.name = Some(unescape(value.strip_prefix(b"\t").unwrap_or(value)));
            return Ok(());
        }
        let value = value.trim_ascii();
        match key {
            b"State" => {
                let letter = value.first().filter(|letter| letter.is_ascii_alphabetic());
                self.state = Some(char::from(*letter.ok_or(Malformed("State"))?));
            }
            b"Tgid" => self.tgid = Some(decimal(value).and_then(Pid::new).ok_or(Malformed("Tgid"))?),
            b"PPid" => self.ppid = Some(decimal(value).ok_or(Malformed("PPid"))?),
            b"TracerPid" => self.tracer_pid = Some(decimal(value).ok_or(Malformed("TracerPid"))?),
            b"Uid" => self.uid = Some(uids(value).ok_or(Malformed("Uid"))?),
            b"Threads" => self.threads = Some(decimal(value).ok_or(Malformed("Threads"))?),
            b"NSpid" => self.ns_pid = Some(ns_pids(value).ok_or(Malformed("NSpid"))?),
            b"SigQ" => self.sigq = Some(sigq(value).ok_or(Malformed("SigQ"))?),
            b"SigPnd" => self.signals.pending = mask(value, "SigPnd")?,
            b"ShdPnd" => self.signals.shared_pending = mask(value, "ShdPnd")?,
            b"SigBlk" => self.signals.blocked = mask(value, "SigBlk")?,
            b"SigIgn" => self.signals.ignored = mask(value, "SigIgn")?,
            b"SigCgt" => self.signals.caught = mask(value, "SigCgt")?,
            b"CapEff" => self.cap_eff = Some(mask(value, "CapEff")?),
            b"CapPrm" => self.cap_prm = Some(mask(value, "CapPrm")?),
            b"NoNewPrivs" => self.no_new_privs = Some(flag(value).ok_or(Malformed("NoNewPrivs"))?),
            b"Seccomp" => {
                self.seccomp = Some(match value {
                    b"0" => Seccomp::Disabled,
                    b"1" => Seccomp::Strict,
                    b"2" => Seccomp::Filter,
                    b"3" => Seccomp::Dead,
                    _ => return Err(Malformed("Seccomp")),
                });
            }
            b"Kthread" => self.kthread = Some(flag(value).ok_or(Malformed("Kthread"))?),
            _ => {}
        }
        Ok(())
    }
}

fn mask(value: &[u8], key: &'static str) -> Result<u64, Malformed> {
    number(value, 16).ok_or(Malformed(key))
}

fn flag(value: &[u8]) -> Option<bool> {
    match value {
        b"0" => Some(false),
        b"1" => Some(true),
        _ => None,
    }
}

fn uids(value: &[u8]) -> Option<Uids> {
    let mut ids = words(value).map(decimal::<u32>);
    Some(Uids { real: ids.next()??, effective: ids.next()??, saved: ids.next()??, filesystem: ids.next()?? })
}

fn ns_pids(value: &[u8]) -> Option<Vec<Pid>> {
    words(value).map(|word| decimal(word).and_then(Pid::new)).collect()
}

fn sigq(value: &[u8]) -> Option<(u64, u64)> {
    let (queued, limit) = split_once(value, b'/')?;
    Some((decimal(queued)?, decimal(limit)?))
}

/// The kernel writes a newline in the name as `\n` and a backslash as `\\`, and nothing else escaped.
fn unescape(value: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(value.len());
    let mut rest = value.iter();
    while let Some(byte) = rest.next() {
        match (byte, rest.as_slice().first()) {
            (b'\\', Some(b'n')) => {
                name.push(b'\n');
                rest.next();
            }
            (b'\\', Some(b'\\')) => {
                name.push(b'\\');
                rest.next();
            }
            _ => name.push(*byte),
        }
    }
    name
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
