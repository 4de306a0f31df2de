//! Which conversation a mail belongs to: message ids, subject without prefixes, ticket markers.

use crate::header::{Headers, plain};

/// Ids of References beyond this number are left out, the middle ones first: the root and the newest matter.
pub const MAX_REFERENCES: usize = 100;
/// Markers beyond this number are left out.
const MAX_MARKERS: usize = 20;
/// Body text in which markers are looked for.
const MARKER_SEARCH_BYTES: usize = 64 << 10;
/// Longest text between the brackets of a marker.
const MAX_MARKER_BYTES: usize = 40;

/// Reply and forward prefixes in the languages that are in use, lower case.
const PREFIXES: &[&str] = &[
    "re",
    "fw",
    "fwd",
    "aw",
    "antw",
    "antwort",
    "wg",
    "sv",
    "vs",
    "vl",
    "tr",
    "rv",
    "rif",
    "r",
    "i",
    "res",
    "enc",
    "odp",
    "pd",
    "ynt",
    "ilt",
    "atb",
    "bls",
    "tr",
    "ref",
    "отв",
    "ответ",
    "на",
    "нa",
    "пересл",
    "回复",
    "答复",
    "转发",
    "回覆",
    "轉寄",
    "返信",
    "転送",
    "회신",
    "전달",
    "הועבר",
    "תגובה",
    "رد",
    "إعادة توجيه",
    "σχετ",
    "απ",
];

/// Message ids (without brackets) in a header such as References or In-Reply-To; separators and comments are ignored.
/// Where there are no brackets, words with an `@` are taken.
pub fn message_ids(raw: &[u8]) -> Vec<String> {
    let text = plain(raw);
    let mut ids = Vec::new();
    let mut rest = text.as_str();
    while let Some(open) = rest.find('<') {
        let inner = &rest[open + 1..];
        let Some(close) = inner.find('>') else { break };
        // Folding may have put white space into the id.
        let id: String = inner[..close].chars().filter(|c| !c.is_whitespace() && *c != '<').collect();
        push_new(&mut ids, id);
        rest = &inner[close + 1..];
    }
    if ids.is_empty() {
        for word in text.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';')) {
            if word.contains('@') {
                push_new(&mut ids, word.trim_matches(['<', '>', '"']).to_owned());
            }
        }
    }
    ids
}

fn push_new(ids: &mut Vec<String>, id: String) {
    if !id.is_empty() && !ids.contains(&id) && ids.len() < 10 * MAX_REFERENCES {
        ids.push(id);
    }
}

/// The mail's own id without brackets; a malformed one is kept as written.
pub fn message_id(headers: &Headers<'_>) -> Option<String> {
    let raw = headers.first("message-id")?;
    message_ids(raw).into_iter().next().or_else(|| {
        let text = plain(raw);
        (!text.is_empty()).then(|| text.trim_matches(['<', '>']).to_owned())
    })
}

/// What the headers say about the thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    pub message_id: Option<String>,
    pub in_reply_to: Option<String>,
    /// Oldest first; In-Reply-To where References is missing.
    pub references: Vec<String>,
    /// How many References there were.
    pub reference_count: usize,
}

impl Thread {
    pub fn of(headers: &Headers<'_>) -> Self {
        let in_reply_to: Vec<String> = headers.all("in-reply-to").flat_map(message_ids).collect();
        let mut references: Vec<String> = headers.all("references").flat_map(message_ids).collect();
        if references.is_empty() {
            references.clone_from(&in_reply_to);
        }
        let reference_count = references.len();
        if reference_count > MAX_REFERENCES {
            references.drain(MAX_REFERENCES / 2..reference_count - MAX_REFERENCES / 2);
        }
        let in_reply_to = in_reply_to.into_iter().next();
        Self { message_id: message_id(headers), in_reply_to, references, reference_count }
    }

    /// The first message of the thread, as far as this mail knows.
    pub fn root(&self) -> Option<&str> {
        self.references.first().or(self.message_id.as_ref()).map(String::as_str)
    }
}

/// The subject without reply and forward prefixes and without list tags before them; white space folded.
pub fn normalize_subject(subject: &str) -> String {
    let mut rest = subject.trim();
    loop {
        let before = rest;
        rest = without_prefix(rest);
        // `[list] Re: x`: the tag goes only where a prefix follows or followed; a ticket marker stays.
        if let Some((tag, behind)) = list_tag(rest)
            && without_prefix(behind) != behind
            && !is_marker(tag)
        {
            rest = without_prefix(behind);
        }
        if rest == before {
            return connector_sdk::text::one_line(rest);
        }
    }
}

fn without_prefix(text: &str) -> &str {
    let Some(colon) = text.find([':', '：']) else { return text };
    let word = text[..colon].trim();
    // `Re[2]:` and `Re (3):` count the replies.
    let word =
        word.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '[' | ']' | '(' | ')' | ' ' | '^' | '*'));
    let word = word.to_lowercase();
    if !PREFIXES.contains(&word.as_str()) {
        return text;
    }
    let colon_bytes = text[colon..].chars().next().map_or(1, char::len_utf8);
    text[colon + colon_bytes..].trim_start()
}

fn list_tag(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('[')?;
    let close = inner.find(']')?;
    Some((&inner[..close], inner[close + 1..].trim_start()))
}

/// Ticket markers in subject and text, as written: `[#1234]`, `[Ticket#2024-7]`, `[Case 17]`, `ref:_00Dx._500y:ref`.
pub fn ticket_markers(subject: &str, text: &str) -> Vec<String> {
    let mut markers: Vec<String> = Vec::new();
    let (text, _) = connector_sdk::text::cut(text, MARKER_SEARCH_BYTES);
    for source in [subject, text] {
        let mut rest = source;
        while let Some(open) = rest.find(['[', 'r']) {
            let here = &rest[open..];
            let found = bracket_marker(here).or_else(|| reference_marker(here));
            let length = found.map_or(1, str::len);
            if let Some(found) = found
                && markers.len() < MAX_MARKERS
                && !markers.iter().any(|have| have == found)
            {
                markers.push(found.to_owned());
            }
            rest = &here[length..];
        }
    }
    markers
}

fn bracket_marker(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let close = inner.char_indices().take_while(|(at, _)| *at <= MAX_MARKER_BYTES).find(|(_, c)| *c == ']')?.0;
    is_marker(&inner[..close]).then(|| &text[..close + 2])
}

/// `#1234`, `Ticket#2024-7`, `Ticket: #7`, `Case 17`, `SR-2024-17`.
fn is_marker(inner: &str) -> bool {
    let number = |text: &str| {
        text.contains(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
    };
    if let Some((before, after)) = inner.split_once('#') {
        return number(after.trim()) && before.chars().all(|c| c.is_alphabetic() || matches!(c, ' ' | ':' | '-'));
    }
    let lower = inner.to_lowercase();
    ["ticket", "case", "request", "incident", "anfrage", "vorgang", "заявка", "обращение", "sr", "inc"].iter().any(
        |word| {
            lower
                .strip_prefix(word)
                .is_some_and(|rest| rest.starts_with([' ', ':', '-']) && number(rest.trim_matches([' ', ':', '-'])))
        },
    )
}

/// Salesforce puts `ref:_00D….…:ref` into subject or body.
fn reference_marker(text: &str) -> Option<&str> {
    const END: &str = ":ref";
    const MAX_REFERENCE_BYTES: usize = 80;
    let inner = text.strip_prefix("ref:")?;
    let end = inner.find(END).filter(|end| (8..=MAX_REFERENCE_BYTES).contains(end))?;
    let body = &inner[..end];
    body.chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '!'))
        .then(|| &text[..4 + end + END.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header;

    #[test]
    fn ids_with_every_separator() {
        assert_eq!(message_ids(b" <a@x>,<b@x>\r\n <c@\r\n x>"), ["a@x", "b@x", "c@x"]);
        assert_eq!(message_ids(b"Your message of Monday <a@x> \"hi\""), ["a@x"]);
        assert_eq!(message_ids(b"a@x b@x"), ["a@x", "b@x"]);
        assert!(message_ids(b"none").is_empty());
    }

    #[test]
    fn root_of_the_thread() {
        let (headers, _) = header::split(b"Message-ID: <3@x>\r\nIn-Reply-To: <2@x>\r\nReferences: <1@x> <2@x>\r\n\r\n");
        let thread = Thread::of(&headers);
        assert_eq!(thread.root(), Some("1@x"));
        assert_eq!(thread.in_reply_to.as_deref(), Some("2@x"));
        let (headers, _) = header::split(b"Message-ID: <a@@b>\r\n\r\n");
        assert_eq!(Thread::of(&headers).root(), Some("a@@b"));
        let (headers, _) = header::split(b"Message-ID: broken id\r\nIn-Reply-To: <9@x>\r\n\r\n");
        assert_eq!(
            (Thread::of(&headers).root(), Thread::of(&headers).message_id.as_deref()),
            (Some("9@x"), Some("broken id"))
        );
    }

    #[test]
    fn long_references_keep_both_ends() {
        let mut mail = b"References:".to_vec();
        for n in 0..300 {
            mail.extend(format!(" <{n}@x>").bytes());
        }
        let (headers, _) = header::split(&mail);
        let thread = Thread::of(&headers);
        assert_eq!((thread.references.len(), thread.reference_count), (MAX_REFERENCES, 300));
        assert_eq!((thread.references[0].as_str(), thread.references[99].as_str()), ("0@x", "299@x"));
    }

    #[test]
    fn subjects() {
        for (subject, expected) in [
            ("Re: Fwd: Order 7", "Order 7"),
            ("RE[2]: AW: Order 7", "Order 7"),
            ("Отв: На: Заказ", "Заказ"),
            ("回复：订单", "订单"),
            ("[list] Re: Hello", "Hello"),
            ("Re: [#12] Hello", "[#12] Hello"),
            ("[list] Hello", "[list] Hello"),
            ("Reminder: pay", "Reminder: pay"),
            ("Re:", ""),
        ] {
            assert_eq!(normalize_subject(subject), expected, "{subject}");
        }
    }

    #[test]
    fn markers() {
        assert_eq!(
            ticket_markers("Re: [#1234] broken [urgent]", "see [Ticket#2024-7] and [1]"),
            ["[#1234]", "[Ticket#2024-7]"]
        );
        assert_eq!(
            ticket_markers("x [Case 17]", "ref:_00D30x._500Ab:ref rest"),
            ["[Case 17]", "ref:_00D30x._500Ab:ref"]
        );
        assert!(ticket_markers("[JIRA] a", "array[3] re: r").is_empty());
    }
}
