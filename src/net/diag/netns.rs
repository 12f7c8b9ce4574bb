//! Asking about another network namespace (network_namespaces(7)).

use super::{Diag, DiagError};
use crate::ids::Tid;
use crate::net::error::NetError;
use crate::net::namespace::Namespace;
use crate::net::stack::Stack;
use crate::proc::Process;

impl Diag {
    /// Opens one on the network namespace of a thread. One that is not fdclose's own must be entered for it,
    /// which needs CAP_SYS_ADMIN there and here (setns(2)).
    ///
    /// # Errors
    /// [`NetError::Proc`] if the thread is gone or may not be looked into; [`NetError::Diag`] with EPERM if its
    /// namespace may not be entered, otherwise as [`Diag::open`].
    pub fn of_thread(process: &Process, tid: Tid) -> Result<Self, NetError> {
        Self::open_in(&Stack::of_thread(process, tid)?)
    }

    /// Opens one on `namespace`; `own` is the number of fdclose's own, as far as is known.
    ///
    /// # Errors
    /// [`DiagError::Refused`] with EPERM if it may not be entered, with EINVAL if it is none for networks, otherwise as
    /// [`Diag::open`].
    pub fn of_namespace(namespace: &Namespace, own: Option<u64>) -> Result<Self, DiagError> {
        Stack::of_namespace(namespace, own)?.enter(Self::open)?
    }

    /// As [`Diag::of_thread`], of [`Process::living_thread`], whose network namespace has the number `netns` as far
    /// as is known. If that is fdclose's own, it works also when the process has ended.
    ///
    /// # Errors
    /// As [`Diag::of_thread`].
    pub fn of_process(process: &Process, netns: Option<u64>) -> Result<Self, NetError> {
        Self::open_in(&Stack::of_process(process, netns)?)
    }

    /// Opens one on the network namespace that `stack` is.
    ///
    /// # Errors
    /// [`NetError::Diag`] with EPERM if it may not be entered, otherwise as [`Diag::open`].
    pub fn open_in(stack: &Stack) -> Result<Self, NetError> {
        Ok(stack.enter(Self::open).map_err(DiagError::from)??)
    }
}
