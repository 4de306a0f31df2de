//! A company's own gateway: the stock connectors and a private one, in one process with an embedded broker.

mod acme;

use connector_sdk::{Entry, Timestamp};
use inlet::delivery::consumer::{Tail, TailFrom};
use inlet::delivery::embedded::EmbeddedKafka;
use inlet::gateway::Gateway;
use inlet::pipeline::record::TopicRole;

/// The list of the company's binary, whose `main` is `inlet::commands::main(own_list(), &connectors::DEMO)`.
fn own_list() -> &'static [Entry] {
    let mut list = connectors::all().to_vec();
    list.push(Entry::of::<acme::Acme>());
    list.leak()
}

#[test]
fn a_private_connector_is_part_of_the_own_binary() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let broker = EmbeddedKafka::start(&Default::default()).expect("the embedded broker starts");
        let data = tempfile::tempdir().expect("a folder");
        let text = format!(
            "kafka: {{ brokers: [\"{}\"] }}\ntopics: {{ create: false }}\ndata_dir: {:?}\n\
             ingress: {{ listen: \"127.0.0.1:0\" }}\nadmin: {{ listen: \"127.0.0.1:0\" }}\n\
             instances: {{ pages: {{ connector: acme, options: {{ secret: s3cret }} }} }}\n",
            broker.bootstrap(),
            data.path(),
        );
        let loaded = inlet::config::load_str("own.yaml", &text, own_list()).unwrap_or_else(|errors| panic!("{errors}"));
        let kafka = loaded.config.kafka.settings(&loaded.config.topics);
        let mut tail = Tail::open(&kafka, &[TopicRole::Events], TailFrom::Beginning).await.expect("Kafka is there");
        let gateway = Gateway::start(loaded).await.expect("the gateway starts");
        let url = format!("http://{}/in/pages", gateway.ingress.expect("has an ingress"));
        assert_eq!(post(&url, "wrong").await, 401);
        assert_eq!(post(&url, "s3cret").await, 200);
        let record = tail.next().await.expect("the event arrives");
        assert_eq!(record.key.as_deref(), Some("default/acme/pager/P-1"));
        let event: serde_json::Value = serde_json::from_slice(&record.value).expect("is JSON");
        assert_eq!(event["text"], "The coffee machine is down");
        assert!(Timestamp::parse(event["received_at"].as_str().unwrap_or("")).is_some());
        assert!(gateway.stop().await, "ends in time");
    });
}

async fn post(url: &str, secret: &str) -> u16 {
    let body = r#"{"id":"P-1","text":"The coffee machine is down","from":"wile"}"#;
    let request = connector_sdk::HttpRequest::post(url, "application/json", body).header("x-acme-secret", secret);
    let client = inlet::io::http::Client::new().expect("a client");
    connector_sdk::Http::send(&client, request).await.expect("an answer").status
}
