//! Contact forms: a hosted page, a script that puts the form into any site, and an endpoint that takes submissions.
//!
//! The provider is Inlet itself: `GET /forms/{instance}` gives the page, `GET …/embed.js` the script, `GET …/token` a
//! fresh time-trap token, and `POST /forms/{instance}` takes urlencoded, multipart and JSON submissions, each of which
//! becomes one `form.submitted`. A lost message is a lost customer: what looks like spam is marked, not dropped.

mod check;
mod config;
mod embed;
mod form;
mod id;
mod mask;
mod origin;
mod page;
mod parse;
mod redact;
mod reply;
mod roles;
mod spam;
mod texts;
mod token;
mod webhook;
mod wire;

use std::sync::Arc;

use connector_sdk::schemas::Channel;
use connector_sdk::{Assets, BuildContext, ConfigError, Connector, ConnectorKind, Intake, Shape, SourceClass};

pub use config::Config;
use form::Form;

/// Value of [`connector_sdk::schemas::Event::provider`].
const PROVIDER: &str = ContactForm::NAME;

/// The connector kind `contact_form`.
pub struct ContactForm;

impl ConnectorKind for ContactForm {
    const NAME: &'static str = "contact_form";
    const SUMMARY: &'static str = "Contact forms: hosted page, embed script for any site, and endpoint with files";
    const CHANNEL: Channel = Channel::Form;
    const SHAPES: &'static [Shape] = &[Shape::Webhook];
    const ASSETS: Assets = connector_sdk::assets!();

    type Config = Config;

    fn build(config: Config, cx: &BuildContext) -> Result<Connector, ConfigError> {
        let form = Arc::new(Form::build(config, &cx.instance)?);
        let parse = Arc::new(parse::FormParse(Arc::clone(&form)));
        let webhook = Intake::Webhook(Arc::new(webhook::FormWebhook(form)));
        // A browser does not send again by itself.
        Ok(Connector::new(parse, vec![webhook], SourceClass::Ephemeral))
    }
}
