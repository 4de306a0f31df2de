//! Methods, paths, versions of HTTP, and the end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use inlet::config::model::Span;

use crate::server::{BODY_MAX, DRAIN_LIMIT, SECRET, SOON, Server};
use crate::wire::{Wire, post};

#[tokio::test]
async fn only_what_is_there_is_reached() {
    let server = Server::start().await;
    for (start, status) in [
        ("GET /", 404),
        ("POST /in/nobody", 404),
        ("POST /forms/door", 404),
        ("PUT /in/door", 405),
        ("DELETE /in/door", 405),
        ("GET /in/door", 200),
        ("GET /in/door/below?and=query", 200),
    ] {
        let mut wire = Wire::to(server.address).await;
        wire.head(start, &["content-length: 0"]).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status, status, "{start}");
        if status == 405 {
            assert_eq!(answer.header("allow"), Some("GET, POST"));
        }
    }
    assert!(server.metrics.render().contains("inlet_requests_unknown_instance_total 2"));
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let server = Server::start().await;
    let mut wire = Wire::to(server.address).await;
    wire.head("HEAD /in/door", &[]).await;
    let answer = wire.answer_without_body().await;
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("6")));
    // Nothing is left on the wire: the next answer begins where it should.
    wire.head("GET /in/door", &[]).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"a page"[..]));
    assert!(server.publisher.events().is_empty());
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let server = Server::start().await;
    let mut wire = Wire::to(server.address).await;
    for n in 0..3 {
        wire.head("POST /in/door", &["content-length: 2"]).await;
        wire.say(format!("n{n}")).await;
        assert_eq!(wire.answer().await.status, 200);
    }
    assert_eq!(server.publisher.events().len(), 3);
}

#[tokio::test]
async fn what_strangers_claim_is_not_believed() {
    let server = Server::start().await;
    let lines = ["inlet-resync: true", "x-forwarded-for: 198.51.100.7, 192.0.2.9"];
    assert_eq!(post(server.address, "hello", &lines).await.status, 200);
    let events = server.publisher.events();
    assert_eq!(events[0].text.as_deref(), Some("POST http://h.example/in/door 192.0.2.9 none 5 hello"));
    assert!(!events[0].provenance.resync);
}

fn h2() -> reqwest::Client {
    let tls = connector_sdk::net::client_config(None).expect("roots");
    reqwest::Client::builder()
        .tls_backend_preconfigured(rustls::ClientConfig::clone(&tls))
        .http2_prior_knowledge()
        .no_proxy()
        .timeout(SOON)
        .build()
        .expect("a client")
}

#[tokio::test]
async fn speaks_h2_under_the_same_limits() {
    let server = Server::start().await;
    let client = h2();
    let url = format!("http://{}/in/door", server.address);
    let send = |body: String| client.post(&url).header("x-signature", SECRET).body(body).send();
    let answer = send("hello".to_owned()).await.expect("answers");
    assert_eq!((answer.version(), answer.status().as_u16()), (http::Version::HTTP_2, 200));
    assert_eq!(send("x".repeat(BODY_MAX + 1)).await.expect("answers").status().as_u16(), 413);
    let at_once = futures::future::join_all((0..50).map(|n| send(format!("n{n}")))).await;
    assert!(at_once.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.status() == 200)));
    let long = client.post(&url).header("x-long", "x".repeat(20_000)).send().await;
    assert!(long.is_err() || long.is_ok_and(|answer| answer.status() == 431));
    let text = server.publisher.events()[0].text.clone().expect("has one");
    assert!(text.starts_with(&format!("POST http://{}/in/door 127.0.0.1", server.address)), "{text}");
    assert_eq!(server.publisher.events().len(), 51);
}

/// New input is refused, what is under way is finished, and then everybody is sent home.
#[tokio::test]
async fn ends_in_good_order() {
    let server = Server::start().await;
    server.publisher.open(false);
    let address = server.address;
    let (mut open, mut idle) = (Wire::to(address).await, Wire::to(address).await);
    open.head("GET /in/door", &[]).await;
    assert_eq!(open.answer().await.status, 200);
    idle.head("GET /in/door", &[]).await;
    assert_eq!(idle.answer().await.status, 200);
    let held = tokio::spawn(async move { post(address, "held", &[]).await });
    let client = h2();
    let url = format!("http://{address}/in/door");
    let held_h2 = tokio::spawn(client.post(&url).header("x-signature", SECRET).body("held too").send());
    while server.publisher.waiting.load(Ordering::Relaxed) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.ingress.closing.store(true, Ordering::Relaxed);
    open.head("POST /in/door", &["content-length: 1"]).await;
    open.say("x").await;
    let refused = open.answer().await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    server.stop.cancel();
    assert!(idle.is_closed().await);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    assert!(!server.ended.is_finished());
    server.publisher.open(true);
    assert_eq!(held.await.expect("no panic").status, 200);
    assert_eq!(held_h2.await.expect("no panic").expect("answers").status().as_u16(), 200);
    tokio::time::timeout(SOON, server.ended).await.expect("ends").expect("no panic");
    assert_eq!(server.publisher.events().len(), 2);
}

/// D11: half a body, half a head and an idle h2 connection do not hold up the end beyond its limit.
#[tokio::test]
async fn d11_the_slow_are_cut_off_at_the_end() {
    let server = Server::with(|limits| limits.read_timeout = Span(SOON * 10)).await;
    let mut head = Wire::to(server.address).await;
    head.say("POST /in/door HT").await;
    let idle_h2 = h2();
    let url = format!("http://{}/in/door", server.address);
    assert_eq!(idle_h2.get(&url).send().await.expect("answers").status().as_u16(), 200);
    let mut body = Wire::to(server.address).await;
    body.head("POST /in/door", &["content-length: 10", "expect: 100-continue"]).await;
    // Now its request is under way: before that the connection would end by itself.
    assert_eq!(body.answer().await.status, 100);
    body.say("half").await;
    server.stop.cancel();
    assert!(head.is_closed().await);
    tokio::time::timeout(DRAIN_LIMIT * 2, server.ended).await.expect("ends").expect("no panic");
    assert!(body.is_closed().await);
    assert!(server.publisher.events().is_empty());
}
