//! Slack's markup and layouts as plain text.
//!
//! Source: docs.slack.dev `messaging/formatting-message-text` and `reference/block-kit`.

use std::borrow::Cow;

use serde_json::Value;

/// Plain text, and the users whom it mentions, in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plain<'a> {
    pub text: Cow<'a, str>,
    pub mentions: Vec<String>,
}

/// Markup (`&amp;`, `<@U…>`, `<url|label>`) resolved. Borrowed where there is none.
pub fn plain(markup: &str) -> Plain<'_> {
    let Some(first) = memchr::memchr2(b'<', b'&', markup.as_bytes()) else {
        return Plain { text: Cow::Borrowed(markup), mentions: Vec::new() };
    };
    let mut out = String::with_capacity(markup.len());
    let mut mentions = Vec::new();
    out.push_str(&markup[..first]);
    let mut rest = &markup[first..];
    while let Some(at) = rest.find(['<', '&']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let entity =
            [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>')].into_iter().find(|(name, _)| rest.starts_with(name));
        let tag = rest.strip_prefix('<').and_then(|tail| tail.split_once('>'));
        rest = match (entity, tag) {
            (Some((name, character)), _) => {
                out.push(character);
                &rest[name.len()..]
            }
            (None, Some((tag, tail))) => {
                resolve(tag, &mut out, &mut mentions);
                tail
            }
            (None, None) => {
                out.push_str(&rest[..1]);
                &rest[1..]
            }
        };
    }
    out.push_str(rest);
    Plain { text: Cow::Owned(out), mentions }
}

/// What stands between `<` and `>`: a mention, a channel, a command or a link.
fn resolve(tag: &str, out: &mut String, mentions: &mut Vec<String>) {
    let (name, label) = match tag.split_once('|') {
        Some((name, label)) => (name, Some(label).filter(|label| !label.is_empty())),
        None => (tag, None),
    };
    match name.as_bytes().first() {
        Some(b'@') => {
            mention(&name[1..], mentions);
            out.push('@');
            out.push_str(label.unwrap_or(&name[1..]));
        }
        Some(b'#') => {
            out.push('#');
            out.push_str(label.unwrap_or(&name[1..]));
        }
        Some(b'!') => match label {
            // A date or a user group: the label is what Slack shows.
            Some(label) => unescape(label, out),
            None => {
                out.push('@');
                out.push_str(name[1..].split('^').next_back().unwrap_or(&name[1..]));
            }
        },
        _ => {
            let url = name.strip_prefix("mailto:").or_else(|| name.strip_prefix("tel:")).unwrap_or(name);
            match label {
                Some(label) if label != url => {
                    unescape(label, out);
                    out.push_str(" (");
                    unescape(url, out);
                    out.push(')');
                }
                _ => unescape(url, out),
            }
        }
    }
}

fn unescape(text: &str, out: &mut String) {
    if text.contains('&') {
        out.push_str(&text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"));
    } else {
        out.push_str(text);
    }
}

fn mention(user: &str, mentions: &mut Vec<String>) {
    if !user.is_empty() && !mentions.iter().any(|have| have == user) {
        mentions.push(user.to_owned());
    }
}

/// Text of `blocks`, one line a block, for messages whose `text` is empty.
pub fn of_blocks(blocks: &Value) -> Plain<'static> {
    let mut lines = Lines::default();
    for block in list(blocks) {
        lines.block(block);
    }
    lines.finish()
}

/// Text of legacy `attachments`, for messages whose `text` is empty.
pub fn of_attachments(attachments: &Value) -> Plain<'static> {
    let mut lines = Lines::default();
    for attachment in list(attachments) {
        let before = lines.text.len();
        for field in ["pretext", "title", "text"] {
            lines.markup(attachment.get(field));
        }
        for block in attachment.get("blocks").into_iter().flat_map(list) {
            lines.block(block);
        }
        if lines.text.len() == before {
            lines.markup(attachment.get("fallback"));
        }
    }
    lines.finish()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[derive(Default)]
struct Lines {
    text: String,
    mentions: Vec<String>,
}

impl Lines {
    fn finish(self) -> Plain<'static> {
        Plain { text: Cow::Owned(self.text.trim_end().to_owned()), mentions: self.mentions }
    }

    fn end_line(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    /// A line of markup: a string, or a text object.
    fn markup(&mut self, value: Option<&Value>) {
        let Some(markup) = value.and_then(|v| v.as_str().or_else(|| v.get("text")?.as_str())) else { return };
        let Plain { text, mentions } = plain(markup);
        self.text.push_str(&text);
        self.end_line();
        mentions.iter().for_each(|user| mention(user, &mut self.mentions));
    }

    fn block(&mut self, block: &Value) {
        match block.get("type").and_then(Value::as_str) {
            Some("rich_text") => block.get("elements").into_iter().flat_map(list).for_each(|e| self.rich(e)),
            _ => {
                for field in ["title", "text", "label", "alt_text"] {
                    self.markup(block.get(field));
                }
                for parts in ["fields", "elements"] {
                    block.get(parts).into_iter().flat_map(list).for_each(|part| self.markup(Some(part)));
                }
            }
        }
        self.end_line();
    }

    /// One element of rich text; containers end a line.
    fn rich(&mut self, element: &Value) {
        let field = |name: &str| element.get(name).and_then(Value::as_str).unwrap_or_default();
        match field("type") {
            "text" => self.text.push_str(field("text")),
            "link" if field("text").is_empty() => self.text.push_str(field("url")),
            "link" => self.text.push_str(&format!("{} ({})", field("text"), field("url"))),
            "emoji" => self.text.push_str(&format!(":{}:", field("name"))),
            "user" => {
                mention(field("user_id"), &mut self.mentions);
                self.text.push_str(&format!("@{}", field("user_id")));
            }
            "channel" => self.text.push_str(&format!("#{}", field("channel_id"))),
            "usergroup" => self.text.push_str(&format!("@{}", field("usergroup_id"))),
            "broadcast" => self.text.push_str(&format!("@{}", field("range"))),
            "date" => self.text.push_str(field("fallback")),
            _ => {
                self.end_line();
                element.get("elements").into_iter().flat_map(list).for_each(|inner| self.rich(inner));
                self.end_line();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(markup: &str) -> String {
        plain(markup).text.into_owned()
    }

    #[test]
    fn markup_becomes_text() {
        assert!(matches!(plain("שלום 😀").text, Cow::Borrowed(_)));
        assert_eq!(text("a &amp; b &lt;c&gt; &amp;lt; & <"), "a & b <c> &lt; & <");
        assert_eq!(text("<https://a.example/?x=1&amp;y=2|see>"), "see (https://a.example/?x=1&y=2)");
        assert_eq!(text("<https://a.example> <mailto:a@b.example|a@b.example>"), "https://a.example a@b.example");
        assert_eq!(text("<#C01|general> <!here> <!subteam^S1|@help> <!subteam^S1>"), "#general @here @help @S1");
        assert_eq!(text("<!date^1392734382^{date}|Feb 18>"), "Feb 18");
    }

    #[test]
    fn mentions_are_found_once() {
        let plain = plain("<@U1> <@U2|ann> <@U1>");
        assert_eq!((&*plain.text, plain.mentions), ("@U1 @ann @U1", vec!["U1".to_owned(), "U2".to_owned()]));
    }
}
