//! A connection that remains without a descriptor: what keeps it is named where the kernel tells, and as possible where it
//! does not.

mod common;

use common::before::assert_connection_ended;
use common::evidence;
use common::kernel::{is_before, runs_before};
use common::watching::Watching;
use common::{Before, Need, Victim, alone, fdclose, fdclose_as, lacks, outcome, skip, wait_until};
use serde_json::{Value, json};

/// A victim whose connection something keeps beside its descriptor; `None` where the kernel has no such thing.
fn victim(how: &str) -> Option<Victim> {
    let victim = Victim::spawn("unseen", &[how]);
    if let Some(reason) = victim.ready().get("skipped") {
        skip(reason);
        return None;
    }
    if how == "file" && !is_named(&victim) {
        skip("the kernel does not name the sockets that are registered with an io_uring");
        return None;
    }
    Some(victim)
}

/// Whether the kernel names the socket that is registered with its io_uring.
fn is_named(victim: &Victim) -> bool {
    evidence::names_registered(victim.pid(), victim.value("keeper"), victim.value("inode"))
}

/// What is said of the connection after its descriptor was closed, in JSON; what people are told stands in the test below.
fn closed(victim: &mut Victim) -> Value {
    let (fd, inode): (i32, u64) = (victim.value("fd"), victim.value("inode"));
    let before = Before::of(victim.pid());
    let run =
        fdclose(&["--pid", &victim.pid_arg(), "--inode", &inode.to_string(), "--force", "--json"]).exits(0);
    before.assert_lost_only(&[fd]);
    assert_eq!(victim.ask("check"), "open=false");
    assert!(evidence::tcp_of(victim.pid(), inode).is_some(), "it is kept: {run:#?}");
    let target = outcome(&run.json(), fd).clone();
    assert_eq!((&target["fd_freed"], &target["connection"]), (&json!(true), &json!("remains")));
    assert_eq!(target["holders"], json!([]), "{target:#}");
    target
}

/// What is said of this victim.
fn kept_by(victim: &Victim, target: &Value) -> Vec<Value> {
    let (pid, fd): (u32, i32) = (victim.value("kept_by"), victim.value("keeper"));
    let all = target["kept_by"].as_array().expect("a list").iter();
    all.filter(|keeper| keeper["pid"] == pid && keeper["fd"] == fd).cloned().collect()
}

#[test]
fn a_file_of_an_io_uring_is_known_to_keep_it() {
    let Some(mut victim) = victim("file") else { return };
    let inode: u64 = victim.value("inode");
    let row = evidence::tcp_of(victim.pid(), inode).expect("a row");
    let target = closed(&mut victim);
    let keeper = json!({
        "how": "io-uring-file", "certain": true, "pid": victim.pid(), "comm": "unseen",
        "fd": victim.value::<i32>("keeper"), "tid": null, "call": null,
    });
    assert_eq!(target["kept_by"], json!([keeper]), "nothing else is named where that is known");
    victim.ask("release");
    assert_connection_ended(victim.pid(), row);
}

#[test]
fn what_is_registered_is_closed_only_by_force() {
    let Some(mut victim) = victim("file") else { return };
    let (fd, inode): (i32, u64) = (victim.value("fd"), victim.value("inode"));
    let before = Before::of(victim.pid());
    let (pid, inode_arg, fd_arg) = (victim.pid_arg(), inode.to_string(), fd.to_string());
    for selected in [["--inode", &inode_arg], ["--fd", &fd_arg]] {
        for method in ["close", "replace"] {
            let args = [&["--pid", &pid, "--method", method][..], &selected].concat();
            let run = fdclose(&args).exits(2);
            let word = format!("registered with the io_uring at fd {}", victim.value::<i32>("keeper"));
            run.one_error().says(&[&word]).says(&["--method shutdown"]);
        }
    }
    before.assert_untouched();
    let ended = ["--pid", &pid, "--fd", &fd_arg, "--method", "shutdown", "--json"];
    let target = outcome(&fdclose(&ended).exits(0).json(), fd).clone();
    assert_eq!(target["connection"], "ended", "{target:#}");
    before.assert_untouched();
    assert_eq!(victim.ask("check"), "open=true");
}

#[test]
fn what_is_registered_is_left_alone_by_a_watch() {
    let Some(mut victim) = victim("file") else { return };
    let before = Before::of(victim.pid());
    let args = ["--pid", &victim.pid_arg(), "--state", "close-wait", "--idle-for", "1ms", "--every", "100ms"];
    let watch = Watching::start(&args);
    // Idle for that long by then.
    watch.wait_for_a_look();
    watch.wait_for_a_look();
    before.assert_untouched();
    watch.signal("TERM");
    let (status, lines) = watch.finish();
    let [line] = lines.as_slice() else { panic!("{lines:#?}") };
    assert_eq!(
        (status, &line["outcome"], &line["fd"]),
        (Some(0), &json!("refused"), &json!(victim.value::<i32>("fd")))
    );
    assert_eq!(victim.ask("check"), "open=true");
}

/// While a call is made on it, an instance tells nothing of what is registered.
#[test]
fn what_may_be_registered_is_closed_only_by_force() {
    // That says whether the kernel names what is registered.
    if victim("file").is_none() {
        return;
    }
    let Some(mut victim) = victim("file-in-use") else { return };
    let before = Before::of(victim.pid());
    let (pid, fd) = (victim.pid_arg(), victim.value::<i32>("fd").to_string());
    let ring: i32 = victim.value("keeper");
    for method in ["close", "replace"] {
        let run = fdclose(&["--pid", &pid, "--fd", &fd, "--method", method]).exits(2);
        run.one_error().says(&[&format!("io_uring at fd {ring}")]).says(&["can't be told"]).says(&["again"]);
    }
    victim.ask("supply");
    let run = fdclose(&["--pid", &pid, "--fd", &fd]).exits(2);
    run.one_error().says(&[&format!("registered with the io_uring at fd {ring}")]);
    before.assert_untouched();
}

#[test]
fn what_is_known_not_to_be_registered_is_closed() {
    let socket = Victim::spawn("unseen", &["file"]);
    if let Some(reason) = socket.ready().get("skipped") {
        return skip(reason);
    }
    for how in ["no-files", "empty-places", "no-sockets", "other-files"] {
        // Nothing is told at all; empty places are printed as an instance in use is, or only root can find out that they are
        // not; sockets are not told apart.
        if runs_before(5, 6)
            || how == "empty-places" && !runs_before(6, 13) && (runs_before(6, 17) || lacks(&[Need::Root]))
            || how == "other-files" && !is_named(&socket)
        {
            continue;
        }
        let Some(mut victim) = victim(how) else { return };
        let fd: i32 = victim.value("fd");
        let before = Before::of(victim.pid());
        let run = fdclose(&["--pid", &victim.pid_arg(), "--fd", &fd.to_string(), "--json"]);
        let target = outcome(&run.exits(0).json(), fd).clone();
        before.assert_lost_only(&[fd]);
        assert_eq!(
            (victim.ask("check").as_str(), &target["connection"]),
            ("open=false", &json!("ended")),
            "{how}"
        );
    }
}

/// A kernel that does not tell sockets apart there may keep the one that is to be closed.
#[test]
fn where_the_kernel_does_not_name_them_what_may_be_registered_is_closed_only_by_force() {
    let victim = Victim::spawn("unseen", &["file"]);
    if let Some(reason) = victim.ready().get("skipped") {
        return skip(reason);
    }
    if is_named(&victim) {
        // That is another test's.
        return;
    }
    let before = Before::of(victim.pid());
    let (fd, ring): (i32, i32) = (victim.value("fd"), victim.value("keeper"));
    let run = fdclose(&["--pid", &victim.pid_arg(), "--fd", &fd.to_string()]).exits(2);
    run.one_error().says(&[&format!("io_uring at fd {ring}")]).says(&["can't be told", "this kernel"]);
    before.assert_untouched();
}

#[test]
fn what_can_only_be_supposed_is_not_said_to_be_known() {
    for (victim_of, how, call) in [
        ("way", "in-flight", None),
        ("request", "io-uring-request", None),
        ("call", "call", Some("recvfrom")),
    ] {
        let Some(mut victim) = victim(victim_of) else { continue };
        let inode: u64 = victim.value("inode");
        let target = closed(&mut victim);
        if victim_of == "way" && is_before(5, 6) {
            // The kernel does not tell what is on its way, which is told.
            assert_eq!((kept_by(&victim, &target).len(), &target["all_seen"]), (0, &json!(false)));
            continue;
        }
        let tid: Option<u32> = victim.ready().contains_key("tid").then(|| victim.value("tid"));
        let keeper = json!({
            "how": how, "certain": false, "pid": victim.value::<u32>("kept_by"), "comm": "unseen",
            "fd": victim.value::<i32>("keeper"), "tid": tid, "call": call,
        });
        assert_eq!(kept_by(&victim, &target), [keeper], "{target:#}");
        let hint = target["hint"].as_str().expect("a hint");
        assert!(hint.contains("may keep it"), "{hint}");
        victim.ask("release");
        wait_until("the socket's end", || evidence::tcp_of(victim.pid(), inode).is_none());
    }
}

#[test]
fn people_are_told_in_a_line() {
    for (victim_of, word) in [
        ("file", "kept by unseen (PID), registered with its io_uring (fd KEEPER)"),
        ("way", "unseen (PID), to whom descriptors are on their way over its Unix socket (fd KEEPER)"),
        ("request", "unseen (PID) by a request of its io_uring (fd KEEPER)"),
        ("call", "whose thread TID is in recvfrom on a closed descriptor (fd KEEPER)"),
    ] {
        let Some(victim) = victim(victim_of) else { continue };
        let inode: u64 = victim.value("inode");
        let args = ["--pid", &victim.pid_arg(), "--inode", &inode.to_string(), "--force"];
        let shown = fdclose(&args).exits(0).stdout;
        let tid = victim.ready().get("tid").cloned().unwrap_or_default();
        let word = word
            .replace("PID", &victim.value::<u32>("kept_by").to_string())
            .replace("KEEPER", &victim.value::<i32>("keeper").to_string())
            .replace("TID", &tid);
        if victim_of == "way" && is_before(5, 6) {
            assert!(shown.contains("not every process could be looked into"), "{shown}");
            continue;
        }
        // Lines are as long as they are without a terminal.
        assert!(shown.contains("connection remains") && shown.contains(&word), "{word}: {shown}");
        assert_eq!(shown.contains("may be kept by"), victim_of != "file", "{shown}");
    }
}

#[test]
fn who_may_look_into_everything_has_seen_all() {
    alone(|| {
        let Some(mut victim) = victim("way") else { return };
        let target = closed(&mut victim);
        let (found, all_seen) = if is_before(5, 6) { (0, false) } else { (1, true) };
        let seen = (kept_by(&victim, &target).len(), &target["all_seen"]);
        assert_eq!(seen, (found, &json!(all_seen)), "{target:#}");
    });
}

#[test]
fn who_may_not_look_into_everything_says_so() {
    if lacks(&[Need::Root]) {
        return;
    }
    let victim = Victim::spawn_as(common::NOBODY, "unseen", &["way"]);
    let (fd, inode): (i32, u64) = (victim.value("fd"), victim.value("inode"));
    let args = ["--pid", &victim.pid_arg(), "--inode", &inode.to_string()];
    let run = fdclose_as(common::NOBODY, &[&args[..], &["--json"]].concat()).exits(0);
    let target = outcome(&run.json(), fd).clone();
    assert_eq!((&target["connection"], &target["all_seen"]), (&json!("remains"), &json!(false)));
    let own = usize::from(!is_before(5, 6));
    assert_eq!(kept_by(&victim, &target).len(), own, "its own are seen: {target:#}");

    let victim = Victim::spawn_as(common::NOBODY, "unseen", &["way"]);
    let inode: u64 = victim.value("inode");
    let shown = fdclose_as(common::NOBODY, &["--pid", &victim.pid_arg(), "--inode", &inode.to_string()]);
    assert!(shown.stdout.contains("not every process could be looked into"), "{shown:#?}");
}
