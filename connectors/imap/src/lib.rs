//! Mailboxes over IMAP (RFC 3501, RFC 9051): each folder is a stream that is read from a cursor of UIDVALIDITY and UID.
//!
//! Nothing in the mailbox is changed: folders are opened with EXAMINE and mails are read with BODY.PEEK, so flags stay
//! as they are. What a mail means is read by `connector-mail`, which all mail connectors share.

mod batch;
mod client;
mod config;
mod fault;
mod folder;
mod history;
mod id;
mod import;
mod login;
mod meter;
mod parse;
mod probe;
mod session;
mod utf7;
mod wait;
mod wire;

use std::sync::Arc;

use connector_sdk::schemas::Channel;
use connector_sdk::{Assets, BuildContext, ConfigError, Connector, ConnectorKind, Intake, Shape, SourceClass};

pub use config::{Auth, Config};
pub use id::{History, Mark, Position};

/// A mailbox over IMAP.
#[derive(Debug)]
pub struct Imap;

impl ConnectorKind for Imap {
    const NAME: &'static str = "imap";
    const SUMMARY: &'static str = "Mailboxes over IMAP: every new mail of the configured folders, none marked as read";
    const CHANNEL: Channel = Channel::Email;
    const SHAPES: &'static [Shape] = &[Shape::Session];
    const ASSETS: Assets = connector_sdk::assets!();

    type Config = Config;

    fn build(config: Config, _: &BuildContext) -> Result<Connector, ConfigError> {
        let settings = Arc::new(config.check()?);
        let parse = Arc::new(parse::ImapParse::new(&settings));
        let account = Arc::new(login::Account::new(settings.clone()));
        let session = session::ImapSession::new(account.clone());
        let mut connector = Connector::new(parse, vec![Intake::Session(Box::new(session))], SourceClass::Replay);
        connector.check_cursor = Some(|_, cursor| Position::decode(cursor).map(drop));
        connector.history = Some(Box::new(history::ImapHistory::new(account.clone())));
        connector.import = Some(Arc::new(import::ImapImport::new(settings)));
        connector.probe = Some(Arc::new(probe::ImapProbe::new(account)));
        Ok(connector)
    }
}
