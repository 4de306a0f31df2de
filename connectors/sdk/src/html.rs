//! HTML that strangers wrote: to safe HTML, and to text. Both are total.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Above this the sanitised part is left out and the text is made from a cut: parsing hostile markup must stay bounded.
pub const HTML_MAX_BYTES: usize = 2 << 20;
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

/// Safe HTML: no scripts, styles, forms or event handlers, no remote loads. `None` over [`HTML_MAX_BYTES`].
pub fn sanitize(html: &str) -> Option<String> {
    (html.len() <= HTML_MAX_BYTES).then(|| SANITIZER.clean(html).to_string())
}

/// The text of HTML, links as their label only.
pub fn to_text(html: &str) -> String {
    let (html, _) = crate::text::cut(html, HTML_MAX_BYTES);
    let config = html2text::config::with_decorator(html2text::render::TrivialDecorator::new());
    match config.string_from_read(html.as_bytes(), TEXT_WIDTH) {
        Ok(text) => text.trim().to_owned(),
        // Only absurd nesting or widths fail; the markup itself is still better than nothing.
        Err(_) => html.to_owned(),
    }
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
}
