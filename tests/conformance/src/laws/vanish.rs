//! Law 3, nothing vanishes: every input has an outcome, and every item of a batch one of its own.

use connector_sdk::{Connector, Parsed, RawEvent};
use serde_json::Value;

use crate::Verdict;
use crate::subject::Subject;

/// Items of one batch that are broken in turn.
const POISONED_MAX: usize = 20;
/// What stands in place of a broken item.
const POISON: i64 = 7;

/// The case's input has an outcome; a rejected item keeps its bytes; batches are taken apart.
pub(super) fn nothing_vanishes(subject: &Subject) -> Verdict {
    let connector = subject.build()?;
    let raw = &subject.case.raw;
    let parsed = connector.parse.parse(raw);
    if parsed.is_empty() {
        return Err("neither event, skipped, rejected nor fetch".to_owned());
    }
    for rejected in &parsed.rejected {
        if rejected.raw.as_ref().is_some_and(|bytes| bytes.is_empty()) {
            return Err(format!("rejected ({}) with no bytes: leave `raw` absent for the whole input", rejected.code));
        }
        if rejected.code.is_empty() || rejected.detail.is_empty() {
            return Err("rejected without code or detail".to_owned());
        }
    }
    let file = &subject.case.file;
    match (&file.batch, file.items) {
        (Some(pointer), _) => batch(subject, &connector, pointer, &parsed),
        (None, Some(items)) => enough(&parsed, items),
        (None, None) if file.covers.iter().any(|c| c == "batch") => {
            Err("covers `batch`, so case.toml needs `batch = \"/pointer\"` or `items = N`".to_owned())
        }
        (None, None) => Ok(()),
    }
}

fn outcomes(parsed: &Parsed) -> usize {
    parsed.events.len() + parsed.skipped.len() + parsed.rejected.len() + parsed.fetches.len()
}

fn enough(parsed: &Parsed, items: usize) -> Verdict {
    let outcomes = outcomes(parsed);
    if outcomes >= items { Ok(()) } else { Err(format!("{items} items, but {outcomes} outcomes")) }
}

/// A batch in a JSON array: as many outcomes as items, and a broken item takes none of its neighbours with it.
fn batch(subject: &Subject, connector: &Connector, pointer: &str, whole: &Parsed) -> Verdict {
    let raw = &subject.case.raw;
    let body: Value = serde_json::from_slice(&raw.body).map_err(|e| format!("`batch` needs a JSON body: {e}"))?;
    let items = body.pointer(pointer).and_then(Value::as_array).map(Vec::len);
    let items = items.ok_or_else(|| format!("batch = \"{pointer}\" is no array"))?;
    enough(whole, items)?;
    let parse = |body: &Value| {
        let mut raw: RawEvent = raw.clone();
        raw.body = body.to_string().into();
        let parsed = connector.parse.parse(&raw);
        (outcomes(&parsed), ids(subject, parsed, &raw))
    };
    let all = parse(&body).1;
    for index in 0..items.min(POISONED_MAX) {
        let place = format!("{pointer}/{index}");
        let mut poisoned = body.clone();
        let mut without = body.clone();
        if let Some(item) = poisoned.pointer_mut(&place) {
            *item = POISON.into();
        }
        if let Some(list) = without.pointer_mut(pointer).and_then(Value::as_array_mut) {
            list.remove(index);
        }
        let (poisoned_outcomes, kept) = parse(&poisoned);
        let (_, others) = if items > 1 { parse(&without) } else { (0, Vec::new()) };
        if let Some(lost) = others.iter().find(|id| all.contains(id) && !kept.contains(id)) {
            return Err(format!("a broken item {index} takes event {lost} of its neighbours with it"));
        }
        if poisoned_outcomes <= others.len() {
            return Err(format!("a broken item {index} has no outcome of its own"));
        }
    }
    Ok(())
}

fn ids(subject: &Subject, parsed: Parsed, raw: &RawEvent) -> Vec<String> {
    parsed.events.into_iter().map(|draft| subject.stamp(draft, raw).id).collect()
}
