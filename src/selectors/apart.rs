//! The selectors one by one: which of them is it that leaves something out?

use super::Selectors;

impl Selectors {
    /// Each that is given, alone, with its option.
    #[must_use]
    pub fn apart(&self) -> Vec<(&'static str, Self)> {
        let none = Self::default;
        let all = [
            ("--pid", Self { pids: self.pids.clone(), ..none() }),
            ("--comm", Self { comms: self.comms.clone(), ..none() }),
            ("--fd", Self { fds: self.fds.clone(), ..none() }),
            ("--inode", Self { inodes: self.inodes.clone(), ..none() }),
            ("--kind", Self { kinds: self.kinds.clone(), ..none() }),
            ("--deleted", Self { deleted: self.deleted, ..none() }),
            ("--state", Self { states: self.states.clone(), ..none() }),
            ("--local", Self { local: self.local.clone(), ..none() }),
            ("--peer", Self { peer: self.peer.clone(), ..none() }),
            ("--netns", Self { netns: self.netns.clone(), ..none() }),
            ("--idle-for", Self { idle_for: self.idle_for, ..none() }),
        ];
        all.into_iter().filter(|(_, alone)| !alone.is_empty()).collect()
    }
}
