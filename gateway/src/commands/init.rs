//! `inlet init`: a commented configuration for the channels that one picks.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use connector_sdk::Entry;

use super::{Failure, find};

#[derive(Args)]
pub struct Options {
    /// Connectors to write instances for (asked for when left out)
    connectors: Vec<String>,
    /// Where to write it; '-' for standard output
    #[arg(short, long, value_name = "FILE", default_value = "inlet.yaml")]
    output: PathBuf,
    /// Overwrite the file
    #[arg(long)]
    force: bool,
}

pub fn run(options: &Options, entries: &'static [Entry]) -> Result<(), Failure> {
    let names = if options.connectors.is_empty() { ask(entries)? } else { options.connectors.clone() };
    let picked = names.iter().map(|name| find(entries, name)).collect::<Result<Vec<_>, _>>()?;
    let text = config_text(&picked);
    if options.output.as_os_str() == "-" {
        return super::output::print(&text);
    }
    if options.output.exists() && !options.force {
        let file = options.output.display();
        return Err(Failure::wrong_use(format!("{file} exists; --force overwrites it, -o names another")));
    }
    std::fs::write(&options.output, text)
        .map_err(|error| Failure::failed(format!("{}: {error}", options.output.display())))?;
    let file = options.output.display();
    println!(
        "{file} written. Next: put your accounts in, then\n  inlet check -c {file} --connect\n  inlet run -c {file}"
    );
    Ok(())
}

fn ask(entries: &'static [Entry]) -> Result<Vec<String>, Failure> {
    let all = entries.iter().map(|entry| entry.name).collect::<Vec<_>>().join(" ");
    if !std::io::stdin().is_terminal() {
        return Err(Failure::wrong_use(format!("name the connectors: inlet init {all}")));
    }
    println!("Which channels? Names with spaces between.");
    for entry in entries {
        println!("  {:<14} {}", entry.name, entry.summary);
    }
    print!("> ");
    let _ = std::io::stdout().flush();
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|error| Failure::failed(error.to_string()))?;
    let names: Vec<_> = line.split([' ', ',', '\n']).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.is_empty() { Err(Failure::wrong_use("no channel picked")) } else { Ok(names) }
}

const HEAD: &str = include_str!("init.head.yaml");

/// The configuration for some connectors.
pub fn config_text(picked: &[&Entry]) -> String {
    let mut text = HEAD.to_owned();
    for (i, entry) in picked.iter().enumerate() {
        let again = picked[..i].iter().filter(|other| other.name == entry.name).count();
        let suffix = if again == 0 { String::new() } else { format!("-{}", again + 1) };
        text.push_str(&format!("\n  # {}\n", entry.summary));
        text.push_str(&format!("  {}{suffix}:\n    connector: {}\n", entry.name, entry.name));
        if entry.shapes.iter().any(|shape| matches!(shape.as_str(), "poll" | "session")) {
            text.push_str("    # what to do with history: now, beginning, or since 2026-01-31\n    start: now\n");
        }
        text.push_str("    options:\n");
        for line in entry.assets.example.lines() {
            text.push_str(&if line.is_empty() { "\n".to_owned() } else { format!("      {line}\n") });
        }
    }
    text
}
