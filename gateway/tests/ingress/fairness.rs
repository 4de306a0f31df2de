//! D12: one that floods is told to come again, and takes nothing from the others.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::server::Server;
use crate::wire::{Answer, post_to};

const PLACES: usize = 60;

fn flood(address: SocketAddr, instance: &'static str, account: &'static str, count: usize) -> Vec<JoinHandle<Answer>> {
    let line = format!("x-account: {account}");
    let send = |n: usize| {
        let line = line.clone();
        async move { post_to(address, instance, &format!("{instance} {account} {n}"), &[&line]).await }
    };
    (0..count).map(|n| tokio::spawn(send(n))).collect()
}

/// Waits until all but so many have their answer; gives the refusals.
async fn refusals(flood: Vec<JoinHandle<Answer>>, server: &Server) -> (Vec<Answer>, Vec<JoinHandle<Answer>>) {
    let held = |flood: &[JoinHandle<Answer>]| flood.iter().filter(|one| !one.is_finished()).count();
    let deadline = tokio::time::Instant::now() + crate::server::SOON;
    while held(&flood) as u64 > server.publisher.waiting.load(Ordering::Relaxed) {
        assert!(tokio::time::Instant::now() < deadline, "{} neither wait for Kafka nor are answered", held(&flood));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (mut refused, mut open) = (Vec::new(), Vec::new());
    for one in flood {
        if one.is_finished() { refused.push(one.await.expect("no panic")) } else { open.push(one) }
    }
    (refused, open)
}

fn all_are(status: u16, answers: &[Answer]) {
    assert!(answers.iter().all(|answer| answer.status == status), "{:?}", answers.iter().map(|a| a.status));
}

#[tokio::test]
async fn d12_a_flooded_instance_leaves_the_others_their_places() {
    let server = Server::with(|limits| limits.in_flight = PLACES).await;
    server.publisher.open(false);
    let (refused, held) = refusals(flood(server.address, "door", "a", 2 * PLACES), &server).await;
    assert!(!refused.is_empty());
    all_are(503, &refused);
    assert!(refused.iter().all(|answer| answer.header("retry-after").is_some()));
    // A third of the half that is kept.
    let others = flood(server.address, "other", "b", PLACES / 6 / 2);
    while server.publisher.waiting.load(Ordering::Relaxed) < (held.len() + others.len()) as u64 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(!others.iter().any(JoinHandle::is_finished), "an input of the other instance was refused");
    }
    server.publisher.open(true);
    for one in held.into_iter().chain(others) {
        assert_eq!(one.await.expect("no panic").status, 200);
    }
    assert_eq!(post_to(server.address, "door", "again", &[]).await.status, 200);
}

#[tokio::test]
async fn d12_a_noisy_account_leaves_room_for_another_of_its_instance() {
    let server = Server::with(|limits| limits.in_flight = PLACES).await;
    server.publisher.open(false);
    let (refused, held) = refusals(flood(server.address, "door", "noisy", 2 * PLACES), &server).await;
    all_are(503, &refused);
    let quiet = flood(server.address, "door", "quiet", 1);
    while server.publisher.waiting.load(Ordering::Relaxed) < (held.len() + 1) as u64 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(!quiet[0].is_finished(), "the quiet account was refused");
    }
    assert!(server.metrics.render().contains("detail=\"share\""), "the noisy one's inputs are counted");
    server.publisher.open(true);
    for one in held.into_iter().chain(quiet) {
        assert_eq!(one.await.expect("no panic").status, 200);
    }
}

#[tokio::test]
async fn d12_an_instance_over_its_rate_hears_429() {
    let server = Server::start().await;
    assert_eq!(post_to(server.address, "slow", "first", &[]).await.status, 200);
    let answer = post_to(server.address, "slow", "second", &[]).await;
    assert_eq!(answer.status, 429);
    let wait: u64 = answer.header("retry-after").expect("says when").parse().expect("seconds");
    assert!((20..=30).contains(&wait), "{wait}");
    assert_eq!(post_to(server.address, "door", "third", &[]).await.status, 200);
    assert_eq!(server.publisher.events().len(), 2);
}
