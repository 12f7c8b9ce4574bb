//! From the processes that were looked into to the matches: which sockets are asked for, and when.

use std::collections::VecDeque;
use std::mem;

use super::look::{Found, look_into};
use super::namespaces::Chosen;
use super::scan::{self, Looked};
use super::tables::Tables;
use super::{Detail, Match, Subject, Survey, SurveyError, bulk};
use crate::ids::Pid;
use crate::proc::Procfs;
use crate::selectors::Selectors;
use crate::watchdog;

/// As [`super::survey()`], with the matches given to `each` one by one, process by process, instead of kept: there may be
/// hundreds of thousands.
///
/// # Errors
/// As [`super::survey()`].
pub fn survey_each(
    procfs: &Procfs,
    selectors: &Selectors,
    detail: Detail,
    each: &mut dyn FnMut(&Subject, Match),
) -> Result<Survey, SurveyError> {
    let survey = Survey { idle_for: selectors.idle_for, ..Survey::default() };
    let mut tables = Tables::new(bulk::Wanted::of(selectors, detail));
    if !selectors.netns.is_empty() {
        tables.chosen = Some(Chosen::ask(procfs, &selectors.netns, &tables.wanted)?);
    }
    let mut collected =
        Collected { procfs, selectors, detail, tables, waiting: VecDeque::new(), survey, each };
    if selectors.pids.is_empty() {
        let mut pids = procfs.pids()?;
        pids.sort_unstable();
        scan::scan(procfs, selectors, detail, &pids, &mut collected);
    } else {
        collected.look_into_named();
    }
    Ok(collected.finish())
}

/// What has been found so far.
struct Collected<'a> {
    procfs: &'a Procfs,
    selectors: &'a Selectors,
    detail: Detail,
    tables: Tables,
    /// While a table of sockets is being read, processes that need it wait for it, and others are looked into.
    waiting: VecDeque<Found>,
    survey: Survey,
    each: &'a mut dyn FnMut(&Subject, Match),
}

impl Collected<'_> {
    fn look_into_named(&mut self) {
        let mut pids = self.selectors.pids.clone();
        pids.sort_unstable();
        pids.dedup();
        for pid in pids {
            let _watched = watchdog::over(pid);
            let looked = self.procfs.open(pid).and_then(|process| {
                let (selectors, detail) = (self.selectors, self.detail);
                look_into(process, selectors, detail, &mut || self.begin(pid))
            });
            match looked {
                Ok(Some(found)) if self.tables.has_begun() => self.waiting.push_back(found),
                Ok(Some(found)) => self.add_all(found),
                Ok(None) => {}
                Err(error) => self.survey.unreadable.push((pid, error)),
            }
        }
    }

    /// Begins to read the sockets where this process is, if they will be needed.
    fn begin(&mut self, pid: Pid) {
        if self.tables.wanted.many
            && let Ok(process) = self.procfs.open_listed(pid)
        {
            self.tables.begin(&process);
        }
    }

    fn add_all(&mut self, mut found: Found) {
        let private = mem::take(&mut found.private);
        self.add(found);
        for found in private {
            self.add(found);
        }
    }

    fn add(&mut self, found: Found) {
        self.survey.add(found, self.selectors, self.detail, &mut self.tables, self.each);
    }

    fn add_waiting(&mut self) {
        while let Some(found) = self.waiting.pop_front() {
            self.add_all(found);
        }
    }

    fn finish(mut self) -> Survey {
        self.tables.finish();
        self.add_waiting();
        let mut survey = self.survey;
        survey.unasked = self.tables.chosen.map(|chosen| chosen.unasked).unwrap_or_default();
        survey.diags = self.tables.diags;
        survey
    }
}

impl scan::Hearer for Collected<'_> {
    fn many(&mut self, pid: Pid) {
        self.begin(pid);
    }

    fn looked(&mut self, pid: Pid, looked: Looked) {
        match looked {
            Ok(Some(found)) => {
                if found.needs_table(self.detail) {
                    self.tables.begin(&found.subject.process);
                }
                self.waiting.push_back(found);
                self.tables.finish_if_read();
                if !self.tables.has_begun() {
                    self.add_waiting();
                }
            }
            Ok(None) => {}
            // Processes end while the host is scanned; that is no news.
            Err(error) if error.is_gone() => {}
            Err(error) => self.survey.unreadable.push((pid, error)),
        }
    }
}
