//! Printing: a closed pipe is the reader's choice, not an error.

use std::io::Write;

use super::Failure;

/// Prints to standard output.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| Failure::failed(format!("cannot print: {error}"))),
    }
}

/// Rows under headings, columns aligned.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..headings.len()).map(width).collect();
    let mut out = String::new();
    let heading = headings.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>();
    for row in std::iter::once(&heading).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// One readable line of an event.
pub fn event_line(event: &serde_json::Value) -> String {
    const TEXT_MAX_CHARS: usize = 80;
    let text = |pointer: &str| event.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or("");
    let time = text("/received_at");
    let clock = time.get(11..19).unwrap_or(time);
    let sender = match text("/sender/display_name") {
        "" => text("/sender/identities/0/value"),
        name => name,
    };
    let body = match text("/text") {
        "" => text("/notice/reason"),
        body => body,
    };
    let mut body = connector_sdk::text::one_line(body);
    if body.chars().count() > TEXT_MAX_CHARS {
        body = body.chars().take(TEXT_MAX_CHARS - 1).chain(['…']).collect();
    }
    let mut line = format!("{clock}  {:<18} {:<14} {}", text("/kind"), text("/connector"), sender);
    if !body.is_empty() {
        line.push_str(if sender.is_empty() { "" } else { ": " });
        line.push_str(&body);
    }
    let files = event.pointer("/attachments").and_then(serde_json::Value::as_array).map_or(0, Vec::len);
    if files > 0 {
        line.push_str(&format!("  [{files} file{}]", if files == 1 { "" } else { "s" }));
    }
    line
}
