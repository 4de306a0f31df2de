//! Child processes that never outlive the test.
//!
//! Each child leads its own process group and works in a [`Workdir`]. A small shell watches a pipe that only this
//! process holds: when the test process ends in whatever way, SIGKILL included, the pipe closes, and the shell kills the
//! groups named in the folder's list and removes the folder. Only processes that were started here are ever signalled.

use crate::wait;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How many lines of a failed server's output an error shows.
const TAIL_LINES: usize = 30;

/// Runs in its own group; `$1` is the folder.
const WATCHER: &str = r#"
read -r _
for group in $(cat "$1/.groups" 2>/dev/null); do kill -KILL -- "-$group" 2>/dev/null; done
[ -z "$INLET_TEST_KEEP" ] || exit 0
# What was killed may write for a moment yet.
for try in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$1" 2>/dev/null && exit 0; sleep 0.2; done
"#;

/// A temporary folder and the guard that empties it. `INLET_TEST_KEEP=1` leaves it behind for a look.
#[derive(Debug)]
pub struct Workdir {
    path: PathBuf,
    groups: Arc<Groups>,
    watcher: Child,
}

/// The process groups that the watcher has to end, noted in a file that it reads.
#[derive(Debug)]
struct Groups {
    file: PathBuf,
    ids: Mutex<Vec<u32>>,
}

impl Groups {
    fn change(&self, change: impl FnOnce(&mut Vec<u32>)) -> std::io::Result<()> {
        let mut ids = self.ids.lock().expect("no panic while held");
        change(&mut ids);
        let list: Vec<_> = ids.iter().map(u32::to_string).collect();
        fs::write(&self.file, list.join("\n"))
    }
}

impl Workdir {
    pub fn new(name: &str) -> Result<Self> {
        let path = tempfile::Builder::new().prefix(&format!("inlet-{name}-")).tempdir()?.keep();
        // Servers that give up root (Dovecot) must be able to pass through.
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let watcher = Command::new("sh")
            .args(["-c", WATCHER, "watcher"])
            .arg(&path)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("start the watcher shell")?;
        let groups = Arc::new(Groups { file: path.join(".groups"), ids: Mutex::default() });
        Ok(Self { path, groups, watcher })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file below the folder, creating its parents.
    pub fn write(&self, relative: &str, contents: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path.join(relative);
        fs::create_dir_all(path.parent().context("a relative path has a parent")?)?;
        fs::write(&path, contents).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Starts `command` in a process group of its own; output goes to `NAME.out` and `NAME.err` here.
    pub fn spawn(&self, name: &str, command: &mut Command) -> Result<Process> {
        let out = self.path.join(format!("{name}.out"));
        let err = self.path.join(format!("{name}.err"));
        let append = |path: &Path| File::options().create(true).append(true).open(path);
        let child = command
            .stdin(Stdio::null())
            .stdout(append(&out)?)
            .stderr(append(&err)?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {name}: {:?} (run tests/setup?)", command.get_program()))?;
        self.groups.change(|ids| ids.push(child.id())).context("note the process group")?;
        Ok(Process { name: name.to_owned(), child, ended: None, groups: self.groups.clone(), out, err })
    }
}

impl Drop for Workdir {
    fn drop(&mut self) {
        // Closing the pipe lets the watcher do the work, in the same way as when this process dies.
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}

/// A running child. Dropping it kills its group.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    groups: Arc<Groups>,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout(&self) -> String {
        read_lossy(&self.out)
    }

    pub fn stderr(&self) -> String {
        read_lossy(&self.err)
    }

    /// Its status when it has ended by itself; what is left of its group ends with it.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.end(status);
        }
        self.ended
    }

    fn end(&mut self, status: ExitStatus) {
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let id = self.child.id();
        let _ = self.groups.change(|ids| ids.retain(|other| *other != id));
        self.ended = Some(status);
    }

    /// Waits for `probe`; a process that ends meanwhile is an error that shows its last lines.
    pub fn ready(&mut self, limit: Duration, what: &str, mut probe: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        let waited = wait::until(limit, &format!("{}: {what}", self.name), || {
            if self.exited().is_some() {
                return Ok(Some(()));
            }
            Ok(probe(self)?.then_some(()))
        });
        match self.ended {
            Some(status) => bail!("{} ended with {status} before {what}\n{}", self.name, self.tail()),
            None => waited.with_context(|| self.tail()),
        }
    }

    /// SIGTERM to the process alone: what an orderly stop sends.
    pub fn terminate(&self) {
        let _ = kill_process(self.pid(), Signal::TERM);
    }

    /// SIGINT: Ctrl-C.
    pub fn interrupt(&self) {
        let _ = kill_process(self.pid(), Signal::INT);
    }

    /// SIGHUP: reload, for the servers that know it.
    pub fn hang_up(&self) {
        let _ = kill_process(self.pid(), Signal::HUP);
    }

    /// SIGSTOP: alive, but doing nothing.
    pub fn pause(&self) {
        let _ = kill_process_group(self.pid(), Signal::STOP);
    }

    /// SIGCONT after [`Process::pause`].
    pub fn resume(&self) {
        let _ = kill_process_group(self.pid(), Signal::CONT);
    }

    /// SIGKILL to the group, at once and from any thread; [`Process::kill`] reaps later.
    pub fn kill_now(&self) {
        let _ = kill_process_group(self.pid(), Signal::KILL);
    }

    /// SIGKILL to the group, then reaps the leader.
    pub fn kill(&mut self) {
        if self.exited().is_none() {
            let _ = kill_process_group(self.pid(), Signal::KILL);
            if let Ok(status) = self.child.wait() {
                self.end(status);
            }
        }
    }

    pub fn wait_exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        wait::until(limit, &what, || Ok(self.exited())).with_context(|| self.tail())
    }

    /// The last lines of both outputs, for error messages.
    pub fn tail(&self) -> String {
        format!("--- {} stdout\n{}\n--- stderr\n{}", self.name, tail(&self.out), tail(&self.err))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a short command to its end; a failure shows its output.
pub fn run(command: &mut Command) -> Result<String> {
    let program = format!("{:?}", command.get_program());
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("start {program} (run tests/setup?)"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{program} ended with {}\n--- stdout\n{stdout}\n--- stderr\n{stderr}", output.status);
    }
    Ok(stdout)
}

/// Whether this process may give up root (and so must tell servers whom to become).
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn tail(path: &Path) -> String {
    let text = read_lossy(path);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
