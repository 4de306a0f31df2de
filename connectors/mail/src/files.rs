//! The files of a mail as attachments, and what is worth knowing about them.

use bytes::Bytes;
use connector_sdk::Draft;
use connector_sdk::schemas::{Attachment, Disposition, FetchState, Truncation};
use connector_sdk::text::file_name;
use serde_json::{Value, json};

use crate::body;
use crate::header;
use crate::mime::Part;
use crate::params;
use crate::thread;

/// Files beyond this number are left out of the event; the whole mail is then attached instead.
pub const MAX_ATTACHMENTS: usize = 200;
/// File names are cut to this length.
const MAX_FILE_NAME_BYTES: usize = 255;
/// Nested mails beyond this number are not described.
const MAX_NESTED: usize = 20;
/// Id of the attachment that is the whole mail.
pub const WHOLE_MAIL_ID: &str = "mail";

/// Device names that Windows would open instead of a file.
const RESERVED: &[&str] = &["con", "nul", "prn", "aux", "com1", "com2", "com3", "com4", "lpt1", "lpt2", "lpt3"];

/// What the files say about the mail.
#[derive(Debug, Default)]
pub struct Notes {
    /// `tnef`, `encrypted_pgp`, `calendar`, …
    pub flags: Vec<String>,
    /// Subject, sender and id of nested mails.
    pub nested: Vec<Value>,
}

impl Notes {
    pub fn flag(&mut self, flag: impl Into<String>) {
        let flag = flag.into();
        if !self.flags.contains(&flag) {
            self.flags.push(flag);
        }
    }
}

/// Attaches every file; over [`MAX_ATTACHMENTS`] the whole mail stands for the rest.
pub fn attach(draft: &mut Draft, parts: &[&Part<'_>], html: &str, mail: &Bytes, notes: &mut Notes) {
    for part in parts.iter().take(MAX_ATTACHMENTS) {
        let (bytes, damaged) = part.decoded();
        note(part, &bytes, notes);
        let mut attachment = describe(part, html);
        // Armoured text of any sort would pass for a certificate.
        let sniffed = infer::get(&bytes).filter(|_| !bytes.starts_with(b"-----BEGIN"));
        attachment.media_type_sniffed = sniffed.map(|kind| kind.mime_type().to_owned());
        if damaged {
            attachment.reason = Some("its base64 is damaged; what could be decoded is kept".to_owned());
        }
        draft.attach(attachment, bytes);
    }
    if parts.len() > MAX_ATTACHMENTS {
        let kept = draft.blobs.iter().map(|blob| blob.reference.size_bytes).sum();
        truncated(draft, "/attachments", mail.len() as u64, kept);
        notes.flag("too_many_attachments");
        attach_whole(draft, mail);
    }
}

/// Attaches the mail itself, where its parts do not hold everything.
pub fn attach_whole(draft: &mut Draft, mail: &Bytes) {
    let mut attachment = Attachment::new(WHOLE_MAIL_ID, FetchState::Stored);
    attachment.file_name = Some("message.eml".to_owned());
    attachment.media_type = Some("message/rfc822".to_owned());
    attachment.disposition = Some(Disposition::Attachment);
    draft.attach(attachment, mail.clone());
}

/// Records a cut.
pub fn truncated(draft: &mut Draft, field: &str, original_bytes: u64, kept_bytes: u64) {
    draft.event.provenance.truncations.push(Truncation { field: field.to_owned(), original_bytes, kept_bytes });
}

fn describe(part: &Part<'_>, html: &str) -> Attachment {
    let mut attachment = Attachment::new(part.path.clone(), FetchState::Stored);
    let name = body::file_name(part);
    if let Some(params::Value { text, raw }) = name {
        let clean = clean_name(&text);
        attachment.file_name_raw = raw.or_else(|| (clean.as_deref() != Some(text.as_str())).then_some(text));
        attachment.file_name = clean;
    }
    attachment.media_type = Some(part.media_type().to_owned());
    attachment.size_bytes = part.disposition.token("size").and_then(|size| size.parse().ok());
    let referenced = part.content_id.as_ref().is_some_and(|id| html.contains(&format!("cid:{id}")));
    let inline = referenced || part.disposition.main == "inline";
    attachment.disposition = Some(if inline { Disposition::Inline } else { Disposition::Attachment });
    attachment.content_id.clone_from(&part.content_id);
    attachment
}

/// A name that is safe to show and to store: no path, no control or direction characters, no device names.
fn clean_name(text: &str) -> Option<String> {
    let direction = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    let name = file_name(&text.replace(direction, ""))?;
    let stem = name.split('.').next().unwrap_or(&name).to_ascii_lowercase();
    let name = if RESERVED.contains(&stem.as_str()) { format!("_{name}") } else { name };
    let (name, _) = connector_sdk::text::cut(&name, MAX_FILE_NAME_BYTES);
    Some(name.to_owned())
}

fn note(part: &Part<'_>, bytes: &[u8], notes: &mut Notes) {
    const TNEF: &[u8] = &[0x78, 0x9f, 0x3e, 0x22];
    let named_winmail = body::file_name(part).is_some_and(|name| name.text.eq_ignore_ascii_case("winmail.dat"));
    match part.media_type() {
        "application/ms-tnef" | "application/vnd.ms-tnef" => notes.flag("tnef"),
        _ if named_winmail || bytes.starts_with(TNEF) => notes.flag("tnef"),
        "application/pgp-encrypted" => notes.flag("encrypted_pgp"),
        "application/pgp-signature" => notes.flag("signed_pgp"),
        "application/pkcs7-signature" | "application/x-pkcs7-signature" => notes.flag("signed_smime"),
        "application/pkcs7-mime" | "application/x-pkcs7-mime" => {
            let signed =
                part.content_type.token("smime-type").is_some_and(|kind| kind.eq_ignore_ascii_case("signed-data"));
            notes.flag(if signed { "signed_smime" } else { "encrypted_smime" });
        }
        "text/calendar" | "application/ics" => {
            let method = part.content_type.token("method").unwrap_or_default().to_ascii_lowercase();
            notes.flag(if method.is_empty() { "calendar".to_owned() } else { format!("calendar_{method}") });
        }
        "message/rfc822" | "message/global" if notes.nested.len() < MAX_NESTED => {
            let (headers, _) = header::split(bytes);
            notes.nested.push(json!({
                "attachment": part.path,
                "subject": headers.text("subject"),
                "from": headers.text("from"),
                "date": headers.plain("date"),
                "message_id": thread::message_id(&headers),
            }));
        }
        "message/partial" | "message/external-body" => notes.flag("incomplete"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::clean_name;

    #[test]
    fn names() {
        for (raw, expected) in [
            ("..\\..\\x.exe", Some("x.exe")),
            ("/etc/passwd", Some("passwd")),
            ("invoice\u{202e}fdp.exe", Some("invoicefdp.exe")),
            ("NUL", Some("_NUL")),
            ("con.txt", Some("_con.txt")),
            ("a\r\nb.pdf", Some("a b.pdf")),
            ("..", None),
        ] {
            assert_eq!(clean_name(raw).as_deref(), expected, "{raw}");
        }
        assert_eq!(clean_name(&"я".repeat(500)).map(|name| name.len()), Some(254));
    }
}
