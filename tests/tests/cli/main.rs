//! The command line as people meet it: exit codes, messages, files written.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use inlet_tests::gateway::binary;

fn inlet(args: &[&str], folder: &Path, env: &[(&str, &str)]) -> Output {
    Command::new(binary().expect("the binary is built"))
        .args(args)
        .envs(env.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Every `${env:NAME}` of a text.
fn variables(config: &str) -> Vec<String> {
    let mut names: Vec<_> =
        config.split("${env:").skip(1).filter_map(|rest| rest.split('}').next()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn init_writes_what_check_accepts() {
    let folder = tempfile::tempdir().expect("a folder");
    let names: Vec<&str> = connectors::all().iter().map(|entry| entry.name).collect();
    assert!(names.len() >= 8, "{names:?}");
    let written = inlet(&[&["init"], names.as_slice()].concat(), folder.path(), &[]);
    assert!(written.status.success(), "{}", text(&written.stderr));
    let config = std::fs::read_to_string(folder.path().join("inlet.yaml")).expect("was written");
    let missing = inlet(&["check", "-c", "inlet.yaml"], folder.path(), &[]);
    assert_eq!(missing.status.code(), Some(2));
    let said = text(&missing.stderr);
    for name in variables(&config).iter().filter(|name| !config.contains(&format!("# {name}"))) {
        let commented = config.lines().filter(|l| l.contains(name.as_str())).all(|l| l.trim_start().starts_with('#'));
        assert!(commented || said.contains(name.as_str()), "{name} is not set, and check does not say so:\n{said}");
    }
    let names = variables(&config);
    let set: Vec<_> = names.iter().map(|name| (name.as_str(), "placeholder-secret")).collect();
    let mut set = set;
    // A bot token is recognised by its shape.
    for pair in set.iter_mut().filter(|(name, _)| name.contains("TELEGRAM_BOT")) {
        pair.1 = "1:placeholder";
    }
    let checked = inlet(&["check", "-c", "inlet.yaml"], folder.path(), &set);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    assert!(text(&checked.stdout).contains("no errors"));
    let again = inlet(&["init", "imap"], folder.path(), &[]);
    assert_eq!(again.status.code(), Some(2), "an existing file is not overwritten");
    assert!(text(&again.stderr).contains("--force"));
}

#[test]
fn errors_name_file_line_and_field() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "kafka:\n  brokers: [\"127.0.0.1:9\"]\n  brokrs: []\ninstances:\n  a:\n    connector: slak\n";
    std::fs::write(folder.path().join("c.yaml"), config).expect("written");
    let checked = inlet(&["check", "-c", "c.yaml"], folder.path(), &[]);
    assert_eq!(checked.status.code(), Some(2));
    assert!(text(&checked.stderr).contains("c.yaml:3:3: kafka.brokrs: unknown key 'brokrs'; did you mean 'brokers'?"));
    std::fs::write(folder.path().join("c.yaml"), config.replace("  brokrs: []\n", "")).expect("written");
    let said = text(&inlet(&["run", "-c", "c.yaml"], folder.path(), &[]).stderr);
    assert!(said.contains("c.yaml:5:5: instances.a.connector: no connector 'slak'; did you mean 'slack'?"), "{said}");
    std::fs::write(
        folder.path().join("c.yaml"),
        "kafka: { brokers: [\"127.0.0.1:9\"] }\ninstances:\n  a: { connector: slack, options: { signing_secrt: x } }\n",
    )
    .expect("written");
    let said = text(&inlet(&["check", "-c", "c.yaml"], folder.path(), &[]).stderr);
    assert!(said.contains("c.yaml:3:") && said.contains("'signing_secrt'; did you mean 'signing_secret'?"), "{said}");
    let absent = inlet(&["run", "-c", "nowhere.yaml"], folder.path(), &[]);
    assert_eq!(absent.status.code(), Some(2));
    assert!(text(&absent.stderr).contains("nowhere.yaml") && text(&absent.stderr).contains("inlet init"));
}

#[test]
fn check_connect_says_what_does_not_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = inlet_tests::ports::free();
    let config = format!(
        "kafka: {{ brokers: [\"127.0.0.1:{port}\"] }}\ninstances:\n  a: {{ connector: slack, options: {{ signing_secret: x }} }}\n"
    );
    std::fs::write(folder.path().join("c.yaml"), config).expect("written");
    let checked = inlet(&["check", "-c", "c.yaml", "--connect"], folder.path(), &[]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(text(&checked.stdout).contains("FAILED"), "{}", text(&checked.stdout));
}

#[test]
fn lists_and_schemas() {
    let folder = tempfile::tempdir().expect("a folder");
    let listed = text(&inlet(&["connectors"], folder.path(), &[]).stdout);
    for entry in connectors::all() {
        assert!(listed.contains(entry.name) && listed.contains(entry.summary), "{listed}");
        let one = text(&inlet(&["connectors", entry.name], folder.path(), &[]).stdout);
        assert!(one.contains("Event types"), "{one}");
        let cases = inlet(&["simulate", entry.name], folder.path(), &[]);
        assert!(matches!(cases.status.code(), Some(0 | 2)));
    }
    for which in ["event", "config"] {
        let schema = inlet(&["schema", which], folder.path(), &[]);
        let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).expect("is JSON");
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    }
    let topics = text(&inlet(&["topics", "print"], folder.path(), &[]).stdout);
    for topic in ["inlet.events", "inlet.deadletter", "inlet.fetches", "inlet.cursors"] {
        assert!(topics.contains(topic), "{topics}");
    }
    let unknown = inlet(&["connectors", "slakc"], folder.path(), &[]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("did you mean 'slack'?"));
}
