//! Where in a request its proof of origin stands, and copies of the request in which it is tampered with.

use connector_sdk::RawEvent;
use connector_sdk::fixture::Proof;

/// Changed bytes that are tried in one place; evenly spaced in a longer one.
const CHANGES_MAX: usize = 400;

/// A tampered copy and what was done to it.
pub(crate) struct Forgery {
    pub what: String,
    pub raw: RawEvent,
}

/// Whether the request carries every declared place of the proof; the error names one that is missing.
pub(crate) fn present(proof: &Proof, raw: &RawEvent) -> Result<(), String> {
    for name in &proof.headers {
        if raw.headers.get_all(name).count() != 1 {
            return Err(format!("header {name}"));
        }
    }
    for name in &proof.query {
        query_value(raw, name).ok_or_else(|| format!("query parameter {name}"))?;
    }
    for name in &proof.fields {
        field_value(raw, name).ok_or_else(|| format!("field {name}"))?;
    }
    Ok(())
}

/// Whether anything at all proves the origin.
pub(crate) fn is_empty(proof: &Proof) -> bool {
    proof.headers.is_empty() && proof.query.is_empty() && proof.fields.is_empty()
}

/// Every place of the proof missing, doubled, or with a byte changed.
pub(crate) fn forgeries(proof: &Proof, raw: &RawEvent) -> Vec<Forgery> {
    let mut list = Vec::new();
    for name in &proof.headers {
        header(name, raw, &mut list);
    }
    for name in &proof.query {
        if let Some((from, to)) = query_value(raw, name) {
            for (at, uri) in changed(raw.uri.as_bytes(), from, to) {
                let mut copy = raw.clone();
                copy.uri = String::from_utf8_lossy(&uri).into_owned();
                list.push(Forgery { what: format!("query parameter {name} with byte {at} changed"), raw: copy });
            }
            let mut copy = raw.clone();
            copy.uri.replace_range(from..to, "");
            list.push(Forgery { what: format!("query parameter {name} emptied"), raw: copy });
        }
    }
    for name in &proof.fields {
        if let Some((from, to)) = field_value(raw, name) {
            for (at, body) in changed(&raw.body, from, to) {
                list.push(with_body(raw, format!("field {name} with byte {at} changed"), body));
            }
            let emptied = [&raw.body[..from], &raw.body[to..]].concat();
            list.push(with_body(raw, format!("field {name} emptied"), emptied));
        }
    }
    list
}

fn header(name: &str, raw: &RawEvent, list: &mut Vec<Forgery>) {
    let value: Vec<u8> = raw.headers.get_all(name).next().unwrap_or_default().to_vec();
    let mut missing = raw.clone();
    missing.headers.remove(name);
    list.push(Forgery { what: format!("header {name} missing"), raw: missing });
    let mut emptied = raw.clone();
    emptied.headers.set(name, Vec::new());
    list.push(Forgery { what: format!("header {name} emptied"), raw: emptied });
    let mut doubled = raw.clone();
    doubled.headers.push(name, value.clone());
    list.push(Forgery { what: format!("header {name} doubled"), raw: doubled });
    let mut second = raw.clone();
    second.headers.push(name, "x".to_owned());
    list.push(Forgery { what: format!("header {name} with another line"), raw: second });
    for (at, value) in changed(&value, 0, value.len()) {
        let mut copy = raw.clone();
        copy.headers.set(name, value);
        list.push(Forgery { what: format!("header {name} with byte {at} changed"), raw: copy });
    }
}

/// The body with a byte changed, cut, lengthened, emptied.
pub(crate) fn bodies(raw: &RawEvent) -> Vec<Forgery> {
    let body = &raw.body;
    let mut list: Vec<Forgery> = changed(body, 0, body.len())
        .into_iter()
        .map(|(at, body)| with_body(raw, format!("byte {at} of the body changed"), body))
        .collect();
    if let Some((_, start)) = body.split_last() {
        list.push(with_body(raw, "the body's last byte cut off".to_owned(), start.to_vec()));
        list.push(with_body(raw, "the body emptied".to_owned(), Vec::new()));
    }
    list.push(with_body(raw, "a byte put behind the body".to_owned(), [body, &b"x"[..]].concat()));
    list
}

/// Another path, another query.
pub(crate) fn urls(raw: &RawEvent) -> Vec<Forgery> {
    let with = |what: &str, uri: String| {
        let mut copy = raw.clone();
        copy.uri = uri;
        Forgery { what: what.to_owned(), raw: copy }
    };
    let more = if raw.query().is_some() { "&forged=1" } else { "?forged=1" };
    let path = raw.path();
    vec![
        with("a query parameter added", format!("{}{more}", raw.uri)),
        with("another path", raw.uri.replacen(path, &format!("{path}x"), 1)),
    ]
}

fn with_body(raw: &RawEvent, what: String, body: Vec<u8>) -> Forgery {
    let mut copy = raw.clone();
    copy.body = body.into();
    Forgery { what, raw: copy }
}

/// Copies in which one byte of `from..to` is another of its sort (a digit for a digit, a letter for a letter, so that a
/// changed hex or base64 text is still one), all of them in a short place.
fn changed(bytes: &[u8], from: usize, to: usize) -> Vec<(usize, Vec<u8>)> {
    let step = (to - from).div_ceil(CHANGES_MAX).max(1);
    (from..to)
        .step_by(step)
        .map(|at| {
            let mut copy = bytes.to_vec();
            copy[at] = other(bytes[at]);
            (at - from, copy)
        })
        .collect()
}

fn other(byte: u8) -> u8 {
    match byte {
        b'9' => b'0',
        b'f' => b'a',
        b'F' => b'A',
        b'z' => b'y',
        b'Z' => b'Y',
        b'0'..=b'8' | b'a'..=b'y' | b'A'..=b'Y' => byte + 1,
        _ => byte ^ 1,
    }
}

/// Where the value of a query parameter stands in the URI.
fn query_value(raw: &RawEvent, name: &str) -> Option<(usize, usize)> {
    let query = raw.uri.find('?')? + 1;
    pair(&raw.uri.as_bytes()[query..], name).map(|(from, to)| (query + from, query + to))
}

/// The value of a query parameter, as it stands in the URI.
pub(crate) fn query_text(raw: &RawEvent, name: &str) -> Option<String> {
    query_value(raw, name).map(|(from, to)| raw.uri[from..to].to_owned())
}

/// The value of a field, as it stands in the body.
pub(crate) fn field_text(raw: &RawEvent, name: &str) -> Option<String> {
    field_value(raw, name).map(|(from, to)| String::from_utf8_lossy(&raw.body[from..to]).into_owned())
}

fn pair(bytes: &[u8], name: &str) -> Option<(usize, usize)> {
    let mut at = 0;
    for pair in bytes.split(|byte| *byte == b'&') {
        let key = [name.as_bytes(), b"="].concat();
        if pair.starts_with(&key) && pair.len() > key.len() {
            return Some((at + key.len(), at + pair.len()));
        }
        at += pair.len() + 1;
    }
    None
}

/// Where the value of a field stands in an urlencoded, multipart or JSON body.
fn field_value(raw: &RawEvent, name: &str) -> Option<(usize, usize)> {
    let body = &raw.body[..];
    let (start, ends): (String, &[u8]) = match raw.headers.media_type().as_deref() {
        Some("application/x-www-form-urlencoded") => return pair(body, name),
        Some("application/json") => (format!("\"{name}\":"), b"\""),
        _ => (format!("name=\"{name}\"\r\n\r\n"), b"\r"),
    };
    let mut from = find(body, start.as_bytes())? + start.len();
    if ends == b"\"" {
        from += body[from..].iter().position(|byte| *byte == b'"')? + 1;
    }
    let to = from + body[from..].iter().position(|byte| ends.contains(byte))?;
    (to > from).then_some((from, to))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
