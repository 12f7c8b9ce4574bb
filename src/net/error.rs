//! Why sockets could not be read.

use super::diag::DiagError;
use crate::proc::ProcError;

/// Why sockets could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// `/proc` would not tell.
    #[error(transparent)]
    Proc(#[from] ProcError),
    /// The kernel would not tell.
    #[error(transparent)]
    Diag(#[from] DiagError),
}
