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

/// Not of the alphabet; all bits set, so that one in a group shows in their union.
const NONE: u8 = 0xff;

/// Value of each byte, in the standard alphabet and the one for URLs.
const VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut at = 0;
    while at < alphabet.len() {
        values[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    values[b'-' as usize] = 62;
    values[b'_' as usize] = 63;
    values
};

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
        let mut rest = line;
        // Whole groups at once, as long as nothing is odd.
        while count == 0
            && let Some((group, behind)) = rest.split_first_chunk::<4>()
        {
            let [a, b, c, d] = group.map(|byte| VALUES[usize::from(byte)]);
            if (a | b | c | d) == NONE {
                break;
            }
            let bits = u32::from(a) << 18 | u32::from(b) << 12 | u32::from(c) << 6 | u32::from(d);
            out.extend_from_slice(&bits.to_be_bytes()[1..]);
            rest = behind;
        }
        for byte in rest {
            let value = VALUES[usize::from(*byte)];
            if value == NONE {
                // Padding in the middle: the sender joined two encodings.
                if *byte == b'=' {
                    (bits, count) = (0, 0);
                }
                damaged |= !matches!(byte, b'=' | b' ');
                continue;
            }
            bits = bits << 6 | u32::from(value);
            count += 1;
            // Bytes leave as soon as they are whole, so that missing padding costs nothing.
            if count >= 2 {
                let shift = [0, 0, 4, 2, 0][usize::from(count)];
                out.push((bits >> shift & 0xff) as u8);
            }
            if count == 4 {
                (bits, count) = (0, 0);
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
