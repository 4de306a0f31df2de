//! The list of connectors, one line each. No link-time magic: what is not here does not exist.

use connector_sdk::{Demo, Entry};

static ALL: &[Entry] = &[
    Entry::of::<connector_asterisk::Asterisk>(),
    Entry::of::<connector_contact_form::ContactForm>(),
    Entry::of::<connector_imap::Imap>(),
    Entry::of::<connector_mastodon::Mastodon>(),
    Entry::of::<connector_slack::Slack>(),
    Entry::of::<connector_telegram::Telegram>(),
    Entry::of::<connector_twilio::Twilio>(),
    Entry::of::<connector_webhook::WebhookConnector>(),
];

/// Every connector that the stock binary has, by name.
pub fn all() -> &'static [Entry] {
    ALL
}

/// What `inlet quickstart` shows: one instance of each push channel, all secrets `demo-secret`.
pub const DEMO: Demo = Demo { instances: include_str!("demo.yaml"), try_out: include_str!("demo.txt") };
