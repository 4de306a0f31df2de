//! The header block of a mail or of one of its parts, as bytes: order, repetitions and folding kept (RFC 5322, RFC 7103).

use std::borrow::Cow;

use crate::charset;
use crate::words;

/// One field as it stands: the name in lower case, the value with its folding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: String,
    pub raw: &'a [u8],
}

/// Every field of a header block, in order.
#[derive(Clone, Debug, Default)]
pub struct Headers<'a>(pub Vec<Field<'a>>);

/// More fields than this are not looked at; the rest of the block is skipped.
pub const MAX_FIELDS: usize = 5_000;
/// Fields that begin beyond this offset are not looked at either.
pub const MAX_BLOCK_BYTES: usize = 1 << 20;
/// A value is read up to this length.
pub const MAX_VALUE_BYTES: usize = 256 << 10;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Splits a mail into its fields and the offset at which the body begins.
///
/// Tolerates a byte order mark, empty lines and an mbox `From ` line before the first field, bare LF or CR line ends, and
/// lines within the block that are no fields (taken as continuation where a field or the blank line follows).
pub fn split(mail: &[u8]) -> (Headers<'_>, usize) {
    let mut at = leading_noise(mail);
    let mut fields: Vec<Field<'_>> = Vec::new();
    let mut open: Option<(String, usize, usize)> = None;
    while at < mail.len() {
        let (line_end, next) = line(mail, at);
        let text = &mail[at..line_end];
        if text.is_empty() {
            at = next;
            break;
        }
        match field_name(text) {
            Some((name, value_at)) => {
                close(&mut fields, open.take(), mail);
                open = Some((name, at + value_at, line_end));
            }
            None => match &mut open {
                Some((_, _, end)) => *end = line_end,
                // A body without any header.
                None => break,
            },
        }
        at = next;
    }
    close(&mut fields, open, mail);
    (Headers(fields), at)
}

/// Offset of the first header line.
pub fn leading_noise(mail: &[u8]) -> usize {
    let mut at = if mail.starts_with(BOM) { BOM.len() } else { 0 };
    while let Some(b'\r' | b'\n') = mail.get(at) {
        at += 1;
    }
    if mail[at..].starts_with(b"From ") || mail[at..].starts_with(b">From ") {
        at = line(mail, at).1;
    }
    at
}

fn close<'a>(fields: &mut Vec<Field<'a>>, open: Option<(String, usize, usize)>, mail: &'a [u8]) {
    if let Some((name, start, end)) = open
        && fields.len() < MAX_FIELDS
        && start < MAX_BLOCK_BYTES
    {
        fields.push(Field { name, raw: mail.get(start..end.min(start + MAX_VALUE_BYTES)).unwrap_or_default() });
    }
}

/// End of the line that begins at `at` (without its line end) and the start of the next.
fn line(bytes: &[u8], at: usize) -> (usize, usize) {
    match bytes[at..].iter().position(|b| *b == b'\n') {
        Some(length) => {
            let mut end = at + length;
            // CR CR LF occurs.
            while end > at && bytes[end - 1] == b'\r' {
                end -= 1;
            }
            (end, at + length + 1)
        }
        None => (bytes.len(), bytes.len()),
    }
}

/// Name in lower case and the offset of the value; `None` for a continuation or a line that is no field.
fn field_name(line: &[u8]) -> Option<(String, usize)> {
    let colon = line.iter().position(|b| *b == b':')?;
    let name = line[..colon].trim_ascii_end();
    if name.is_empty() || !name.iter().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    Some((String::from_utf8_lossy(name).to_ascii_lowercase(), colon + 1))
}

impl<'a> Headers<'a> {
    /// The first field of this (lower-case) name: with repetitions the one that mail programs show.
    pub fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    pub fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |field| field.name == name).map(|field| field.raw)
    }

    pub fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// The first field unfolded, encoded words decoded, on one line; empty is `None`.
    pub fn text(&self, name: &str) -> Option<String> {
        let text = words::decode(self.first(name)?).text;
        (!text.is_empty()).then_some(text)
    }

    /// The first field unfolded and trimmed, encoded words left alone; 8-bit bytes decoded.
    pub fn plain(&self, name: &str) -> Option<String> {
        let text = plain(self.first(name)?);
        (!text.is_empty()).then_some(text)
    }
}

/// Unfolded and trimmed text of a raw value, encoded words left alone.
pub fn plain(raw: &[u8]) -> String {
    connector_sdk::text::one_line(&charset::decode(&unfold(raw), None).text)
}

/// Without folding: a line end before white space is dropped; any other line end becomes a space.
pub fn unfold(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.iter().any(|b| matches!(b, b'\r' | b'\n')) {
        return Cow::Borrowed(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        if !matches!(raw[at], b'\r' | b'\n') {
            out.push(raw[at]);
            at += 1;
            continue;
        }
        while matches!(raw.get(at), Some(b'\r' | b'\n')) {
            at += 1;
        }
        if !matches!(raw.get(at), Some(b' ' | b'\t')) {
            out.push(b' ');
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_before_and_within_the_block() {
        let mail = b"\xef\xbb\xbf\r\nFrom a@x Mon Jan 1\r\nSubject: a\r\n b\r\nnot a field\r\nTo: c\n\nbody";
        let (headers, body) = split(mail);
        assert_eq!(&mail[body..], b"body");
        assert_eq!(headers.0.len(), 2);
        assert_eq!(headers.plain("subject").as_deref(), Some("a b not a field"));
        assert_eq!(headers.plain("to").as_deref(), Some("c"));
    }

    #[test]
    fn no_header_at_all_and_no_body_at_all() {
        assert_eq!(split(b"hello\nworld").1, 0);
        let (headers, body) = split(b"A: b");
        assert_eq!((headers.0.len(), body), (1, 4));
        assert_eq!(split(b"").1, 0);
    }

    #[test]
    fn repeated_fields_are_kept_in_order() {
        let (headers, _) = split(b"From: a\r\nFROM : b\r\n\r\n");
        assert_eq!(headers.all("from").collect::<Vec<_>>(), [b" a", b" b"]);
    }
}
