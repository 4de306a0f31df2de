//! Content-Type and Content-Disposition with their parameters (RFC 2045, 2231), as they are written in the field.

use connector_sdk::text::one_line;

use crate::charset;
use crate::header::unfold;
use crate::words;

/// Parameters beyond this number are not looked at.
const MAX_PARAMETERS: usize = 200;
/// Names after which an unquoted value with spaces is cut, where the semicolon is missing.
const KNOWN: &[&str] =
    &["charset", "name", "filename", "boundary", "size", "format", "delsp", "type", "method", "creation-date"];

/// A value such as `text/plain; charset=utf-8`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    /// The part before the first semicolon, lower case.
    pub main: String,
    list: Vec<Section>,
}

/// One parameter as written: `filename*1*=…`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Section {
    name: String,
    index: Option<u32>,
    extended: bool,
    value: Vec<u8>,
}

/// A parameter's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub text: String,
    /// As it was written, where decoding changed it.
    pub raw: Option<String>,
}

impl Params {
    pub fn parse(raw: &[u8]) -> Self {
        let bytes = unfold(raw);
        let mut rest = bytes.trim_ascii();
        let main_end = rest.iter().position(|b| *b == b';' || b.is_ascii_whitespace()).unwrap_or(rest.len());
        let main = String::from_utf8_lossy(&rest[..main_end]).trim_matches('"').to_ascii_lowercase();
        rest = &rest[main_end..];
        let mut list = Vec::new();
        while list.len() < MAX_PARAMETERS {
            rest = skip(rest, |b| b == b';' || b.is_ascii_whitespace());
            let Some(equals) = rest.iter().position(|b| matches!(b, b'=' | b';')) else { break };
            let (name, tail) = (&rest[..equals], &rest[equals..]);
            if tail[0] == b';' {
                rest = tail;
                continue;
            }
            let (value, tail) = value(skip(&tail[1..], |b| b.is_ascii_whitespace()));
            list.push(Section::new(name, value));
            rest = tail;
        }
        Self { main, list }
    }

    /// A parameter by its lower-case name; the extended form (`name*`) wins over the plain one.
    pub fn get(&self, name: &str) -> Option<Value> {
        let mut sections: Vec<&Section> = self.list.iter().filter(|s| s.name == name).collect();
        let extended = sections.iter().any(|s| s.extended || s.index.is_some());
        if !extended {
            return sections.first().map(|section| section.plain());
        }
        sections.retain(|s| s.extended || s.index.is_some());
        sections.sort_by_key(|s| s.index);
        continued(&sections)
    }

    /// A parameter whose value is a plain token (`charset`, `boundary`, `format`).
    pub fn token(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| value.text).filter(|text| !text.is_empty())
    }
}

impl Section {
    fn new(name: &[u8], value: Vec<u8>) -> Self {
        let name = String::from_utf8_lossy(name).trim().to_ascii_lowercase();
        let mut parts = name.split('*');
        let base = parts.next().unwrap_or_default().trim().to_owned();
        let rest: Vec<&str> = parts.collect();
        let index = rest.first().and_then(|index| index.trim().parse().ok());
        let extended = rest.last().is_some_and(|last| last.is_empty());
        Self { name: base, index, extended, value }
    }

    fn plain(&self) -> Value {
        let decoded = words::decode(&self.value);
        let raw = shown(&self.value);
        Value { raw: (raw != decoded.text).then_some(raw), text: decoded.text }
    }
}

/// Joins `name*0*=charset'lang'…; name*1=…`; bytes first, since characters may be cut between sections.
fn continued(sections: &[&Section]) -> Option<Value> {
    let mut label = None;
    let (mut bytes, mut raw) = (Vec::new(), Vec::new());
    for (position, section) in sections.iter().enumerate() {
        let mut value = &section.value[..];
        raw.extend_from_slice(value);
        if section.extended {
            if position == 0
                && let Some((charset, rest)) = charset_of(value)
            {
                label = charset;
                value = rest;
            }
            bytes.extend(percent(value));
        } else {
            bytes.extend_from_slice(value);
        }
        // `filename*=` is whole by itself; a second one is a repetition.
        if section.index.is_none() {
            break;
        }
    }
    if sections.is_empty() {
        return None;
    }
    let text = one_line(&charset::decode(&bytes, label.as_deref()).text);
    let text = if text.contains("=?") { words::decode(text.as_bytes()).text } else { text };
    let raw = shown(&raw);
    Some(Value { raw: (raw != text).then_some(raw), text })
}

/// The bytes as text; where they are no UTF-8, 8-bit ones as `%D1`, so that nothing is lost.
fn shown(bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            bytes.iter().map(|b| if b.is_ascii() { char::from(*b).to_string() } else { format!("%{b:02X}") }).collect()
        }
    };
    one_line(&text)
}

/// Splits `UTF-8'de'rest`.
fn charset_of(value: &[u8]) -> Option<(Option<String>, &[u8])> {
    let first = value.iter().position(|b| *b == b'\'')?;
    let second = first + 1 + value[first + 1..].iter().position(|b| *b == b'\'')?;
    let label = String::from_utf8_lossy(&value[..first]).into_owned();
    Some(((!label.is_empty()).then_some(label), &value[second + 1..]))
}

fn percent(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut at = 0;
    while at < value.len() {
        match value[at] {
            b'%' => match crate::transfer::hex_pair(value.get(at + 1..at + 3)) {
                Some(byte) => {
                    out.push(byte);
                    at += 3;
                    continue;
                }
                None => out.push(b'%'),
            },
            byte => out.push(byte),
        }
        at += 1;
    }
    out
}

/// A value and what follows it.
fn value(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    if bytes.first() == Some(&b'"') {
        return quoted(&bytes[1..]);
    }
    let end = bytes.iter().position(|b| *b == b';').unwrap_or(bytes.len());
    let mut end_of_value = end;
    // `filename=my file.pdf size=3`: the semicolon is missing, the name's own spaces are kept.
    let text = &bytes[..end];
    for (at, _) in text.iter().enumerate().filter(|(_, b)| b.is_ascii_whitespace()) {
        let word = skip(&text[at..], |b| b.is_ascii_whitespace());
        let name = word.split(|b| matches!(b, b'=' | b'*')).next().unwrap_or_default();
        let known = KNOWN.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name));
        if word.len() > name.len() && known {
            end_of_value = at;
            break;
        }
    }
    (text[..end_of_value].trim_ascii().to_vec(), &bytes[end_of_value..])
}

fn quoted(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return (out, &bytes[at + 1..]),
            // Only quotes and backslashes are escaped; Windows paths are not.
            b'\\' if matches!(bytes.get(at + 1), Some(b'"' | b'\\')) => {
                out.push(bytes[at + 1]);
                at += 2;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    (out, &[])
}

fn skip(bytes: &[u8], mut unwanted: impl FnMut(u8) -> bool) -> &[u8] {
    let start = bytes.iter().position(|b| !unwanted(*b)).unwrap_or(bytes.len());
    &bytes[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(raw: &str, name: &str) -> Option<String> {
        Params::parse(raw.as_bytes()).get(name).map(|value| value.text)
    }

    #[test]
    fn file_names_in_every_spelling() {
        for (raw, expected) in [
            ("attachment; filename=\"a b.pdf\"", "a b.pdf"),
            ("attachment filename=\"x.pdf\"", "x.pdf"),
            ("attachment; filename=my file.pdf; size=3", "my file.pdf"),
            ("attachment; filename=my file.pdf size=3", "my file.pdf"),
            ("attachment; filename=a.pdf; filename*=UTF-8''%C3%A4.pdf", "ä.pdf"),
            (
                "attachment; filename*0*=UTF-8''%D0%A1%D1%87%D1%91%D1%82%20%E2%84%96; filename*1*=%2012.pdf",
                "Счёт № 12.pdf",
            ),
            (
                "attachment; filename*1*=%2012.pdf; filename*0*=UTF-8''%D0%A1%D1%87%D1%91%D1%82%20%E2%84%96",
                "Счёт № 12.pdf",
            ),
            ("attachment; filename*0*=UTF-8''%D0; filename*1*=%A1.pdf", "С.pdf"),
            ("attachment; filename*0=\"long\"; filename*1=\"name.pdf\"", "longname.pdf"),
            ("attachment; filename=\"=?utf-8?B?0KHRh9GR0YI=?=.pdf\"", "Счёт.pdf"),
            ("attachment; filename=\"\\\"q\\\".pdf\"", "\"q\".pdf"),
            ("attachment; filename=\"unclosed.pdf", "unclosed.pdf"),
            ("attachment; filename*=windows-1251''%d1%f7%e5%f2.pdf", "Счет.pdf"),
        ] {
            assert_eq!(get(raw, "filename").as_deref(), Some(expected), "{raw}");
        }
        let raw_bytes = Params::parse(b"attachment; filename=\"\xd1\xf7\xe5\xf2 \xe7\xe0 \xec\xe0\xf0\xf2.pdf\"");
        assert_eq!(raw_bytes.get("filename").map(|v| v.text).as_deref(), Some("Счет за март.pdf"));
    }

    #[test]
    fn content_types() {
        let params = Params::parse(b" Text/Plain charset=\"UTF-8\"; FORMAT=flowed");
        assert_eq!(params.main, "text/plain");
        assert_eq!(params.token("charset").as_deref(), Some("UTF-8"));
        assert_eq!(params.token("format").as_deref(), Some("flowed"));
        assert_eq!(Params::parse(b"").main, "");
        assert_eq!(Params::parse(b";;=;x").get("x"), None);
    }

    #[test]
    fn raw_form_is_kept_where_it_differs() {
        let value = Params::parse(b"a; filename=\"=?utf-8?Q?=C3=A4?=\"").get("filename").expect("value");
        assert_eq!((value.text.as_str(), value.raw.as_deref()), ("ä", Some("=?utf-8?Q?=C3=A4?=")));
    }
}
