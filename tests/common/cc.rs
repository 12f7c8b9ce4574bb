//! Victims in C and Go: of sorts that rustc doesn't make here. Compiled when they are needed.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles `fixtures/c/NAME.c` with `compiler` and `flags`. The program is in the directory given back, which is
/// removed with it.
#[track_caller]
pub(crate) fn compile(compiler: &str, flags: &[&str], name: &str) -> (PathBuf, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = directory.path().join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/c").join(name).with_extension("c");
    let output = Command::new(compiler)
        .args(["-O1", "-Wall", "-Wextra", "-Werror"])
        .args(flags)
        .arg("-o")
        .args([&program, &source])
        .output()
        .expect("the compiler runs");
    assert!(output.status.success(), "{compiler} {flags:?}: {}", String::from_utf8_lossy(&output.stderr));
    (program, directory)
}

/// Compiles `fixtures/go/NAME.go` into a static program without C in it. The directory holds the compiler's cache, too.
#[track_caller]
pub(crate) fn compile_go(name: &str) -> (PathBuf, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = directory.path().join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/go").join(name).with_extension("go");
    let output = Command::new("go")
        .args(["build", "-o"])
        .args([&program, &source])
        .current_dir(directory.path())
        // Nothing is fetched, and nothing of the user's own settings or cache is used.
        .envs([
            ("CGO_ENABLED", "0"),
            ("GO111MODULE", "off"),
            ("GOENV", "off"),
            ("GOFLAGS", ""),
            ("GOTOOLCHAIN", "local"),
        ])
        .env("GOCACHE", directory.path().join("cache"))
        .env("GOPATH", directory.path().join("path"))
        .output()
        .expect("the compiler runs");
    assert!(output.status.success(), "go: {}", String::from_utf8_lossy(&output.stderr));
    (program, directory)
}
