//! Hygiene of text that goes to consumers.

use std::borrow::Cow;

/// Without characters that are illegal or dangerous downstream: NUL and C0 controls except tab and line breaks; CRLF
/// becomes LF. `Cow::Borrowed` = nothing had to be changed.
pub fn clean(text: &str) -> Cow<'_, str> {
    // Most texts are plain ASCII, which is told without decoding it; to the end without branches, many bytes at a step.
    if text.bytes().fold(true, |plain, b| plain & matches!(b, b' '..=b'~' | b'\n' | b'\t')) {
        return Cow::Borrowed(text);
    }
    let bad = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{fffe}' | '\u{ffff}');
    if !text.contains(bad) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(
        text.replace("\r\n", "\n").chars().map(|c| if c == '\r' { '\n' } else { c }).filter(|c| !bad(*c)).collect(),
    )
}

/// One line: control characters and line breaks become spaces, runs of white space one. For names and subjects, so that
/// nothing downstream can be tricked into another header line.
pub fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A file name without path, control characters or leading dots; `None` where nothing is left.
pub fn file_name(raw: &str) -> Option<String> {
    let base = raw.rsplit(['/', '\\']).next().unwrap_or(raw);
    let name = one_line(base).trim_start_matches('.').trim().to_owned();
    (!name.is_empty()).then_some(name)
}

/// At most `max_bytes` of `text`, cut at a character boundary; true where it was cut.
pub fn cut(text: &str, max_bytes: usize) -> (&str, bool) {
    if text.len() <= max_bytes {
        return (text, false);
    }
    let mut end = max_bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (&text[..end], true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning() {
        assert_eq!(clean("a\r\nb\0c\rd\te"), "a\nbc\nd\te");
        assert!(matches!(clean("שלום 😀\n"), Cow::Borrowed(_)));
        assert_eq!(one_line(" a\r\nBcc: x "), "a Bcc: x");
        assert_eq!(file_name("C:\\x\\..\\a\u{7}b.pdf").as_deref(), Some("a b.pdf"));
        assert_eq!(file_name("../.."), None);
        assert_eq!(cut("aé", 2), ("a", true));
    }
}
