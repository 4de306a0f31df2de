//! Asterisk with AMI and PJSIP on free loopback ports, three phones and a trunk; calls are placed over SIP.
//!
//! It runs from the folder that `tests/setup` unpacked, by that folder's own dynamic loader: no root, no chroot.
//! `4930900101`… ring phone 101…, `4930900200` is the queue 'support' (101, then 102), `4930900130` rings 101 and then
//! takes a voicemail.

use crate::process::{Process, Workdir};
use crate::servers::ami::Ami;
use crate::servers::sip::{Call, Phone};
use crate::tls::{self, Certificates};
use crate::{cache, ports};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The AMI account.
pub const AMI_USER: &str = "inlet";
pub const AMI_SECRET: &str = "s3cret-ami";

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// RTP wants a range of its own; calls of one test are few.
const RTP_PORTS: u16 = 40;

const FILES: &[(&str, &str)] = &[
    ("asterisk.conf", include_str!("asterisk_files/asterisk.conf")),
    ("modules.conf", include_str!("asterisk_files/modules.conf")),
    ("logger.conf", include_str!("asterisk_files/logger.conf")),
    ("manager.conf", include_str!("asterisk_files/manager.conf")),
    ("cdr_manager.conf", include_str!("asterisk_files/cdr_manager.conf")),
    ("rtp.conf", include_str!("asterisk_files/rtp.conf")),
    ("pjsip.conf", include_str!("asterisk_files/pjsip.conf")),
    ("extensions.conf", include_str!("asterisk_files/extensions.conf")),
    ("queues.conf", include_str!("asterisk_files/queues.conf")),
    ("voicemail.conf", include_str!("asterisk_files/voicemail.conf")),
    ("cel.conf", include_str!("asterisk_files/cel.conf")),
];

/// Whole seconds, as the dialplan counts them, and whether AMI carries CDR events.
#[derive(Debug, Clone)]
pub struct Options {
    pub cdr_events: bool,
    pub ring_limit_s: u32,
    pub queue_ring_s: u32,
    pub queue_limit_s: u32,
    pub voicemail_after_s: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { cdr_events: true, ring_limit_s: 4, queue_ring_s: 3, queue_limit_s: 20, voicemail_after_s: 2 }
    }
}

/// A running Asterisk.
#[derive(Debug)]
pub struct Asterisk {
    process: Option<Process>,
    pub certificates: Certificates,
    pub ami_port: u16,
    pub ami_tls_port: u16,
    pub sip_port: u16,
    dir: Workdir,
}

impl Asterisk {
    pub fn start(options: &Options) -> Result<Self> {
        let dir = Workdir::new("asterisk")?;
        let certificates = tls::make(&dir)?;
        let (ami_port, ami_tls_port, sip_port) = (ports::free(), ports::free(), ports::free());
        let rtp_start = ports::free() & !1;
        let (root, lib) = installation()?;
        for folder in ["var", "spool", "run", "log"] {
            std::fs::create_dir_all(dir.path().join(folder))?;
        }
        let words = [
            ("@DIR@", dir.path().display().to_string()),
            ("@ROOT@", root.display().to_string()),
            ("@LIB@", lib.display().to_string()),
            ("@CERTIFICATE@", certificates.certificate.display().to_string()),
            ("@KEY@", certificates.key.display().to_string()),
            ("@AMI_PORT@", ami_port.to_string()),
            ("@AMI_TLS_PORT@", ami_tls_port.to_string()),
            ("@AMI_SECRET@", AMI_SECRET.to_owned()),
            ("@SIP_PORT@", sip_port.to_string()),
            ("@RTP_START@", rtp_start.to_string()),
            ("@RTP_END@", (rtp_start + RTP_PORTS).to_string()),
            ("@CDR@", if options.cdr_events { "yes" } else { "no" }.to_owned()),
            ("@RING_LIMIT@", options.ring_limit_s.to_string()),
            ("@QUEUE_RING@", options.queue_ring_s.to_string()),
            ("@QUEUE_LIMIT@", options.queue_limit_s.to_string()),
            ("@VOICEMAIL_AFTER@", options.voicemail_after_s.to_string()),
        ];
        for (name, text) in FILES {
            let text = words.iter().fold((*text).to_owned(), |text, (word, value)| text.replace(word, value));
            dir.write(&format!("etc/{name}"), text)?;
        }
        let mut asterisk = Self { process: None, certificates, ami_port, ami_tls_port, sip_port, dir };
        asterisk.launch()?;
        Ok(asterisk)
    }

    fn launch(&mut self) -> Result<()> {
        let (root, lib) = installation()?;
        let mut command = Command::new(loader(&lib)?);
        command.arg("--library-path").arg(&lib).arg(root.join("usr/sbin/asterisk"));
        command.args(["-f", "-C"]).arg(self.dir.path().join("etc/asterisk.conf"));
        let mut process = self.dir.spawn("asterisk", &mut command)?;
        let port = self.ami_port;
        process.ready(START_LIMIT, "'fully booted' on AMI", |_| {
            let mut ami = Ami::login(port, AMI_USER, AMI_SECRET)?;
            ami.wait_for(Duration::from_secs(1), "FullyBooted", |event| event.name() == "FullyBooted").map(|_| true)
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// SIGTERM: calls are cut, AMI connections closed.
    pub fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("Asterisk does not run")?;
        process.terminate();
        process.wait_exit(STOP_LIMIT).map(drop)
    }

    /// Same ports; phones have to register again.
    pub fn restart(&mut self) -> Result<()> {
        if self.process.is_some() {
            self.stop()?;
        }
        self.launch()
    }

    /// A registered phone, `101` to `103`.
    pub fn phone(&self, number: &str) -> Result<Phone> {
        Phone::register(self.sip_port, number)
    }

    /// A call from the outside, by the trunk.
    pub fn call_in(&self, from: &str, name: &str, to: &str) -> Result<Call> {
        Call::place(self.sip_port, from, name, to)
    }

    pub fn ami(&self) -> Result<Ami> {
        Ami::login(self.ami_port, AMI_USER, AMI_SECRET)
    }

    /// How much of a mailbox's voicemail is recorded so far, in bytes of 16-bit sound at 8 kHz: the way to wait for a
    /// message of some length.
    pub fn recording_bytes(&self, mailbox: &str) -> u64 {
        let folder = self.dir.path().join("spool/voicemail/default").join(mailbox);
        let folders = ["tmp", "INBOX"].map(|name| folder.join(name));
        let entries = folders.iter().flat_map(std::fs::read_dir).flatten().flatten();
        let sounds = entries.filter(|entry| entry.path().extension().is_some_and(|e| e == "wav"));
        sounds.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
    }

    /// Recorded voicemails of a mailbox of the context 'default'.
    pub fn voicemails(&self, mailbox: &str) -> usize {
        let inbox = self.dir.path().join("spool/voicemail/default").join(mailbox).join("INBOX");
        let entries = std::fs::read_dir(inbox).into_iter().flatten().flatten();
        entries.filter(|entry| entry.path().extension().is_some_and(|e| e == "wav")).count()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log/messages.log")).unwrap_or_default()
    }
}

/// The unpacked root and its library folder (`x86_64-linux-gnu` or another machine's).
fn installation() -> Result<(PathBuf, PathBuf)> {
    let root = cache::path("asterisk")?;
    let entries = std::fs::read_dir(root.join("usr/lib"))?.flatten();
    let mut folders = entries.map(|entry| entry.path()).filter(|path| path.join("asterisk/modules").is_dir());
    let lib = folders.next().context("no Asterisk modules: run tests/setup")?;
    Ok((root, lib))
}

fn loader(lib: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(lib)?.flatten();
    let mut found = entries.map(|entry| entry.path()).filter(|path| {
        path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.starts_with("ld-linux") && name.contains(".so")
        })
    });
    found.next().context("no dynamic loader: run tests/setup")
}
