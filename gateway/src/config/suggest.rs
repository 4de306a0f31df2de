//! 'Did you mean': the nearest known name.

/// The candidate nearest to `given`, where it is near enough to be a slip.
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const SIMILAR_ENOUGH: f64 = 0.6;
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(given, candidate), candidate))
        .filter(|(score, _)| *score >= SIMILAR_ENOUGH)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Makes serde's "unknown field `x`, expected one of `a`, `b`" into a sentence with the nearest known key.
/// Returns the unknown key too, so that its own line can be found.
pub fn unknown_key(message: &str) -> Option<(String, String)> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let key = quoted.next()?.to_owned();
    let known: Vec<&str> = quoted.collect();
    let text = match nearest(&key, known.iter().copied()) {
        Some(near) => format!("unknown key '{key}'; did you mean '{near}'?"),
        None if known.is_empty() => format!("unknown key '{key}'; nothing can be set here"),
        None => format!("unknown key '{key}'; known here: {}", known.join(", ")),
    };
    Some((key, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_key_and_the_nearest() {
        let (key, text) = unknown_key("unknown field `brokrs`, expected one of `brokers`, `properties`").unwrap();
        assert_eq!((key.as_str(), text.as_str()), ("brokrs", "unknown key 'brokrs'; did you mean 'brokers'?"));
        assert_eq!(unknown_key("missing field `x`"), None);
    }
}
