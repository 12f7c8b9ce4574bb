//! Freezing a victim in a control group, as `docker pause` does it.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::{evidence, wait_until};

/// The two freezers Linux has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// The freezer controller: its threads are in uninterruptible sleep.
    V1,
    /// `cgroup.freeze` (Linux 5.2): its threads sit where a tracer's stop would have them, too.
    V2,
}

impl Version {
    /// Where its hierarchy is mounted.
    pub(crate) fn mount(self) -> Option<PathBuf> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let is_it = |kind: &str, options: &str| match self {
            Self::V1 => kind == "cgroup" && options.split(',').any(|option| option == "freezer"),
            Self::V2 => kind == "cgroup2",
        };
        mounts.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let [_, place, kind, options, ..] = fields[..] else { return None };
            is_it(kind, options).then(|| PathBuf::from(place))
        })
    }
}

/// A control group with one victim in it. Dropping it thaws the victim and removes the group.
#[derive(Debug)]
pub(crate) struct Freezer {
    version: Version,
    directory: PathBuf,
    pid: u32,
}

impl Freezer {
    /// Puts a process into a new group. Needs root and [`super::Need::Freezer`].
    #[track_caller]
    pub(crate) fn around(version: Version, pid: u32) -> Self {
        let mount = version.mount().expect("the test has asked for it");
        let directory = mount.join(format!("fdclose-test-{}-{pid}", std::process::id()));
        fs::create_dir(&directory).expect("root may make control groups");
        let freezer = Self { version, directory, pid };
        freezer.write("cgroup.procs", &pid.to_string());
        freezer
    }

    /// Freezes it and waits until it is frozen.
    #[track_caller]
    pub(crate) fn freeze(&self) {
        self.ask_to_freeze();
        wait_until("frozen", || match self.version {
            Version::V1 => self.read("freezer.state").trim() == "FROZEN",
            Version::V2 => self.read("cgroup.events").contains("frozen 1"),
        });
    }

    /// Freezes it as soon as that can be done.
    #[track_caller]
    pub(crate) fn ask_to_freeze(&self) {
        match self.version {
            Version::V1 => self.write("freezer.state", "FROZEN"),
            Version::V2 => self.write("cgroup.freeze", "1"),
        }
    }

    /// Lets it go on.
    #[track_caller]
    pub(crate) fn thaw(&self) {
        match self.version {
            Version::V1 => self.write("freezer.state", "THAWED"),
            Version::V2 => self.write("cgroup.freeze", "0"),
        }
        wait_until("thawed", || match self.version {
            Version::V1 => self.read("freezer.state").trim() == "THAWED",
            Version::V2 => self.read("cgroup.events").contains("frozen 0"),
        });
    }

    #[track_caller]
    fn write(&self, file: &str, what: &str) {
        let path = self.directory.join(file);
        fs::write(&path, what).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    #[track_caller]
    fn read(&self, file: &str) -> String {
        let path = self.directory.join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A second panic would abort before the victim is killed.
            let _ = match self.version {
                Version::V1 => fs::write(self.directory.join("freezer.state"), "THAWED"),
                Version::V2 => fs::write(self.directory.join("cgroup.freeze"), "0"),
            };
            let _ = fs::write(self.directory.join("../cgroup.procs"), self.pid.to_string());
            let _ = fs::remove_dir(&self.directory);
            return;
        }
        self.thaw();
        // A group can be removed when nothing is left in it.
        if evidence::status(self.pid, self.pid).is_some_and(|status| status.state != 'Z') {
            fs::write(self.directory.join("../cgroup.procs"), self.pid.to_string()).expect("it can go back");
        }
        wait_until("an empty group", || match fs::remove_dir(&self.directory) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::ResourceBusy => false,
            Err(error) => panic!("{}: {error}", self.directory.display()),
        });
    }
}
