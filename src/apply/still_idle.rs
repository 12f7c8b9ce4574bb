//! What was selected for being idle is asked again right before it is touched: between the two a user may have taken
//! minutes to answer a question, and the peer may have come back.

use std::borrow::Cow;
use std::time::Duration;

use crate::net::Copies;
use crate::plan::ProcessPlan;
use crate::proc::FdTarget;
use crate::survey::{Diags, Match, Survey};
use crate::watchdog;

/// What of `share` is still idle, and what has been heard of since it was selected. What can't be asked stays: it was
/// idle when it was looked at, and whether it is still the same is looked at again in any case.
pub(super) fn split<'a>(
    survey: &Survey,
    diags: &mut Diags,
    share: &'a ProcessPlan,
) -> (Cow<'a, ProcessPlan>, Vec<usize>) {
    let (Some(least), Some(subject)) = (survey.idle_for, survey.subjects.get(share.subject)) else {
        return (Cow::Borrowed(share), Vec::new());
    };
    let _watched = watchdog::over(subject.process.pid());
    let copies = Copies::of(&subject.process);
    let mut idle_ms = |found: &Match| {
        watchdog::beat();
        let FdTarget::Socket(inode) = found.identity.target else { return None };
        let said = copies.as_ref().and_then(|copies| copies.idle_ms(found.fd, inode));
        said.or_else(|| diags.of(subject)?.again(found.socket.as_ref()?).ok()??.idle_ms)
    };
    let (act_on, awake) = share.act_on.iter().partition(|index| {
        let idle_ms = survey.matches.get(**index).and_then(&mut idle_ms);
        idle_ms.is_none_or(|idle_ms| Duration::from_millis(idle_ms) >= least)
    });
    (Cow::Owned(ProcessPlan { subject: share.subject, act_on }), awake)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd as _;
    use std::thread;

    use super::*;
    use crate::ids::{Fd, Pid};
    use crate::proc::Procfs;
    use crate::selectors::{FdRange, Selectors};
    use crate::survey::{Detail, survey};

    #[test]
    fn what_has_been_heard_of_since_is_taken_out() {
        let own = Pid::new(std::process::id().cast_signed()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let fd = Fd::new(stream.as_raw_fd()).unwrap();
        let selectors = Selectors {
            pids: vec![own],
            fds: vec![FdRange::new(fd, fd).unwrap()],
            idle_for: Some(Duration::from_millis(1)),
            ..Selectors::default()
        };
        let look = || survey(&Procfs::host(), &selectors, Detail::Ends).unwrap();
        let mut found = look();
        while found.matches.is_empty() {
            thread::yield_now();
            found = look();
        }
        let share = ProcessPlan { subject: 0, act_on: vec![0] };
        let mut diags = Diags::default();
        let (still, awake) = split(&found, &mut diags, &share);
        assert_eq!((still.into_owned(), awake), (share.clone(), vec![]));
        // As if its peer had been silent for an hour then, and had spoken since.
        found.idle_for = Some(Duration::from_secs(3600));
        let (still, awake) = split(&found, &mut diags, &share);
        assert_eq!((still.into_owned().act_on, awake), (vec![], vec![0]));
    }
}
