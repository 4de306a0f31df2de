//! The gateway's binary as a child process: started with a config of the test's, watched, stopped in every way.
//!
//! The binary is `INLET_BIN`, else `target/debug/inlet` (or the release one), which `tests/run` builds first.

use crate::http_client::{Answer, Request};
use crate::process::{Process, Workdir};
use crate::{cache, ports, wait};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

/// From start to ready, on a busy machine and in a debug build.
pub const READY_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// The gateway's binary.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("INLET_BIN") {
        return Ok(path.into());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| cache::workspace().join("target"), PathBuf::from);
    let path = target.join("debug/inlet");
    if !path.exists() {
        bail!("{} is missing: run `cargo build -p inlet --bin inlet`, or set INLET_BIN", path.display());
    }
    Ok(path)
}

/// Runs a short command of the CLI to its end.
pub fn cli(args: &[&str], directory: &Path) -> Result<Output> {
    Command::new(binary()?)
        .args(args)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("inlet {}", args.join(" ")))
}

/// A gateway run from a config file.
#[derive(Debug)]
pub struct Gateway {
    process: Option<Process>,
    starts: usize,
    args: Vec<String>,
    env: Vec<(String, String)>,
    pub ingress: String,
    pub admin: String,
    // Last, so that the process is dropped before its folder.
    dir: Workdir,
}

impl Gateway {
    /// Writes the config and starts `inlet run`. `@INGRESS@`, `@ADMIN@` and `@DATA@` in the text become listen
    /// addresses and a data folder, which stay the same over restarts.
    pub fn run(config: &str) -> Result<Self> {
        let mut gateway = Self::prepared(config)?;
        gateway.start()?;
        Ok(gateway)
    }

    /// [`Gateway::run`] without the start: for environment variables and for gateways that must not come up.
    pub fn prepared(config: &str) -> Result<Self> {
        let dir = Workdir::new("gateway")?;
        let (ingress, admin) = (format!("127.0.0.1:{}", ports::free()), format!("127.0.0.1:{}", ports::free()));
        let data = dir.path().join("data");
        std::fs::create_dir_all(&data)?;
        let file = dir.write("inlet.yaml", filled_in(config, &ingress, &admin, &data))?;
        let args = vec!["run".to_owned(), "-c".to_owned(), file.display().to_string()];
        let (ingress, admin) = (format!("http://{ingress}"), format!("http://{admin}"));
        Ok(Self { process: None, starts: 0, args, env: Vec::new(), ingress, admin, dir })
    }

    /// Writes another config in the place of the first, with the same addresses and folder.
    pub fn rewrite(&self, config: &str) -> Result<()> {
        let bare = |url: &str| url.trim_start_matches("http://").to_owned();
        let (ingress, admin, data) = (bare(&self.ingress), bare(&self.admin), self.dir.path().join("data"));
        self.dir.write("inlet.yaml", filled_in(config, &ingress, &admin, &data)).map(drop)
    }

    /// [`Gateway::rewrite`], and sends SIGHUP.
    pub fn reload(&mut self, config: &str) -> Result<()> {
        self.rewrite(config)?;
        self.process()?.hang_up();
        Ok(())
    }

    /// `inlet quickstart` on free ports; the addresses are read from what it prints.
    pub fn quickstart(args: &[&str]) -> Result<Self> {
        let dir = Workdir::new("quickstart")?;
        let mut all = vec!["quickstart".to_owned(), "--port".into(), "0".into(), "--admin-port".into(), "0".into()];
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        let (ingress, admin) = (String::new(), String::new());
        let mut gateway = Self { process: None, starts: 0, args: all, env: Vec::new(), ingress, admin, dir };
        gateway.launch()?;
        let process = gateway.process.as_mut().context("just launched")?;
        process
            .ready(READY_LIMIT, "a line 'ready'", |process| Ok(process.stdout().lines().any(|line| line == "ready")))?;
        gateway.ingress = gateway.printed("ingress").context("no line 'ingress: …'")?;
        gateway.admin = gateway.printed("admin").context("no line 'admin: …'")?;
        Ok(gateway)
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts (again) and waits until `/readyz` says 200.
    pub fn start(&mut self) -> Result<()> {
        self.launch()?;
        let readyz = format!("{}/readyz", self.admin);
        let process = self.process.as_mut().context("just launched")?;
        process.ready(READY_LIMIT, "200 from /readyz", |_| Ok(Request::get(&readyz).send()?.status == 200))
    }

    /// Starts without waiting for anything.
    pub fn launch(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("the gateway runs already");
        }
        self.starts += 1;
        let mut command = Command::new(binary()?);
        // What it leaves in the folder for temporary files when it is killed goes with the test's own.
        command.args(&self.args).current_dir(self.dir.path()).env("TMPDIR", self.dir.path());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        self.process = Some(self.dir.spawn(&format!("inlet{}", self.starts), &mut command)?);
        Ok(())
    }

    /// kill -9.
    pub fn kill(&mut self) {
        drop(self.process.take());
    }

    /// kill -9 in the middle of what other threads do with it; follow with [`Gateway::kill`].
    pub fn kill_now(&self) {
        self.process.iter().for_each(Process::kill_now);
    }

    /// SIGTERM, then the exit status within the grace period.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let mut process = self.process.take().context("the gateway does not run")?;
        process.terminate();
        process.wait_exit(STOP_LIMIT)
    }

    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the gateway does not run")
    }

    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.exited().is_none())
    }

    /// What the present process printed.
    pub fn stdout(&self) -> String {
        self.process.as_ref().map(Process::stdout).unwrap_or_default()
    }

    pub fn stderr(&self) -> String {
        self.process.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// The value of a printed line `name: value`.
    pub fn printed(&self, name: &str) -> Option<String> {
        let prefix = format!("{name}: ");
        self.stdout().lines().find_map(|line| line.strip_prefix(&prefix)).map(|value| value.trim().to_owned())
    }

    /// Waits for a line on stdout or stderr.
    pub fn wait_line(&self, limit: Duration, what: &str, matches: impl Fn(&str) -> bool) -> Result<String> {
        wait::until(limit, &format!("the line '{what}'"), || {
            let text = format!("{}\n{}", self.stdout(), self.stderr());
            Ok(text.lines().find(|line| matches(line)).map(str::to_owned))
        })
        .with_context(|| self.process.as_ref().map(Process::tail).unwrap_or_default())
    }

    /// The URL that providers of an instance send to.
    pub fn intake(&self, instance: &str) -> String {
        format!("{}/in/{instance}", self.ingress)
    }

    pub fn status(&self) -> Result<Value> {
        self.get_admin("/api/status")?.json()
    }

    pub fn get_admin(&self, path: &str) -> Result<Answer> {
        Request::get(format!("{}{path}", self.admin)).send()
    }

    /// The sum of a Prometheus metric's samples whose labels contain all the given `name="value"` texts.
    pub fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let text = self.get_admin("/metrics")?.text();
        let samples = text.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && labels.iter().all(|label| line.contains(label))
        });
        samples.map(|line| Ok(line.rsplit(' ').next().context("a value")?.parse::<f64>()?)).sum()
    }

    pub fn dir(&self) -> &Workdir {
        &self.dir
    }
}

fn filled_in(config: &str, ingress: &str, admin: &str, data: &Path) -> String {
    config.replace("@INGRESS@", ingress).replace("@ADMIN@", admin).replace("@DATA@", &data.display().to_string())
}
