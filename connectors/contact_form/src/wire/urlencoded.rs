//! `application/x-www-form-urlencoded`, in whatever encoding the page had.

use std::borrow::Cow;

use connector_sdk::schemas::Charset;
use encoding_rs::{Encoding, UTF_8};
use percent_encoding::percent_decode;

use super::{CHARSET, FIELDS_MAX, Submission, WireError};

/// Repeated keys count each.
const PAIRS_MAX: usize = FIELDS_MAX;

/// Key and value in the page's encoding.
pub type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// `declared` is the charset parameter of Content-Type; a `_charset_` field wins over it. Bytes that are UTF-8 are read
/// as UTF-8 whatever is declared.
pub fn read(body: &[u8], declared: Option<&str>) -> Result<Submission, WireError> {
    let pairs: Vec<Pair<'_>> =
        body.split(|b| *b == b'&').filter(|pair| !pair.is_empty()).take(PAIRS_MAX + 1).map(pair).collect();
    if pairs.len() > PAIRS_MAX {
        return Err(WireError::TooMany);
    }
    let of_page = pairs.iter().find(|(key, _)| key.as_ref() == CHARSET.as_bytes());
    let of_page = of_page.map(|(_, value)| String::from_utf8_lossy(value).into_owned());
    let declared = of_page.filter(|label| !label.is_empty()).or_else(|| declared.map(str::to_owned));
    let utf8 = pairs.iter().all(|(key, value)| std::str::from_utf8(key).is_ok() && std::str::from_utf8(value).is_ok());
    let named = declared.as_deref().and_then(|label| Encoding::for_label(label.as_bytes()));
    let used = if utf8 { UTF_8 } else { named.unwrap_or(UTF_8) };

    let mut submission = Submission::default();
    let mut lossy = false;
    for (key, value) in &pairs {
        let (key, bad_key) = used.decode_without_bom_handling(key);
        let (value, bad_value) = used.decode_without_bom_handling(value);
        lossy |= bad_key | bad_value;
        submission.add(&key, value.into_owned());
    }
    if !utf8 {
        submission.charset = Some(Charset { declared, used: used.name().to_lowercase(), lossy });
    }
    Ok(submission)
}

/// A pair of key and value, decoded to the page's bytes.
pub fn pair(pair: &[u8]) -> Pair<'_> {
    let mut halves = pair.splitn(2, |b| *b == b'=');
    let key = halves.next().unwrap_or_default();
    (decode(key), decode(halves.next().unwrap_or_default()))
}

fn decode(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.contains(&b'+') {
        return percent_decode(bytes).into();
    }
    let spaced: Vec<u8> = bytes.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    Cow::Owned(percent_decode(&spaced).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_utf8_repeated_keys_and_other_encodings() {
        let submission = read(b"a=1+2&a=%D7%A9&b[]=x&b[]=y&c&=z", None).unwrap();
        assert_eq!(submission.values("a"), ["1 2", "ש"]);
        assert_eq!(submission.values("b"), ["x", "y"]);
        assert_eq!(submission.values("c"), [""]);
        assert!(submission.charset.is_none());

        let submission = read(b"_charset_=windows-1251&a=%CF%F0%E8%E2%E5%F2", None).unwrap();
        assert_eq!(submission.values("a"), ["Привет"]);
        assert_eq!(submission.charset.as_ref().map(|charset| charset.lossy), Some(false));

        let submission = read(b"a=%FF", None).unwrap();
        assert_eq!(submission.values("a"), ["\u{fffd}"]);
        assert_eq!(submission.charset.as_ref().map(|charset| charset.lossy), Some(true));
        assert_eq!(read("a=1&".repeat(201).as_bytes(), None).unwrap_err(), WireError::TooMany);
    }
}
