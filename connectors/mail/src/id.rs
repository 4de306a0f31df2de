//! The content key: what makes a mail the same mail, whichever way it came.

use connector_sdk::key::content_key;
use sha2::{Digest, Sha256};

use crate::header::{Headers, unfold};

/// The author's headers. What relays and stores add (Received, Return-Path, Delivered-To, spam marks) is not among them.
const AUTHORS: &[&str] = &["message-id", "date", "from", "to", "cc", "subject", "content-type"];

/// Key over the author's headers and the body. Folding, line ends and blank lines at the end do not count: stores and
/// relays change them.
pub fn of_mail(headers: &Headers<'_>, body: &[u8]) -> String {
    with_body(headers, &body_digest(body))
}

/// Key of a mail of which only the headers were read: its size stands for the body.
pub fn of_headers(headers: &Headers<'_>, size_bytes: u64) -> String {
    with_body(headers, format!("size:{size_bytes}").as_bytes())
}

fn with_body(headers: &Headers<'_>, body: &[u8]) -> String {
    let mut parts: Vec<Vec<u8>> = AUTHORS
        .iter()
        .map(|name| {
            let values: Vec<Vec<u8>> = headers.all(name).map(relaxed).collect();
            values.join(&b'\n')
        })
        .collect();
    parts.push(body.to_vec());
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    content_key(&parts)
}

/// Unfolded, runs of white space as one space.
fn relaxed(raw: &[u8]) -> Vec<u8> {
    let unfolded = unfold(raw);
    let words = unfolded.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(&b' ')
}

/// SHA-256 over the lines, each ended by LF, without blank lines at the end.
fn body_digest(body: &[u8]) -> [u8; 32] {
    let body = body.trim_ascii_end();
    let mut hash = Sha256::new();
    for line in body.split(|b| *b == b'\n') {
        hash.update(line.strip_suffix(b"\r").unwrap_or(line));
        hash.update(b"\n");
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::split;

    fn key(mail: &str) -> String {
        let (headers, body) = split(mail.as_bytes());
        of_mail(&headers, &mail.as_bytes()[body..])
    }

    #[test]
    fn the_way_does_not_change_the_key() {
        let mail = "Message-ID: <1@x>\r\nSubject: a b\r\n\r\nhi\r\nthere\r\n";
        let same = "Received: by x\nDelivered-To: y\nMessage-ID: <1@x>\nX-Spam: no\nSubject: a\n b\n\nhi\nthere\n\n";
        assert_eq!(key(mail), key(same));
    }

    #[test]
    fn what_the_author_wrote_does() {
        let mail = "Message-ID: <1@x>\r\nSubject: a\r\n\r\nhi";
        for other in [
            "Message-ID: <2@x>\r\nSubject: a\r\n\r\nhi",
            "Message-ID: <1@x>\r\nSubject: b\r\n\r\nhi",
            "Message-ID: <1@x>\r\nSubject: a\r\n\r\nho",
        ] {
            assert_ne!(key(mail), key(other));
        }
        let (headers, _) = split(mail.as_bytes());
        assert_ne!(of_headers(&headers, 5), of_headers(&headers, 6));
    }
}
