//! Signatures made by other implementations.

use connector_sdk::{Admission, BuildContext, ConnectorKind, Intake, Keys, RawEvent, Timestamp, Wire};
use connector_webhook::WebhookConnector;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
struct Vectors {
    vector: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    #[serde(default)]
    recipe: Option<Value>,
    secret: String,
    clock: String,
    body: String,
    headers: Map<String, Value>,
}

#[test]
fn published_vectors_are_accepted() {
    let vectors: Vectors = toml::from_str(include_str!("vectors.toml")).unwrap();
    assert!(vectors.vector.len() >= 5);
    for vector in vectors.vector {
        let mut options = json!({ "secret": vector.secret });
        if let Some(recipe) = vector.recipe {
            options["recipe"] = recipe;
        }
        let config = serde_json::from_value(options).unwrap();
        let connector = WebhookConnector::build(config, &BuildContext::default()).unwrap();
        let now = Timestamp::parse(&vector.clock).unwrap();
        let mut request = RawEvent::new(Wire::Http, vector.body, now);
        request.method = "POST".to_owned();
        request.uri = "https://inlet.example.com/in/webhook".to_owned();
        for (name, value) in &vector.headers {
            request.headers.push(name, value.as_str().unwrap().to_owned());
        }
        let [Intake::Webhook(webhook)] = &connector.intakes[..] else { panic!("one webhook") };
        let admission = webhook.admit(&request, &Keys::default(), now);
        assert!(matches!(admission, Admission::Accept), "{}: {admission:?}", vector.name);
    }
}
