//! HTML that strangers wrote: to safe HTML, and to text. Both are total.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Above this the sanitised part is left out and the text is made from a cut: parsing hostile markup must stay bounded.
pub const HTML_MAX_BYTES: usize = 2 << 20;
/// Markup that nests deeper is not parsed: parsers take time that grows with the square of the depth.
pub const HTML_MAX_DEPTH: usize = 1_000;
/// Width at which text is wrapped; wide, since paragraphs should stay lines.
const TEXT_WIDTH: usize = 2000;

static SANITIZER: LazyLock<ammonia::Builder<'static>> = LazyLock::new(|| {
    let mut builder = ammonia::Builder::default();
    // `cid:` refers to an attachment of the same mail; remote images would tell the sender who reads.
    builder.url_schemes(HashSet::from(["http", "https", "mailto", "tel", "cid"]));
    builder.attribute_filter(|element, attribute, value| match (element, attribute) {
        ("img", "src") if !value.starts_with("cid:") => None,
        _ => Some(value.into()),
    });
    builder.link_rel(Some("noopener noreferrer nofollow"));
    builder
});

/// Safe HTML: no scripts, styles, forms or event handlers, no remote loads. `None` over [`HTML_MAX_BYTES`] and over
/// [`HTML_MAX_DEPTH`].
pub fn sanitize(html: &str) -> Option<String> {
    (html.len() <= HTML_MAX_BYTES && !is_too_deep(html)).then(|| SANITIZER.clean(html).to_string())
}

/// The text of HTML, links as their label only.
pub fn to_text(html: &str) -> String {
    let (html, _) = crate::text::cut(html, HTML_MAX_BYTES);
    if is_too_deep(html) {
        return without_tags(html);
    }
    let config = html2text::config::with_decorator(html2text::render::TrivialDecorator::new());
    match config.string_from_read(html.as_bytes(), TEXT_WIDTH) {
        Ok(text) => text.trim().to_owned(),
        // Only absurd nesting or widths fail; the markup itself is still better than nothing.
        Err(_) => html.to_owned(),
    }
}

/// Elements that hold nothing or that the next one of their sort ends: left open they do not nest.
const NOT_NESTING: &[&str] = &[
    "area", "base", "br", "col", "dd", "dt", "embed", "hr", "img", "input", "li", "link", "meta", "option", "p",
    "source", "tbody", "td", "tfoot", "th", "thead", "tr", "track", "wbr",
];

/// Whether more elements are open at some place than [`HTML_MAX_DEPTH`].
fn is_too_deep(html: &str) -> bool {
    let mut depth = 0usize;
    for (at, _) in html.match_indices('<') {
        let rest = &html[at + 1..];
        let (name, closes) = match rest.strip_prefix('/') {
            Some(name) => (name, true),
            None => (rest, false),
        };
        let length = name.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let name = &name[..length];
        if name.is_empty() || NOT_NESTING.iter().any(|one| name.eq_ignore_ascii_case(one)) {
            continue;
        }
        depth = if closes { depth.saturating_sub(1) } else { depth + 1 };
        if depth > HTML_MAX_DEPTH {
            return true;
        }
    }
    false
}

/// What stands between the tags.
fn without_tags(html: &str) -> String {
    let mut out = String::with_capacity(html.len() / 4);
    let mut within = false;
    for c in html.chars() {
        match c {
            '<' => within = true,
            '>' if within => {
                within = false;
                out.push(' ');
            }
            c if !within => out.push(c),
            _ => {}
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_active_stays() {
        let html = r#"<p onclick="x()">Hi <b>you</b><script>alert(1)</script><img src="https://t.example/p.gif"><img src="cid:1@x"></p>"#;
        let safe = sanitize(html).unwrap();
        assert!(safe.contains("<b>you</b>") && safe.contains("cid:1@x"), "{safe}");
        for bad in ["onclick", "script", "t.example"] {
            assert!(!safe.contains(bad), "{safe}");
        }
        assert_eq!(to_text("<p>Hi <b>you</b></p><p>2nd</p>"), "Hi you\n\n2nd");
    }

    #[test]
    fn absurd_depth_is_not_parsed() {
        let deep = format!("{}x &amp; y", "<div>".repeat(HTML_MAX_DEPTH + 1));
        assert_eq!((sanitize(&deep), to_text(&deep).as_str()), (None, "x &amp; y"));
        let long = "<p>x<br><li>y<td>".repeat(HTML_MAX_DEPTH);
        assert!(sanitize(&long).is_some());
        assert!(sanitize(&"<div>x</div>".repeat(2 * HTML_MAX_DEPTH)).is_some());
    }
}
