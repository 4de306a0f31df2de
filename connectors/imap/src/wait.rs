//! Waiting for something to happen in a folder: IDLE, or a look now and then.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Answer, Client};
use crate::fault::Fault;

/// Why the waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Something happened, or it is time to look.
    Look,
    /// The folder's UIDs are no longer valid.
    Renumbered,
}

/// Waits with IDLE (RFC 2177) until the folder changes, at most `renew`.
pub async fn idle(client: &mut Client, renew: Duration) -> Result<Woken, Fault> {
    let tag = client.send("IDLE", 0).await?;
    let deadline = Instant::now() + renew;
    let mut woken = None;
    // Until the server says `+` nothing may be sent; changes may come before it.
    loop {
        match client.next().await? {
            Answer::Continue => break,
            Answer::Done { tag: of, status: _, text } if of == tag => return Err(Fault::No(text)),
            answer => woken = woken.or(change(&answer)?),
        }
    }
    while woken.is_none() {
        match tokio::time::timeout_at(deadline, next_without_deadline(client)).await {
            Ok(answer) => woken = change(&answer?)?,
            Err(_) => break,
        }
    }
    client.send_line("DONE").await?;
    client
        .finish(&tag, |answer| {
            if let Answer::UidValidity(_) = answer {
                woken = Some(Woken::Renumbered);
            }
        })
        .await?;
    Ok(woken.unwrap_or(Woken::Look))
}

/// In IDLE silence is no fault: the renewal is the deadline.
async fn next_without_deadline(client: &mut Client) -> Result<Answer, Fault> {
    loop {
        match client.next().await {
            Err(Fault::Silent(_)) => {}
            other => return other,
        }
    }
}

fn change(answer: &Answer) -> Result<Option<Woken>, Fault> {
    match answer {
        Answer::Exists(_) => Ok(Some(Woken::Look)),
        Answer::UidValidity(_) => Ok(Some(Woken::Renumbered)),
        Answer::Bye(text) => Err(Fault::Lost(format!("the server closes the connection: {text}"))),
        // Keep-alives, flags and removals.
        _ => Ok(None),
    }
}

/// Waits `pause`, then asks whether the connection still lives.
pub async fn poll(client: &mut Client, pause: Duration) -> Result<Woken, Fault> {
    tokio::time::sleep(pause).await;
    let mut woken = Woken::Look;
    client
        .run("NOOP", |answer| {
            if let Answer::UidValidity(_) = answer {
                woken = Woken::Renumbered;
            }
        })
        .await?;
    Ok(woken)
}
