//! What a configuration is told that cannot work, and recipes from a directory.

use std::fs;
use std::path::PathBuf;

use connector_sdk::{BuildContext, ConfigError, Entry};
use connector_webhook::WebhookConnector;
use serde_json::{Value, json};

fn build(options: Value) -> Result<(), ConfigError> {
    (Entry::of::<WebhookConnector>().build)(&options, &BuildContext::default()).map(|_| ())
}

fn inline(verify: Value) -> Value {
    json!({ "secret": "demo-secret", "recipe": { "provider": "x", "verify": verify, "map": "{ text: .t }" } })
}

/// The error of options that must not build: path and message.
fn refused(options: Value) -> String {
    build(options.clone()).err().map(|error| error.to_string()).unwrap_or_else(|| panic!("builds: {options}"))
}

#[test]
fn errors_name_their_place() {
    for (options, path, said) in [
        (json!({}), "secret", "needed"),
        (json!({ "secret": "whsec_???" }), "secret", "not base64"),
        (json!({ "secret": "x", "recipe": "nope" }), "recipe", "standard_webhooks"),
        (json!({ "secret": "x", "username": "u" }), "username", "basic"),
        (json!({ "secret": "x", "account": " " }), "account", "empty"),
        (json!({ "secret": "x", "attachment_hosts": ["a.example", "https://b"] }), "attachment_hosts[1]", "host name"),
        (inline(json!({ "scheme": "none" })), "secret", "would not be checked"),
        (inline(json!({ "scheme": "basic" })), "username", "needed"),
        (inline(json!({ "scheme": "bearer", "prefix": "x" })), "recipe.verify.prefix", "not used"),
        (inline(json!({ "scheme": "hmac" })), "recipe.verify.header", "needed"),
        (inline(json!({ "scheme": "hmac", "header": "S", "signed": "{id}" })), "recipe.verify.signed", "{body}"),
        (inline(json!({ "scheme": "hmac", "header": "S", "signed": "{bdy}" })), "recipe.verify.signed", "{bdy}"),
        (inline(json!({ "scheme": "hmac", "header": "S", "signed": "{id}{body}" })), "recipe.verify.id_header", "{id}"),
        (
            inline(json!({ "scheme": "hmac", "header": "S", "timestamp": { "header": "T" } })),
            "recipe.verify.timestamp",
            "not signed",
        ),
        (inline(json!({ "scheme": "hmac", "header": "S", "key": "hex" })), "secret", "not hex"),
        (inline(json!({ "scheme": "md5" })), "recipe.verify.scheme", "unknown variant"),
    ] {
        let error = refused(options);
        assert!(error.starts_with(&format!("{path}: ")) && error.contains(said), "{path}: {error}");
    }
}

#[test]
fn mappings_are_compiled_at_build() {
    for (map, place) in [("{ text: .t", "line 1"), (".a\n| oops", "line 2 column 3"), ("def f: f; f", "calls itself")] {
        let mut options = inline(json!({ "scheme": "bearer" }));
        options["recipe"]["map"] = map.into();
        let error = refused(options);
        assert!(error.starts_with("recipe.map: jq, ") && error.contains(place), "{map}: {error}");
    }
}

#[test]
fn recipes_come_from_a_directory_too() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("webhook-recipes");
    let write = |name: &str, text: &str| {
        fs::create_dir_all(dir.join(name)).unwrap();
        fs::write(dir.join(name).join("recipe.yaml"), text).unwrap();
    };
    write("acme", "provider: acme\nverify: { scheme: bearer }\nmap: '{ text: .t }'\n");
    write("broken", "provider: acme\nverify: { scheme: bearer, hedaer: x }\nmap: .\n");
    write("tagged", "provider: !x acme\nverify: { scheme: bearer }\nmap: .\n");
    let with = |recipe: &str| json!({ "secret": "demo-secret", "recipe": recipe, "recipes_dir": dir });
    assert_eq!(build(with("acme")), Ok(()));
    assert_eq!(build(with("github")), Ok(()), "shipped ones stay");
    let error = refused(with("broken"));
    assert!(error.contains("recipe broken: verify.hedaer") && error.contains("hedaer"), "{error}");
    assert!(refused(with("tagged")).contains("tags"));
    let missing = json!({ "secret": "demo-secret", "recipe": "acme", "recipes_dir": dir.join("none") });
    assert!(refused(missing).starts_with("recipes_dir: "));
}
