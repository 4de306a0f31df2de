//! From a raw event to events: where the mail was found is read here, what it says by `connector-mail`.

use connector_mail::MailInput;
use connector_sdk::net::Security;
use connector_sdk::{Parse, Parsed, RawEvent, Timestamp};
use serde_json::json;

use crate::config::Settings;
use crate::wire;

const PARSER_VERSION: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Parses the mails of one instance.
#[derive(Debug)]
pub struct ImapParse {
    account: String,
    own_addresses: Vec<String>,
    verified_by: &'static str,
}

impl ImapParse {
    pub fn new(settings: &Settings) -> Self {
        Self {
            account: settings.account.clone(),
            own_addresses: settings.own_addresses.clone(),
            verified_by: if settings.security == Security::Plain { "login" } else { "tls-login" },
        }
    }
}

impl Parse for ImapParse {
    fn parse(&self, raw: &RawEvent) -> Parsed {
        let header = |name: &str| raw.headers.get(name);
        if let Some(reason) = header(wire::UNREADABLE) {
            return Parsed::reject("unreadable_mail", reason);
        }
        let number = |name: &str| header(name).and_then(|text| text.parse::<u64>().ok());
        let internal_date = header(wire::INTERNAL_DATE).and_then(Timestamp::parse);
        let input = MailInput {
            account: &self.account,
            own_addresses: &self.own_addresses,
            internal_date,
            received_at: raw.received_at,
            source: json!({
                "folder": header(wire::FOLDER),
                "uid": number(wire::UID),
                "uidvalidity": number(wire::UIDVALIDITY),
            }),
            only_headers_of_bytes: number(wire::ONLY_HEADERS_OF),
            resync: header(wire::RESYNC) == Some("true"),
            backfill: header(wire::BACKFILL) == Some("true"),
            verified_by: self.verified_by,
            parser_version: PARSER_VERSION,
        };
        connector_mail::parse(&raw.body, &input)
    }
}
