//! From bytes to text whatever the label says: decoding never fails, it is lossy at worst and says so.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{
    BIG5, EUC_JP, EUC_KR, Encoding, GB18030, GBK, ISO_2022_JP, KOI8_R, SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE,
    WINDOWS_1251, WINDOWS_1252,
};
use mail_parser::decoders::charsets::map::charset_decoder;

/// Bytes shown to the detector; more does not make the guess better.
const DETECT_BYTES: usize = 16 << 10;
/// Of a wrongly declared single-byte text at least so many sequences must be valid UTF-8 to believe that it is UTF-8;
/// two letters of Cyrillic can look like one by chance.
const CONVINCING_UTF8_SEQUENCES: usize = 2;

/// Text and how it was had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    pub text: String,
    /// Name of the charset that was used.
    pub used: String,
    /// Something could not be decoded and was replaced by U+FFFD.
    pub lossy: bool,
}

/// Decodes with the declared charset, if any, and the ladder: declared, strict UTF-8, detection, declared with losses.
pub fn decode(bytes: &[u8], declared: Option<&str>) -> Decoded {
    let label = declared.map(clean_label).filter(|label| !label.is_empty());
    let scheme = label.as_deref().map(scheme_of);
    if let Some(Scheme::Shifted(kind)) = scheme {
        return kind.decode(bytes);
    }
    let stateful = matches!(scheme, Some(Scheme::Standard(e)) if e == ISO_2022_JP || e == UTF_16LE || e == UTF_16BE)
        || matches!(scheme, Some(Scheme::Foreign(_)));
    if bytes.is_ascii() && !stateful && !bytes.contains(&0x1b) {
        let used = match scheme {
            // The web's name for the labels us-ascii and iso-8859-1.
            Some(Scheme::Standard(encoding)) if encoding != WINDOWS_1252 => encoding.name().to_ascii_lowercase(),
            _ => "us-ascii".to_owned(),
        };
        return Decoded { text: String::from_utf8_lossy(bytes).into_owned(), used, lossy: false };
    }
    match scheme {
        Some(Scheme::Standard(encoding)) => declared_standard(bytes, encoding),
        Some(Scheme::Foreign(label)) => foreign(bytes, &label),
        _ => undeclared(bytes),
    }
}

/// What a label stands for.
enum Scheme {
    Standard(&'static Encoding),
    /// Known to mail-parser and not to the web: UTF-7, the IBM code pages.
    Foreign(String),
    Shifted(Shifted),
    Unknown,
}

/// 7-bit double-byte charsets with shift sequences that the web no longer decodes.
#[derive(Clone, Copy)]
enum Shifted {
    Iso2022Kr,
    Hz,
}

fn clean_label(label: &str) -> String {
    let label = label.trim().trim_matches(|c: char| matches!(c, '"' | '\'') || c.is_whitespace());
    // RFC 2231 allows a language after an asterisk.
    label.split('*').next().unwrap_or(label).to_ascii_lowercase()
}

fn scheme_of(label: &str) -> Scheme {
    let standard = match label {
        "win-1251" | "win1251" | "windows1251" | "cp-1251" | "1251" | "ansi-1251" => Some(WINDOWS_1251),
        "koi8r" | "koi-8-r" | "koi8" | "cskoi8r" => Some(KOI8_R),
        "cp932" | "windows-932" | "x-ms-cp932" => Some(SHIFT_JIS),
        "gb2312" | "gbk" | "cp936" | "x-gbk" | "windows-936" | "936" => Some(GB18030),
        "cp949" | "uhc" | "ks_c_5601" | "x-windows-949" | "949" => Some(EUC_KR),
        "cp950" | "x-windows-950" | "950" => Some(BIG5),
        "iso-2022-jp-ms" | "cp50220" | "cp50221" | "iso-2022-jp-1" | "iso-2022-jp-2" => Some(ISO_2022_JP),
        "cp1252" | "ansi" | "latin-1" | "iso8859-15-windows" => Some(WINDOWS_1252),
        "utf8mb4" | "utf-8n" | "utf 8" => Some(UTF_8),
        // Not charsets: a relay's way of saying that it does not know.
        "unknown-8bit" | "x-unknown" | "unknown" | "8bit" | "7bit" | "binary" | "default" | "_autodetect" => {
            return Scheme::Unknown;
        }
        "iso-2022-kr" | "csiso2022kr" => return Scheme::Shifted(Shifted::Iso2022Kr),
        "hz-gb-2312" | "hz" => return Scheme::Shifted(Shifted::Hz),
        label => Encoding::for_label_no_replacement(label.as_bytes()),
    };
    match standard {
        Some(encoding) => Scheme::Standard(encoding),
        None if charset_decoder(label.as_bytes()).is_some() => Scheme::Foreign(label.to_owned()),
        None => match label {
            "unicode-1-1-utf-7" | "utf7" | "x-utf-7" => Scheme::Foreign("utf-7".to_owned()),
            "cp437" | "ibm437" | "437" => Scheme::Foreign("cp850".to_owned()),
            _ => Scheme::Unknown,
        },
    }
}

fn declared_standard(bytes: &[u8], encoding: &'static Encoding) -> Decoded {
    // A multi-byte charset makes enough rules to be believed when they hold; a single-byte one holds for any bytes.
    if encoding.is_single_byte()
        && let Some(text) = strict_utf8(bytes)
    {
        let needed = if encoding == WINDOWS_1252 { 1 } else { CONVINCING_UTF8_SEQUENCES };
        if text.chars().filter(|c| !c.is_ascii()).take(needed).count() >= needed {
            return Decoded { text: text.to_owned(), used: "utf-8".to_owned(), lossy: false };
        }
    }
    let (text, used, lossy) = encoding.decode(bytes);
    let declared = standard(text, used, lossy);
    if !lossy {
        return declared;
    }
    if encoding != UTF_8
        && let Some(text) = strict_utf8(bytes)
    {
        return Decoded { text: text.to_owned(), used: "utf-8".to_owned(), lossy: false };
    }
    // A wrong label breaks most of the text, damage only a little of it.
    let broken = declared.text.matches('\u{fffd}').count();
    let high = bytes.iter().filter(|b| !b.is_ascii()).count();
    match detect(bytes) {
        Some(guess) if !guess.lossy && broken * 4 > high => guess,
        _ => declared,
    }
}

fn undeclared(bytes: &[u8]) -> Decoded {
    if let Some(text) = strict_utf8(bytes) {
        // ISO-2022-JP is ASCII with escapes; nothing else has those before a `$` or `(`.
        let escapes = bytes.windows(2).any(|pair| pair == b"\x1b$" || pair == b"\x1b(");
        if !escapes {
            return Decoded { text: text.to_owned(), used: "utf-8".to_owned(), lossy: false };
        }
        let (text, used, lossy) = ISO_2022_JP.decode(bytes);
        return standard(text, used, lossy);
    }
    let (sample, _, _) = UTF_8.decode(&bytes[..bytes.len().min(DETECT_BYTES)]);
    let broken = sample.matches('\u{fffd}').count();
    let whole = sample.chars().filter(|c| !c.is_ascii()).count() - broken;
    // Mostly UTF-8 with a few damaged bytes: a single-byte guess would spoil all of it.
    if whole > 4 * broken {
        let (text, used, lossy) = UTF_8.decode(bytes);
        return standard(text, used, lossy);
    }
    match detect(bytes) {
        Some(guess) => guess,
        None => {
            let (text, used, lossy) = WINDOWS_1252.decode(bytes);
            standard(text, used, lossy)
        }
    }
}

fn strict_utf8(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().map(|text| text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn standard(text: Cow<'_, str>, used: &'static Encoding, lossy: bool) -> Decoded {
    Decoded { text: text.into_owned(), used: used.name().to_ascii_lowercase(), lossy }
}

/// The detector's guess, among the charsets that mail is written in.
fn detect(bytes: &[u8]) -> Option<Decoded> {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(&bytes[..bytes.len().min(DETECT_BYTES)], true);
    let guess = detector.guess(None, Utf8Detection::Deny);
    let guess = if [GBK, GB18030].contains(&guess) { GB18030 } else { guess };
    let (text, used, lossy) = guess.decode(bytes);
    // A guess that does not even hold is no guess, except that EUC and Shift_JIS mails with one damaged byte are common.
    let tolerable = !lossy || [EUC_JP, EUC_KR, SHIFT_JIS, BIG5, GB18030].contains(&used);
    tolerable.then(|| standard(text, used, lossy))
}

fn foreign(bytes: &[u8], label: &str) -> Decoded {
    if !bytes.is_ascii()
        && let Some(text) = strict_utf8(bytes)
    {
        return Decoded { text: text.to_owned(), used: "utf-8".to_owned(), lossy: false };
    }
    match charset_decoder(label.as_bytes()) {
        Some(decoder) => {
            let text = decoder(bytes);
            let lossy = text.contains('\u{fffd}');
            Decoded { text, used: label.to_owned(), lossy }
        }
        None => undeclared(bytes),
    }
}

impl Shifted {
    fn decode(self, bytes: &[u8]) -> Decoded {
        let mut out = Vec::with_capacity(bytes.len());
        let mut shifted = false;
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let (skip, now) = match self {
                Self::Iso2022Kr if rest.starts_with(b"\x1b$)C") => (4, shifted),
                Self::Iso2022Kr if rest[0] == 0x0e => (1, true),
                Self::Iso2022Kr if rest[0] == 0x0f => (1, false),
                Self::Hz if rest.starts_with(b"~{") => (2, true),
                Self::Hz if rest.starts_with(b"~}") => (2, false),
                Self::Hz if rest.starts_with(b"~\n") => (2, shifted),
                Self::Hz if rest.starts_with(b"~~") && !shifted => {
                    out.push(b'~');
                    (2, shifted)
                }
                _ => {
                    out.push(if shifted && rest[0].is_ascii_graphic() { rest[0] | 0x80 } else { rest[0] });
                    (1, shifted)
                }
            };
            shifted = now;
            at += skip;
        }
        let (encoding, used) = match self {
            Self::Iso2022Kr => (EUC_KR, "iso-2022-kr"),
            Self::Hz => (GB18030, "hz-gb-2312"),
        };
        let (text, _, lossy) = encoding.decode(&out);
        Decoded { text: text.into_owned(), used: used.to_owned(), lossy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(hex_bytes: &str, label: Option<&str>) -> String {
        let bytes: Vec<u8> = (0..hex_bytes.len() / 2)
            .map(|i| u8::from_str_radix(&hex_bytes[2 * i..2 * i + 2], 16).expect("hex"))
            .collect();
        decode(&bytes, label).text
    }

    #[test]
    fn labels_as_they_are_seen() {
        for (bytes, label, expected) in [
            ("f0d2c9d7c5d4", "koi8-r", "Привет"),
            ("f0d2c9d7c5d4", "\"KOI8R\"", "Привет"),
            ("a7", "koi8-u", "ї"),
            ("cff0e8e2e5f2", "win-1251", "Привет"),
            ("b9", "cp1251", "№"),
            ("9378949685", "iso-8859-1", "“x”–…"),
            ("1b2442467c4b5c1b2842", "iso-2022-jp", "日本"),
            ("1b2442467c4b5c1b2842", "cp50220", "日本"),
            ("a2e3", "gb2312", "€"),
            ("95328236", "gb18030", "\u{20000}"),
            ("94ee", "ks_c_5601-1987", "뷁"),
            ("8740", "cp932", "①"),
        ] {
            assert_eq!(text(bytes, Some(label)), expected, "{label}");
        }
        assert_eq!(decode(b"+BB8EQAQ4BDIENQRC- +AKM-", Some("unicode-1-1-utf-7")).text, "Привет £");
    }

    #[test]
    fn utf8_behind_a_wrong_label() {
        for label in ["us-ascii", "iso-8859-1", "windows-1251", "koi8-r"] {
            let decoded = decode("Привет, мир".as_bytes(), Some(label));
            assert_eq!((decoded.text.as_str(), decoded.lossy), ("Привет, мир", false), "{label}");
        }
        // Two bytes of KOI8-R that happen to be valid UTF-8 stay KOI8-R.
        assert_eq!(decode(b"\xc5\xa3", Some("koi8-r")).text, "её");
    }

    #[test]
    fn no_label() {
        assert_eq!(decode("Grüße".as_bytes(), None).text, "Grüße");
        assert_eq!(decode(b"\x1b$B$3$s\x1b(B", None).text, "こん");
        let (bytes, _, _) = WINDOWS_1251.encode("Добрый день, пришлите пожалуйста счёт за март");
        let decoded = decode(&bytes, Some("unknown-8bit"));
        assert_eq!(
            (decoded.text.as_str(), decoded.used.as_str()),
            ("Добрый день, пришлите пожалуйста счёт за март", "windows-1251")
        );
    }

    #[test]
    fn wrong_utf8_label_and_damage() {
        let (bytes, _, _) = WINDOWS_1251.encode("Здравствуйте, где мой заказ номер двенадцать");
        let decoded = decode(&bytes, Some("utf-8"));
        assert_eq!((decoded.used.as_str(), decoded.lossy), ("windows-1251", false));
        let damaged = [&"Здравствуйте".as_bytes()[..5], " заказ номер двенадцать".as_bytes()].concat();
        let decoded = decode(&damaged, Some("utf-8"));
        assert!(decoded.lossy && decoded.text.contains("заказ"), "{decoded:?}");
    }

    #[test]
    fn shifted_charsets() {
        assert_eq!(decode(b"\x1b$)C\x0eGQ1[\x0f ok", Some("iso-2022-kr")).text, "한글 ok");
        assert_eq!(decode(b"~{VPND~} ok", Some("hz-gb-2312")).text, "中文 ok");
    }
}
