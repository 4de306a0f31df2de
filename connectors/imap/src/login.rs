//! From nothing to a logged-in connection: TCP, TLS or STARTTLS, capabilities, password or XOAUTH2.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use connector_sdk::net::{self, NetStream, Security};
use connector_sdk::{IntakeError, Io, Secret, Timestamp, TokenSource};

use crate::client::{Answer, Client, quoted};
use crate::config::{Credentials, Settings};
use crate::fault::Fault;

/// Who logs in where; shared by all connections of an instance.
pub struct Account {
    pub settings: Arc<Settings>,
    tokens: Option<TokenSource>,
}

impl Account {
    pub fn new(settings: Arc<Settings>) -> Self {
        let tokens = match &settings.credentials {
            Credentials::Xoauth2(oauth) => Some(TokenSource::new(oauth.clone())),
            Credentials::Password(_) => None,
        };
        Self { settings, tokens }
    }

    /// A connection that is logged in.
    pub async fn connect(&self, io: &Io, now: Timestamp) -> Result<Client, Fault> {
        let mut client = self.open().await?;
        match (&self.settings.credentials, &self.tokens) {
            (Credentials::Password(password), _) => self.password(&mut client, password).await?,
            (Credentials::Xoauth2(_), Some(tokens)) => {
                let token = tokens.access_token(io, now).await?;
                if let Err(refused) = self.xoauth2(&mut client, &token).await {
                    // Revoked before its time, maybe: a fresh token is tried once.
                    tokens.invalidate(&token).await;
                    if !matches!(refused, Fault::Order(IntakeError::Unauthorised(_))) {
                        return Err(refused);
                    }
                    let token = tokens.access_token(io, now).await?;
                    client = self.open().await?;
                    self.xoauth2(&mut client, &token).await?;
                }
            }
            (Credentials::Xoauth2(_), None) => {}
        }
        // What a server can do it often tells only after the login.
        client.ask_capabilities().await?;
        if client.has("ID") {
            // NetEase opens no folder for clients that do not say who they are; nobody minds an error.
            let told = client.run("ID (\"name\" \"inlet\")", |_| {}).await;
            if let Err(fault @ (Fault::Lost(_) | Fault::Silent(_) | Fault::Garbled)) = told {
                return Err(fault);
            }
        }
        Ok(client)
    }

    /// A greeted connection, protected as configured, not logged in.
    async fn open(&self) -> Result<Client, Fault> {
        let settings = &self.settings;
        let lost = |error: std::io::Error| Fault::Lost(error.to_string());
        let tcp = net::tcp(&settings.host, settings.port).await.map_err(lost)?;
        let stream = match settings.security {
            Security::Tls => self.tls(tcp).await?,
            Security::Starttls | Security::Plain => NetStream::Plain(tcp),
        };
        let mut client = Client::new(stream);
        match client.next().await? {
            Answer::Bye(text) => return Err(Fault::No(text)),
            // Logged in before TLS: whoever sits between could have written that.
            Answer::PreAuth => return Err(IntakeError::Broken("the server greets with PREAUTH".to_owned()).into()),
            _ => {}
        }
        if settings.security == Security::Starttls {
            client = self.starttls(client).await?;
        }
        client.ask_capabilities().await?;
        Ok(client)
    }

    async fn starttls(&self, mut client: Client) -> Result<Client, Fault> {
        client.run("STARTTLS", |_| {}).await.map_err(|fault| match fault {
            Fault::No(text) | Fault::Bad(text) => {
                Fault::Order(IntakeError::Broken(format!("the server refuses STARTTLS ({text}); use security: tls")))
            }
            fault => fault,
        })?;
        match client.into_stream() {
            NetStream::Plain(tcp) => Ok(Client::new(self.tls(tcp).await?)),
            NetStream::Tls(_) => Err(IntakeError::Broken("STARTTLS over TLS".to_owned()).into()),
        }
    }

    async fn tls(&self, tcp: tokio::net::TcpStream) -> Result<NetStream, Fault> {
        let config = net::client_config(self.settings.ca_file.as_deref())
            .map_err(|error| IntakeError::Broken(error.to_string()))?;
        net::tls(tcp, &self.settings.host, config).await.map_err(|error| Fault::Lost(error.to_string()))
    }

    async fn password(&self, client: &mut Client, password: &Secret) -> Result<(), Fault> {
        let user = &self.settings.user;
        if client.has("AUTH=PLAIN") {
            let response = STANDARD.encode(format!("\0{user}\0{}", password.expose()));
            return authenticate(client, "PLAIN", &response).await;
        }
        if client.has("LOGINDISABLED") {
            let text = "the server takes no password on this connection (LOGINDISABLED); use security: tls or starttls, or auth: xoauth2";
            return Err(IntakeError::Broken(text.to_owned()).into());
        }
        if !password.expose().is_ascii() || password.expose().contains(['\r', '\n', '\0']) {
            let text = "the server has no AUTH=PLAIN, and LOGIN cannot carry this password: it must be ASCII";
            return Err(IntakeError::Broken(text.to_owned()).into());
        }
        let command = format!("LOGIN {} {}", quoted(user), quoted(password.expose()));
        client.run(&command, |_| {}).await.map_err(login_fault)
    }

    async fn xoauth2(&self, client: &mut Client, token: &Secret) -> Result<(), Fault> {
        authenticate(client, "XOAUTH2", &xoauth2_response(&self.settings.user, token)).await
    }
}

fn xoauth2_response(user: &str, token: &Secret) -> String {
    STANDARD.encode(format!("user={user}\x01auth=Bearer {}\x01\x01", token.expose()))
}

/// AUTHENTICATE with one response: within the command where the server allows (SASL-IR), else at its prompt.
async fn authenticate(client: &mut Client, mechanism: &str, response: &str) -> Result<(), Fault> {
    let initial = client.has("SASL-IR");
    let command =
        if initial { format!("AUTHENTICATE {mechanism} {response}") } else { format!("AUTHENTICATE {mechanism}") };
    let tag = client.send(&command, 0).await?;
    let mut answered = initial;
    loop {
        match client.next().await? {
            Answer::Continue if !answered => {
                client.send_line(response).await?;
                answered = true;
            }
            // A refusal comes as a challenge with its reason; the empty answer makes the server say NO.
            Answer::Continue => client.send_line("").await?,
            Answer::Done { tag: of, status, text } if of == tag => {
                let refused = match status {
                    async_imap::imap_proto::Status::Ok => return Ok(()),
                    async_imap::imap_proto::Status::Bad => Fault::Bad(text),
                    _ => Fault::No(text),
                };
                return Err(login_fault(refused));
            }
            Answer::Bye(text) => return Err(Fault::No(text)),
            _ => {}
        }
    }
}

fn login_fault(fault: Fault) -> Fault {
    match fault {
        fault @ Fault::No(_) => Fault::Order(fault.into_login()),
        fault => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xoauth2_as_google_documents_it() {
        let response = xoauth2_response("a@b.example", &Secret::new("tok"));
        assert_eq!(response, "dXNlcj1hQGIuZXhhbXBsZQFhdXRoPUJlYXJlciB0b2sBAQ==");
    }
}
