//! Content-Transfer-Encoding, lenient: damaged base64 and quoted-printable give what can be had.

use std::borrow::Cow;

/// How a part's bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    QuotedPrintable,
    Base64,
}

impl Encoding {
    /// Of a header value; `7-bit;`, `base64;` and comments occur.
    pub fn of(value: &str) -> Self {
        let word: String = value
            .trim_start()
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '-')
            .collect::<String>()
            .to_ascii_lowercase();
        match word.as_str() {
            "base64" => Self::Base64,
            "quoted-printable" | "quotedprintable" => Self::QuotedPrintable,
            _ => Self::Identity,
        }
    }

    /// The decoded bytes, and whether something was damaged.
    pub fn decode(self, bytes: &[u8]) -> (Cow<'_, [u8]>, bool) {
        match self {
            Self::Identity => (Cow::Borrowed(bytes), false),
            Self::QuotedPrintable => (Cow::Owned(quoted_printable(bytes)), false),
            Self::Base64 => {
                let (decoded, damaged) = base64(bytes);
                (Cow::Owned(decoded), damaged)
            }
        }
    }
}

/// Base64 that skips what is not of its alphabet and stops at the padding or at a line that cannot be base64 (a footer
/// that a relay put below it). True where something was skipped.
pub fn base64(bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(bytes.len() / 4 * 3 + 3);
    let (mut bits, mut count, mut damaged) = (0u32, 0u8, false);
    let mut spaced = None;
    for line in bytes.split(|b| *b == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        // Spaces where the first line had none: words of a footer.
        let has_space = line.contains(&b' ');
        if (has_space && spaced == Some(false)) || (line.starts_with(b"--") && !out.is_empty()) {
            damaged = true;
            break;
        }
        spaced.get_or_insert(has_space);
        for byte in line {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                b'=' => {
                    // Padding in the middle: the sender joined two encodings.
                    count = 0;
                    bits = 0;
                    continue;
                }
                _ => {
                    damaged |= *byte != b' ';
                    continue;
                }
            };
            bits = bits << 6 | u32::from(value);
            count += 1;
            // Bytes leave as soon as they are whole, so that missing padding costs nothing.
            if count >= 2 {
                let shift = [0, 0, 4, 2, 0][usize::from(count)];
                out.push((bits >> shift & 0xff) as u8);
            }
            if count == 4 {
                count = 0;
                bits = 0;
            }
        }
    }
    (out, damaged)
}

/// Quoted-printable; a sequence that is none stays as it is.
pub fn quoted_printable(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let body = line.trim_ascii_end();
        let soft = body.ends_with(b"=");
        let body = if soft { &body[..body.len() - 1] } else { body };
        let mut at = 0;
        while at < body.len() {
            if body[at] == b'='
                && let Some(byte) = hex_pair(body.get(at + 1..at + 3))
            {
                out.push(byte);
                at += 3;
            } else {
                out.push(body[at]);
                at += 1;
            }
        }
        if !soft && line.ends_with(b"\n") {
            out.extend_from_slice(if line.ends_with(b"\r\n") { b"\r\n" } else { b"\n" });
        }
    }
    out
}

/// The byte that two hexadecimal digits stand for.
pub fn hex_pair(pair: Option<&[u8]>) -> Option<u8> {
    let [high, low] = pair? else { return None };
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_in_all_states() {
        for (input, expected) in [
            ("aGVsbG8=", "hello"),
            ("aGVsbG8", "hello"),
            ("aGVs\r\nbG8=\r\n", "hello"),
            ("aGV*sbG8=", "hello"),
            ("aGVsbG8=\r\n-- \r\nSent by list software", "hello"),
            ("aGVsbG8gd29ybGQh\r\nThis mail was scanned", "hello world!"),
            ("aGk=aGk=", "hihi"),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8_lossy(&Encoding::Base64.decode(input.as_bytes()).0), expected, "{input}");
        }
    }

    #[test]
    fn quoted_printable_in_all_states() {
        for (input, expected) in [
            ("caf=C3=A9 =\r\nx  \r\ny", "café x\r\ny"),
            ("a=ZZ=3", "a=ZZ=3"),
            ("end=", "end"),
            ("lower=c3=a9", "loweré"),
        ] {
            assert_eq!(String::from_utf8_lossy(&quoted_printable(input.as_bytes())), expected);
        }
    }

    #[test]
    fn labels() {
        assert_eq!(Encoding::of(" Base64; "), Encoding::Base64);
        assert_eq!(Encoding::of("7-bit;"), Encoding::Identity);
        assert_eq!(Encoding::of("Quoted-Printable (comment)"), Encoding::QuotedPrintable);
    }
}
