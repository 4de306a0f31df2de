//! Law 8, required cases: what every provider can bring is shown by a case, or a reason says why it cannot come.

use std::collections::BTreeMap;

use connector_sdk::fixture::Expect;
use connector_sdk::kinds::{self, REQUIRED_CASES};
use connector_sdk::{Shape, Wire};
use inlet_schemas::{Direction, Event, Kind};
use serde_json::Value;

use crate::Verdict;
use crate::folder::Folder;
use crate::outcome::Seen;
use crate::subject::Subject;

/// Each required case is covered or not applicable; each shape has an input of its wire.
pub(super) fn required_cases(folder: &Folder, subjects: &[Subject]) -> Verdict {
    let kinds = kinds::parse(&folder.kinds).map_err(|e| format!("kinds.toml: {e}"))?;
    let mut faults = Vec::new();
    for (name, reason) in &kinds.not_applicable {
        if !REQUIRED_CASES.contains(&name.as_str()) {
            faults.push(format!("kinds.toml: not_applicable.{name} is no required case"));
        }
        if reason.trim().is_empty() {
            faults.push(format!("kinds.toml: not_applicable.{name} gives no reason"));
        }
    }
    for name in REQUIRED_CASES {
        let covered = subjects.iter().any(|s| s.case.file.covers.iter().any(|c| c == name));
        match (covered, kinds.not_applicable.contains_key(*name)) {
            (false, false) => {
                faults.push(format!("no case covers `{name}` (or say why under [not_applicable] in kinds.toml)"))
            }
            (true, true) => faults.push(format!("`{name}` is covered, so it is applicable")),
            _ => {}
        }
    }
    faults.extend(wires(folder, subjects));
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

fn wires(folder: &Folder, subjects: &[Subject]) -> Vec<String> {
    let accepted: Vec<Wire> = subjects.iter().filter(|s| s.is_input()).map(|s| s.case.raw.wire).collect();
    let needs: &[(Shape, &[Wire])] = &[
        (Shape::Webhook, &[Wire::Http]),
        (Shape::Poll, &[Wire::Json, Wire::Mail]),
        (Shape::Session, &[Wire::Frames, Wire::Mail, Wire::Json]),
        (Shape::Fetch, &[Wire::Fetched]),
    ];
    needs
        .iter()
        .filter(|(shape, wires)| folder.entry.shapes.contains(shape) && !accepted.iter().any(|w| wires.contains(w)))
        .map(|(shape, wires)| format!("shape {} has no case of wire {wires:?}", shape.as_str()))
        .collect()
}

/// What a case says that it covers is there.
pub(super) fn covers(subject: &Subject, seen: &Seen) -> Verdict {
    for name in &subject.case.file.covers {
        if !REQUIRED_CASES.contains(&name.as_str()) {
            return Err(format!("covers `{name}`, which is none of {REQUIRED_CASES:?}"));
        }
        if subject.case.file.admit != Expect::Accept {
            return Err(format!("covers `{name}`, but the input never reaches parse"));
        }
        if !shows(name, seen) {
            return Err(format!("says that it covers `{name}`, but its outcome does not show it"));
        }
    }
    Ok(())
}

fn shows(name: &str, seen: &Seen) -> bool {
    let any = |test: &dyn Fn(&Event) -> bool| seen.events.iter().any(test);
    let count = |list: &str| seen.json[list].as_array().map_or(0, Vec::len);
    let all_skipped = seen.events.is_empty() && count("skipped") > 0;
    let text = |event: &Event| event.text.clone().unwrap_or_default();
    match name {
        "plain_text" => any(&|e| !text(e).is_empty()),
        "unicode" => any(&|e| text(e).chars().any(right_to_left) && text(e).chars().any(emoji)),
        "empty_body" => any(&|e| text(e).is_empty()) || count("skipped") + count("rejected") > 0,
        "attachment" => any(&|e| !e.attachments.is_empty()),
        "thread_reply" => any(&|e| e.conversation.in_reply_to.is_some() || e.conversation.thread_id.is_some()),
        "edit" => any(&|e| matches!(e.kind, Kind::MessageEdited | Kind::ReviewUpdated) && e.target.is_some()),
        "delete" => any(&|e| e.kind == Kind::MessageDeleted && e.target.is_some()),
        "own_echo" => any(&|e| e.direction == Direction::OutboundEcho) || all_skipped,
        "unknown_type" => any(&|e| e.kind == Kind::Unsupported && e.unsupported.is_some()) || all_skipped,
        "batch" => seen.events.len() + count("skipped") + count("rejected") + count("fetches") >= 2,
        "malformed" => count("rejected") > 0,
        _ => false,
    }
}

fn right_to_left(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}')
}

fn emoji(c: char) -> bool {
    matches!(c, '\u{1f000}'..='\u{1faff}' | '\u{2600}'..='\u{27bf}')
}

/// `kinds.toml` names every event type once, as mapped (its cases show the kinds) or as skipped (with a reason), and
/// no case shows a kind that it does not name.
pub(super) fn kinds(folder: &Folder, outcomes: &BTreeMap<String, Value>) -> Verdict {
    let kinds = kinds::parse(&folder.kinds).map_err(|e| format!("kinds.toml: {e}"))?;
    let mut faults = Vec::new();
    let mut names: Vec<&str> = kinds.types.iter().map(|one| one.name.as_str()).collect();
    names.sort_unstable();
    faults.extend(names.windows(2).filter(|two| two[0] == two[1]).map(|two| format!("{} is named twice", two[0])));
    if names.is_empty() {
        faults.push("no event type is named".to_owned());
    }
    for one in &kinds.types {
        faults.extend(provider_type(one, outcomes).err());
    }
    let named: Vec<&String> = kinds.types.iter().flat_map(|one| &one.kind).collect();
    for (case, outcome) in outcomes {
        for kind in kinds_in(outcome) {
            if kind != Kind::Unsupported.as_str() && !named.iter().any(|name| **name == kind) {
                faults.push(format!("case {case} gives {kind}, which no type is mapped to"));
            }
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(format!("kinds.toml:\n{}", faults.join("\n"))) }
}

fn provider_type(one: &kinds::KindOfProvider, outcomes: &BTreeMap<String, Value>) -> Verdict {
    let name = &one.name;
    let missing = one.fixtures.iter().find(|fixture| !outcomes.contains_key(*fixture));
    if let Some(missing) = missing {
        return Err(format!("{name}: there is no case {missing}"));
    }
    let shown = || one.fixtures.iter().filter_map(|fixture| Some((fixture, outcomes.get(fixture)?)));
    match &one.skipped {
        Some(_) if !one.kind.is_empty() => Err(format!("{name}: either mapped or skipped")),
        Some(reason) if reason.trim().is_empty() => Err(format!("{name}: skipped without a reason")),
        Some(_) => match shown().find(|(_, outcome)| outcome["skipped"].as_array().is_none_or(Vec::is_empty)) {
            Some((fixture, _)) => Err(format!("{name}: case {fixture} skips nothing")),
            None => Ok(()),
        },
        None if one.kind.is_empty() => Err(format!("{name}: neither mapped to a kind nor skipped")),
        None if one.fixtures.is_empty() => Err(format!("{name}: no case shows it")),
        None => {
            for kind in &one.kind {
                if !Kind::KNOWN.contains(&Kind::from(kind.as_str())) {
                    return Err(format!("{name}: {kind} is no kind"));
                }
                if !shown().any(|(_, outcome)| kinds_in(outcome).contains(kind)) {
                    return Err(format!("{name}: none of its cases gives {kind}"));
                }
            }
            let idle = shown().find(|(_, outcome)| !kinds_in(outcome).iter().any(|kind| one.kind.contains(kind)));
            idle.map_or(Ok(()), |(fixture, _)| Err(format!("{name}: case {fixture} gives none of its kinds")))
        }
    }
}

fn kinds_in(outcome: &Value) -> Vec<String> {
    let events = outcome["events"].as_array().into_iter().flatten();
    events.filter_map(|event| event["kind"].as_str().map(str::to_owned)).collect()
}
