//! Where the programs are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The victim `name`: beside the binary under test, where `cargo test` at the root puts it. Builds the victims when
/// they aren't there, as after `cargo test --test NAME` in a fresh clone.
pub(crate) fn victim(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let directory = Path::new(env!("CARGO_BIN_EXE_fdclose")).parent().expect("a binary is in a directory");
    let path = directory.join(name);
    if !path.is_file() {
        BUILT.get_or_init(|| build(directory));
    }
    assert!(path.is_file(), "there is no victim {}", path.display());
    path
}

fn build(directory: &Path) {
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let target = directory.parent().expect("the profile's directory is in the target directory");
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--package", "fdclose-fixtures", "--bins", "--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the victims don't build: {status}");
}
