//! Documentation that is generated, or that can be checked: it must not lie. `BLESS=1` rewrites the generated parts.

mod delivery;
mod links;
mod reference;

use std::path::PathBuf;

/// The repository's root.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Compares the part of a file between `<!-- NAME:begin -->` and `<!-- NAME:end -->`, or rewrites it with `BLESS=1`.
fn check_part(file: &str, name: &str, wanted: &str) {
    let path = root().join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
    let from = text.find(&begin).unwrap_or_else(|| panic!("{file} lacks {begin}")) + begin.len();
    let to = from + text[from..].find(&end).unwrap_or_else(|| panic!("{file} lacks {end}"));
    let wanted = format!("\n{}\n\n", wanted.trim());
    if text[from..to] == wanted {
        return;
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, format!("{}{wanted}{}", &text[..from], &text[to..])).expect("can be written");
        return;
    }
    panic!("{file}: the part '{name}' is out of date; BLESS=1 cargo test -p inlet-tests --test docs rewrites it");
}

#[test]
fn configuration_reference_is_current() {
    check_part("docs/configuration.md", "reference", &reference::configuration());
}

#[test]
fn topics_table_is_current() {
    check_part("docs/topics.md", "topics", &reference::topics());
}

#[test]
fn worked_example_is_what_is_tested() {
    let source = root().join("tests/tests/private_connector/acme/mod.rs");
    let source = std::fs::read_to_string(source).expect("is there");
    check_part("docs/adding-a-connector.md", "example", &format!("```rust,ignore\n{}\n```", source.trim()));
}

#[test]
fn links_lead_somewhere() {
    let checked = links::check(&root());
    assert!(checked > 15, "only {checked} links were looked at");
}
