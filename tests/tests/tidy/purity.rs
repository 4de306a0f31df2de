//! `parse`, `wire`, `id` and `admit` see bytes and give values: no runtime, network, file system, clock or randomness.

use crate::conclude;
use crate::source::Source;
use crate::workspace::rust_files;

/// A file or a folder of these names, below a connector's `src` or the sdk's.
const PURE: &[&str] = &["parse", "wire", "id", "admit"];

/// Whole words of code that betray a side effect, and what they stand for.
const IMPURE: &[(&str, &str)] = &[
    ("async", "a runtime"),
    ("await", "a runtime"),
    ("tokio", "a runtime"),
    ("futures", "a runtime"),
    ("tokio_util", "a runtime"),
    ("std::thread", "a runtime"),
    ("std::sync::mpsc", "a runtime"),
    ("reqwest", "the network"),
    ("hyper", "the network"),
    ("std::net", "the network"),
    ("TcpStream", "the network"),
    ("UdpSocket", "the network"),
    ("ToSocketAddrs", "the network"),
    ("std::fs", "the file system"),
    ("std::env", "the environment"),
    ("std::process", "the environment"),
    ("File::open", "the file system"),
    ("SystemTime", "a clock"),
    ("Instant", "a clock"),
    ("Timestamp::now", "a clock"),
    ("Zoned::now", "a clock"),
    ("Utc::now", "a clock"),
    ("rand", "randomness"),
    ("getrandom", "randomness"),
    ("fastrand", "randomness"),
    ("new_v4", "randomness"),
    ("new_v7", "randomness"),
    ("now_v7", "a clock"),
    ("RandomState", "randomness"),
    ("thread_rng", "randomness"),
];

fn is_pure(file: &str) -> bool {
    let Some((_, inner)) = file.split_once("/src/") else { return false };
    inner.split('/').any(|part| PURE.contains(&part.trim_end_matches(".rs")))
}

fn impurities(file: &str, text: &str) -> Vec<String> {
    // Unit tests of such a file may do what they like.
    let code = text.split("#[cfg(test)]").next().unwrap_or(text);
    let source = Source::read(code);
    let find = |(word, meaning): &(&str, &str)| {
        source.lines_with(word).map(|line| format!("{file}:{line}: '{word}' means {meaning}")).collect::<Vec<_>>()
    };
    IMPURE.iter().flat_map(find).collect()
}

#[test]
fn pure_modules_are_pure() {
    let files: Vec<_> = rust_files("connectors").into_iter().filter(|(file, _)| is_pure(file)).collect();
    let faults = files.iter().flat_map(|(file, text)| impurities(file, text)).collect();
    conclude(files.len(), "pure modules", faults);
}

#[test]
fn impurity_is_found() {
    let file = "connectors/x/src/parse.rs";
    assert!(is_pure(file) && is_pure("connectors/x/src/parse/body.rs"));
    assert!(!is_pure("connectors/x/src/session.rs"));
    assert_eq!(impurities(file, "use tokio::time;\nlet at = Timestamp::now();").len(), 2);
    assert!(impurities(file, "// tokio\nlet text = \"tokio\"; fn random() {}").is_empty());
}
