//! Asking the kernel to end a connection (SOCK_DESTROY, linux/sock_diag.h, Linux 4.5).

use nix::errno::Errno;

use netlink_packet_sock_diag::message::SockDiagDestroy;

use super::channel::Ask;
use super::{Diag, DiagError, inet};
use crate::host::{self, Feature};
use crate::kind::Kind;
use crate::net::row::SocketInfo;

impl Diag {
    /// Ends the connection of `socket`, for all who hold it; its peer gets a RST. Whether it was there.
    ///
    /// The kernel looks for a socket with these ends and compares cookies: no other can be hit.
    ///
    /// # Errors
    /// [`DiagError::Refused`]: EPERM without CAP_NET_ADMIN in its network namespace; EOPNOTSUPP where the kernel was
    /// built without CONFIG_INET_DIAG_DESTROY, and for sockets that have nothing to end; EINVAL below Linux 4.5.
    /// [`DiagError::Malformed`] if `socket` has no cookie or no ends.
    pub fn destroy(&mut self, socket: &SocketInfo) -> Result<bool, DiagError> {
        // What /proc or the socket itself told has no cookie.
        let fresh;
        let socket = if socket.cookie.is_some() {
            socket
        } else {
            let Some(found) = self.with_cookie(socket)? else { return Ok(false) };
            fresh = found;
            &fresh
        };
        let request = inet::exact(socket).ok_or(DiagError::Malformed("a socket without ends"))?;
        if !host::has(Feature::SockDestroy) {
            return Err(DiagError::Refused(Errno::EINVAL));
        }
        match self.channel.request(SockDiagDestroy::new(request), Ask::Do, |_| {}) {
            Ok(_) => Ok(true),
            // ESTALE: another socket has these ends by now.
            Err(DiagError::Refused(Errno::ENOENT | Errno::ESTALE)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn with_cookie(&mut self, socket: &SocketInfo) -> Result<Option<SocketInfo>, DiagError> {
        if socket.kind != Kind::Udp {
            return self.again(socket);
        }
        let mut found = None;
        self.dump_udp(|row| {
            if row.inode == socket.inode {
                found = Some(row);
            }
        })?;
        Ok(found)
    }
}
