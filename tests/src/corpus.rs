//! Mails that a test can account for: each has an id, a thread and a place in it, in its Message-ID; bodies come in the
//! encodings and structures of real mailboxes, each with a phrase that must arrive readable.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use encoding_rs::{Encoding, ISO_2022_JP, KOI8_R, UTF_8, WINDOWS_1251};

const BASE64_LINE_BYTES: usize = 76;
const ATTACHMENT_BYTES: usize = 2_000;

/// One mail and what must come of it.
#[derive(Debug, Clone)]
pub struct CorpusMail {
    pub identity: Identity,
    /// Must be in the event's text.
    pub phrase: &'static str,
    /// How many attachments the event must have at least.
    pub attachments: usize,
    pub bytes: Vec<u8>,
}

/// What a mail's Message-ID says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    pub id: usize,
    pub thread: usize,
    pub sequence: usize,
}

impl Identity {
    pub fn message_id(self) -> String {
        format!("m{}.t{}.s{}@corpus.test", self.id, self.thread, self.sequence)
    }

    /// From a Message-ID with or without its angle brackets.
    pub fn of_message_id(text: &str) -> Option<Self> {
        let local = text.trim_matches(['<', '>']).strip_suffix("@corpus.test")?;
        let mut parts = local.split('.');
        let mut number = |prefix: char| parts.next()?.strip_prefix(prefix)?.parse().ok();
        Some(Self { id: number('m')?, thread: number('t')?, sequence: number('s')? })
    }
}

/// `count` mails of `threads` threads, dealt out in turn, so that a thread's mails are far apart.
pub fn mails(count: usize, threads: usize) -> impl Iterator<Item = CorpusMail> {
    (0..count).map(move |id| mail(Identity { id, thread: id % threads, sequence: id / threads }, threads))
}

/// One mail; `threads` says which mail opened its thread.
pub fn mail(identity: Identity, threads: usize) -> CorpusMail {
    let shape = SHAPES[identity.id % SHAPES.len()];
    let mut bytes = format!(
        "Return-Path: <customer{thread}@customers.test>\r\n\
         Message-ID: <{own}>\r\n\
         Date: {date}\r\n\
         From: {from} <customer{thread}@customers.test>\r\n\
         To: support@example.test\r\n\
         Subject: {subject}\r\n\
         X-Test-Id: {id}\r\nX-Test-Thread: {thread}\r\nX-Test-Sequence: {sequence}\r\n\
         MIME-Version: 1.0\r\n",
        own = identity.message_id(),
        date = date(identity.id),
        from = word(shape.charset, "Анна Кузнецова", "Anna"),
        subject = word(shape.charset, "Вопрос о заказе", "Order"),
        id = identity.id,
        thread = identity.thread,
        sequence = identity.sequence,
    )
    .into_bytes();
    if identity.sequence > 0 {
        let of = |sequence| Identity { id: identity.thread + sequence * threads, sequence, ..identity }.message_id();
        let (first, previous) = (of(0), of(identity.sequence - 1));
        let references = if first == previous { format!("<{first}>") } else { format!("<{first}> <{previous}>") };
        bytes.extend(format!("In-Reply-To: <{previous}>\r\nReferences: {references}\r\n").into_bytes());
    }
    (shape.body)(&shape, identity, &mut bytes);
    CorpusMail { identity, phrase: shape.phrase, attachments: shape.attachments, bytes }
}

/// A mail with one attachment of a given size, for caps and claim checks.
pub fn large_mail(identity: Identity, attachment_bytes: usize) -> CorpusMail {
    let plain = Shape { body: |_, _, _| {}, ..SHAPES[0] };
    let mut bytes = mail(Identity { id: 0, ..identity }, 1).bytes;
    // The headers of a plain mail, up to its MIME-Version line, with this one's Message-ID.
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let head = text.split("Content-Type:").next().unwrap_or_default();
    let stub = Identity { id: 0, ..identity }.message_id();
    bytes = head.replace(&stub, &identity.message_id()).into_bytes();
    multipart(&plain, identity, &mut bytes, &vec![b'x'; attachment_bytes]);
    CorpusMail { identity, phrase: plain.phrase, attachments: 1, bytes }
}

#[derive(Clone, Copy)]
struct Shape {
    charset: &'static Encoding,
    phrase: &'static str,
    attachments: usize,
    body: fn(&Shape, Identity, &mut Vec<u8>),
}

const SHAPES: [Shape; 8] = [
    Shape { charset: UTF_8, phrase: "Grüße aus Köln ✓", attachments: 0, body: eight_bit },
    Shape { charset: WINDOWS_1251, phrase: "Где мой заказ?", attachments: 0, body: quoted_printable },
    Shape { charset: KOI8_R, phrase: "Спасибо за ответ", attachments: 0, body: base64_text },
    Shape { charset: ISO_2022_JP, phrase: "注文はどこですか", attachments: 0, body: eight_bit },
    Shape { charset: UTF_8, phrase: "שלום, איפה ההזמנה", attachments: 0, body: alternative },
    Shape { charset: UTF_8, phrase: "see the attached file", attachments: 1, body: mixed },
    Shape { charset: WINDOWS_1251, phrase: "Пересылаю письмо", attachments: 1, body: forwarded },
    Shape { charset: UTF_8, phrase: "only as a page", attachments: 0, body: html_only },
];

fn encode(shape: &Shape, text: &str) -> Vec<u8> {
    shape.charset.encode(text).0.into_owned()
}

/// An encoded word where the charset has Cyrillic, plain text otherwise.
fn word(charset: &'static Encoding, cyrillic: &str, latin: &str) -> String {
    let (bytes, _, lossy) = charset.encode(cyrillic);
    if lossy || charset == ISO_2022_JP {
        return latin.to_owned();
    }
    format!("=?{}?B?{}?=", charset.name(), STANDARD.encode(&bytes))
}

fn date(id: usize) -> String {
    format!("Mon, 05 Jan 2026 {:02}:{:02}:{:02} +0000", id / 3600 % 24, id / 60 % 60, id % 60)
}

fn lines(identity: Identity, phrase: &str) -> String {
    format!("{phrase}\r\n\r\nmail {} of thread {}\r\n", identity.sequence, identity.thread)
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn text_headers(shape: &Shape, encoding: &str, out: &mut Vec<u8>) {
    let name = shape.charset.name();
    push(out, &format!("Content-Type: text/plain; charset={name}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"));
}

fn eight_bit(shape: &Shape, identity: Identity, out: &mut Vec<u8>) {
    text_headers(shape, "8bit", out);
    out.extend(encode(shape, &lines(identity, shape.phrase)));
}

fn quoted_printable(shape: &Shape, identity: Identity, out: &mut Vec<u8>) {
    text_headers(shape, "quoted-printable", out);
    for line in lines(identity, shape.phrase).split_inclusive("\r\n") {
        for byte in encode(shape, line.trim_end_matches("\r\n")) {
            match byte {
                b'=' | 0..=31 | 127..=255 => push(out, &format!("={byte:02X}")),
                plain => out.push(plain),
            }
        }
        push(out, "\r\n");
    }
}

fn base64_text(shape: &Shape, identity: Identity, out: &mut Vec<u8>) {
    text_headers(shape, "base64", out);
    base64_lines(&encode(shape, &lines(identity, shape.phrase)), out);
}

fn base64_lines(bytes: &[u8], out: &mut Vec<u8>) {
    for line in STANDARD.encode(bytes).as_bytes().chunks(BASE64_LINE_BYTES) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
}

fn alternative(shape: &Shape, identity: Identity, out: &mut Vec<u8>) {
    push(out, "Content-Type: multipart/alternative; boundary=\"alt\"\r\n\r\n--alt\r\n");
    base64_text(shape, identity, out);
    push(out, "--alt\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n");
    push(out, &format!("<p dir=rtl>{}</p>\r\n--alt--\r\n", shape.phrase));
}

fn mixed(shape: &Shape, identity: Identity, out: &mut Vec<u8>) {
    let file: Vec<u8> = (0..ATTACHMENT_BYTES).map(|n| ((n + identity.id) % 251) as u8).collect();
    multipart(shape, identity, out, &file);
}

fn multipart(shape: &Shape, identity: Identity, out: &mut Vec<u8>, file: &[u8]) {
    push(out, "Content-Type: multipart/mixed; boundary=\"mix\"\r\n\r\n--mix\r\n");
    eight_bit(shape, identity, out);
    push(out, "--mix\r\nContent-Type: application/octet-stream; name=\"data.bin\"\r\n");
    push(out, "Content-Disposition: attachment; filename=\"data.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\n");
    base64_lines(file, out);
    push(out, "--mix--\r\n");
}

fn forwarded(shape: &Shape, identity: Identity, out: &mut Vec<u8>) {
    push(out, "Content-Type: multipart/mixed; boundary=\"fwd\"\r\n\r\n--fwd\r\n");
    quoted_printable(shape, identity, out);
    push(
        out,
        "--fwd\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment; filename=\"inner.eml\"\r\n\r\n",
    );
    push(out, &format!("Message-ID: <inner{}@elsewhere.test>\r\nFrom: third@elsewhere.test\r\n", identity.id));
    push(out, "Subject: inner\r\nContent-Type: text/plain\r\n\r\ninner text\r\n--fwd--\r\n");
}

fn html_only(shape: &Shape, identity: Identity, out: &mut Vec<u8>) {
    push(out, "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n");
    let (phrase, sequence) = (shape.phrase, identity.sequence);
    push(out, &format!("<html><body><p>{phrase}</p><script>alert({sequence})</script></body></html>\r\n"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn identities_survive_their_message_id() {
        let all: Vec<_> = mails(40, 7).collect();
        let ids: HashSet<_> = all.iter().map(|mail| mail.identity).collect();
        assert_eq!(ids.len(), 40);
        for mail in all {
            let id = mail.identity.message_id();
            assert_eq!(Identity::of_message_id(&format!("<{id}>")), Some(mail.identity));
            assert!(String::from_utf8_lossy(&mail.bytes).contains(&format!("Message-ID: <{id}>\r\n")));
        }
    }

    #[test]
    fn replies_refer_to_the_threads_first_mail() {
        let reply = mails(10, 3).nth(7).expect("ten mails");
        assert_eq!(reply.identity, Identity { id: 7, thread: 1, sequence: 2 });
        let text = String::from_utf8_lossy(&reply.bytes).into_owned();
        assert!(text.contains("References: <m1.t1.s0@corpus.test> <m4.t1.s1@corpus.test>\r\n"), "{text}");
    }

    #[test]
    fn a_large_mail_is_large() {
        let identity = Identity { id: 9, thread: 9, sequence: 0 };
        let mail = large_mail(identity, 3_000_000);
        assert!(mail.bytes.len() > 4_000_000);
        let text = String::from_utf8_lossy(&mail.bytes[..1000]).into_owned();
        assert!(text.contains("Message-ID: <m9.t9.s0@corpus.test>") && text.contains("multipart/mixed"), "{text}");
        assert_eq!(text.matches("Content-Type: multipart").count(), 1);
    }
}
