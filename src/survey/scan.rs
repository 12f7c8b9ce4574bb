//! Looking into every process of the host, on several threads.
//!
//! Processes that share a descriptor table (clone(2) with CLONE_FILES, without CLONE_THREAD) are looked into one by one all
//! the same, and each is told of as a holder. To look into the table once, they would have to be known before: neither
//! parent nor program nor the count of descriptors tells them, as the workers of a server have these in common, too. That
//! takes kcmp(2) for every process, at 1 us each, even if sought for in kcmp's order: 2,059 of them for 300 processes with 25
//! descriptors each, up to 4 % of what it takes to read these, and 44,850, more than that, if compared in pairs
//! (measured on 6.18). And what was found in a process would have to be kept until the last one was compared with it,
//! while as it is, it goes as soon as it is told. Hosts without such processes, nearly all, would pay for it.

use std::collections::BTreeMap;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;

use super::look::{Found, look_into};
use super::{Detail, crew};
use crate::ids::Pid;
use crate::proc::{ProcError, Procfs};
use crate::selectors::Selectors;
use crate::watchdog;

/// What was found in one process.
pub(super) type Looked = Result<Option<Found>, ProcError>;

/// What a thread has to tell.
enum News {
    /// This process has many descriptors.
    Many(Pid),
    /// This is what the process at this place in the list has.
    Looked(usize, Looked),
}

/// Who hears of it.
pub(super) trait Hearer {
    /// A process has many descriptors, and is being looked into.
    fn many(&mut self, pid: Pid);
    /// What each process has, in the order of the list.
    fn looked(&mut self, pid: Pid, looked: Looked);
}

/// Looks into each of `pids`. What is found is told on this thread while the others go on.
pub(super) fn scan(
    procfs: &Procfs,
    selectors: &Selectors,
    detail: Detail,
    pids: &[Pid],
    hearer: &mut dyn Hearer,
) {
    let next = AtomicUsize::new(0);
    let (tell, news) = mpsc::channel();
    let work = |tell: &Sender<News>| {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(pid) = pids.get(index).copied() else { break };
            let _watched = watchdog::over(pid);
            // Nobody hears it any more: the other end has panicked.
            let on_many = &mut || drop(tell.send(News::Many(pid)));
            let looked =
                procfs.open_listed(pid).and_then(|process| look_into(process, selectors, detail, on_many));
            if tell.send(News::Looked(index, looked)).is_err() {
                break;
            }
        }
    };
    thread::scope(|scope| {
        let mut threads = Vec::new();
        let mut place = None;
        // This thread mostly waits: the first one takes its place.
        loop {
            let (tell, place_of_this) = (tell.clone(), place.take());
            let thread = thread::Builder::new().name("scan".to_owned()).spawn_scoped(scope, move || {
                work(&tell);
                // Others, who have much to do, may start helpers from now on.
                drop(place_of_this);
            });
            match thread {
                Ok(thread) => threads.push(thread),
                Err(_) => break,
            }
            place = crew::join();
            if place.is_none() {
                break;
            }
        }
        if threads.is_empty() {
            // No thread can be had; the channel has room for everything.
            work(&tell);
        }
        drop(tell);
        let mut early = BTreeMap::new();
        let mut due = 0;
        for news in news {
            match news {
                News::Many(pid) => hearer.many(pid),
                News::Looked(index, looked) => {
                    early.insert(index, looked);
                }
            }
            while let Some(looked) = early.remove(&due) {
                if let Some(pid) = pids.get(due) {
                    hearer.looked(*pid, looked);
                }
                due += 1;
            }
        }
        for thread in threads {
            thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
        }
    });
}
