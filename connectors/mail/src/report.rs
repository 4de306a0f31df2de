//! Reports that machines send about mail: delivery status (RFC 3464), disposition (RFC 8098), complaints (RFC 5965).

use serde_json::{Map, Value};

use crate::address;
use crate::header::{self, Headers};
use crate::mime::{Body, Part};
use crate::thread::{Thread, message_ids};

/// Recipient blocks beyond this number are left out.
const MAX_RECIPIENTS: usize = 100;

/// What sort of report a mail is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportKind {
    DeliveryStatus,
    Disposition,
    Feedback,
}

/// A report taken apart.
#[derive(Clone, Debug)]
pub struct Report {
    pub kind: ReportKind,
    /// Every field, by block: `message` and `recipients`.
    pub fields: Value,
    /// `failed`, `delayed`, `delivered`, … of each recipient block, or `displayed`, `deleted`, … of a disposition; lower case.
    pub actions: Vec<String>,
    /// The mail that the report is about.
    pub original: Thread,
    pub original_recipients: Vec<String>,
}

/// The report in a mail, where there is one.
pub fn find(root: &Part<'_>, headers: &Headers<'_>) -> Option<Report> {
    let mut leaves = Vec::new();
    collect(root, &mut leaves);
    let of = |types: &[&str]| leaves.iter().find(|part| types.contains(&part.media_type()));
    let (kind, part) = of(&["message/delivery-status", "message/global-delivery-status"])
        .map(|part| (ReportKind::DeliveryStatus, part))
        .or_else(|| {
            let types = ["message/disposition-notification", "message/global-disposition-notification"];
            of(&types).map(|part| (ReportKind::Disposition, part))
        })
        .or_else(|| of(&["message/feedback-report"]).map(|part| (ReportKind::Feedback, part)))?;
    let (bytes, _) = part.decoded();
    let blocks = blocks(&bytes);
    let original = leaves.iter().find(|part| {
        ["message/rfc822", "message/global", "text/rfc822-headers", "message/rfc822-headers", "message/global-headers"]
            .contains(&part.media_type())
    });
    let mut thread = original.map(|part| Thread::of(&header::split(&part.decoded().0).0)).unwrap_or_default();
    if thread.message_id.is_none() {
        thread.message_id = ids_in(&blocks, "original-message-id").or_else(|| first_reference(headers));
    }
    let recipients = if kind == ReportKind::DeliveryStatus { blocks.get(1..).unwrap_or_default() } else { &blocks[..] };
    let fact = |block: &Map<String, Value>, name: &str| block.get(name).and_then(Value::as_str).map(str::to_owned);
    let action = |block| match kind {
        // `manual-action/MDN-sent-manually; displayed`
        ReportKind::Disposition => {
            fact(block, "disposition").map(|text| word(text.rsplit(';').next().unwrap_or(&text)))
        }
        _ => fact(block, "action").map(|text| word(&text)),
    };
    let actions = recipients.iter().filter_map(action).collect();
    let original_recipients = recipients
        .iter()
        .filter_map(|block| {
            ["final-recipient", "original-recipient", "original-rcpt-to"].iter().find_map(|name| fact(block, name))
        })
        .map(|value| value.rsplit(';').next().unwrap_or(&value).trim().trim_matches(['<', '>']).to_owned())
        .collect();
    let fields = if kind == ReportKind::DeliveryStatus {
        serde_json::json!({ "message": blocks.first(), "recipients": recipients })
    } else {
        serde_json::json!({ "message": blocks.first() })
    };
    Some(Report { kind, fields, actions, original: thread, original_recipients })
}

fn collect<'p, 'a>(part: &'p Part<'a>, out: &mut Vec<&'p Part<'a>>) {
    match &part.body {
        Body::Multipart(children) => children.iter().for_each(|child| collect(child, out)),
        Body::Leaf { .. } => out.push(part),
    }
}

/// Groups of fields, separated by blank lines.
fn blocks(bytes: &[u8]) -> Vec<Map<String, Value>> {
    let mut blocks = Vec::new();
    let mut rest = bytes;
    while !rest.trim_ascii().is_empty() && blocks.len() <= MAX_RECIPIENTS {
        let (headers, end) = header::split(rest);
        if end == 0 {
            break;
        }
        let mut block = Map::new();
        for field in &headers.0 {
            let text = header::plain(field.raw);
            // A repeated field keeps every value.
            match block.get_mut(&field.name) {
                Some(Value::Array(have)) => have.push(text.into()),
                Some(have) => *have = Value::Array(vec![have.clone(), text.into()]),
                None => {
                    block.insert(field.name.clone(), text.into());
                }
            }
        }
        if !block.is_empty() {
            blocks.push(block);
        }
        rest = rest.get(end..).unwrap_or_default();
    }
    blocks
}

fn ids_in(blocks: &[Map<String, Value>], name: &str) -> Option<String> {
    let value = blocks.iter().find_map(|block| block.get(name))?.as_str()?;
    message_ids(value.as_bytes()).into_iter().next()
}

fn first_reference(headers: &Headers<'_>) -> Option<String> {
    let thread = Thread::of(headers);
    thread.in_reply_to.or_else(|| thread.references.last().cloned())
}

/// The first word in lower case: `failed (5.1.1)` occurs.
fn word(text: &str) -> String {
    text.split(|c: char| !c.is_ascii_alphabetic())
        .find(|word| !word.is_empty())
        .unwrap_or_default()
        .to_ascii_lowercase()
}

/// Signs of a bounce that is no standard report: who failed, as far as the headers say.
pub fn informal_bounce(headers: &Headers<'_>, null_sender: bool) -> Option<Vec<String>> {
    let failed: Vec<String> = headers
        .all("x-failed-recipients")
        .flat_map(|raw| address::parse(raw).0)
        .filter_map(|mailbox| mailbox.address)
        .collect();
    if !failed.is_empty() {
        return Some(failed);
    }
    let from = address::parse(headers.first("from").unwrap_or_default()).0;
    let daemon = from.first().and_then(|m| m.address.as_deref()).is_some_and(|address| {
        let local = address.split('@').next().unwrap_or(address).to_ascii_lowercase();
        ["mailer-daemon", "postmaster", "mail-daemon"].contains(&local.as_str())
    });
    let subject = headers.text("subject").unwrap_or_default().to_lowercase();
    const SUBJECTS: &[&str] = &[
        "undeliver",
        "undelivered",
        "delivery status notification",
        "delivery failure",
        "delivery has failed",
        "mail delivery failed",
        "failure notice",
        "returned mail",
        "unzustellbar",
        "недоставлен",
        "не доставлен",
        "nicht zugestellt",
        "échec de la remise",
    ];
    let says_so = SUBJECTS.iter().any(|text| subject.contains(text));
    (daemon && (null_sender || says_so)).then(Vec::new)
}
