//! Dovecot: IMAP (plain, STARTTLS, TLS) and LMTP on free loopback ports; any user name is let in with [`PASSWORD`].
//!
//! XOAUTH2 and OAUTHBEARER ask a token endpoint of the test's choice ([`Dovecot::with_tokens`]).

use crate::process::{Process, Workdir, is_root, run};
use crate::tls::{self, Certificates};
use crate::{mail, ports};
use anyhow::{Context, Result};
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Every user's password.
pub const PASSWORD: &str = "pass-Kx7";

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Debian's `mail` user, which owns the mailboxes when Dovecot runs as root: it refuses to serve root's mail.
const MAIL_ID: u32 = 8;

/// A running Dovecot with mailboxes below its folder.
#[derive(Debug)]
pub struct Dovecot {
    process: Option<Process>,
    pub certificates: Certificates,
    pub imap_port: u16,
    pub imaps_port: u16,
    pub lmtp_port: u16,
    config: PathBuf,
    dir: Workdir,
}

impl Dovecot {
    pub fn start() -> Result<Self> {
        // Nobody listens on the discard port: no token is ever good.
        Self::with_tokens("http://127.0.0.1:9/tokeninfo?token=")
    }

    /// `tokeninfo_url` gets the access token appended and answers JSON with `email` and `active`.
    pub fn with_tokens(tokeninfo_url: &str) -> Result<Self> {
        let dir = Workdir::new("dovecot")?;
        let certificates = tls::make(&dir)?;
        let (imap_port, imaps_port, lmtp_port) = (ports::free(), ports::free(), ports::free());
        fs::create_dir_all(dir.path().join("mail"))?;
        own(&dir.path().join("mail"))?;
        dir.write("oauth2.conf", include_str!("dovecot_files/oauth2.conf").replace("@TOKENINFO_URL@", tokeninfo_url))?;
        let identity = Identity::of_this_process()?;
        let mut text = include_str!("dovecot_files/dovecot.conf").to_owned();
        for (word, value) in [
            ("@DIR@", dir.path().display().to_string()),
            ("@CERTIFICATE@", certificates.certificate.display().to_string()),
            ("@KEY@", certificates.key.display().to_string()),
            ("@PASSWORD@", PASSWORD.to_owned()),
            ("@INTERNAL_USER@", identity.internal_user),
            ("@INTERNAL_GROUP@", identity.internal_group),
            ("@LOGIN_USER@", identity.login_user),
            ("@MAIL_UID@", identity.mail_uid),
            ("@MAIL_GID@", identity.mail_gid),
            ("@IMAP_PORT@", imap_port.to_string()),
            ("@IMAPS_PORT@", imaps_port.to_string()),
            ("@LMTP_PORT@", lmtp_port.to_string()),
        ] {
            text = text.replace(word, &value);
        }
        let config = dir.write("dovecot.conf", text)?;
        let mut dovecot = Self { process: None, certificates, imap_port, imaps_port, lmtp_port, config, dir };
        dovecot.launch()?;
        Ok(dovecot)
    }

    fn launch(&mut self) -> Result<()> {
        let mut command = Command::new("/usr/sbin/dovecot");
        command.arg("-F").arg("-c").arg(&self.config);
        let mut process = self.dir.spawn("dovecot", &mut command)?;
        let ports = [self.imap_port, self.imaps_port, self.lmtp_port];
        process
            .ready(START_LIMIT, "three open ports", |_| {
                Ok(ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()))
            })
            .with_context(|| self.log())?;
        self.process = Some(process);
        Ok(())
    }

    /// SIGTERM, as an administrator's stop: connections are closed.
    pub fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("Dovecot does not run")?;
        process.terminate();
        process.wait_exit(STOP_LIMIT).map(drop)
    }

    /// Same ports, same mailboxes.
    pub fn restart(&mut self) -> Result<()> {
        if self.process.is_some() {
            self.stop()?;
        }
        self.launch()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("dovecot.log")).unwrap_or_default()
    }

    /// Which file of a folder has which UID, in the server's own words.
    pub fn uids(&self, user: &str, folder: &str) -> Result<String> {
        Ok(fs::read_to_string(self.maildir(user, folder)?.join("dovecot-uidlist"))?)
    }

    /// Puts mails into a folder at once, by files in the Maildir; UIDs follow the order given.
    /// `INBOX` or a folder's name.
    pub fn fill<'a>(&self, user: &str, folder: &str, mails: impl IntoIterator<Item = &'a [u8]>) -> Result<usize> {
        let maildir = self.maildir(user, folder)?;
        let mut count = 0;
        for (index, mail) in mails.into_iter().enumerate() {
            // The sizes in the name (plain, and with CRLF) spare the server a look into each file.
            let size = mail.len();
            let with_crlf = size + mail::bare_newlines(mail);
            let seconds = mail::next_maildir_second();
            let name = format!("{seconds}.M{index:06}P1.inlet,S={size},W={with_crlf}");
            let temporary = maildir.join("tmp").join(&name);
            fs::write(&temporary, mail)?;
            own(&temporary)?;
            fs::rename(&temporary, maildir.join("new").join(&name))?;
            count += 1;
        }
        Ok(count)
    }

    /// The files of a folder's mails, in the order of their names.
    pub fn files(&self, user: &str, folder: &str) -> Result<Vec<PathBuf>> {
        let maildir = self.maildir(user, folder)?;
        let mut files = Vec::new();
        for part in ["new", "cur"] {
            for entry in fs::read_dir(maildir.join(part))? {
                files.push(entry?.path());
            }
        }
        files.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
        Ok(files)
    }

    /// Delivers one mail by LMTP, as a mail transfer agent does.
    pub fn deliver(&self, recipient: &str, mail: &[u8]) -> Result<()> {
        mail::lmtp_deliver(self.lmtp_port, "sender@example.test", recipient, mail)
    }

    /// A logged-in IMAP connection of the test's own.
    pub fn connect(&self, user: &str) -> Result<mail::Imap> {
        mail::Imap::login(self.imap_port, user, PASSWORD)
    }

    /// Throws the folder's UID list and index away, as a restored backup does: a new UIDVALIDITY, new UIDs.
    pub fn renumber(&mut self, user: &str, folder: &str) -> Result<()> {
        self.stop()?;
        let maildir = self.maildir(user, folder)?;
        for entry in fs::read_dir(&maildir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("dovecot") {
                fs::remove_file(entry.path())?;
            }
        }
        self.launch()
    }

    fn maildir(&self, user: &str, folder: &str) -> Result<PathBuf> {
        let home = self.dir.path().join("mail").join(user);
        let top = home.join("Maildir");
        let maildir = if folder == "INBOX" { top.clone() } else { top.join(format!(".{}", folder.replace('/', "."))) };
        let parts = ["tmp", "new", "cur"].map(|part| maildir.join(part));
        if parts.iter().all(|part| part.exists()) {
            return Ok(maildir);
        }
        parts.iter().try_for_each(fs::create_dir_all)?;
        [&home, &top, &maildir].into_iter().chain(&parts).try_for_each(|path| own(path))?;
        Ok(maildir)
    }
}

/// Whom Dovecot becomes for its parts.
struct Identity {
    internal_user: String,
    internal_group: String,
    login_user: String,
    mail_uid: String,
    mail_gid: String,
}

impl Identity {
    /// Root must give the parts to Debian's users; anybody else can only stay who they are.
    fn of_this_process() -> Result<Self> {
        let id = |flag: &str| Ok::<_, anyhow::Error>(run(Command::new("id").args(flag.split(' ')))?.trim().to_owned());
        if is_root() {
            let mail = MAIL_ID.to_string();
            return Ok(Self {
                internal_user: "dovecot".into(),
                internal_group: "dovecot".into(),
                login_user: "dovenull".into(),
                mail_uid: mail.clone(),
                mail_gid: mail,
            });
        }
        let (user, group) = (id("-un")?, id("-gn")?);
        Ok(Self {
            internal_user: user.clone(),
            internal_group: group,
            login_user: user,
            mail_uid: id("-u")?,
            mail_gid: id("-g")?,
        })
    }
}

fn own(path: &Path) -> Result<()> {
    if is_root() {
        chown(path, Some(MAIL_ID), Some(MAIL_ID)).with_context(|| format!("chown {}", path.display()))?;
    }
    Ok(())
}
