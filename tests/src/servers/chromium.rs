//! Debian's Chromium, driven by playwright-core with a list of steps.

use crate::cache;
use crate::process::Workdir;
use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A whole list of steps, the browser's start included.
const LIMIT: Duration = Duration::from_secs(120);

/// What a person does in a page. Selectors are Playwright's.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Step {
    Goto {
        url: String,
    },
    Fill {
        selector: String,
        value: String,
    },
    Select {
        selector: String,
        value: String,
    },
    Check {
        selector: String,
    },
    Attach {
        selector: String,
        path: PathBuf,
    },
    Click {
        selector: String,
    },
    /// Moves the focus with the keyboard and presses keys, as somebody without a mouse.
    Press {
        key: String,
    },
    /// Types into what has the focus.
    Type {
        text: String,
    },
    /// Waits until the text is visible.
    WaitText {
        text: String,
    },
    /// The visible text of an element.
    Text {
        selector: String,
    },
    /// What stands in a field.
    InputValue {
        selector: String,
    },
    /// An attribute, or null.
    Attribute {
        selector: String,
        name: String,
    },
    /// The address in the address bar.
    Url,
    /// What a script expression in the page gives.
    Evaluate {
        script: String,
    },
    Screenshot {
        path: PathBuf,
    },
}

/// How the browser is set up.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Setup {
    pub java_script_enabled: bool,
    pub locale: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self { java_script_enabled: true, locale: "en-GB".into() }
    }
}

/// Runs the steps in a fresh browser; one result a step (null where it gives none). A failed step is an error that
/// names it.
pub fn browse(setup: &Setup, steps: &[Step]) -> Result<Vec<Value>> {
    let dir = Workdir::new("chromium")?;
    let plan = serde_json::json!({"setup": setup, "steps": steps});
    let plan = dir.write("plan.json", plan.to_string())?;
    let mut command = Command::new("node");
    command
        .arg(cache::workspace().join("tests/browser/run.mjs"))
        .arg(plan)
        .arg(cache::path("node/node_modules/playwright-core")?)
        .env("HOME", dir.path());
    let mut process = dir.spawn("browser", &mut command)?;
    let status = process.wait_exit(LIMIT)?;
    anyhow::ensure!(status.success(), "the browser's steps failed\n{}", process.tail());
    serde_json::from_str(&process.stdout()).context("the script prints its results")
}
