//! Reports for the tests of everything that shows them.

use super::*;

fn pid(raw: i32) -> Pid {
    Pid::new(raw).unwrap()
}

fn fd(raw: i32) -> Fd {
    Fd::new(raw).unwrap()
}

pub(crate) fn tcp_target() -> TargetReport {
    TargetReport {
        pid: pid(1234),
        comm: "nginx".into(),
        fd: fd(12),
        inode: Some(Inode(43000)),
        kind: Kind::Tcp,
        name: "socket:[43000]".into(),
        deleted: false,
        state: Some(TcpState::CloseWait),
        local: Some("127.0.0.1:8888".parse().unwrap()),
        peer: Some("127.0.0.1:49416".parse().unwrap()),
        outcome: Outcome::Done,
        fd_freed: true,
        closed_by_process: false,
        connection: ConnectionFate::Ended,
        state_after: None,
        number_by: None,
        waiters: Vec::new(),
        watched_by: Vec::new(),
        holders: Vec::new(),
        kept_by: Vec::new(),
        all_seen: None,
        error: None,
        hint: None,
    }
}

pub(crate) fn file_target() -> TargetReport {
    TargetReport {
        fd: fd(3),
        inode: None,
        kind: Kind::File,
        name: b"/var/log/nginx/\x1b[31mevil\xff.log".to_vec().into(),
        deleted: true,
        state: None,
        local: None,
        peer: None,
        connection: ConnectionFate::NotApplicable,
        ..tcp_target()
    }
}

pub(crate) fn waiter(raw_tid: i32, call: &'static str, end: WaitEnd) -> WaiterReport {
    WaiterReport { tid: Tid::new(raw_tid).unwrap(), call: call.into(), end }
}

pub(crate) fn holder(raw_pid: i32, raw_fd: i32) -> HolderReport {
    HolderReport { pid: pid(raw_pid), tid: None, comm: "worker".into(), fd: fd(raw_fd) }
}

/// A descriptor of nginx that was refused, with the given number.
pub(crate) fn refused_target(number: i32) -> TargetReport {
    TargetReport {
        fd: fd(number),
        outcome: Outcome::Refused,
        fd_freed: false,
        connection: ConnectionFate::Remains,
        error: Some("already traced by strace (777)".to_owned()),
        hint: Some("end that tracer, or wait for it".to_owned()),
        ..tcp_target()
    }
}

pub(crate) fn process() -> ProcessReport {
    ProcessReport {
        pid: pid(1234),
        comm: "nginx".into(),
        threads: 8,
        stops: 1,
        paused_us_max: 143,
        paused_us_total: 143,
        restored: true,
        insured: true,
    }
}

pub(crate) fn list_fd() -> FdReport {
    FdReport {
        pid: pid(1234),
        tid: None,
        comm: "nginx".into(),
        uid: Some(33),
        fd: fd(12),
        inode: Some(Inode(43000)),
        kind: Kind::Tcp,
        name: FileName::Socket(Inode(43000)),
        unix_name: None,
        deleted: false,
        state: Some(TcpState::CloseWait),
        local: Some("127.0.0.1:8888".parse().unwrap()),
        peer: Some("127.0.0.1:49416".parse().unwrap()),
        recv_q: Some(1),
        send_q: Some(0),
        idle_ms: Some(7_200_000),
        netns: Some(4_026_531_840),
        watched_by: vec![fd(5)],
    }
}

pub(crate) fn list_report(fds: Vec<FdReport>) -> ListReport {
    let busy = ProcessUse {
        pid: pid(1234),
        tid: None,
        comm: "nginx".into(),
        listed: 2044,
        watched: 40,
        tcp: 2042,
        states: [(TcpState::Established, 41), (TcpState::CloseWait, 2000), (TcpState::Listen, 1)].into(),
        idle_ms_max: Some(7_200_000),
        descriptors: Some(60_210),
        descriptors_limit: Some(65_536),
        runs_out_in_s: Some(4_500),
    };
    let calm = ProcessUse {
        pid: pid(4_194_304),
        tid: None,
        comm: b"tmux: \x1b]0;x\x07srv".to_vec().into(),
        listed: 1,
        watched: 0,
        tcp: 0,
        states: [].into(),
        idle_ms_max: None,
        descriptors: Some(12),
        descriptors_limit: None,
        runs_out_in_s: None,
    };
    let memory = TcpMemoryReport {
        used_pages: 391_004,
        min_pages: Some(287_901),
        pressure_pages: Some(383_868),
        max_pages: Some(575_802),
        state: Some("pressure"),
        orphans: 3,
        time_wait: 719,
    };
    ListReport::new(fds.into_iter().collect(), vec![busy, calm], Some(memory))
}

/// One of everything that is awkward to show.
pub(crate) fn list_awkward() -> Vec<FdReport> {
    let v4 = FdReport {
        pid: pid(4_194_304),
        comm: b"tmux: \x1b]0;x\x07srv".to_vec().into(),
        fd: fd(1_048_575),
        inode: Some(Inode(4_294_967_295)),
        state: Some(TcpState::Established),
        local: Some("192.168.100.100:50000".parse().unwrap()),
        peer: Some("192.168.100.101:50000".parse().unwrap()),
        idle_ms: Some(90_061_000),
        ..list_fd()
    };
    let v6 = FdReport {
        fd: fd(13),
        local: Some("[2001:db8:85a3:1111:2222:8a2e:370:7334]:65535".parse().unwrap()),
        peer: Some("[2001:db8:85a3:1111:2222:8a2e:370:7335]:65535".parse().unwrap()),
        recv_q: Some(4_294_967_295),
        ..list_fd()
    };
    let listen = FdReport {
        fd: fd(6),
        state: Some(TcpState::Listen),
        local: Some("[::]:80".parse().unwrap()),
        peer: None,
        idle_ms: None,
        ..list_fd()
    };
    let file = FdReport {
        fd: fd(3),
        inode: None,
        kind: Kind::File,
        name: b"/srv/a/very/long/path/that/goes/on/and/on/for/ever/\xe2\x80\xaeevil\xff\n/access.log"
            .to_vec()
            .into(),
        deleted: true,
        state: None,
        local: None,
        peer: None,
        recv_q: None,
        send_q: None,
        idle_ms: None,
        ..list_fd()
    };
    let eventfd = FdReport {
        fd: fd(4),
        kind: Kind::Eventfd,
        name: "anon_inode:[eventfd]".into(),
        deleted: false,
        ..file.clone()
    };
    vec![list_fd(), v4, v6, listen, file, eventfd]
}
