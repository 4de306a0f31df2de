//! Generated files: compared, written when missing, rewritten on `BLESS=1`.

use std::fs;
use std::path::Path;

use similar::TextDiff;

use crate::Verdict;

/// Lines shown around a difference.
const DIFF_CONTEXT_LINES: usize = 3;
/// Lines of a difference that are printed before it is cut.
const DIFF_MAX_LINES: usize = 200;

/// Whether generated files are to be rewritten.
pub(crate) fn blessing() -> bool {
    std::env::var_os("BLESS").is_some_and(|value| value == "1")
}

/// Compares `actual` with the file's text. A missing file is written once and fails, so that nobody commits an
/// expectation that nobody read.
pub(crate) fn check(path: Result<&Path, String>, expected: Option<&str>, actual: &str) -> Verdict {
    match expected {
        Some(expected) if expected == actual => Ok(()),
        _ if blessing() => write(path?, actual),
        Some(expected) => {
            Err(format!("differs from what is expected (BLESS=1 rewrites it):\n{}", difference(expected, actual)))
        }
        None => {
            let path = path.map_err(|e| format!("there is no such file ({e}); it would be:\n{actual}"))?;
            write(path, actual)?;
            Err(format!("{} was missing and has been written: read it, then run again", name(path)))
        }
    }
}

fn write(path: &Path, text: &str) -> Verdict {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn difference(expected: &str, actual: &str) -> String {
    let diff = TextDiff::from_lines(expected, actual);
    let text = diff.unified_diff().context_radius(DIFF_CONTEXT_LINES).header("expected", "actual").to_string();
    let mut lines: Vec<&str> = text.lines().collect();
    let cut = lines.len() > DIFF_MAX_LINES;
    lines.truncate(DIFF_MAX_LINES);
    format!("{}{}", lines.join("\n"), if cut { "\n…" } else { "" })
}
