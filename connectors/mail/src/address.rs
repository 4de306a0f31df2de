//! Address lists: From, To, Cc and the like (RFC 5322 and what is sent instead).

use connector_sdk::text::one_line;

use crate::charset;
use crate::header::unfold;
use crate::words;

/// Addresses of one list beyond this number are left out.
pub const MAX_ADDRESSES: usize = 500;

/// One entry of an address list; at least one of its fields is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    pub name: Option<String>,
    /// As written, without brackets; a bare word (`MAILER-DAEMON`) is kept.
    pub address: Option<String>,
}

/// Every entry of a list, groups dissolved, at most [`MAX_ADDRESSES`]; and about how many there were.
pub fn parse(raw: &[u8]) -> (Vec<Mailbox>, usize) {
    let unfolded = unfold(raw);
    // 8-bit bytes become text before splitting: bytes of some charsets look like commas and quotes.
    let text = charset::decode(&unfolded, None).text;
    let pieces = split(&text);
    let pieces_count = pieces.len();
    let mut list = Vec::new();
    let mut held: Option<&str> = None;
    for (piece, separator) in pieces {
        if list.len() > MAX_ADDRESSES {
            break;
        }
        let piece = piece.trim();
        match held.take() {
            // `Doe, John <j@x>`: an unquoted comma in a name.
            Some(before) if piece.contains('<') => {
                list.extend(one(&format!("{before}, {piece}")));
                continue;
            }
            Some(before) => list.extend(one(before)),
            None => {}
        }
        if separator == ',' && !piece.is_empty() && !piece.contains(['@', '<', '=', '"']) {
            held = Some(piece);
            continue;
        }
        list.extend(one(piece));
    }
    list.extend(held.and_then(one));
    let count = if list.len() > MAX_ADDRESSES { pieces_count } else { list.len() };
    list.truncate(MAX_ADDRESSES);
    (list, count)
}

/// Splits at commas and semicolons outside quotes, comments and brackets; a group's name before its colon is dropped.
fn split(text: &str) -> Vec<(&str, char)> {
    let mut pieces = Vec::new();
    let (mut start, mut quoted, mut escaped, mut comments, mut angle) = (0, false, false, 0u32, false);
    // An odd quote or bracket in the middle of a word would swallow the rest of the list.
    let last = |c: char| text.rfind(c).unwrap_or(0);
    let (last_quote, last_comment, last_angle) = (last('"'), last(')'), last('>'));
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
            continue;
        }
        match c {
            '\\' if quoted || comments > 0 => escaped = true,
            '"' if comments == 0 && (quoted || at < last_quote) => quoted = !quoted,
            _ if quoted => {}
            '(' if at < last_comment => comments += 1,
            ')' => comments = comments.saturating_sub(1),
            _ if comments > 0 => {}
            '<' => angle = true,
            '>' => angle = false,
            ':' if !angle
                && !text[start..at].contains('@')
                && !text[start..at].trim().eq_ignore_ascii_case("mailto") =>
            {
                start = at + 1;
            }
            ',' | ';' if !angle || at > last_angle => {
                pieces.push((&text[start..at], c));
                start = at + c.len_utf8();
                angle = false;
            }
            _ => {}
        }
    }
    pieces.push((&text[start..], ' '));
    pieces
}

fn one(piece: &str) -> Option<Mailbox> {
    let piece = piece.trim();
    let mailbox = match bracketed(piece) {
        Some((name, address)) => Mailbox { name: self::name(name), address: self::address(address) },
        None => bare(piece),
    };
    (mailbox.name.is_some() || mailbox.address.is_some()).then_some(mailbox)
}

/// Splits `name <address>`; brackets within quotes do not count.
fn bracketed(piece: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let open = piece.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (c == '<' && !quoted).then_some(at)
    })?;
    let rest = &piece[open + 1..];
    let close = rest.find('>').unwrap_or(rest.len());
    let name = &piece[..open];
    // The name may stand behind the address.
    let behind = rest.get(close + 1..).unwrap_or_default();
    let name = if name.trim().is_empty() && !behind.contains('<') { behind } else { name };
    Some((name, &rest[..close]))
}

fn bare(piece: &str) -> Mailbox {
    let (outside, comment) = without_comments(piece);
    let outside = outside.trim();
    let decoded = if outside.contains("=?") { words::decode(outside.as_bytes()).text } else { outside.to_owned() };
    if let Some(word) = decoded.split_whitespace().find(|word| word.contains('@')) {
        let rest = decoded.replacen(word, "", 1);
        let name = name(&rest).or_else(|| name(&comment));
        return Mailbox { name, address: address(word) };
    }
    if !decoded.is_empty() && !decoded.contains(char::is_whitespace) && outside == decoded {
        return Mailbox { name: name(&comment), address: address(&decoded) };
    }
    Mailbox { name: name(&decoded), address: None }
}

fn without_comments(text: &str) -> (String, String) {
    let (mut outside, mut inside) = (String::new(), String::new());
    let mut depth = 0u32;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            _ if depth > 0 => inside.push(c),
            _ => outside.push(c),
        }
    }
    // Without a closing bracket it was no comment.
    if depth > 0 { (text.to_owned(), String::new()) } else { (outside, inside) }
}

fn name(text: &str) -> Option<String> {
    let text = text.trim();
    let text = match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => text.replace('"', ""),
    };
    let name = words::decode(text.as_bytes()).text;
    let name = name.trim_matches(|c: char| c == '\'' || c.is_whitespace());
    (!name.is_empty()).then(|| name.to_owned())
}

fn address(text: &str) -> Option<String> {
    let decoded = if text.contains("=?") { words::decode(text.as_bytes()).text } else { text.to_owned() };
    let (outside, _) = without_comments(&decoded);
    let text = one_line(&outside);
    let text = text.trim_matches(|c: char| matches!(c, '<' | '>' | '\'' | ',' | ';') || c.is_whitespace());
    let text = text.strip_prefix("mailto:").unwrap_or(text);
    // Source routes (`@relay:user@host`) are obsolete.
    let text = text.strip_prefix('@').and_then(|rest| rest.split_once(':')).map_or(text, |(_, rest)| rest);
    let text = text.trim_end_matches('.');
    // White space is legal only within a quoted local part.
    let text: String =
        if text.starts_with('"') { text.to_owned() } else { text.chars().filter(|c| !c.is_whitespace()).collect() };
    (!text.is_empty()).then_some(text)
}

/// `user` and `tag` of `user+tag@host`, with the address without the tag; `None` where there is no tag.
pub fn plus_tag(address: &str) -> Option<(String, String)> {
    let (local, domain) = address.rsplit_once('@')?;
    let (user, tag) = local.split_once('+')?;
    (!user.is_empty() && !tag.is_empty()).then(|| (format!("{user}@{domain}"), tag.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(raw: &str) -> Vec<(String, String)> {
        let text = |field: Option<String>| field.unwrap_or_else(|| "-".to_owned());
        parse(raw.as_bytes()).0.into_iter().map(|m| (text(m.name), text(m.address))).collect()
    }

    #[test]
    fn lists_as_they_are_written() {
        for (raw, expected) in [
            ("a@x.example", vec![("-", "a@x.example")]),
            ("Ann <a@x.example>, b@x.example", vec![("Ann", "a@x.example"), ("-", "b@x.example")]),
            ("\"Doe, John\" <j@x.example>", vec![("Doe, John", "j@x.example")]),
            ("Doe, John <j@x.example>", vec![("Doe, John", "j@x.example")]),
            ("a@x.example (Ann)", vec![("Ann", "a@x.example")]),
            ("undisclosed-recipients:;", vec![]),
            (
                "Team: a@x.example, Bo <b@x.example>; c@x.example",
                vec![("-", "a@x.example"), ("Bo", "b@x.example"), ("-", "c@x.example")],
            ),
            ("\"ceo@bank.example\" <evil@y.example>", vec![("ceo@bank.example", "evil@y.example")]),
            ("<a@x.example> <a@x.example>", vec![("-", "a@x.example")]),
            ("=?utf-8?Q?a@b.example?=", vec![("-", "a@b.example")]),
            ("=?utf-8?B?0JDQvdC90LA=?= <a@x.example>", vec![("Анна", "a@x.example")]),
            ("\"=?utf-8?B?0JDQvdC90LA=?=\" <a@x.example>", vec![("Анна", "a@x.example")]),
            ("MAILER-DAEMON", vec![("-", "MAILER-DAEMON")]),
            ("Ann Lee", vec![("Ann Lee", "-")]),
            ("a@x.example; b@x.example.", vec![("-", "a@x.example"), ("-", "b@x.example")]),
            ("'a@x.example'", vec![("-", "a@x.example")]),
            ("<@relay.example:a@x.example>", vec![("-", "a@x.example")]),
            ("Smith, a@x.example", vec![("-", "Smith"), ("-", "a@x.example")]),
            ("", vec![]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(n, a)| (n.to_owned(), a.to_owned())).collect();
            assert_eq!(list(raw), expected, "{raw}");
        }
    }

    #[test]
    fn eight_bit_names_and_tags() {
        let (list, _) = parse("Zoë <z@x.example>".as_bytes());
        assert_eq!(list[0].name.as_deref(), Some("Zoë"));
        assert_eq!(plus_tag("in+42@x.example"), Some(("in@x.example".into(), "42".into())));
        assert_eq!(plus_tag("in@x.example"), None);
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        let raw = vec!["a@x.example"; MAX_ADDRESSES + 7].join(",");
        let (list, count) = parse(raw.as_bytes());
        assert_eq!((list.len(), count), (MAX_ADDRESSES, MAX_ADDRESSES + 7));
    }
}
