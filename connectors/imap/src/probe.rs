//! `inlet check --connect`: logs in and looks at the folders, changes nothing.

use std::sync::Arc;

use connector_sdk::{IntakeError, Io, Probe, ProbeReport, Timestamp, async_trait};

use crate::client::Client;
use crate::fault::Fault;
use crate::login::Account;

/// Folder names listed where a configured one is missing.
const SHOWN_FOLDERS: usize = 30;

pub struct ImapProbe {
    account: Arc<Account>,
}

impl ImapProbe {
    pub fn new(account: Arc<Account>) -> Self {
        Self { account }
    }
}

#[async_trait]
impl Probe for ImapProbe {
    async fn probe(&self, io: &Io) -> Result<ProbeReport, IntakeError> {
        // A probe has no clock: the epoch makes every token that is kept look fresh, and there is none before the first call.
        let mut client = self.account.connect(io, Timestamp::UNIX_EPOCH).await.map_err(Fault::into_intake)?;
        let settings = &self.account.settings;
        let mut lines = vec![format!("logged in to {}:{} as {}", settings.host, settings.port, settings.user)];
        lines.push(if client.has("IDLE") && settings.idle {
            "new mail is announced (IDLE)".to_owned()
        } else {
            format!("no IDLE: looks every {} s", settings.poll.as_secs())
        });
        for folder in &settings.folders {
            lines.push(look(&mut client, folder).await.map_err(Fault::into_intake)?);
        }
        client.logout().await;
        Ok(ProbeReport { lines })
    }
}

async fn look(client: &mut Client, folder: &str) -> Result<String, Fault> {
    match client.examine(folder).await {
        Ok(found) => Ok(format!("{folder}: {} mails, UIDVALIDITY {}", found.exists, found.uidvalidity)),
        Err(fault @ Fault::No(_)) if !fault.is_passing() => {
            let there = client.folders(SHOWN_FOLDERS).await?;
            let text = format!("folder '{folder}' cannot be opened ({fault}); the account has: {}", there.join(", "));
            Err(IntakeError::Broken(text).into())
        }
        Err(fault) => Err(fault),
    }
}
