//! Builds the C programs under `benches/c` into cargo's directory for temporary files.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Compiles `benches/c/NAME.c` as anyone would, with `cc -O2` (`$CC` replaces the compiler).
pub(crate) fn build(name: &str) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/c").join(name).with_extension("c");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let output = Command::new(&compiler)
        .args(["-O2", "-Wall", "-Wextra", "-pthread", "-o"])
        .args([&program, &source])
        .output()
        .with_context(|| format!("cannot run the C compiler {}", compiler.display()))?;
    ensure!(
        output.status.success(),
        "{} does not compile:\n{}",
        source.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(program)
}
