//! What is too large, too slow, too much or not spoken here.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::server::{BODY_MAX, IDLE_TIMEOUT, READ_TIMEOUT, SOON, Server};
use crate::wire::{Wire, post};

#[tokio::test]
async fn a_body_up_to_its_cap_is_taken_and_above_it_not() {
    let server = Server::start().await;
    assert_eq!(post(server.address, &"x".repeat(BODY_MAX), &[]).await.status, 200);
    let answer = post(server.address, &"x".repeat(BODY_MAX + 1), &[]).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.header("connection"), Some("close"), "its rest is not read: a next request would be lost");
    assert_eq!(server.publisher.events().len(), 1);
    assert!(server.metrics.render().contains("detail=\"too_large\"} 1"));
}

#[tokio::test]
async fn whoever_asks_first_is_told_before_sending() {
    let server = Server::start().await;
    let mut wire = Wire::to(server.address).await;
    wire.head("POST /in/door", &["expect: 100-continue", "content-length: 5"]).await;
    assert_eq!(wire.answer().await.status, 100);
    wire.say("hello").await;
    assert_eq!(wire.answer().await.status, 200);
    let mut wire = Wire::to(server.address).await;
    let length = format!("content-length: {}", BODY_MAX + 1);
    wire.head("POST /in/door", &["expect: 100-continue", &length]).await;
    assert_eq!(wire.answer().await.status, 413);
    // Nor for who has no business here.
    let mut wire = Wire::to(server.address).await;
    wire.head("POST /in/nobody", &["expect: 100-continue", "content-length: 5"]).await;
    assert_eq!(wire.answer().await.status, 404);
}

#[tokio::test]
async fn a_chunked_body_over_the_cap_is_not_read_on() {
    let server = Server::start().await;
    let mut wire = Wire::to(server.address).await;
    wire.head("POST /in/door", &["transfer-encoding: chunked"]).await;
    let chunk = format!("{:x}\r\n{}\r\n", 4000, "x".repeat(4000));
    for _ in 0..3 {
        wire.say(&chunk).await;
    }
    // The body has no end yet, and none is waited for.
    assert_eq!(wire.answer().await.status, 413);
    let begun = Instant::now();
    let mut sent = 0;
    while wire.say_in_vain(&chunk).await && begun.elapsed() < SOON {
        sent += chunk.len();
    }
    assert!(begun.elapsed() < SOON, "{sent} bytes more were read");
    assert!(server.publisher.events().is_empty());
}

/// A sender that writes all before it reads hears why its input was refused.
#[tokio::test]
async fn the_last_answer_is_not_lost_in_a_reset() {
    let server = Server::start().await;
    let mut wire = Wire::to(server.address).await;
    let (length, body) = (format!("content-length: {}", 50 * BODY_MAX), "x".repeat(50 * BODY_MAX));
    wire.head("POST /in/door", &[&length]).await;
    for part in body.as_bytes().chunks(BODY_MAX) {
        wire.say(part).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(wire.answer().await.status, 413);
}

#[tokio::test]
async fn a_slow_body_ends_in_408() {
    let server = Server::start().await;
    let mut wire = Wire::to(server.address).await;
    let begun = Instant::now();
    wire.head("POST /in/door", &["content-length: 10"]).await;
    wire.say("half").await;
    assert_eq!(wire.answer().await.status, 408);
    assert!(begun.elapsed() >= READ_TIMEOUT);
    assert!(wire.is_closed().await);
    assert!(server.publisher.events().is_empty());
}

#[tokio::test]
async fn a_broken_body_is_no_input() {
    let server = Server::start().await;
    let mut wire = Wire::to(server.address).await;
    wire.head("POST /in/door", &["transfer-encoding: chunked"]).await;
    wire.say("zz\r\nhello\r\n").await;
    // What such a sender takes for an answer nobody knows: it is hung up on.
    assert!(wire.is_closed().await);
    // Half a body, then the end of the connection.
    let mut wire = Wire::to(server.address).await;
    wire.head("POST /in/door", &["content-length: 10"]).await;
    wire.say("half").await;
    drop(wire);
    assert_eq!(post(server.address, "whole", &[]).await.status, 200);
    assert_eq!(server.publisher.events().len(), 1);
}

#[tokio::test]
async fn heads_have_limits() {
    let server = Server::start().await;
    let mut wire = Wire::to(server.address).await;
    wire.head("POST /in/door", &[&format!("x-long: {}", "x".repeat(20_000))]).await;
    assert_eq!(wire.answer().await.status, 431);
    let mut wire = Wire::to(server.address).await;
    let many: Vec<String> = (0..200).map(|n| format!("x-{n}: y")).collect();
    wire.head("POST /in/door", &many.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(wire.answer().await.status, 431);
    let mut wire = Wire::to(server.address).await;
    wire.say("GET /in/door HTTP/1.1\r\nno header at all\r\n\r\n").await;
    assert_eq!(wire.answer().await.status, 400);
    let mut wire = Wire::to(server.address).await;
    wire.say("this is no HTTP at all\r\n\r\n").await;
    assert_eq!(wire.answer().await.status, 400);
}

#[tokio::test]
async fn compressed_bodies_have_two_caps() {
    let server = Server::start().await;
    let send = async |bytes: usize, encoding: &str| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(&vec![b'x'; bytes]).expect("packs");
        let packed = packed.finish().expect("packs");
        let mut wire = Wire::to(server.address).await;
        let (length, encoding) = (format!("content-length: {}", packed.len()), format!("content-encoding: {encoding}"));
        wire.head("POST /in/door", &[&length, &encoding]).await;
        wire.say(packed).await;
        wire.answer().await.status
    };
    assert_eq!(send(2 * BODY_MAX, "gzip").await, 200);
    assert_eq!(send(2 * BODY_MAX + 1, "GZIP").await, 413);
    assert_eq!(send(10, "br").await, 415);
    assert_eq!(send(10, "deflate").await, 400);
    assert_eq!(server.publisher.events().len(), 1);
}

/// Connections that say nothing, or not all of it, are hung up on in time, whatever they began to say.
#[tokio::test]
async fn silence_has_a_limit() {
    let server = Server::start().await;
    for beginning in ["", "P", "POST /in/door HTTP/1.1\r\nhost: h", "PRI * HT"] {
        let mut wire = Wire::to(server.address).await;
        wire.say(beginning).await;
        let begun = Instant::now();
        assert!(wire.is_closed().await, "'{beginning}' holds a place for ever");
        assert!(begun.elapsed() < READ_TIMEOUT * 5, "'{beginning}' took {:?}", begun.elapsed());
    }
}

/// Between two requests a connection may rest for longer than a head may take, and a head that began in it may not.
#[tokio::test]
async fn rest_between_requests_has_a_limit_of_its_own() {
    let server = Server::start().await;
    let mut wire = Wire::to(server.address).await;
    for _ in 0..2 {
        wire.head("GET /in/door", &[]).await;
        assert_eq!(wire.answer().await.status, 200);
        assert!(wire.is_silent(READ_TIMEOUT * 2).await, "it was hung up on");
    }
    let begun = Instant::now();
    wire.head("GET /in/door", &[]).await;
    assert_eq!(wire.answer().await.status, 200);
    assert!(wire.is_closed().await);
    assert!(begun.elapsed() >= IDLE_TIMEOUT && begun.elapsed() < IDLE_TIMEOUT * 3, "{:?}", begun.elapsed());
    let mut wire = Wire::to(server.address).await;
    wire.head("GET /in/door", &[]).await;
    assert_eq!(wire.answer().await.status, 200);
    let begun = Instant::now();
    wire.say("POST /in/door HT").await;
    assert!(wire.is_closed().await);
    assert!(begun.elapsed() < READ_TIMEOUT * 5, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn connections_are_bounded_and_others_wait_their_turn() {
    let server = Server::with(|limits| limits.connections = 2).await;
    let mut first = Wire::to(server.address).await;
    first.head("GET /in/door", &[]).await;
    assert_eq!(first.answer().await.status, 200);
    let mut second = Wire::to(server.address).await;
    second.head("POST /in/door", &["content-length: 1"]).await;
    let mut third = Wire::to(server.address).await;
    third.head("GET /in/door", &[]).await;
    assert!(third.is_silent(READ_TIMEOUT / 4).await);
    drop(first);
    assert_eq!(third.answer().await.status, 200);
}

#[tokio::test]
async fn requests_at_once_are_bounded() {
    let server = Server::with(|limits| limits.in_flight = 2).await;
    server.publisher.open(false);
    let address = server.address;
    let held: Vec<_> =
        (0..2).map(|n| tokio::spawn(async move { post(address, &format!("held {n}"), &[]).await })).collect();
    while server.publisher.waiting.load(Ordering::Relaxed) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let answer = post(server.address, "one more", &[]).await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    assert!(server.metrics.render().contains("inlet_requests_overload_total 1"));
    server.publisher.open(true);
    for held in held {
        assert_eq!(held.await.expect("no panic").status, 200);
    }
    assert_eq!(post(server.address, "one more", &[]).await.status, 200);
}
