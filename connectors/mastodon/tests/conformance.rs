//! The conformance suite over this connector alone.

fn main() -> std::process::ExitCode {
    inlet_conformance::main(&[connector_sdk::Entry::of::<connector_mastodon::Mastodon>()])
}
