//! `inlet spool status` and `inlet spool drain`: for operators, and for spools that nobody runs with any longer.

use crate::{assert_arrived, config, send, spool_dir};
use anyhow::{Context, Result};
use inlet_tests::gateway::{Gateway, cli};
use inlet_tests::servers::kafka::Kafka;

#[test]
fn an_orphan_is_drained_by_hand() -> Result<()> {
    let mut kafka = Kafka::prepared(1)?;
    let config = config(&kafka, "orphan");
    let mut gateway = Gateway::run(&config.text())?;
    send(&gateway, "C01", 0..40)?;
    let dir = spool_dir(&gateway)?;
    let file = gateway.dir().path().join("inlet.yaml");
    let (path, file) = (dir.display().to_string(), file.display().to_string());
    let home = gateway.dir().path().to_owned();
    let inlet = |args: &[&str]| -> Result<(Option<i32>, String)> {
        let output = cli(args, &home)?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
    };
    // While it is in use it can be looked at, and not drained.
    let (code, text) = inlet(&["spool", "status", &path, "--json"])?;
    assert_eq!(code, Some(0), "{text}");
    let status: serde_json::Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    assert_eq!((&status["entries"], &status["instances"]["slack-a"]), (&40.into(), &40.into()), "{status}");
    let (code, text) = inlet(&["spool", "drain", &path, "-c", &file])?;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("in use by another process"), "{text}");
    gateway.kill();
    // Kafka is away: nothing is lost, and the exit code says that it is not done.
    let (code, text) = inlet(&["spool", "drain", &path, "-c", &file, "--timeout", "2"])?;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("40 left"), "{text}");
    kafka.start_all()?;
    let (code, text) = inlet(&["spool", "drain", &path, "-c", &file, "--timeout", "60"])?;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("40 on Kafka") && text.contains("0 left"), "{text}");
    let (code, text) = inlet(&["spool", "status", "-c", &file])?;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("entries: 0"), "{text}");
    let (code, text) = inlet(&["spool", "status", "nowhere"])?;
    assert_eq!(code, Some(2), "{text}");
    assert_arrived(&kafka, &config, &[("C01", 40)])?;
    // A second process on the same spool is told so.
    gateway.start()?;
    let (code, text) = inlet(&["spool", "drain", &path, "-c", &file])?;
    assert_eq!(code, Some(1), "{text}");
    Ok(())
}
