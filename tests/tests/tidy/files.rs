//! Rules about single files and about the top of the repository.

use crate::conclude;
use crate::source::Source;
use crate::workspace::{files, packages, root, rust_files};
use std::collections::BTreeSet;

const MAX_LINES: usize = 600;
/// A string of source that is a JSON object of more than this is a payload, and belongs in a raw file.
const MAX_JSON_BYTES: usize = 100;

const TOP: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "LICENSE",
    "Dockerfile",
    "schemas",
    "connectors",
    "gateway",
    "helm",
    "tests",
    "docs",
];
const REQUIRED_TOP: &[&str] = &[
    ".ci",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "connectors",
    "docs",
    "gateway",
    "helm",
    "schemas",
    "tests",
];

/// README's commands say `cargo run` at the top, where cargo has to choose among the programs of all packages.
#[test]
fn cargo_run_at_the_top_runs_the_gateway() {
    let programs = packages().iter().map(|package| package.programs.len()).sum();
    let chosen: Vec<_> = packages().iter().filter_map(|package| package.default_program.as_deref()).collect();
    let fault = format!("`cargo run` has to choose among {programs} programs; `default-run` names {chosen:?}");
    conclude(programs, "programs", if chosen == ["inlet"] { Vec::new() } else { vec![fault] });
}

#[test]
fn the_top_level_is_the_fixed_list() {
    let top: BTreeSet<String> = files().iter().map(|f| f.split('/').next().unwrap_or(f).to_owned()).collect();
    let strange = top.iter().filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()));
    let mut faults: Vec<_> = strange.map(|name| format!("'{name}' does not belong at the top")).collect();
    faults.extend(REQUIRED_TOP.iter().filter(|n| !top.contains(**n)).map(|n| format!("'{n}' is missing at the top")));
    conclude(top.len(), "entries of the top level", faults);
}

#[test]
fn no_file_is_longer_than_one_reads() {
    let all = rust_files("");
    let long = all.iter().map(|(file, text)| (file, text.lines().count())).filter(|(_, lines)| *lines > MAX_LINES);
    let faults = long.map(|(file, lines)| format!("{file} has {lines} lines, more than {MAX_LINES}")).collect();
    conclude(all.len(), "Rust files", faults);
}

/// What is not done is not there.
#[test]
fn nothing_is_left_for_later() {
    const MACROS: &[&str] =
        &["todo!", "unimplemented!", "dbg!", "#[ignore", "#![allow(dead_code)]", "#[allow(dead_code)]"];
    // Spelt in two parts, so that this very file passes.
    let words = [concat!("FIX", "ME"), concat!("TO", "DO:"), concat!("XX", "X:")];
    let all = rust_files("");
    let mut faults = Vec::new();
    for (file, text) in &all {
        let source = Source::read(text);
        for (index, line) in source.code.lines().enumerate() {
            faults.extend(MACROS.iter().filter(|m| line.contains(**m)).map(|m| format!("{file}:{}: {m}", index + 1)));
        }
        for (index, line) in text.lines().enumerate() {
            faults.extend(words.iter().filter(|w| line.contains(**w)).map(|w| format!("{file}:{}: {w}", index + 1)));
        }
    }
    conclude(all.len(), "Rust files", faults);
}

#[test]
fn every_module_says_what_it_is_for() {
    let folders: Vec<String> = packages().iter().map(|p| format!("{}/src/", p.folder)).collect();
    let all: Vec<_> = rust_files("").into_iter().filter(|(f, _)| folders.iter().any(|s| f.starts_with(s))).collect();
    let silent = all.iter().filter(|(_, text)| !text.trim_start().starts_with("//!"));
    let faults = silent.map(|(file, _)| format!("{file} does not begin with '//!'")).collect();
    conclude(all.len(), "modules", faults);
}

/// Payloads are raw files: escaped inside source they are neither readable nor what the provider sends.
#[test]
fn no_payload_hides_in_source() {
    let mut faults = Vec::new();
    let mut looked_at = 0;
    for (file, text) in rust_files("connectors").into_iter().chain(rust_files("gateway")) {
        for (line, string) in Source::read(&text).strings {
            looked_at += 1;
            let resolved = string.replace("\\\"", "\"");
            let object = resolved.trim_start().starts_with('{') && resolved.len() > MAX_JSON_BYTES;
            if object && serde_json::from_str::<serde_json::Value>(&resolved).is_ok() {
                faults.push(format!("{file}:{line}: a JSON object of {} bytes", resolved.len()));
            }
        }
    }
    conclude(looked_at, "strings", faults);
}

/// Nothing speaks of the machine that it was written on.
#[test]
fn no_file_names_a_machine() {
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let texts: Vec<_> = files()
        .into_iter()
        .filter_map(|file| std::fs::read_to_string(root().join(&file)).ok().map(|text| (file, text)))
        .collect();
    let mut faults = Vec::new();
    for (file, text) in &texts {
        for (index, line) in text.lines().enumerate() {
            faults.extend(places.iter().filter(|p| line.contains(**p)).map(|p| format!("{file}:{}: {p}", index + 1)));
        }
    }
    conclude(texts.len(), "text files", faults);
}
