//! Law 5, rotation: while a secret is being replaced, the old and the new one both work; afterwards the old one does not.

use connector_sdk::{Admission, Connector, RawEvent};
use serde_json::{Value, json};

use crate::subject::{self, Subject};
use crate::{Verdict, options, proof};

/// Every option that takes several secrets, where it is the one that verifies this request.
pub(super) fn rotation(subject: &Subject) -> Verdict {
    let declared = &subject.case.file.admission;
    if proof::is_empty(declared) {
        return Ok(());
    }
    let schema = (subject.folder.entry.schema)();
    let good = subject.case.options();
    let mut places = Vec::new();
    options::walk(&schema, &good, &mut |node| {
        let old = node.value.as_str().or_else(|| node.value.get(0).and_then(Value::as_str));
        if node.is_rotating()
            && let Some(old) = old
            && !places.iter().any(|(pointer, _)| *pointer == node.pointer)
        {
            places.push((node.pointer.clone(), old.to_owned()));
        }
    });
    let mut verifying = 0;
    for (pointer, old) in &places {
        verifying += usize::from(rotate(subject, &good, pointer, old)?);
    }
    match (verifying, &declared.no_rotation) {
        (0, None) => {
            Err("no option of type `Secrets` verifies this request: make the secret one, or say why there is \
                          none (`no_rotation` under [admission])"
                .to_owned())
        }
        (0, Some(_)) | (1.., None) => Ok(()),
        (1.., Some(_)) => Err("[admission] gives a reason `no_rotation`, but there is rotation".to_owned()),
    }
}

/// True where this secret verifies the request and rotates as it should.
fn rotate(subject: &Subject, good: &Value, pointer: &str, old: &str) -> Result<bool, String> {
    let new = another(old);
    let built = |value: Value| subject.build_with(&options::with(good, pointer, value));
    let raw = &subject.case.raw;
    let (only_old, only_new) = (built(json!([old]))?, built(json!([new]))?);
    if lets_in(&only_new, subject, raw)? {
        return Ok(false);
    }
    let both = built(json!([new, old]))?;
    let turned = built(json!([old, new]))?;
    let mut fresh = raw.clone();
    subject::webhook(&both)?.sign(&mut fresh, subject.case.clock);
    for (connector, request, expected, what) in [
        (&only_old, raw, true, "[old] and a request signed with old"),
        (&both, raw, true, "[new, old] and a request signed with old"),
        (&turned, raw, true, "[old, new] and a request signed with old"),
        (&both, &fresh, true, "[new, old] and a request signed with new"),
        (&turned, &fresh, true, "[old, new] and a request signed with new"),
        (&only_new, &fresh, true, "[new] and a request signed by [new, old], whose first secret signs"),
        (&only_old, &fresh, false, "[old] and a request signed with new"),
    ] {
        if lets_in(connector, subject, request)? != expected {
            return Err(format!("{pointer}: {what}: {}", if expected { "refused" } else { "let in" }));
        }
    }
    Ok(true)
}

fn lets_in(connector: &Connector, subject: &Subject, raw: &RawEvent) -> Result<bool, String> {
    let admission = subject::admit(subject::webhook(connector)?, raw, subject.case.clock)?;
    Ok(matches!(admission, Admission::Accept | Admission::Answer(_)))
}

/// Another secret of the same form: one letter or digit in the middle is another one, so that base64 stays base64.
fn another(secret: &str) -> String {
    let mut bytes = secret.as_bytes().to_vec();
    let middle = bytes.len() / 2;
    if let Some(at) = (middle..bytes.len()).chain(0..middle).find(|at| bytes[*at].is_ascii_alphanumeric()) {
        bytes[at] = match bytes[at] {
            b'9' => b'0',
            b'z' => b'a',
            b'Z' => b'A',
            byte => byte + 1,
        };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| format!("{secret}2"))
}
