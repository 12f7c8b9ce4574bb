//! What a program is made of, by what is mapped into it: pure.

use crate::proc::Mapping;

/// What runs a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Runtime {
    pub(super) name: &'static str,
    /// What it means there to close a descriptor that is still in use.
    pub(super) risk: &'static str,
}

const GO: Runtime = Runtime {
    name: "go",
    risk: "a net.Conn or os.File that still has the number gets EBADF from then on, and closes whatever has that number \
           when it is closed or collected itself",
};
const JVM: Runtime = Runtime {
    name: "jvm",
    risk: "a channel, socket or stream that still has the number goes on with whatever gets it next, and closes that \
           when it is closed or collected itself",
};
const NODE: Runtime = Runtime {
    name: "node",
    risk: "libuv keeps its state by number: a new connection that gets the number of one closed behind its back may be \
           ignored, or be mistaken for the old one",
};
const PYTHON: Runtime = Runtime {
    name: "python",
    risk: "a socket or file object that still has the number closes whatever has it when it is closed or collected \
           itself",
};

/// The note that Go's linker puts at the beginning of a program: its name's length, that of the build id, type 4, and
/// `Go` (cmd/link/internal/ld, `elfgobuildid`).
const GO_NOTE_HEAD: [u8; 4] = [4, 0, 0, 0];
const GO_NOTE_REST: [u8; 8] = [4, 0, 0, 0, b'G', b'o', 0, 0];

/// What runs the program `exe` with these mappings, which begins with `begin`.
pub(super) fn of(exe: &[u8], maps: &[Mapping], begin: &[u8]) -> Option<Runtime> {
    let has = |library: &[u8]| maps.iter().any(|map| file_name(&map.name).starts_with(library));
    let program = file_name(exe);
    if has(b"libjvm.so") {
        Some(JVM)
    } else if matches!(program, b"node" | b"nodejs") || has(b"libnode.so") || has(b"libuv.so") {
        Some(NODE)
    } else if program.starts_with(b"python") || has(b"libpython") {
        Some(PYTHON)
    } else if has_go_note(begin) {
        Some(GO)
    } else {
        None
    }
}

fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

fn has_go_note(begin: &[u8]) -> bool {
    begin.windows(16).any(|note| note[..4] == GO_NOTE_HEAD && note[8..] == GO_NOTE_REST)
}

/// What an ELF program is made for (elf(5)); `None` if it is none, or for something else.
pub(super) fn architecture(begin: &[u8]) -> Option<&'static str> {
    let (magic, rest) = begin.split_first_chunk::<4>()?;
    let machine = u16::from_le_bytes([*begin.get(18)?, *begin.get(19)?]);
    match (magic, rest.first()?, machine) {
        (b"\x7fELF", 2, 62) => Some("x86_64"),
        (b"\x7fELF", 1, 62) => Some("x32"),
        (b"\x7fELF", 1, 3) => Some("i386"),
        (b"\x7fELF", 2, 183) => Some("aarch64"),
        (b"\x7fELF", 1, 40) => Some("arm"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(names: &[&str]) -> Vec<Mapping> {
        let line = |name: &&str| format!("7f0000000000-7f0000001000 r-xp 00000000 08:01 7 {name}\n");
        Mapping::parse_all(names.iter().map(line).collect::<Vec<_>>().concat().as_bytes()).unwrap()
    }

    #[test]
    fn what_is_mapped_tells() {
        let name = |exe: &str, names: &[&str], begin: &[u8]| {
            of(exe.as_bytes(), &maps(names), begin).map(|it| it.name)
        };
        assert_eq!(name("/usr/bin/java", &["/opt/jdk/lib/server/libjvm.so"], b""), Some("jvm"));
        assert_eq!(name("/usr/bin/node", &["/usr/bin/node"], b""), Some("node"));
        assert_eq!(name("/usr/bin/x", &["/usr/lib/libnode.so.108"], b""), Some("node"));
        assert_eq!(name("/usr/bin/python3.11", &[], b""), Some("python"));
        assert_eq!(name("/usr/sbin/nginx", &["/usr/lib/libc.so.6"], b"\x7fELF"), None);
        let note = b"....\x04\0\0\0\x53\0\0\0\x04\0\0\0Go\0\0id";
        assert_eq!(name("/srv/server", &[], note), Some("go"));
        assert_eq!(name("/srv/server", &[], &note[..19]), None);
    }

    #[test]
    fn headers() {
        let header = |class: u8, machine: u8| {
            let mut header = b"\x7fELF".to_vec();
            header.resize(64, 0);
            (header[4], header[18]) = (class, machine);
            header
        };
        assert_eq!(architecture(&header(2, 62)), Some("x86_64"));
        assert_eq!(architecture(&header(1, 3)), Some("i386"));
        assert_eq!(architecture(&header(2, 3)), None);
        for broken in [&b""[..], b"\x7fELF", b"\x7fELF\x02", &[0; 64]] {
            assert_eq!(architecture(broken), None);
        }
    }
}
