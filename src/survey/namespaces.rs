//! Sockets of chosen network namespaces, whoever holds them: each namespace is asked once.

use std::path::Path;

use nix::errno::Errno;

use super::bulk::Wanted;
use super::tables::TableSet;
use crate::ids::{Inode, Pid};
use crate::net::{Diag, DiagError, Namespace, Protocols, SocketInfo, SocketTable};
use crate::proc::{ProcError, Procfs};
use crate::selectors::NetnsChoice;

/// A namespace that was named can't be asked.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The process is not there, or may not be looked into.
    #[error("can't tell the network namespace of process {pid}: {source}")]
    Process {
        /// The process.
        pid: Pid,
        /// Why.
        source: ProcError,
    },
    /// The path can't be opened.
    #[error("can't open {}: {}", path.display(), source.desc())]
    Path {
        /// As it was given.
        path: Box<Path>,
        /// Why.
        source: Errno,
    },
    /// The path is something else.
    #[error("{} is no network namespace", path.display())]
    NoNamespace {
        /// As it was given.
        path: Box<Path>,
    },
    /// It can't be entered, or has no sock_diag(7).
    #[error("can't ask network namespace {number} for its sockets: {source}")]
    Unasked {
        /// Its number.
        number: u64,
        /// Why.
        source: DiagError,
    },
}

/// The chosen namespaces and their sockets.
#[derive(Debug)]
pub(super) struct Chosen {
    all: Vec<(u64, (Diag, TableSet))>,
    /// Those that could not be asked, where all were chosen.
    pub(super) unasked: Vec<NetnsError>,
}

impl Chosen {
    /// Asks each of `choices` for its TCP sockets. Where all namespaces are meant, one that can't be asked is left out.
    pub(super) fn ask(
        procfs: &Procfs,
        choices: &[NetnsChoice],
        wanted: &Wanted,
    ) -> Result<Self, super::SurveyError> {
        let (all, unasked) = each(procfs, choices, |mut diag| {
            let tcp = wanted.ask(&mut diag)?;
            Ok((diag, TableSet { tcp: Some(tcp), rest: None }))
        })?;
        Ok(Self { all, unasked })
    }

    /// Also asks for the other sockets, if `inode` is none of TCP.
    pub(super) fn complete_for(&mut self, inode: Inode) {
        if self.all.iter().all(|(_, (_, set))| set.rest.is_some()) || self.get(inode, None).is_some() {
            return;
        }
        let others = Protocols { tcp: false, ..Protocols::ALL };
        for (_, (diag, set)) in self.all.iter_mut().filter(|(_, (_, set))| set.rest.is_none()) {
            // A kernel that lacks the part for one protocol has those of the others.
            set.rest = Some(SocketTable::ask_for(diag, others));
        }
    }

    /// The socket `inode`, and the number of its namespace: most often `near`.
    pub(super) fn get(&self, inode: Inode, near: Option<u64>) -> Option<(u64, SocketInfo)> {
        let nearest = self.all.iter().find(|(number, ..)| near == Some(*number));
        nearest.into_iter().chain(&self.all).find_map(|(number, (_, set))| Some((*number, set.get(inode)?)))
    }
}

fn of_process(procfs: &Procfs, pid: Pid) -> Result<Namespace, NetnsError> {
    procfs
        .open(pid)
        .and_then(|process| Namespace::of_process(&process))
        .map_err(|source| NetnsError::Process { pid, source })
}

fn at(path: &Path) -> Result<Namespace, NetnsError> {
    match Namespace::at(path) {
        Ok(Some(namespace)) => Ok(namespace),
        Ok(None) => Err(NetnsError::NoNamespace { path: path.into() }),
        Err(error) => Err(NetnsError::Path {
            path: path.into(),
            source: error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
        }),
    }
}

/// A namespace of another sort is told by entering it alone.
fn not_of_a_network(choice: &NetnsChoice, error: NetnsError) -> NetnsError {
    match (choice, error) {
        (NetnsChoice::Path(path), NetnsError::Unasked { source: DiagError::Refused(Errno::EINVAL), .. }) => {
            NetnsError::NoNamespace { path: path.as_path().into() }
        }
        (_, error) => error,
    }
}

/// What each of the chosen namespaces answered, and those that could not be asked where all are meant.
type Answers<T> = (Vec<(u64, T)>, Vec<NetnsError>);

/// Asks each of `choices`, once. Where all namespaces are meant, one that can't be asked is left out.
pub(super) fn each<T>(
    procfs: &Procfs,
    choices: &[NetnsChoice],
    mut ask: impl FnMut(Diag) -> Result<T, DiagError>,
) -> Result<Answers<T>, super::SurveyError> {
    let (mut answers, mut unasked): Answers<T> = (Vec::new(), Vec::new());
    let own = procfs.own_netns().ok();
    for choice in choices {
        let (namespaces, all) = match choice {
            NetnsChoice::All => (Namespace::all(procfs)?, true),
            NetnsChoice::Process(pid) => (vec![of_process(procfs, *pid)?], false),
            NetnsChoice::Path(path) => (vec![at(path)?], false),
        };
        for namespace in namespaces {
            let number = namespace.number();
            if answers.iter().any(|(other, _)| *other == number) {
                continue;
            }
            let answer = Diag::of_namespace(&namespace, own).and_then(&mut ask);
            match answer.map_err(|source| NetnsError::Unasked { number, source }) {
                Ok(answer) => answers.push((number, answer)),
                Err(error) if all => unasked.push(error),
                Err(error) => return Err(not_of_a_network(choice, error).into()),
            }
        }
    }
    Ok((answers, unasked))
}
