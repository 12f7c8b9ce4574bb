//! `--method reset` is killed by SIGKILL at any instant: no socket is left in repair (TCP_REPAIR), and its owner goes on as
//! if nothing had been, or finds the connection reset.
//!
//! The instants are spread evenly over the life of its worker in an undisturbed run; for a quarter of the kills over all of
//! the run. Half of the time it is the command that is killed, otherwise the worker; both within the same few microseconds are what the README excepts. A socket in repair stays so
//! until somebody ends that: waiting for its end, after both have ended, hides nothing. `FDCLOSE_TEST_KILLS=10000` for
//! the long form: so many kills.

mod common;

use std::hint;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use common::connection::{CLOSE, ESTABLISHED, TCP_REPAIR_ON};
use common::evidence::{own_children, tcp_info_state};
use common::instants::{instant, kills, spin_until};
use common::{Need, Started, Victim, lacks, start_fdclose_with, sys, wait_until};

/// At a time. Most of a run is then spent on them, one after the other.
const CONNECTIONS: usize = 32;
/// A victim may have 1,024 descriptors, and those that were reset stay.
const MOST: usize = 900;
/// Undisturbed runs that are measured.
const MEASURED: usize = 9;

/// A connection of the victim, and the test's copy of its socket, by which it is judged.
struct Connection {
    client: TcpStream,
    fd: i32,
    copy: OwnedFd,
    reuses_address: i32,
}

impl Connection {
    fn is_in_repair(&self) -> bool {
        sys::int_option(&self.copy, libc::IPPROTO_TCP, libc::TCP_REPAIR) == TCP_REPAIR_ON
    }

    fn has_ended(&self) -> bool {
        tcp_info_state(&self.copy) == CLOSE
    }

    /// Proves that it works in both directions, and is as it was.
    #[track_caller]
    fn assert_unharmed(&mut self, victim: &mut Victim) {
        assert_eq!(tcp_info_state(&self.copy), ESTABLISHED);
        let reuses = sys::int_option(&self.copy, libc::SOL_SOCKET, libc::SO_REUSEADDR);
        assert_eq!(reuses, self.reuses_address, "SO_REUSEADDR");
        self.client.write_all(b"x").expect("it is connected");
        wait_until("what was sent", || victim.ask(&format!("recv {}", self.fd)) == "value=1");
        assert_eq!(victim.ask(&format!("send {}", self.fd)), "value=1");
        self.client.read_exact(&mut [0]).expect("it is connected");
    }
}

struct Patient {
    victim: Victim,
    made: usize,
    connections: Vec<Connection>,
}

impl Patient {
    fn new() -> Self {
        Self { victim: Victim::spawn("ends", &[]), made: 0, connections: Vec::new() }
    }

    /// As many connections as there should be, all of them alive, and a run of fdclose that is to reset them.
    fn start(&mut self) -> Started {
        if self.made + CONNECTIONS > MOST {
            *self = Self::new();
        }
        while self.connections.len() < CONNECTIONS {
            let port: u16 = self.victim.value("port");
            let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the victim listens");
            client.set_read_timeout(Some(common::PATIENCE)).expect("it can be");
            let fd = self.victim.ask_fields("accept")["fd"].parse().expect("a number");
            let copy = sys::copy_of(self.victim.pid(), fd);
            let reuses_address = i32::from(self.made.is_multiple_of(2));
            sys::set_int_option(&copy, libc::SOL_SOCKET, libc::SO_REUSEADDR, reuses_address);
            self.connections.push(Connection { client, fd, copy, reuses_address });
            self.made += 1;
        }
        let fds: Vec<String> = self.connections.iter().map(|connection| connection.fd.to_string()).collect();
        let args = ["--pid", &self.victim.pid_arg(), "--fd", &fds.join(","), "--method", "reset"];
        start_fdclose_with(&args, &[])
    }

    /// Proves that nothing is left behind; how many connections were reset.
    #[track_caller]
    fn examine(&mut self) -> usize {
        let connections = &self.connections;
        wait_until("the end of all repair", || !connections.iter().any(Connection::is_in_repair));
        common::evidence::assert_untraced(self.victim.pid());
        self.connections.retain(|connection| !connection.has_ended());
        for connection in &mut self.connections {
            connection.assert_unharmed(&mut self.victim);
        }
        CONNECTIONS - self.connections.len()
    }

    /// How long an undisturbed run takes, all of it, and as long as its worker is there; and a little more.
    fn lengths(&mut self) -> [Duration; 2] {
        let (mut whole, mut working) = (Vec::new(), Vec::new());
        for _ in 0..MEASURED {
            let mut started = self.start();
            let began = Instant::now();
            let worker = worker_of(&mut started);
            let seen = Instant::now();
            while worker.as_ref().is_some_and(|worker| !worker.has_ended()) {
                hint::spin_loop();
            }
            working.extend(worker.map(|_| seen.elapsed()));
            assert!(!started.ended_by(libc::SIGKILL));
            whole.push(began.elapsed());
            assert_eq!(self.examine(), CONNECTIONS, "nobody killed it");
        }
        [whole, working].map(|mut lengths| {
            lengths.sort_unstable();
            lengths.get(lengths.len() / 2).expect("the worker was seen").mul_f64(1.1)
        })
    }
}

/// The worker, as soon as it is there; `None` if the run ends before it was seen.
fn worker_of(started: &mut Started) -> Option<sys::Pidfd> {
    loop {
        match own_children(started.pid()).first() {
            Some(worker) => return sys::Pidfd::try_open(*worker),
            None if started.is_over() => return None,
            None => {}
        }
    }
}

#[test]
fn no_socket_is_left_in_repair_whenever_it_is_killed() {
    if lacks(&[Need::Root]) {
        return;
    }
    let began = Instant::now();
    let mut patient = Patient::new();
    let ([whole, working], wanted) = (patient.lengths(), kills(100));
    let (mut killed, mut round, mut in_repair, mut outcomes) = ([0, 0], 0_usize, 0, [0, 0, 0]);
    while killed.iter().sum::<usize>() < wanted {
        let mut started = patient.start();
        let worker = if round.is_multiple_of(4) {
            spin_until(Instant::now() + instant(round, wanted, whole));
            None
        } else {
            let worker = worker_of(&mut started);
            spin_until(Instant::now() + instant(round, wanted, working));
            worker
        };
        let is_worker = round % 2 == 1;
        match &worker {
            Some(worker) if is_worker => worker.kill(),
            None if is_worker => {}
            _ => started.kill(),
        }
        in_repair += usize::from(patient.connections.iter().any(Connection::is_in_repair));
        let in_time = if is_worker {
            started.lost_its_worker() && worker.is_some()
        } else {
            started.ended_by(libc::SIGKILL)
        };
        killed[usize::from(is_worker)] += usize::from(in_time);
        let reset = patient.examine();
        if in_time {
            outcomes[if reset == 0 { 0 } else { 1 + reset / CONNECTIONS }] += 1;
        }
        round += 1;
    }
    let [command, worker] = killed;
    let [none, some, all] = outcomes;
    println!(
        "{command} kills of the command and {worker} of its worker in {round} runs of {whole:?}: {none} with no connection \
         reset, {some} with some, {all} with all; {in_repair} times one was in repair right after the kill, and none was \
         left so; no connection harmed; {:?}",
        began.elapsed()
    );
    // How many come in between depends on the machine's load.
    assert!(some > 0 || (none > 0 && all > 0), "no kill came in the middle");
    assert!(patient.victim.end().success());
}
