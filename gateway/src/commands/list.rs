//! `inlet connectors`: what there is.

use clap::Args;
use connector_sdk::{Entry, kinds};
use serde_json::{Value, json};

use super::{Failure, find, output};

#[derive(Args)]
pub struct Options {
    /// Explain this one: options, example, event types
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options, entries: &'static [Entry]) -> Result<(), Failure> {
    match &options.name {
        None => all(options.json, entries),
        Some(name) => one(find(entries, name)?, options.json),
    }
}

fn shapes(entry: &Entry) -> String {
    entry.shapes.iter().map(|shape| shape.as_str()).collect::<Vec<_>>().join(", ")
}

fn all(as_json: bool, entries: &'static [Entry]) -> Result<(), Failure> {
    if as_json {
        let list: Vec<_> = entries
            .iter()
            .map(|e| json!({"name": e.name, "channel": (e.channel)().as_str(), "shapes": e.shapes.iter().map(|s| s.as_str()).collect::<Vec<_>>(), "summary": e.summary}))
            .collect();
        return output::print(&format!("{:#}\n", Value::Array(list)));
    }
    let rows: Vec<_> = entries
        .iter()
        .map(|e| vec![e.name.to_owned(), (e.channel)().to_string(), shapes(e), e.summary.to_owned()])
        .collect();
    let hint = "\n`inlet connectors NAME` explains one; `inlet init NAME …` writes a configuration.\n";
    output::print(&(output::table(&["NAME", "CHANNEL", "SHAPES", "WHAT"], &rows) + hint))
}

fn one(entry: &Entry, as_json: bool) -> Result<(), Failure> {
    let kinds = kinds::parse(entry.assets.kinds).map_err(|e| Failure::failed(format!("kinds.toml: {e}")))?;
    if as_json {
        let types: Vec<_> =
            kinds.types.iter().map(|t| json!({"name": t.name, "kinds": t.kind, "skipped": t.skipped})).collect();
        let all = json!({"name": entry.name, "summary": entry.summary, "options": (entry.schema)(), "types": types});
        return output::print(&format!("{all:#}\n"));
    }
    let mut text = format!(
        "{} — {}\nshapes: {}\n\nExample (`options` of an instance):\n\n",
        entry.name,
        entry.summary,
        shapes(entry)
    );
    for line in entry.assets.example.lines() {
        text.push_str(&format!("    {line}\n"));
    }
    let rows: Vec<_> = kinds
        .types
        .iter()
        .map(|t| {
            let becomes = match &t.skipped {
                Some(reason) => format!("(skipped) {reason}"),
                None => t.kind.join(", "),
            };
            vec![t.name.clone(), becomes]
        })
        .collect();
    text.push_str("\nEvent types of the provider:\n\n");
    text.push_str(&output::table(&["TYPE", "BECOMES"], &rows));
    output::print(&text)
}
