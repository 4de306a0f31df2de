//! The yardstick: axum in, rdkafka out, nothing between. No check, no parse, no stamp.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

/// The best of the first figures: see docs/performance.md.
const LINGER_MS: &str = "1";

/// Serves until it is killed.
pub fn serve(bootstrap: &str, port: u16) -> Result<()> {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", LINGER_MS)
        .create()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let app = Router::new().route("/in/slack", post(take)).with_state(producer);
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        axum::serve(listener, app).await?;
        Ok(())
    })
}

async fn take(State(producer): State<FutureProducer>, body: Bytes) -> StatusCode {
    let record = FutureRecord::<(), _>::to("bare.events").payload(body.as_ref());
    match producer.send(record, Duration::from_secs(2)).await {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
