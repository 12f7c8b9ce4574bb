//! The traffic class of sockets by control group (`net_cls` and `net_prio`, version 1), which a copy would change.
//!
//! Whoever receives a socket, also by pidfd_getfd(2), puts it into the class of its own group (`__receive_sock`,
//! net/core/scm.c), where it stays: connections that are only looked at would lose their rules of tc(8). In version 2 the
//! group that has made a socket is the one it belongs to.
//!
//! Container runtimes give each container groups of its own, mostly of one class: so what the groups say is compared, too.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::procfs::process::MountInfo;

use crate::ids::Tid;
use crate::proc::Process;
use crate::proc::text::lines;

/// fdclose's own groups are read again after this time: a hierarchy may be mounted, or fdclose be moved, while it watches.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// What was read last of fdclose's own, and when.
static OWN: Mutex<Option<(Instant, Own)>> = Mutex::new(None);

/// The controllers that give sockets a class, each with the file that says which.
const CONTROLLERS: [(&str, &str); 2] = [("net_cls", "net_cls.classid"), (NET_PRIO, "net_prio.ifpriomap")];
const NET_PRIO: &str = "net_prio";

/// The lines of a `/proc/PID/cgroup` for these controllers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Groups(Vec<Vec<u8>>);

/// Those of fdclose, and where their hierarchies are mounted. These are only looked for where they are needed.
#[derive(Debug)]
struct Own {
    groups: Groups,
    mounts: Option<Vec<Mount>>,
}

/// A hierarchy that is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    controller: &'static str,
    /// The file of a group that says what class it gives.
    file: &'static str,
    /// The group that is seen at the mount point.
    root: PathBuf,
    point: PathBuf,
}

impl Groups {
    /// Reads `5:net_cls,net_prio:/a/group`, a line for each hierarchy.
    fn parse(text: &[u8]) -> Self {
        let gives_class = |line: &&[u8]| CONTROLLERS.iter().any(|(name, _)| has(line, name));
        Self(lines(text).filter(gives_class).map(<[u8]>::to_vec).collect())
    }

    /// Whether there is no such hierarchy.
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The group of `controller`. `None` where it has no hierarchy of version 1.
    fn of(&self, controller: &str) -> Option<&Path> {
        let line = self.0.iter().find(|line| has(line, controller))?;
        line.splitn(3, |byte| *byte == b':').nth(2).map(|path| Path::new(OsStr::from_bytes(path)))
    }
}

/// Whether a line is of a hierarchy with this controller. One with a name alone has `name=` there.
fn has(line: &[u8], controller: &str) -> bool {
    let controllers = line.split(|byte| *byte == b':').nth(1).unwrap_or_default();
    controllers.split(|byte| *byte == b',').any(|name| name == controller.as_bytes())
}

impl Own {
    /// Does `ask` with them; `None` if they can't be read.
    fn with<T>(ask: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
        if own.as_ref().is_none_or(|(read, _)| read.elapsed() >= READ_AGAIN) {
            let groups = match fs::read("/proc/self/cgroup") {
                Ok(text) => Groups::parse(&text),
                // A kernel without control groups.
                Err(error) if error.kind() == ErrorKind::NotFound => Groups(Vec::new()),
                Err(_) => return None,
            };
            *own = Some((Instant::now(), Self { groups, mounts: None }));
        }
        own.as_mut().map(|(_, own)| ask(own))
    }

    /// Whether sockets have the same class in `theirs`, by what the groups say.
    fn is_of_class(&mut self, theirs: &Groups) -> bool {
        let mounts = self.mounts.get_or_insert_with(mounts);
        CONTROLLERS.iter().all(|(controller, _)| match (self.groups.of(controller), theirs.of(controller)) {
            (None, None) => true,
            (Some(own), Some(theirs)) if own == theirs => true,
            (Some(own), Some(theirs)) => {
                // A socket keeps the number of its group of net_prio, which another group may get one day: only that of
                // the root stays.
                let may_change = *controller == NET_PRIO && !is_root(own);
                !may_change
                    && mounts.iter().filter(|mount| mount.controller == *controller).any(|mount| {
                        mount.class_in(own).is_some_and(|class| mount.class_in(theirs) == Some(class))
                    })
            }
            _ => false,
        })
    }
}

fn is_root(group: &Path) -> bool {
    group == Path::new("/")
}

impl Mount {
    /// Those in a line of `/proc/self/mountinfo`.
    fn of_line(line: &str) -> Vec<Self> {
        let Ok(info) = MountInfo::from_line(line) else { return Vec::new() };
        if info.fs_type != "cgroup" {
            return Vec::new();
        }
        let here = CONTROLLERS.iter().filter(|(controller, _)| info.super_options.contains_key(*controller));
        here.map(|(controller, file)| Self {
            controller,
            file,
            root: PathBuf::from(&info.root),
            point: info.mount_point.clone(),
        })
        .collect()
    }

    /// What `group` says; `None` if it is not seen here.
    fn class_in(&self, group: &Path) -> Option<Vec<u8>> {
        let below = group.strip_prefix(&self.root).ok()?;
        // Outside of fdclose's namespace of groups, and so of the mount.
        if below.components().any(|part| part == Component::ParentDir) {
            return None;
        }
        fs::read(self.point.join(below).join(self.file)).ok()
    }
}

/// Where the hierarchies are mounted; none if that can't be read.
fn mounts() -> Vec<Mount> {
    let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
    lines(&text).filter_map(|line| std::str::from_utf8(line).ok()).flat_map(Mount::of_line).collect()
}

/// Whether a copy of a socket of the thread `tid` would be in another class than that is. What can't be read is taken to
/// be.
pub(super) fn would_change(process: &Process, tid: Tid) -> bool {
    let same = Own::with(|own| {
        own.groups.is_empty()
            || process.cgroup(tid).is_ok_and(|text| {
                let theirs = Groups::parse(&text);
                theirs == own.groups || own.is_of_class(&theirs)
            })
    });
    same != Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_lines_of_these_controllers_count() {
        let text =
            b"9:name=net_cls:/\n6:net_cls,net_prio:/a:b\n5:freezer:/net_cls\n3:net_prio:/\n0::/net_prio\n";
        let lines = [&b"6:net_cls,net_prio:/a:b"[..], b"3:net_prio:/"];
        assert_eq!(Groups::parse(text), Groups(lines.map(<[u8]>::to_vec).to_vec()));
        for none in [&b""[..], b"\n", b"0::/\n", b"net_cls", b"1:net_clsx:/", b"1:cpu", b"::::\n:"] {
            assert!(Groups::parse(none).is_empty(), "{none:?}");
        }
        assert_ne!(Groups::parse(b"6:net_cls:/a\n"), Groups::parse(b"6:net_cls:/b\n"));
        assert_eq!(Groups::parse(b"6:net_cls:/a\n5:cpu:/x"), Groups::parse(b"6:net_cls:/a\n5:cpu:/y"));
    }

    #[test]
    fn mounts_are_known_by_their_controllers() {
        let line = "36 32 0:31 /docker/x /sys/fs/cgroup/net_cls,net_prio rw,nosuid shared:12 - cgroup cgroup rw,net_cls,net_prio";
        let [classes, priorities] = Mount::of_line(line).try_into().unwrap();
        assert_eq!((classes.controller, classes.file), ("net_cls", "net_cls.classid"));
        assert_eq!((priorities.controller, priorities.file), ("net_prio", "net_prio.ifpriomap"));
        assert_eq!((&classes.root, &classes.point), (&priorities.root, &priorities.point));
        for other in [
            "",
            "36 32 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu",
            "36 32 0:31 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,net_cls",
            "36 32 0:31 / /x rw - tmpfs net_cls rw",
        ] {
            assert_eq!(Mount::of_line(other), [], "{other}");
        }
    }

    #[test]
    fn groups_are_compared_by_what_they_say() {
        let tree = tempfile::tempdir().unwrap();
        let class = |group: &str, file: &str, class: &str| {
            let dir = tree.path().join(group);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(file), class).unwrap();
        };
        for (group, of) in [("", "0\n"), ("a", "0\n"), ("b", "1048577\n")] {
            class(group, "net_cls.classid", of);
            class(group, "net_prio.ifpriomap", "lo 0\n");
        }
        let mounts = |root: &str| {
            let mount =
                |(controller, file)| Mount { controller, file, root: root.into(), point: tree.path().into() };
            Some(CONTROLLERS.map(mount).to_vec())
        };
        let groups =
            |controllers: &str, group: &str| Groups::parse(format!("4:{controllers}:{group}\n").as_bytes());
        let same = |root: &str, controllers: &str, own: &str, theirs: &str| {
            let mut own = Own { groups: groups(controllers, own), mounts: mounts(root) };
            own.is_of_class(&groups(controllers, theirs))
        };
        assert!(same("/", "net_cls", "/", "/a") && same("/", "net_cls", "/a", "/"));
        assert!(!same("/", "net_cls", "/", "/b") && !same("/", "net_cls", "/b", "/a"));
        assert!(same("/", "net_cls,net_prio", "/", "/a"));
        assert!(!same("/", "net_cls,net_prio", "/a", "/"), "the number of a group");
        // A part of the hierarchy, and a namespace of groups.
        assert!(same("/docker", "net_cls", "/docker", "/docker/a"));
        for unseen in ["/other", "/docker/../a", "/docker/gone", "/.."] {
            assert!(!same("/docker", "net_cls", "/docker", unseen), "{unseen}");
        }
        let mut without = Own { groups: groups("net_cls", "/"), mounts: Some(Vec::new()) };
        assert!(!without.is_of_class(&groups("net_cls", "/a")), "not mounted");
        assert!(!without.is_of_class(&Groups(Vec::new())), "not the same hierarchies");
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let lines = text.split(|byte| *byte == b'\n').count();
            prop_assert!(Groups::parse(&text).0.len() <= lines);
        }

        #[test]
        fn groups_are_told_apart_by_their_paths(one in "/[^\n]{0,20}", other in "/[^\n]{0,20}", cpu in "/[a-z:]{0,9}") {
            let text = |path: &str| format!("7:cpu:{cpu}\n4:net_cls:{path}\n0::{cpu}\n").into_bytes();
            prop_assert_eq!(Groups::parse(&text(&one)) == Groups::parse(&text(&other)), one == other);
        }
    }
}
