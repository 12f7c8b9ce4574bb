use super::*;
use proptest::prelude::*;

/// A web server's worker under 6.x, in a container two pid namespaces down.
const NEW: &[u8] = b"Name:\tnginx\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t1234\nNgid:\t0\nPid:\t1234\n\
PPid:\t1200\nTracerPid:\t0\nUid:\t1000\t33\t33\t33\nGid:\t33\t33\t33\t33\nFDSize:\t64\nGroups:\t33 \n\
NStgid:\t1234\t12\t7\nNSpid:\t1234\t12\t7\nNSpgid:\t1200\t10\t1\nKthread:\t0\nVmPeak:\t   10692 kB\n\
Threads:\t8\nSigQ:\t3/96365\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000004000\n\
SigBlk:\t0000000000000001\nSigIgn:\t0000000040001000\nSigCgt:\t8000000198016a07\n\
CapInh:\t0000000000000000\nCapPrm:\t000001ffffffffff\nCapEff:\t000001ffffffffff\nCapAmb:\t0\n\
NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\nCpus_allowed:\t3\n";

/// The same on 3.10: no NSpid, NoNewPrivs or Kthread; built without seccomp.
const OLD: &[u8] = b"Name:\tbash\nState:\tT (stopped)\nTgid:\t77\nPid:\t77\nPPid:\t0\nTracerPid:\t99\n\
Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nFDSize:\t256\nGroups:\t0 \nVmPeak:\t   14012 kB\nThreads:\t1\n\
SigQ:\t0/7866\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\nSigBlk:\t0000000000010000\n\
SigIgn:\t0000000000384004\nSigCgt:\t000000004b813efb\nCapInh:\t0000000000000000\n\
CapPrm:\t0000001fffffffff\nCapEff:\t0000001fffffffff\nCapBnd:\t0000001fffffffff\nCpus_allowed:\t1\n";

fn pid(raw: i32) -> Pid {
    Pid::new(raw).unwrap()
}

#[test]
fn reads_a_new_kernel() {
    let status = Status::parse(NEW).unwrap();
    assert_eq!(status.name, b"nginx");
    assert_eq!((status.state, status.tgid, status.ppid), ('S', pid(1234), Some(pid(1200))));
    assert_eq!(status.tracer_pid, None);
    assert_eq!(status.uid, Uids { real: 1000, effective: 33, saved: 33, filesystem: 33 });
    assert_eq!(status.threads, 8);
    assert_eq!(status.ns_pid, Some(vec![pid(1234), pid(12), pid(7)]));
    assert_eq!(status.sigq, Some((3, 96365)));
    assert_eq!(status.signals.shared_pending, 0x4000);
    assert_eq!(status.signals.blocked, 1);
    assert_eq!(status.signals.caught, 0x8000_0001_9801_6a07);
    assert_eq!(status.cap_eff, 0x01ff_ffff_ffff);
    assert_eq!(status.no_new_privs, Some(true));
    assert_eq!(status.seccomp, Some(Seccomp::Filter));
    assert_eq!(status.kthread, Some(false));
    assert!(!status.is_dead());
}

#[test]
fn reads_an_old_kernel() {
    let status = Status::parse(OLD).unwrap();
    assert_eq!((status.state, status.ppid, status.tracer_pid), ('T', None, Tid::new(99)));
    assert_eq!((status.ns_pid, status.no_new_privs, status.seccomp), (None, None, None));
    assert_eq!(status.kthread, None);
}

/// `text` with the line of `key` replaced, or dropped if there is nothing to put there.
fn with(text: &[u8], key: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines(text) {
        let same = split_once(line, b':').is_some_and(|(name, _)| name == key);
        match (same, value) {
            (true, None) => {}
            (true, Some(value)) => out.extend_from_slice(&[key, b":\t", value, b"\n"].concat()),
            (false, _) => out.extend_from_slice(&[line, b"\n"].concat()),
        }
    }
    out
}

#[test]
fn names_are_bytes() {
    let name = |text: &[u8]| Status::parse(&with(NEW, b"Name", Some(text))).unwrap().name;
    assert_eq!(name(b"a\\nTgid:\\t1"), b"a\nTgid:\\t1");
    assert_eq!(name(b"\\\\n"), b"\\n");
    assert_eq!(name(b"\xff\x1b[2J\\"), b"\xff\x1b[2J\\");
    assert_eq!(name(b"a:b: c"), b"a:b: c");
    assert_eq!(name(b" \tx "), b" \tx ");
    assert_eq!(name(b""), b"");
}

#[test]
fn a_missing_or_broken_line_is_named() {
    for key in [&b"Name"[..], b"State", b"Tgid", b"PPid", b"TracerPid", b"Uid", b"Threads", b"CapEff"] {
        let error = Status::parse(&with(NEW, key, None)).unwrap_err();
        assert!(error.0.contains(std::str::from_utf8(key).unwrap()), "{error}");
    }
    for (key, value) in [
        ("State", "(sleeping)"),
        ("Tgid", "0"),
        ("Tgid", "99999999999"),
        ("PPid", "-1"),
        ("Uid", "0 0 0"),
        ("Uid", "0 0 0 4294967296"),
        ("NSpid", "1 x"),
        ("SigQ", "3"),
        ("SigBlk", "xyz"),
        ("NoNewPrivs", "2"),
        ("Seccomp", "4"),
        ("Kthread", ""),
    ] {
        let error = Status::parse(&with(NEW, key.as_bytes(), Some(value.as_bytes())));
        assert_eq!(error, Err(Malformed(key)), "{value}");
    }
    assert_eq!(Status::parse(b""), Err(Malformed("no Name line")));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _parsed_or_refused = Status::parse(&bytes);
    }

    #[test]
    fn any_change_to_a_real_text_is_survived(at in 0..NEW.len(), byte in any::<u8>()) {
        let mut text = NEW.to_vec();
        text[at] = byte;
        let _parsed_or_refused = Status::parse(&text);
    }

    /// Escaped as the kernel does it, any name comes back.
    #[test]
    fn names_read_back(name in prop::collection::vec(1u8.., 1..16)) {
        let escaped: Vec<u8> = name.iter().flat_map(|byte| match byte {
            b'\n' => b"\\n".to_vec(),
            b'\\' => b"\\\\".to_vec(),
            other => vec![*other],
        }).collect();
        prop_assert_eq!(Status::parse(&with(NEW, b"Name", Some(&escaped))).unwrap().name, name);
    }
}
