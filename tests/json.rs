//! The two JSON documents: every field is there, of its type, under its name; absent values are null.

mod common;

use std::collections::BTreeSet;

use common::evidence;
use common::{Victim, fdclose, outcome};
use serde_json::Value;

/// Whether `value` is of the type `wanted` names; `?` after it allows null.
fn is_a(value: &Value, wanted: &str) -> bool {
    match wanted.strip_suffix('?') {
        Some(wanted) => value.is_null() || is_a(value, wanted),
        None => match wanted {
            "text" => value.is_string(),
            "number" => value.is_u64() || value.is_i64(),
            "bool" => value.is_boolean(),
            "list" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("no such type: {other}"),
        },
    }
}

/// Proves that an object has these fields. Others may have been added.
#[track_caller]
fn has(object: &Value, fields: &[(&str, &str)]) {
    for (name, wanted) in fields {
        let value = object.get(name).unwrap_or_else(|| panic!("no {name} in {object:#}"));
        assert!(is_a(value, wanted), "{name} is not a {wanted} in {object:#}");
    }
}

const TARGET: [(&str, &str); 13] = [
    ("pid", "number"),
    ("comm", "text"),
    ("fd", "number"),
    ("inode", "number?"),
    ("kind", "text"),
    ("state", "text?"),
    ("local", "text?"),
    ("peer", "text?"),
    ("outcome", "text"),
    ("fd_freed", "bool?"),
    ("connection", "text?"),
    ("holders", "list"),
    ("error", "text?"),
];

#[track_caller]
fn is_action_document(document: &Value, dry_run: bool) {
    assert_eq!(document["schema"], 1);
    assert_eq!(document["command"], "close");
    assert_eq!(document["method"], "close");
    assert_eq!(document["dry_run"], dry_run);
    for target in document["targets"].as_array().expect("a list") {
        has(target, &TARGET);
        let outcomes: &[&str] =
            if dry_run { &["would-do"] } else { &["done", "gone", "changed", "refused", "failed"] };
        assert!(outcomes.contains(&target["outcome"].as_str().expect("text")), "{target:#}");
        for holder in target["holders"].as_array().expect("a list") {
            has(holder, &[("pid", "number"), ("comm", "text"), ("fd", "number")]);
        }
    }
    for process in document["processes"].as_array().expect("a list") {
        let counts = ["pid", "threads", "stops", "paused_us_max", "paused_us_total"];
        has(process, &counts.map(|name| (name, "number")));
    }
    has(&document["summary"], &["matched", "done", "failed"].map(|name| (name, "number")));
}

#[test]
fn the_action_prints_one_document_and_nothing_else() {
    let victim = Victim::spawn("close_wait", &["--count", "2"]);
    let (fds, inodes): (Vec<i32>, Vec<u64>) = (victim.list("fds"), victim.list("inodes"));

    let run = fdclose(&["--pid", &victim.pid_arg(), "--inode", &inodes[0].to_string(), "--json"]).exits(0);

    let document = run.json();
    is_action_document(&document, false);
    let target = outcome(&document, fds[0]);
    assert_eq!(target["pid"], victim.pid());
    assert_eq!(target["comm"], "close_wait");
    assert_eq!(target["inode"], inodes[0]);
    assert_eq!(target["kind"], "tcp");
    assert_eq!(target["error"], Value::Null);
    assert_eq!(target["holders"], serde_json::json!([]));
    let process = &document["processes"][0];
    assert_eq!(process["pid"], victim.pid());
    assert_eq!(process["threads"], evidence::threads(victim.pid()).len());
    assert!(process["stops"].as_u64() >= Some(1), "{process}");
    assert!(process["paused_us_max"].as_u64() <= process["paused_us_total"].as_u64(), "{process}");
}

#[test]
fn a_dry_run_prints_the_same_document() {
    let victim = Victim::spawn("kinds", &[]);
    let fd: i32 = victim.value("pipe_r");
    let run = fdclose(&["--pid", &victim.pid_arg(), "--fd", &fd.to_string(), "-n", "--json"]).exits(0);
    let document = run.json();
    is_action_document(&document, true);
    let target = outcome(&document, fd);
    for absent in ["state", "local", "peer"] {
        assert_eq!(target[absent], Value::Null, "{absent}");
    }
}

#[test]
fn nothing_matched_is_a_document_too() {
    let victim = Victim::spawn("close_wait", &[]);
    let run = fdclose(&["--pid", &victim.pid_arg(), "--fd", "9999", "--json"]).exits(1);
    let document = run.json();
    is_action_document(&document, false);
    assert_eq!(document["targets"], serde_json::json!([]));
    assert_eq!(document["summary"]["matched"], 0);
}

#[test]
fn list_prints_every_descriptor_the_kernel_shows() {
    let victim = Victim::spawn("kinds", &[]);
    let run = fdclose(&["list", "--pid", &victim.pid_arg(), "--kind", "any", "--json"]).exits(0);
    let document = run.json();
    assert_eq!(document["schema"], 1);
    assert_eq!(document["command"], "list");
    let rows = document["fds"].as_array().expect("a list");
    let fields = [
        ("pid", "number"),
        ("comm", "text"),
        ("uid", "number"),
        ("fd", "number"),
        ("inode", "number?"),
        ("kind", "text"),
        ("state", "text?"),
        ("local", "text?"),
        ("peer", "text?"),
        ("recv_q", "number?"),
        ("send_q", "number?"),
        ("idle_ms", "number?"),
        ("netns", "number?"),
    ];
    for row in rows {
        has(row, &fields);
        assert_eq!(row["pid"], victim.pid());
    }
    let listed: BTreeSet<i64> = rows.iter().filter_map(|row| row["fd"].as_i64()).collect();
    let there: BTreeSet<i64> = evidence::descriptors(victim.pid()).into_keys().map(i64::from).collect();
    assert_eq!(listed, there);
}

#[test]
fn list_selects_by_state_and_tells_what_the_kernel_tells() {
    let victim = Victim::spawn("close_wait", &["--count", "3"]);
    let inodes: BTreeSet<u64> = victim.list("inodes").into_iter().collect();
    let run = fdclose(&["list", "--pid", &victim.pid_arg(), "--state", "CLOSE-WAIT", "--json"]).exits(0);
    let document = run.json();
    let rows = document["fds"].as_array().expect("a list");
    assert_eq!(rows.iter().filter_map(|row| row["inode"].as_u64()).collect::<BTreeSet<_>>(), inodes);
    for row in rows {
        let kernel = evidence::tcp_of(victim.pid(), row["inode"].as_u64().expect("a socket")).expect("a row");
        assert_eq!(row["local"], kernel.local.to_string());
        assert_eq!(row["peer"], kernel.peer.to_string());
        // The peer's FIN takes one place in the queue.
        assert_eq!((&row["recv_q"], &row["send_q"]), (&1.into(), &0.into()));
    }
}

#[test]
fn list_without_a_match_says_so_by_its_status() {
    let victim = Victim::spawn("close_wait", &[]);
    let run = fdclose(&["list", "--pid", &victim.pid_arg(), "--state", "syn-sent", "--json"]).exits(1);
    assert_eq!(run.json()["fds"], serde_json::json!([]));
}
