//! Mails from files, as the mailbox would have given them.

use std::sync::Arc;

use connector_sdk::import::{Format, Import, Message};
use connector_sdk::{RawEvent, Wire};

use crate::config::Settings;
use crate::wire::{INTERNAL_DATE, ONLY_HEADERS_OF};

pub struct ImapImport {
    settings: Arc<Settings>,
}

impl ImapImport {
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings }
    }
}

impl Import for ImapImport {
    fn formats(&self) -> &'static [Format] {
        &[Format::Mail]
    }

    fn max_bytes(&self) -> u64 {
        self.settings.max_mail_bytes
    }

    fn raw(&self, message: Message) -> RawEvent {
        // Over the cap the mailbox gives the headers only, and the id is made of the size.
        let body = match message.whole_bytes {
            Some(_) => message.bytes.slice(..headers_end(&message.bytes)),
            None => message.bytes,
        };
        let mut raw = RawEvent::new(Wire::Mail, body, message.now);
        if let Some(size) = message.whole_bytes {
            raw.headers.push(ONLY_HEADERS_OF, size.to_string());
        }
        if let Some(at) = message.stored_at {
            raw.headers.push(INTERNAL_DATE, at.to_string());
        }
        raw
    }
}

/// Behind the empty line that ends the headers.
fn headers_end(mail: &[u8]) -> usize {
    let crlf = mail.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
    let lf = mail.windows(2).position(|two| two == b"\n\n").map(|at| at + 2);
    crlf.into_iter().chain(lf).min().unwrap_or(mail.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_end_with_an_empty_line() {
        assert_eq!(headers_end(b"A: b\r\n\r\nc\n\nd"), 8);
        assert_eq!(headers_end(b"A: b\n\nc\r\n\r\nd"), 6);
        assert_eq!(headers_end(b"A: b"), 4);
    }
}
