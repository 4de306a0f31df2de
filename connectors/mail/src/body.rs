//! What of the parts is text to read and what is a file.

use connector_sdk::{html, text};

use crate::charset::{self, Decoded};
use crate::flowed;
use crate::mime::{Body as PartBody, Part};
use crate::quote;

/// Cap of the text of one mail; what is beyond it is in the part's own attachment.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// The readable text of a mail and the parts that are not in it.
#[derive(Debug, Default)]
pub struct Readable<'p, 'a> {
    blocks: Vec<Block>,
    /// Parts that are files, in their order.
    pub files: Vec<&'p Part<'a>>,
    /// Text parts, to be kept as files too where the text had to be cut.
    pub text_parts: Vec<&'p Part<'a>>,
    /// Of the first text part, lossy where any was.
    pub charset: Option<Charset>,
    /// Illegal characters were removed.
    pub sanitized: bool,
}

/// How the text was decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charset {
    pub declared: Option<String>,
    pub used: String,
    pub lossy: bool,
}

#[derive(Debug)]
enum Block {
    Plain(String),
    Html(String),
    Alternative { plain: String, html: String },
}

impl<'p, 'a> Readable<'p, 'a> {
    pub fn of(root: &'p Part<'a>) -> Self {
        let mut readable = Self::default();
        readable.walk(root);
        readable
    }

    /// The plain text; made of the HTML where there is no other.
    pub fn text(&self) -> String {
        let blocks = self.blocks.iter().map(|block| match block {
            Block::Plain(plain) | Block::Alternative { plain, .. } => plain.trim_end().to_owned(),
            Block::Html(html) => html::to_text(html),
        });
        blocks.filter(|block| !block.trim().is_empty()).collect::<Vec<_>>().join("\n\n")
    }

    /// The HTML as it came, plain blocks between escaped; `None` where no block is HTML.
    pub fn html(&self) -> Option<String> {
        if !self.blocks.iter().any(|block| matches!(block, Block::Html(_) | Block::Alternative { .. })) {
            return None;
        }
        let blocks = self.blocks.iter().map(|block| match block {
            Block::Plain(plain) => format!("<pre>{}</pre>", escape(plain)),
            Block::Html(html) | Block::Alternative { html, .. } => html.clone(),
        });
        Some(blocks.collect::<Vec<_>>().join("\n"))
    }

    /// The new part of a reply, where it can be told.
    pub fn reply_only(&self, whole: &str) -> Option<String> {
        if let [Block::Html(html)] = &self.blocks[..]
            && let Some(at) = quote::history_in_html(html)
        {
            let head = html::to_text(&html[..at]);
            let head = quote::reply_only(&head).unwrap_or(head);
            return (!head.trim().is_empty()).then_some(head);
        }
        quote::reply_only(whole)
    }

    fn walk(&mut self, part: &'p Part<'a>) {
        match &part.body {
            PartBody::Multipart(children) if part.media_type() == "multipart/alternative" => self.alternative(children),
            PartBody::Multipart(children) => children.iter().for_each(|child| self.walk(child)),
            PartBody::Leaf { .. } => self.leaf(part),
        }
    }

    fn leaf(&mut self, part: &'p Part<'a>) {
        let media_type = part.media_type();
        let readable = matches!(media_type, "text/plain" | "text/html");
        if !readable || part.is_attachment() || (file_name(part).is_some() && !self.text_parts.is_empty()) {
            self.files.push(part);
            return;
        }
        let is_html = media_type == "text/html";
        let content = self.decode(part, is_html);
        self.text_parts.push(part);
        self.blocks.push(if is_html { Block::Html(content) } else { Block::Plain(content) });
    }

    /// The best of each kind among the alternatives; files among them stay files.
    fn alternative(&mut self, children: &'p [Part<'a>]) {
        let (mut plain, mut html) = (Vec::new(), Vec::new());
        for child in children {
            let mut inner = Self::default();
            inner.walk(child);
            self.merge_facts(&mut inner);
            let has_html = inner.blocks.iter().any(|block| !matches!(block, Block::Plain(_)));
            // The last understood alternative is the best one.
            if has_html {
                html = inner.blocks;
            } else if !inner.blocks.is_empty() {
                plain = inner.blocks;
            }
        }
        let plain_text = Self { blocks: plain, ..Self::default() }.text();
        let html_text = Self { blocks: html, ..Self::default() }.html().unwrap_or_default();
        match (plain_text.trim().is_empty(), html_text.is_empty()) {
            (false, false) => self.blocks.push(Block::Alternative { plain: plain_text, html: html_text }),
            (false, true) => self.blocks.push(Block::Plain(plain_text)),
            (true, false) => self.blocks.push(Block::Html(html_text)),
            (true, true) => {}
        }
    }

    fn merge_facts(&mut self, inner: &mut Self) {
        self.files.append(&mut inner.files);
        self.text_parts.append(&mut inner.text_parts);
        self.sanitized |= inner.sanitized;
        if let Some(charset) = inner.charset.take() {
            self.note(charset);
        }
    }

    fn decode(&mut self, part: &Part<'_>, is_html: bool) -> String {
        let (bytes, damaged) = part.decoded();
        let declared = part.content_type.token("charset");
        let label = declared.clone().or_else(|| is_html.then(|| meta_charset(&bytes)).flatten());
        let Decoded { text, used, lossy } = charset::decode(&bytes, label.as_deref());
        self.note(Charset { declared, used, lossy: lossy || damaged });
        let cleaned = text::clean(&text);
        self.sanitized |= text.contains('\0');
        let content = cleaned.into_owned();
        if !is_html && part.content_type.token("format").is_some_and(|format| format.eq_ignore_ascii_case("flowed")) {
            let delete_space = part.content_type.token("delsp").is_some_and(|value| value.eq_ignore_ascii_case("yes"));
            return flowed::unfold(&content, delete_space);
        }
        content
    }

    fn note(&mut self, charset: Charset) {
        match &mut self.charset {
            Some(have) => have.lossy |= charset.lossy,
            None => self.charset = Some(charset),
        }
    }
}

/// File name of a part, decoded, by whichever header names it.
pub fn file_name(part: &Part<'_>) -> Option<crate::params::Value> {
    let value = part.disposition.get("filename").or_else(|| part.content_type.get("name"));
    value.filter(|value| !value.text.is_empty())
}

/// `<meta charset=x>` or `content="text/html; charset=x"` near the start.
fn meta_charset(bytes: &[u8]) -> Option<String> {
    const SEARCH_BYTES: usize = 2048;
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(SEARCH_BYTES)]).to_ascii_lowercase();
    let meta = head.find("<meta")?;
    let at = meta + head[meta..].find("charset=")? + "charset=".len();
    let label: String = head[at..]
        .trim_start_matches(['"', '\'', ' '])
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect();
    (!label.is_empty()).then_some(label)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
