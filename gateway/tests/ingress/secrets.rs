//! D13: no secret in a record, a log line, a metric or an answer, whatever becomes of the request.

use std::io::Write;
use std::sync::{Arc, Mutex};

use inlet::pipeline::record::TopicRole;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::server::{SECRET, Server};
use crate::wire::{Wire, post};

const COOKIE: &str = "c00kie-of-somebody";
const FORGED: &str = "f0rged-secret";

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn d13_no_secret_leaves_the_request() {
    let lines = Lines::default();
    let filter = EnvFilter::new("inlet=trace,connector_sdk=trace");
    let subscriber = tracing_subscriber::fmt().with_writer(lines.clone()).with_env_filter(filter).finish();
    // Everything runs on this thread.
    let _guard = tracing::subscriber::set_default(subscriber);
    let server = Server::start().await;
    let cookie = format!("cookie: {COOKIE}");
    let mut answers = vec![
        post(server.address, "fine", &[&cookie]).await,
        post(server.address, "bad, so it becomes a dead letter", &[&cookie]).await,
        post(server.address, "twice signed", &[&cookie, &format!("x-signature: {FORGED}")]).await,
    ];
    let mut wire = Wire::to(server.address).await;
    wire.say(format!(
        "POST /in/door HTTP/1.1\r\nhost: h\r\nx-signature: {FORGED}\r\n{cookie}\r\ncontent-length: 0\r\n\r\n"
    ))
    .await;
    answers.push(wire.answer().await);
    assert_eq!(answers.last().map(|answer| answer.status), Some(401));
    let mut seen = server.metrics.render();
    for answer in &answers {
        seen += &answer.head;
        seen += &String::from_utf8_lossy(&answer.body);
    }
    let records = server.publisher.taken.records();
    assert!(records.iter().any(|record| record.topic == TopicRole::DeadLetter));
    for record in records {
        seen += &String::from_utf8_lossy(&record.value);
        seen += &format!("{:?}", record.headers);
    }
    let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("refused"), "nothing was logged at all: {logged}");
    for secret in [SECRET, COOKIE, FORGED] {
        assert!(!seen.contains(secret) && !logged.contains(secret), "{secret} is shown");
    }
}
