//! Encoded words in headers (RFC 2047), as they are written and not only as they should be.

use std::borrow::Cow;

use crate::charset;
use crate::header::unfold;
use crate::transfer;

/// Longest charset name of an encoded word, with its language tag.
const MAX_LABEL_BYTES: usize = 64;

/// A decoded header value on one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    pub text: String,
    pub lossy: bool,
    /// Charset of the first encoded word.
    pub declared: Option<String>,
}

enum Piece<'a> {
    Raw(&'a [u8]),
    Word { label: Cow<'a, str>, bytes: Vec<u8> },
}

/// Unfolds and decodes a value. Bytes of adjacent words of one charset are joined before decoding, since senders cut
/// within characters; white space between words is dropped. Line breaks and controls that hid in a word become spaces.
pub fn decode(raw: &[u8]) -> Text {
    let unfolded = unfold(raw);
    let mut out = Text::default();
    let mut text = String::new();
    for piece in pieces(&unfolded) {
        let decoded = match &piece {
            Piece::Raw(bytes) => charset::decode(bytes, None),
            Piece::Word { label, bytes } => {
                out.declared.get_or_insert_with(|| label.to_ascii_lowercase());
                charset::decode(bytes, Some(label))
            }
        };
        out.lossy |= decoded.lossy;
        text.push_str(&decoded.text);
    }
    out.text = connector_sdk::text::one_line(&text);
    out
}

fn pieces(bytes: &[u8]) -> Vec<Piece<'_>> {
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    let (mut raw_from, mut at) = (0, 0);
    // Behind the last end there is no word: keeps a value of nothing but beginnings from being searched again and again.
    let last_end = bytes.windows(2).rposition(|pair| pair == b"?=").unwrap_or(0);
    while let Some(found) = find(&bytes[at..], b"=?") {
        let start = at + found;
        if start >= last_end {
            break;
        }
        let Some((label, word, end)) = word(&bytes[start..]) else {
            at = start + 2;
            continue;
        };
        let between = &bytes[raw_from..start];
        let after_word = matches!(pieces.last(), Some(Piece::Word { .. }));
        if !(between.is_empty() || after_word && between.iter().all(u8::is_ascii_whitespace)) {
            pieces.push(Piece::Raw(between));
        }
        match pieces.last_mut() {
            Some(Piece::Word { label: have, bytes }) if have.eq_ignore_ascii_case(&label) => bytes.extend(word),
            _ => pieces.push(Piece::Word { label, bytes: word }),
        }
        at = start + end;
        raw_from = at;
    }
    if raw_from < bytes.len() {
        pieces.push(Piece::Raw(&bytes[raw_from..]));
    }
    pieces
}

/// The encoded word at the start of `bytes`: charset, decoded bytes, length.
fn word(bytes: &[u8]) -> Option<(Cow<'_, str>, Vec<u8>, usize)> {
    let rest = bytes.get(2..)?;
    let label_end = rest.iter().take(MAX_LABEL_BYTES).position(|b| *b == b'?')?;
    let label = String::from_utf8_lossy(&rest[..label_end]);
    if label.is_empty() || label.contains(char::is_whitespace) {
        return None;
    }
    let quoted = match rest.get(label_end + 1)? {
        b'Q' | b'q' => true,
        b'B' | b'b' => false,
        _ => return None,
    };
    if rest.get(label_end + 2) != Some(&b'?') {
        return None;
    }
    let text = rest.get(label_end + 3..)?;
    let end = text_end(text, quoted)?;
    let decoded = if quoted { q(&text[..end]) } else { transfer::base64(&text[..end]).0 };
    Some((label, decoded, 2 + label_end + 3 + end + 2))
}

/// Where the encoded text ends. A `?=` within a Q word's text (`a?=20b`) is told from the end by the digits behind it, if
/// another end follows in the same word.
fn text_end(text: &[u8], quoted: bool) -> Option<usize> {
    let first = find(text, b"?=")?;
    if quoted
        && text.get(first + 2..first + 4).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
        && let Some(next) = find(&text[first + 2..], b"?=")
        && !text[first..first + 2 + next].iter().any(u8::is_ascii_whitespace)
        && find(&text[first..first + 2 + next], b"=?").is_none()
    {
        return Some(first + 2 + next);
    }
    Some(first)
}

fn q(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'_' => out.push(b' '),
            b'=' => match transfer::hex_pair(text.get(at + 1..at + 3)) {
                Some(byte) => {
                    out.push(byte);
                    at += 2;
                }
                None => out.push(b'='),
            },
            byte => out.push(byte),
        }
        at += 1;
    }
    out
}

fn find(haystack: &[u8], needle: &[u8; 2]) -> Option<usize> {
    haystack.windows(2).position(|pair| pair == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(raw: &str) -> String {
        decode(raw.as_bytes()).text
    }

    #[test]
    fn words_of_every_charset() {
        for word in [
            "=?koi8-r?B?8NLJ18XULCDNydI=?=",
            "=?windows-1251?B?z/Do4uXyLCDs6PA=?=",
            "=?windows-1251?B?z/Do4uXyLCDs6PA?=",
            "=?utf-8?B?0J/RgNC40LLQtdGCLCDQvNC40YA=?=",
            "=?utf-8*ru?B?0J/RgNC40LLQtdGCLCDQvNC40YA=?=",
            "=?utf-8?B?0J/RgNC40LLQtdGC?=, =?utf-8?B?0LzQuNGA?=",
            "=?UTF-8?B?0J/R?= =?UTF-8?B?gNC40LLQtdGCLCDQvNC40YA=?=",
            "=?UTF-8?B?0J/R?=\r\n =?utf-8?B?gNC40LLQtdGCLCDQvNC40YA=?=",
            "=?UTF-8?B?0J/R?==?utf-8?B?gNC40LLQtdGCLCDQvNC40YA=?=",
        ] {
            assert_eq!(text(word), "Привет, мир", "{word}");
        }
        assert_eq!(text("=?ISO-2022-JP?B?GyRCRnxL?= =?ISO-2022-JP?B?XDhsGyhC?="), "日本語");
    }

    #[test]
    fn spaces_are_neither_lost_nor_invented() {
        assert_eq!(text("\"=?utf-8?B?0J/RgNC40LLQtdGC?=\""), "\"Привет\"");
        assert_eq!(text("=?utf-8?Q?a?=bar"), "abar");
        assert_eq!(text("Re: =?utf-8?Q?caf=C3=A9_1?= now"), "Re: café 1 now");
        assert_eq!(text("=?utf-8?Q?raw space?= x"), "raw space x");
    }

    #[test]
    fn odd_words() {
        assert_eq!(text("=?utf-8?Q?what?_now?="), "what? now");
        assert_eq!(text("=?utf-8?Q?a?=20b?="), "a? b");
        assert_eq!(text("=?utf-8?X?abc?= =?nope"), "=?utf-8?X?abc?= =?nope");
        assert_eq!(text("=?utf-8?Q?a=0D=0ABcc:_x=00?="), "a Bcc: x");
        assert_eq!(text("Gr\u{fc}\u{df}e"), "Grüße");
        assert_eq!(
            decode(b"\xcf\xf0\xe8\xe2\xe5\xf2, \xec\xe8\xf0, \xea\xe0\xea \xe4\xe5\xeb\xe0").text,
            "Привет, мир, как дела"
        );
    }
}
