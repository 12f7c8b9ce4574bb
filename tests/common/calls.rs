//! What the C library's calls are to the kernel.

/// The calls behind poll(3) and epoll_wait(2): newer architectures have only those that take a mask.
pub(crate) const POLL: &str = if cfg!(target_arch = "x86_64") { "poll" } else { "ppoll" };
pub(crate) const EPOLL_WAIT: &str = if cfg!(target_arch = "x86_64") { "epoll_wait" } else { "epoll_pwait" };
