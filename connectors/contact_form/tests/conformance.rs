//! The laws of conformance over this connector's fixtures.

fn main() -> std::process::ExitCode {
    inlet_conformance::main(&[connector_sdk::Entry::of::<connector_contact_form::ContactForm>()])
}
