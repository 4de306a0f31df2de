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

#[cfg(test)]
mod tests {
    use connector_sdk::BuildContext;
    use connector_sdk::fixture::{Expect, cases};

    /// Providers that number and date whatever is written; of these events none may lack either.
    const NUMBERED: [&str; 2] = ["slack", "telegram"];
    const WRITTEN: [&str; 2] = ["message.created", "message.edited"];

    /// By these consumers order what several replicas took.
    #[test]
    fn d5_messages_have_the_providers_time_and_sequence() {
        for name in NUMBERED {
            let entry = super::all().iter().find(|entry| entry.name == name).expect("is in the list");
            let mut looked_at = 0;
            for case in cases(entry.assets.fixtures).expect("fixtures can be read") {
                if case.file.admit != Expect::Accept {
                    continue;
                }
                let cx = BuildContext { instance: name.to_owned(), public_url: Some(case.public_url().to_owned()) };
                let connector = (entry.build)(&case.options(), &cx).expect("the case's config builds");
                let events = connector.parse.parse(&case.raw).events.into_iter().map(|draft| draft.event);
                for event in events.filter(|event| WRITTEN.contains(&event.kind.as_str())) {
                    assert!(event.provider_sequence.is_some(), "{name}: {} has no sequence", case.name);
                    assert_ne!(event.occurred_at, case.raw.received_at, "{name}: {} has Inlet's time", case.name);
                    looked_at += 1;
                }
            }
            assert!(looked_at > 10, "{name}: only {looked_at} messages");
        }
    }
}
