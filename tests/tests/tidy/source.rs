//! A Rust source taken apart as far as the rules need it: code without comments and literals, and the string literals.

/// What is left of a file.
#[derive(Debug, Default)]
pub struct Source {
    /// The code with comments, strings and characters blanked; line numbers are kept.
    pub code: String,
    /// Each string literal with its line, contents as written (escapes are not resolved).
    pub strings: Vec<(usize, String)>,
}

impl Source {
    pub fn read(text: &str) -> Self {
        Lexer { rest: text, line: 1, source: Self::default() }.run()
    }

    /// The lines of code (from 1) that contain the word as a whole path segment or name.
    pub fn lines_with<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.code.lines().enumerate().filter(move |(_, line)| contains_word(line, word)).map(|(index, _)| index + 1)
    }
}

/// Whether `word` occurs in `line` and is not a part of a longer name.
pub fn contains_word(line: &str, word: &str) -> bool {
    let name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        let joins_before = word.starts_with(name) && before.is_some_and(name);
        let joins_after = word.ends_with(name) && after.is_some_and(name);
        !joins_before && !joins_after
    })
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    source: Source,
}

impl Lexer<'_> {
    fn run(mut self) -> Source {
        while let Some(first) = self.rest.chars().next() {
            if self.rest.starts_with("//") {
                self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                self.block_comment();
            } else if let Some(hashes) = raw_string(self.rest) {
                self.raw(hashes);
            } else if first == '"' {
                self.string();
            } else if let Some(length) = char_literal(self.rest) {
                self.skip(length);
            } else {
                // A whole name at once, so that the r of `for"` is not taken for a raw string's.
                let name = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
                self.keep(name.max(first.len_utf8()));
            }
        }
        self.source
    }

    fn keep(&mut self, length: usize) {
        let (kept, rest) = self.rest.split_at(length);
        self.line += kept.matches('\n').count();
        self.source.code.push_str(kept);
        self.rest = rest;
    }

    fn skip(&mut self, length: usize) {
        let (skipped, rest) = self.rest.split_at(length);
        let newlines = skipped.matches('\n').count();
        self.line += newlines;
        self.source.code.push(' ');
        self.source.code.extend(std::iter::repeat_n('\n', newlines));
        self.rest = rest;
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        let mut at = 0;
        let bytes = self.rest.as_bytes();
        while at < bytes.len() {
            match &bytes[at..bytes.len().min(at + 2)] {
                b"/*" => (depth, at) = (depth + 1, at + 2),
                b"*/" => (depth, at) = (depth - 1, at + 2),
                _ => at += 1,
            }
            if depth == 0 {
                break;
            }
        }
        self.skip(at);
    }

    fn raw(&mut self, (start, hashes): (usize, usize)) {
        let close = format!("\"{}", "#".repeat(hashes));
        let body = &self.rest[start..];
        let end = body.find(&close).unwrap_or(body.len());
        self.literal(start, end, start + end + close.len());
    }

    fn string(&mut self) {
        let bytes = self.rest.as_bytes();
        let mut at = 1;
        while at < bytes.len() && bytes[at] != b'"' {
            at += if bytes[at] == b'\\' { 2 } else { 1 };
        }
        self.literal(1, at - 1, at + 1);
    }

    fn literal(&mut self, start: usize, length: usize, total: usize) {
        let text = self.rest[start..self.rest.len().min(start + length)].to_owned();
        self.source.strings.push((self.line, text));
        self.skip(total.min(self.rest.len()));
    }
}

/// `r"`, `r#"`, `br#"`…: where its contents begin, and how many hashes.
fn raw_string(rest: &str) -> Option<(usize, usize)> {
    let after = ["br", "cr", "r"].iter().find_map(|prefix| rest.strip_prefix(prefix))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then(|| (rest.len() - after.len() + hashes + 1, hashes))
}

/// `'x'` or `'\n'`, not the lifetime `'a`.
fn char_literal(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    if let Some(escaped) = inner.strip_prefix('\\') {
        // The escaped character itself may be a quote.
        let skipped = escaped.chars().next()?.len_utf8();
        return escaped[skipped..].find('\'').map(|end| 2 + skipped + end + 1);
    }
    let length = inner.chars().next()?.len_utf8();
    inner[length..].starts_with('\'').then_some(length + 2)
}

#[test]
fn sources_are_taken_apart() {
    let source = Source::read(
        "let a = \"x // y\"; // tokio \"no\"\nlet b = r#\"raw \"quoted\"\"#; /* std::fs /* nested */ */ let c = '\"';\n\
         let d: &'a str = b\"bytes\\\"\"; let e = '\\''; for_tokio::x(); tokio::spawn()",
    );
    let strings: Vec<_> = source.strings.iter().map(|(line, text)| (*line, text.as_str())).collect();
    assert_eq!(strings, [(1, "x // y"), (2, "raw \"quoted\""), (3, "bytes\\\"")]);
    assert_eq!(source.lines_with("tokio").collect::<Vec<_>>(), [3]);
    assert!(source.lines_with("std::fs").next().is_none());
    assert!(source.code.contains("let d: &'a str"));
}
