//! What can go wrong on a connection, and what has to be done about it.

use std::time::Duration;

use connector_sdk::IntakeError;
use connector_sdk::text::{cut, one_line};

/// Text of a server that is shown to operators.
const MAX_SERVER_TEXT_BYTES: usize = 200;
/// Longest pause that a server's suggestion is followed for.
const MAX_SUGGESTED_PAUSE: Duration = Duration::from_secs(300);

/// A fault of one connection.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Network, TLS, or the server closed the connection.
    #[error("{0}")]
    Lost(String),
    /// No byte came for so long.
    #[error("the server was silent for {0} s")]
    Silent(u64),
    /// An answer that the decoder does not understand; the connection is lost with it.
    #[error("the server sent an answer that cannot be understood")]
    Garbled,
    /// A mail that the server lists, also when asked again, and does not give. It is not taken for removed: that would
    /// lose it.
    #[error("the server lists mail {0} and does not give it")]
    Withheld(u32),
    /// NO: refused, with the server's text.
    #[error("refused: {0}")]
    No(String),
    /// BAD: the command was not understood.
    #[error("not understood: {0}")]
    Bad(String),
    /// An error that is an order already.
    #[error(transparent)]
    Order(#[from] IntakeError),
}

impl Fault {
    /// From the decoder. Its texts may quote mail, so only what the system says is kept.
    pub fn of_io(error: std::io::Error) -> Self {
        let text = error.to_string();
        if text.contains("during parsing of") {
            return Self::Garbled;
        }
        Self::Lost(format!("connection lost: {text}"))
    }

    /// The order for whoever drives the session.
    pub fn into_intake(self) -> IntakeError {
        match self {
            Self::Order(order) => order,
            Self::No(text) | Self::Bad(text) => match pause(&text) {
                Some(after) => IntakeError::retry_after(after, text),
                None => IntakeError::retry(text),
            },
            fault => IntakeError::retry(fault.to_string()),
        }
    }

    /// The order after a refused login: credentials, unless the server says that it is a passing matter.
    pub fn into_login(self) -> IntakeError {
        match self {
            Self::No(text) if !is_passing(&text) => IntakeError::Unauthorised(format!("the server says: {text}")),
            fault => fault.into_intake(),
        }
    }

    /// Whether it may be the fault of the mail that was asked for: a server that is busy or away would be so for others too.
    pub fn may_be_the_mails(&self) -> bool {
        match self {
            Self::Lost(_) | Self::Silent(_) | Self::Garbled | Self::Withheld(_) => true,
            Self::No(text) | Self::Bad(text) => text.to_ascii_lowercase().contains(SERVER_BUG),
            Self::Order(_) => false,
        }
    }

    /// Whether the text of a refusal says that waiting helps (RFC 5530, Exchange, Gmail).
    pub fn is_passing(&self) -> bool {
        match self {
            Self::No(text) | Self::Bad(text) => is_passing(text),
            _ => true,
        }
    }
}

/// What Dovecot answers where it cannot read a mail's file, and for faults of its own that pass (RFC 5530).
const SERVER_BUG: &str = "[serverbug]";

fn is_passing(text: &str) -> bool {
    const SIGNS: &[&str] = &[
        "[unavailable]",
        "[limit]",
        "[inuse]",
        SERVER_BUG,
        "[throttled]",
        "[overquota]",
        "throttled",
        "too many",
        "temporar",
        "try again",
        "later",
    ];
    let lower = text.to_lowercase();
    SIGNS.iter().any(|sign| lower.contains(sign))
}

/// Exchange: `Suggested Backoff Time: 4000 milliseconds`.
fn pause(text: &str) -> Option<Duration> {
    const MARK: &str = "Suggested Backoff Time:";
    let at = text.find(MARK)? + MARK.len();
    let millis: u64 = text[at..].split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_millis(millis).min(MAX_SUGGESTED_PAUSE))
}

/// A server's text, fit for showing.
pub fn server_text(text: &str) -> String {
    let text = one_line(text);
    cut(&text, MAX_SERVER_TEXT_BYTES).0.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals() {
        let no = |text: &str| Fault::No(text.to_owned());
        assert!(matches!(no("[AUTHENTICATIONFAILED] wrong").into_login(), IntakeError::Unauthorised(_)));
        assert!(matches!(no("[UNAVAILABLE] try again").into_login(), IntakeError::Retry { .. }));
        let throttled = Fault::Bad("Request is throttled. Suggested Backoff Time: 4000 milliseconds".to_owned());
        assert!(
            matches!(throttled.into_intake(), IntakeError::Retry { after: Some(after), .. } if after.as_millis() == 4000)
        );
    }

    #[test]
    fn the_decoder_does_not_quote_mail() {
        let error = std::io::Error::other("Error(..) during parsing of \"my secret\"");
        assert!(!Fault::of_io(error).to_string().contains("secret"));
    }
}
