//! Raw requests of the connectors' fixtures, to be signed anew and sent to a running gateway.

use crate::cache;
use anyhow::{Context, Result};
use bytes::Bytes;

/// The body of `connectors/CONNECTOR/fixtures/CASE/input.http`.
pub fn body(connector: &str, case: &str) -> Result<Bytes> {
    let path = cache::workspace().join(format!("connectors/{connector}/fixtures/{case}/input.http"));
    let raw = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let blank = |gap: &[u8]| raw.windows(gap.len()).position(|w| w == gap).map(|at| at + gap.len());
    let start = match (blank(b"\r\n\r\n"), blank(b"\n\n")) {
        (Some(a), Some(b)) => a.min(b),
        (a, b) => a.or(b).with_context(|| format!("{}: no blank line", path.display()))?,
    };
    Ok(Bytes::copy_from_slice(&raw[start..]))
}
