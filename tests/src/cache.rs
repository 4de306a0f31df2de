//! Where `tests/setup` put what it downloaded.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// The folder named by `INLET_TEST_CACHE`, else `~/.cache/inlet-tests`.
pub fn dir() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("INLET_TEST_CACHE") {
        return Ok(dir.into());
    }
    let home = std::env::var_os("HOME").context("neither INLET_TEST_CACHE nor HOME is set")?;
    Ok(Path::new(&home).join(".cache/inlet-tests"))
}

/// A path below the cache that must exist; the error says how to make it.
pub fn path(relative: &str) -> Result<PathBuf> {
    let path = dir()?.join(relative);
    if !path.exists() {
        bail!("{} is missing: run tests/setup", path.display());
    }
    Ok(path)
}

/// The checkout's top folder.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_path_buf()
}
