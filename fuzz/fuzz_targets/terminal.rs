//! What targets name themselves and their files, on its way to a terminal or into a document.
#![no_main]

use fdclose::fuzzing;
use fdclose::method::Method;
use fdclose::output::sanitize::{bounded, columns, keep_end, keep_start, printable};
use fdclose::output::{Layout, failures, json, result, style::Palette, wrap};
use fdclose::report::{ActionReport, HolderReport, Outcome, TargetReport, Text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((width, text)) = bytes.split_first() else { return };
    let width = usize::from(*width);
    sanitised(text, width);
    shown(text, width);
});

fn sanitised(bytes: &[u8], width: usize) {
    let shown = printable(bytes);
    assert!(is_one_line(&shown), "{shown:?}");
    // As many columns as its characters have, one by one: nothing joins with what stands beside it.
    let each: usize = shown.chars().map(|c| columns(c.encode_utf8(&mut [0; 4]))).sum();
    assert_eq!(columns(&shown), each, "{shown:?}");
    // Nothing grows beyond its longest escape, and what was escaped can be told from what was not.
    assert!(shown.len() <= 10 * bytes.len());
    if let Ok(plain) = std::str::from_utf8(bytes)
        && *plain == *shown
    {
        assert!(!plain.contains('\\'));
    }
    for cut in
        [keep_start(&shown, width).into_owned(), keep_end(&shown, width).into_owned(), bounded(bytes, width)]
    {
        assert!(columns(&cut) <= width && is_one_line(&cut), "{cut:?} in {width}");
    }
    assert_eq!(bounded(bytes, usize::MAX), shown);
    let mut wrapped = Vec::new();
    assert!(wrap::write(&shown, Some(width), &mut wrapped).is_ok());
    let words = |text: &[u8]| {
        text.split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .flatten()
            .copied()
            .collect::<Vec<u8>>()
    };
    assert_eq!(words(&wrapped), words(shown.as_bytes()), "only blanks and line ends come or go");
}

fn is_one_line(text: &str) -> bool {
    !text.contains(char::is_control)
}

/// Whole reports: one target as a sentence, two as a table, and both as documents.
fn shown(bytes: &[u8], width: usize) {
    let (comm, name) = bytes.split_at(bytes.len().min(15));
    let sample = fuzzing::file_target();
    let target = TargetReport {
        comm: Text::from(comm),
        name: Text::from(name),
        deleted: bytes.len().is_multiple_of(2),
        outcome: if width.is_multiple_of(2) { Outcome::Done } else { Outcome::Failed },
        holders: vec![HolderReport { pid: sample.pid, tid: None, comm: Text::from(name), fd: sample.fd }],
        error: Some("an error".to_owned()),
        ..sample
    };
    for count in 1..=2 {
        let report = ActionReport::new(Method::Close, false, vec![target.clone(); count], Vec::new());
        for width in [None, Some(width)] {
            let layout = Layout { width, palette: Palette::new(false) };
            let mut out = Vec::new();
            assert!(result::write(&report, false, &layout, &mut out).is_ok());
            assert!(failures::write(&report, &layout, &mut out).is_ok());
            let text = String::from_utf8(out).expect("text");
            assert!(text.lines().all(is_one_line), "{text:?}");
        }
        let mut out = Vec::new();
        assert!(json::write(&report, &mut out).is_ok());
        let line = out.strip_suffix(b"\n").expect("one line");
        assert!(line.iter().all(|byte| matches!(byte, b' '..=b'~')), "{}", line.escape_ascii());
        let document: serde_json::Value = serde_json::from_slice(line).expect("JSON");
        assert_eq!(document["targets"][0]["comm"], *String::from_utf8_lossy(comm));
    }
}
