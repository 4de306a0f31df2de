//! What can happen to JSON: other types, missing fields, depth, length, illegal characters.

use serde_json::{Value, json};

use super::{Body, HUGE_BYTES, HUGE_DEPTH, Rng};

/// Stands where text that no `Value` can hold is put in.
const MARKER: &str = "@@inlet-marker@@";

pub(super) fn each(bytes: &[u8], rng: &mut Rng, count: usize, run: Body<'_>) -> Result<(), String> {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return Ok(()) };
    let mut pointers = Vec::new();
    collect(&value, String::new(), &mut pointers);
    let others = others();
    // Every place where there are not too many, and as many types for each as the number allows.
    const MORE_SWAPS: usize = 3;
    let swaps = count * MORE_SWAPS;
    let first = rng.below(others.len());
    for round in 0..(swaps / pointers.len()).clamp(1, others.len()) {
        for (at, (pointer, _)) in choose(&pointers, rng, swaps).into_iter().enumerate() {
            let other = &others[(first + at + round) % others.len()];
            let brief: String = other.to_string().chars().take(40).collect();
            run(format!("{brief} at {pointer}"), replaced(&value, pointer, other.clone()).to_string().into_bytes())?;
        }
    }
    for (pointer, _) in choose(&pointers, rng, count) {
        if let Some(copy) = removed(&value, pointer) {
            run(format!("without {pointer}"), copy.to_string().into_bytes())?;
        }
    }
    let texts: Vec<_> = pointers.iter().filter(|(_, text)| *text).cloned().collect();
    for (pointer, _) in choose(&texts, rng, count / 4) {
        let marked = replaced(&value, pointer, MARKER.into()).to_string();
        for (what, text) in
            [("lone surrogate", "x\\ud83d y"), ("NUL", "a\\u0000b"), ("low surrogate", "\\udc00\\udc00")]
        {
            run(format!("{what} at {pointer}"), marked.replace(MARKER, text).into_bytes())?;
        }
    }
    for (pointer, _) in choose(&texts, rng, 2) {
        let long = "å".repeat(HUGE_BYTES / 2);
        run(format!("length at {pointer}"), replaced(&value, pointer, long.into()).to_string().into_bytes())?;
    }
    for (pointer, _) in choose(&pointers, rng, 2) {
        let marked = replaced(&value, pointer, MARKER.into()).to_string();
        let quoted = format!("\"{MARKER}\"");
        let deep = format!("{}{}", "[".repeat(HUGE_DEPTH), "]".repeat(HUGE_DEPTH));
        run(format!("depth at {pointer}"), marked.replace(&quoted, &deep).into_bytes())?;
        let digits = "9".repeat(1000);
        run(format!("1000 digits at {pointer}"), marked.replace(&quoted, &digits).into_bytes())?;
        let many = format!("[{}0]", "0,".repeat(10_000));
        run(format!("10001 items at {pointer}"), marked.replace(&quoted, &many).into_bytes())?;
    }
    Ok(())
}

fn others() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1e308),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(0.1),
        json!(""),
        json!(" "),
        json!("x"),
        json!("-1"),
        json!("99999999999999999999999999"),
        json!("1e999"),
        json!("../../etc/passwd\u{0}\r\nX-Injected: 1"),
        json!("\u{202e}שלום\u{feff}😀"),
        json!([]),
        json!({}),
        json!([[]]),
        json!([null, 1, "x", {}]),
        json!({ "": null }),
    ]
}

/// All places, and whether text stands there.
fn collect(value: &Value, pointer: String, into: &mut Vec<(String, bool)>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                collect(inner, format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")), into);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                collect(inner, format!("{pointer}/{index}"), into);
            }
        }
        _ => {}
    }
    into.push((pointer, value.is_string()));
}

/// At most `count` of the list: all of a short one, a draw (in order) from a long one.
fn choose<'a, T>(list: &'a [T], rng: &mut Rng, count: usize) -> Vec<&'a T> {
    if list.len() <= count {
        return list.iter().collect();
    }
    let mut left = count;
    let mut chosen = Vec::with_capacity(count);
    for (index, item) in list.iter().enumerate() {
        if rng.below(list.len() - index) < left {
            left -= 1;
            chosen.push(item);
        }
    }
    chosen
}

fn replaced(value: &Value, pointer: &str, by: Value) -> Value {
    let mut copy = value.clone();
    if let Some(place) = copy.pointer_mut(pointer) {
        *place = by;
    }
    copy
}

fn removed(value: &Value, pointer: &str) -> Option<Value> {
    let (parent, key) = pointer.rsplit_once('/')?;
    let mut copy = value.clone();
    match copy.pointer_mut(parent)? {
        Value::Object(map) => {
            map.shift_remove(&key.replace("~1", "/").replace("~0", "~"))?;
        }
        Value::Array(list) => {
            list.remove(key.parse().ok()?);
        }
        _ => return None,
    }
    Some(copy)
}
