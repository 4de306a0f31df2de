//! Law 5, admit: what is genuine comes in, and nothing else does.

use std::time::Duration;

use connector_sdk::fixture::{Expect, Proof};
use connector_sdk::{Admission, RawEvent, RefusalKind, Webhook};
use inlet_schemas::Timestamp;

use crate::Verdict;
use crate::proof::{self, Forgery};
use crate::subject::{self, Subject};

/// A span in which no replay window is still open.
const AGES: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Just outside a window.
const ONE_SECOND: Duration = Duration::from_secs(1);

/// The request is accepted as it is; forged, old and early ones are refused; a fresh signature of ours is accepted.
pub(super) fn admit(subject: &Subject) -> Verdict {
    let connector = subject.build()?;
    let gate = Gate { webhook: subject::webhook(&connector)?, now: subject.case.clock };
    let (raw, proof) = (&subject.case.raw, &subject.case.file.admission);
    gate.lets_in(raw, gate.now, "the request as it is")?;
    declared(proof)?;
    if proof::is_empty(proof) {
        return Ok(());
    }
    match proof::present(proof, raw) {
        // A handshake may come before anything is signed.
        Err(_) if subject.case.file.admit == Expect::Answer => return Ok(()),
        Err(place) => {
            return Err(format!("[admission] names the {place}, which the request does not have exactly once"));
        }
        Ok(()) => {}
    }
    for forgery in proof::forgeries(proof, raw) {
        gate.turns_away(&forgery)?;
    }
    body(&gate, raw, proof)?;
    if proof.url {
        for forgery in proof::urls(raw) {
            gate.turns_away(&forgery)?;
        }
    }
    window(&gate, raw, proof)?;
    signs(&gate, raw, proof)?;
    if proof.body && subject.is_input() { unreadable(&gate, raw) } else { Ok(()) }
}

/// Whatever is not protected has a reason.
fn declared(proof: &Proof) -> Verdict {
    let reasons = [("body", proof.body, &proof.no_body), ("window", proof.window_seconds.is_some(), &proof.no_window)];
    for (what, covered, reason) in reasons {
        match (covered, reason) {
            (false, None) => {
                return Err(format!(
                    "[admission] in fixtures/defaults.toml says neither that the {what} is covered nor why it is not (`no_{what}`)"
                ));
            }
            (true, Some(_)) => return Err(format!("[admission] gives a reason `no_{what}` for what is covered")),
            _ => {}
        }
    }
    Ok(())
}

fn body(gate: &Gate<'_>, raw: &RawEvent, proof: &Proof) -> Verdict {
    let forgeries = proof::bodies(raw);
    if proof.body {
        return forgeries.iter().try_for_each(|forgery| gate.turns_away(forgery));
    }
    let all_refused = forgeries.iter().all(|f| gate.turns_away(f).is_ok());
    if all_refused {
        Err("[admission]: every changed body is refused, so declare `body = true`".to_owned())
    } else {
        Ok(())
    }
}

/// The edges of the replay window, seen from a signature made for this moment; without a window, ages change nothing.
fn window(gate: &Gate<'_>, raw: &RawEvent, proof: &Proof) -> Verdict {
    let Some(seconds) = proof.window_seconds else {
        let ages = [gate.now.plus(AGES), gate.now.minus(AGES)];
        return if ages.iter().all(|at| gate.admits(raw, *at)) {
            Ok(())
        } else {
            Err("[admission]: an old request is refused, so declare `window_seconds`".to_owned())
        };
    };
    let window = Duration::from_secs(seconds);
    let mut fresh = raw.clone();
    gate.webhook.sign(&mut fresh, gate.now);
    for (at, inside, what) in [
        (gate.now.plus(window), true, "at the end of the window"),
        (gate.now.minus(window), true, "early by the whole window"),
        (gate.now.plus(window + ONE_SECOND), false, "a second after the window"),
        (gate.now.minus(window + ONE_SECOND), false, "a second before the window"),
    ] {
        if gate.admits(&fresh, at) != inside {
            return Err(format!("{what} the request is {}", if inside { "refused" } else { "let in" }));
        }
    }
    for at in [gate.now.plus(2 * window + ONE_SECOND), gate.now.minus(2 * window + ONE_SECOND)] {
        if gate.admits(raw, at) {
            return Err(format!("the case's own request is let in at {at}"));
        }
    }
    Ok(())
}

/// A request signed by the connector is accepted, and the proof is made from nothing.
fn signs(gate: &Gate<'_>, raw: &RawEvent, proof: &Proof) -> Verdict {
    let mut fresh = raw.clone();
    for name in &proof.headers {
        fresh.headers.remove(name);
    }
    gate.webhook.sign(&mut fresh, gate.now);
    gate.lets_in(&fresh, gate.now, "the request, signed by the connector")?;
    let mut twice = fresh.clone();
    gate.webhook.sign(&mut twice, gate.now);
    if twice != fresh {
        return Err("signing twice for the same moment changes the request".to_owned());
    }
    Ok(())
}

/// What is well signed comes in though nobody can read it: a refusal would make the provider send it for ever.
fn unreadable(gate: &Gate<'_>, raw: &RawEvent) -> Verdict {
    let mut broken = raw.clone();
    broken.body = raw.body.slice(..raw.body.len() / 2);
    gate.webhook.sign(&mut broken, gate.now);
    gate.lets_in(&broken, gate.now, "half of the body, well signed")
}

struct Gate<'a> {
    webhook: &'a dyn Webhook,
    now: Timestamp,
}

impl Gate<'_> {
    fn admits(&self, raw: &RawEvent, at: Timestamp) -> bool {
        matches!(subject::admit(self.webhook, raw, at), Ok(Admission::Accept | Admission::Answer(_)))
    }

    fn lets_in(&self, raw: &RawEvent, at: Timestamp, what: &str) -> Verdict {
        match subject::admit(self.webhook, raw, at)? {
            Admission::Refuse(refusal) => Err(format!("{what} is refused: {}", refusal.detail)),
            _ => Ok(()),
        }
    }

    /// Refused as a matter of proof: before anything in the body is looked at.
    fn turns_away(&self, forgery: &Forgery) -> Verdict {
        match subject::admit(self.webhook, &forgery.raw, self.now)? {
            Admission::Refuse(refusal) if proves(refusal.kind) => Ok(()),
            Admission::Refuse(refusal) => Err(format!(
                "{}: refused as {}, but the proof comes before the content",
                forgery.what,
                refusal.kind.as_str()
            )),
            _ => Err(format!("{}: let in", forgery.what)),
        }
    }
}

fn proves(kind: RefusalKind) -> bool {
    matches!(kind, RefusalKind::Signature | RefusalKind::Forbidden | RefusalKind::Invalid)
}
