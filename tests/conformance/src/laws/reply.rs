//! Law 10, reply: each outcome is answered with the status that keeps this provider's data, and a line says why.

use std::time::Duration;

use connector_sdk::{Outcome, Refusal, RefusalKind, Reply};

use crate::Verdict;
use crate::subject::{self, Subject};

/// How long the provider is asked to wait.
const RETRY_AFTER: Duration = Duration::from_millis(1500);

/// The declared status for each outcome, and what no declaration can excuse.
pub(super) fn reply(subject: &Subject) -> Verdict {
    let connector = subject.build()?;
    let webhook = subject::webhook(&connector)?;
    let mut declared = subject.case.file.reply.clone();
    for (name, outcome) in outcomes() {
        let reply = webhook.reply(&subject.case.raw, &outcome);
        let want = declared.remove(name).ok_or_else(|| {
            format!("[reply] in fixtures/defaults.toml lacks `{name} = {{ status = {}, why = \"…\" }}`", reply.status)
        })?;
        if want.why.trim().is_empty() {
            return Err(format!("reply.{name} says no reason"));
        }
        if reply.status != want.status {
            return Err(format!("{name} is answered {}, declared is {}", reply.status, want.status));
        }
        sane(name, &outcome, &reply)?;
    }
    match declared.keys().next() {
        Some(name) => Err(format!("reply.{name} is no outcome")),
        None => Ok(()),
    }
}

fn outcomes() -> Vec<(&'static str, Outcome)> {
    vec![
        ("safe", Outcome::Safe { event_ids: Vec::new() }),
        ("dead_lettered", Outcome::DeadLettered),
        ("not_safe_now", Outcome::NotSafeNow { retry_after: RETRY_AFTER }),
        ("too_large", Outcome::TooLarge { limit_bytes: 1 << 20 }),
        ("over_rate", Outcome::OverRate { retry_after: RETRY_AFTER }),
        ("refused", Outcome::Refused(Refusal::new(RefusalKind::Signature, "signature does not match"))),
    ]
}

fn sane(name: &str, outcome: &Outcome, reply: &Reply) -> Verdict {
    let status = reply.status;
    if outcome.is_safe() && !(200..400).contains(&status) {
        return Err(format!("{name}: {status} makes the provider send again what is safe"));
    }
    if matches!(outcome, Outcome::NotSafeNow { .. }) && status < 400 {
        return Err(format!("{name}: {status} tells the provider that it may forget what is not safe"));
    }
    let later = reply.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case("retry-after"));
    match later.map(|(_, value)| value.parse::<u64>()) {
        None if matches!(status, 429 | 503) => Err(format!("{name}: {status} without Retry-After")),
        Some(Ok(0) | Err(_)) => Err(format!("{name}: Retry-After must be whole seconds, at least 1")),
        _ => Ok(()),
    }
}
