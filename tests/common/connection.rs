//! A connection of a victim that is reset, judged through a copy of its descriptor.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;

use serde_json::json;

use super::{Run, Victim, fdclose, fdclose_without, outcome, sys, wait_until};

/// `linux/tcp.h`
pub(crate) const TCP_REPAIR_ON: i32 = 1;
pub(crate) const TCP_REPAIR_OFF_NO_WP: i32 = -1;
pub(crate) const TCP_RECV_QUEUE: i32 = 1;
/// `include/net/tcp_states.h`
pub(crate) const ESTABLISHED: u8 = 1;
pub(crate) const CLOSE: u8 = 7;

/// A connection of a victim, and what the test needs to judge it.
pub(crate) struct Connection {
    pub(crate) victim: Victim,
    pub(crate) client: TcpStream,
    pub(crate) fd: i32,
    pub(crate) copy: OwnedFd,
}

impl Connection {
    #[track_caller]
    pub(crate) fn new(v6: bool) -> Self {
        let victim = Victim::spawn("ends", if v6 { &["--v6"] } else { &[] });
        let port = victim.value("port");
        let address = if v6 {
            SocketAddr::from((Ipv6Addr::LOCALHOST, port))
        } else {
            SocketAddr::from((Ipv4Addr::LOCALHOST, port))
        };
        let client = TcpStream::connect(address).expect("the victim listens");
        Self::of(victim, client)
    }

    #[track_caller]
    pub(crate) fn of(mut victim: Victim, client: TcpStream) -> Self {
        let fd = victim.ask_fields("accept")["fd"].parse().expect("a number");
        let copy = sys::copy_of(victim.pid(), fd);
        Self { victim, client, fd, copy }
    }

    pub(crate) fn args<'a>(&self, more: &[&'a str], texts: &'a mut Vec<String>) -> Vec<&'a str> {
        *texts = vec![self.victim.pid_arg(), self.fd.to_string()];
        let [pid, fd] = &texts[..] else { unreachable!() };
        [&["--pid", pid, "--fd", fd, "--method", "reset", "--json"], more].concat()
    }

    pub(crate) fn reset(&self, more: &[&str]) -> Run {
        fdclose(&self.args(more, &mut Vec::new()))
    }

    /// Without what TCP_REPAIR takes.
    pub(crate) fn reset_without_repair(&self, more: &[&str]) -> Run {
        fdclose_without("net_admin", &self.args(more, &mut Vec::new()))
    }

    pub(crate) fn state(&self) -> u8 {
        super::evidence::tcp_info_state(&self.copy)
    }

    pub(crate) fn is_in_repair(&self) -> bool {
        sys::int_option(&self.copy, libc::IPPROTO_TCP, libc::TCP_REPAIR) == TCP_REPAIR_ON
    }

    /// What the socket expects next, by the test's own repair.
    pub(crate) fn expected_next(&self) -> u32 {
        let tcp = libc::IPPROTO_TCP;
        sys::set_int_option(&self.copy, tcp, libc::TCP_REPAIR, TCP_REPAIR_ON);
        sys::set_int_option(&self.copy, tcp, libc::TCP_REPAIR_QUEUE, TCP_RECV_QUEUE);
        let next = sys::int_option(&self.copy, tcp, libc::TCP_QUEUE_SEQ).cast_unsigned();
        sys::set_int_option(&self.copy, tcp, libc::TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
        next
    }

    #[track_caller]
    pub(crate) fn assert_reset(&self, run: Run, by: &str) {
        let document = run.exits(0).json();
        let target = outcome(&document, self.fd);
        assert_eq!((&target["outcome"], &target["number_by"]), (&json!("done"), &json!(by)), "{target:#}");
        assert_eq!(
            (&target["connection"], &target["fd_freed"]),
            (&json!("ended"), &json!(false)),
            "{target:#}"
        );
        assert_eq!(document["processes"], json!([]), "nobody was stopped");
        assert_eq!(self.state(), CLOSE);
        assert!(!self.is_in_repair());
    }

    /// Proves that it works in both directions.
    #[track_caller]
    pub(crate) fn assert_alive(&mut self) {
        assert_eq!(self.state(), ESTABLISHED);
        self.client.write_all(b"x").expect("it is connected");
        wait_until("what was sent", || self.victim.ask(&format!("recv {}", self.fd)) == "value=1");
        assert_eq!(self.victim.ask(&format!("send {}", self.fd)), "value=1");
        self.client.set_read_timeout(Some(super::PATIENCE)).expect("it can be");
        self.client.read_exact(&mut [0]).expect("it is connected");
    }
}
