//! The tree of a mail's parts. mail-parser finds where the parts are; what they say is read here, from the bytes.

use bytes::Bytes;
use mail_parser::{Message, MessageParser, PartType};

use crate::header::{self, Headers};
use crate::params::Params;
use crate::transfer::Encoding;

/// Parts nested deeper are not opened: they are kept as one attachment.
pub const MAX_DEPTH: usize = 30;
/// A mail that nests more messages or digests than this is not opened at all but kept as one attachment: parsers
/// recurse over them.
pub const MAX_NESTED_MESSAGES: usize = 200;

/// One part of a mail.
#[derive(Debug)]
pub struct Part<'a> {
    /// Position as IMAP counts (`1`, `2.1`); empty for a multipart that is the mail itself.
    pub path: String,
    pub content_type: Params,
    pub disposition: Params,
    /// Without angle brackets.
    pub content_id: Option<String>,
    pub description: Option<String>,
    pub body: Body<'a>,
}

#[derive(Debug)]
pub enum Body<'a> {
    Multipart(Vec<Part<'a>>),
    /// The bytes as they stand in the mail.
    Leaf {
        raw: &'a [u8],
        encoding: Encoding,
    },
}

impl Part<'_> {
    /// Media type in lower case; `text/plain` where the part declares none or an impossible one.
    pub fn media_type(&self) -> &str {
        let main = self.content_type.main.as_str();
        // `multipart/multipart/mixed` and `text` are sent.
        let main = main.strip_prefix("multipart/multipart").map_or(main, |_| "multipart/mixed");
        match main {
            "" | "text" => "text/plain",
            main => main,
        }
    }

    pub fn is_attachment(&self) -> bool {
        self.disposition.main == "attachment"
    }

    /// The decoded bytes of a leaf, and whether its encoding was damaged.
    pub fn decoded(&self) -> (Bytes, bool) {
        match &self.body {
            Body::Multipart(_) => (Bytes::new(), false),
            Body::Leaf { raw, encoding } => {
                let (bytes, damaged) = encoding.decode(raw);
                (bytes.into_owned().into(), damaged)
            }
        }
    }
}

/// Why a mail could not be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// More than [`MAX_NESTED_MESSAGES`].
    TooNested,
    /// No structure was found.
    Unreadable,
}

/// Takes a mail apart; `headers` and `body_at` are of [`header::split`].
pub fn parse<'a>(mail: &'a [u8], headers: &Headers<'a>, body_at: usize) -> Result<Part<'a>, Fault> {
    let content_type = headers.first("content-type").map(Params::parse).unwrap_or_default();
    let body = mail.get(body_at..).unwrap_or_default();
    if !content_type.main.starts_with("multipart") {
        return Ok(leaf("1".to_owned(), headers, body));
    }
    if nested_messages(body) > MAX_NESTED_MESSAGES {
        return Err(Fault::TooNested);
    }
    let start = header::leading_noise(mail);
    let mail = &mail[start..];
    let parser = MessageParser::new().with_mime_headers().default_header_raw();
    let message = parser.parse(mail).ok_or(Fault::Unreadable)?;
    if matches!(message.parts.first().map(|part| &part.body), Some(PartType::Multipart(_))) {
        return Ok(build(&message, mail, 0, "", 0));
    }
    // The boundary is missing or wrong: take the one that the body uses.
    match own_boundary(body).and_then(|boundary| resplit(body, boundary)) {
        Some(parts) => Ok(multipart(String::new(), headers, parts)),
        None => Ok(leaf("1".to_owned(), headers, body)),
    }
}

/// How many parts claim to be messages; an upper bound for the depth to which they nest.
fn nested_messages(body: &[u8]) -> usize {
    const MARKS: [&[u8]; 2] = [b"message/", b"/digest"];
    let starts = |mark: &[u8], at: usize| body.get(at..at + mark.len()).is_some_and(|b| b.eq_ignore_ascii_case(mark));
    let slashes = body.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
    slashes
        .filter(|at| starts(MARKS[1], *at) || at.checked_sub(MARKS[0].len() - 1).is_some_and(|at| starts(MARKS[0], at)))
        .take(MAX_NESTED_MESSAGES + 1)
        .count()
}

fn build<'a>(message: &Message<'_>, mail: &'a [u8], id: usize, path: &str, depth: usize) -> Part<'a> {
    let Some(part) = message.parts.get(id) else { return leaf(path.to_owned(), &Headers::default(), b"") };
    let slice = |from: u32, to: u32| mail.get(from as usize..(to as usize).max(from as usize)).unwrap_or_default();
    let (headers, _) = header::split(slice(part.offset_header, part.offset_body));
    match &part.body {
        PartType::Multipart(children) if depth < MAX_DEPTH => {
            let parts = children
                .iter()
                .enumerate()
                .map(|(index, id)| build(message, mail, *id as usize, &child_path(path, index), depth + 1))
                .collect();
            multipart(path.to_owned(), &headers, parts)
        }
        _ => leaf(path.to_owned(), &headers, slice(part.offset_body, part.offset_end)),
    }
}

fn child_path(path: &str, index: usize) -> String {
    if path.is_empty() { format!("{}", index + 1) } else { format!("{path}.{}", index + 1) }
}

fn multipart<'a>(path: String, headers: &Headers<'a>, parts: Vec<Part<'a>>) -> Part<'a> {
    let mut part = leaf(path, headers, b"");
    part.body = Body::Multipart(parts);
    part
}

fn leaf<'a>(path: String, headers: &Headers<'_>, raw: &'a [u8]) -> Part<'a> {
    let params = |name: &str| headers.first(name).map(Params::parse).unwrap_or_default();
    let encoding = headers.plain("content-transfer-encoding").map_or(Encoding::Identity, |value| Encoding::of(&value));
    let content_id = headers.plain("content-id").map(|id| id.trim_matches(['<', '>']).to_owned());
    Part {
        path,
        content_type: params("content-type"),
        disposition: params("content-disposition"),
        content_id: content_id.filter(|id| !id.is_empty()),
        description: headers.text("content-description"),
        body: Body::Leaf { raw, encoding },
    }
}

/// The first line `--X` that is followed by a line that looks like a part's header.
fn own_boundary(body: &[u8]) -> Option<&[u8]> {
    let mut lines = body.split(|b| *b == b'\n').map(|line| line.trim_ascii_end()).peekable();
    while let Some(line) = lines.next() {
        let header_follows =
            lines.peek().is_some_and(|next| next.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-")));
        if line.len() > 2 && line.starts_with(b"--") && header_follows {
            return Some(&line[2..]);
        }
    }
    None
}

/// Cuts the body at the lines that are the boundary; parts of such a mail are leaves.
fn resplit<'a>(body: &'a [u8], boundary: &[u8]) -> Option<Vec<Part<'a>>> {
    let mut parts = Vec::new();
    let mut start = None;
    let mut at = 0;
    for line in body.split_inclusive(|b| *b == b'\n') {
        let text = line.trim_ascii_end();
        let delimiter = text.strip_prefix(b"--").and_then(|rest| rest.strip_prefix(boundary));
        if let Some(rest) = delimiter.filter(|rest| rest.is_empty() || *rest == b"--") {
            if let Some(from) = start.take() {
                parts.push(&body[from..at]);
            }
            if rest == b"--" {
                break;
            }
            start = Some(at + line.len());
        }
        at += line.len();
    }
    parts.extend(start.and_then(|from| body.get(from..)));
    let leaves = parts.into_iter().enumerate().map(|(index, bytes)| {
        let (headers, body_at) = header::split(bytes);
        // The line end before a boundary belongs to the boundary.
        let content = bytes[body_at..].strip_suffix(b"\n").unwrap_or(&bytes[body_at..]);
        leaf(child_path("", index), &headers, content.strip_suffix(b"\r").unwrap_or(content))
    });
    Some(leaves.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(mail: &str) -> Vec<(String, String, String)> {
        fn walk(part: &Part<'_>, out: &mut Vec<(String, String, String)>) {
            let text = String::from_utf8_lossy(&part.decoded().0).into_owned();
            out.push((part.path.clone(), part.media_type().to_owned(), text));
            if let Body::Multipart(parts) = &part.body {
                parts.iter().for_each(|part| walk(part, out));
            }
        }
        let (headers, body_at) = header::split(mail.as_bytes());
        let root = parse(mail.as_bytes(), &headers, body_at).expect("parts");
        let mut out = Vec::new();
        walk(&root, &mut out);
        out
    }

    fn row(path: &str, media_type: &str, text: &str) -> (String, String, String) {
        (path.to_owned(), media_type.to_owned(), text.to_owned())
    }

    #[test]
    fn a_tree() {
        let mail = "Content-Type: multipart/mixed; boundary=o\r\n\r\npreamble\r\n--o\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\n\r\nplain\r\n--i\r\nContent-Type: text/html\r\n\r\n<p>\r\n--i--\r\n--o\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\naGk=\r\n--o--\r\nepilogue";
        assert_eq!(
            outline(mail),
            [
                row("", "multipart/mixed", ""),
                row("1", "multipart/alternative", ""),
                row("1.1", "text/plain", "plain"),
                row("1.2", "text/html", "<p>"),
                row("2", "application/pdf", "hi"),
            ]
        );
    }

    #[test]
    fn wrong_and_missing_boundaries() {
        for boundary in ["; boundary=nope", ""] {
            let mail = format!(
                "Content-Type: multipart/mixed{boundary}\r\n\r\n--real\r\nContent-Type: text/plain\r\n\r\nhello\r\n--real\r\nContent-Type: text/html\r\n\r\n<p>\r\n--real--\r\n"
            );
            assert_eq!(
                outline(&mail),
                [row("", "multipart/mixed", ""), row("1", "text/plain", "hello"), row("2", "text/html", "<p>"),]
            );
        }
    }

    #[test]
    fn no_closing_boundary_and_odd_types() {
        let mail = "Content-Type: multipart/multipart/mixed; boundary=o\n\n--o\nContent-Type: text\n\nhello\n--o\nContent-Type: application/x; name=a\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n";
        let rows = outline(mail);
        assert_eq!(rows[1], row("1", "text/plain", "hello"));
        assert_eq!(rows[2], row("2", "application/x", "hello"));
    }

    #[test]
    fn too_many_nested_messages_are_not_opened() {
        let mail = format!(
            "Content-Type: multipart/mixed; boundary=o\n\n--o\n{}",
            "Content-Type: message/rfc822\n\n".repeat(50_000)
        );
        let (headers, body_at) = header::split(mail.as_bytes());
        assert_eq!(parse(mail.as_bytes(), &headers, body_at).err(), Some(Fault::TooNested));
    }
}
