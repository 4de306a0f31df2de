//! The laws of every connector, over this one's fixtures.

fn main() -> std::process::ExitCode {
    inlet_conformance::main(&[connector_sdk::Entry::of::<connector_webhook::WebhookConnector>()])
}
