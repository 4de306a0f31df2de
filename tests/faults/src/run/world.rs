//! The servers and the gateways of a run.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Result;
use inlet_tests::config::Config;
use inlet_tests::gateway::{Gateway, READY_LIMIT};
use inlet_tests::http_client::Request;
use inlet_tests::servers::dovecot::Dovecot;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::servers::scripted_ami::ScriptedAmi;
use inlet_tests::wait;

pub const GATEWAYS: usize = 2;
pub const MAILBOXES: usize = 4;
pub const SLACK_SECRET: &str = "faults-slack-secret";
const PBX_SECRET: &str = "faults-pbx-secret";
const INSTANCES: &str = include_str!("instances.yaml");
const MAILBOX: &str = include_str!("mailbox.yaml");
const START_LIMIT: Duration = Duration::from_secs(120);

/// The mail user of a mailbox.
pub fn mailbox_user(number: usize) -> String {
    format!("box{number}@example.test")
}

pub struct World {
    pub gateways: Vec<Gateway>,
    pub config: Config,
    pub dovecot: Arc<Mutex<Dovecot>>,
    pub pbx: Arc<ScriptedAmi>,
    // Last: the gateways end before it does.
    pub kafka: Kafka,
}

/// What those who send need of it; it outlives kills.
#[derive(Clone)]
pub struct View {
    /// Ingress of each gateway.
    pub ingress: Vec<String>,
    pub dovecot: Arc<Mutex<Dovecot>>,
    pub pbx: Arc<ScriptedAmi>,
}

impl View {
    pub fn dovecot(&self) -> MutexGuard<'_, Dovecot> {
        self.dovecot.lock().expect("no panic while held")
    }
}

impl World {
    /// Everything runs, and every source has been opened once.
    pub fn start() -> Result<Self> {
        let kafka = Kafka::three_with_sides(GATEWAYS)?;
        let (dovecot, pbx) = (Dovecot::start()?, ScriptedAmi::start(PBX_SECRET)?);
        let config = Config::new(&kafka, "faults", &instances(&dovecot, pbx.port()));
        let mut gateways = Vec::new();
        for side in 0..GATEWAYS {
            let own = config.clone().by_way_of(&kafka.side_bootstrap(side));
            gateways.push(Gateway::run(&own.text())?);
        }
        let world = Self { gateways, config, dovecot: Arc::new(Mutex::new(dovecot)), pbx: Arc::new(pbx), kafka };
        world.pbx.wait_logins(1, START_LIMIT)?;
        wait::until_true(START_LIMIT, "every mailbox to be read by somebody", || {
            (0..MAILBOXES).all(|number| world.gateways.iter().any(|gateway| runs(gateway, number)))
        })?;
        Ok(world)
    }

    pub fn view(&self) -> View {
        View {
            ingress: self.gateways.iter().map(|gateway| gateway.ingress.clone()).collect(),
            dovecot: self.dovecot.clone(),
            pbx: self.pbx.clone(),
        }
    }

    /// Whether a gateway's process has come up.
    pub fn is_ready(&self, gateway: usize) -> bool {
        let url = format!("{}/readyz", self.gateways[gateway].admin);
        Request::get(url).send().is_ok_and(|answer| answer.status == 200)
    }

    pub fn await_ready(&self, gateway: usize) -> Result<()> {
        wait::until_true(READY_LIMIT, "a gateway to be ready", || self.is_ready(gateway))
    }

    /// Copies what the gateways' processes printed, the mail server's log, and which mail it gave which UID.
    pub fn keep_logs(&self, folder: &std::path::Path) -> Result<()> {
        for (number, gateway) in self.gateways.iter().enumerate() {
            let to = folder.join(format!("gateway{number}"));
            std::fs::create_dir_all(&to)?;
            for entry in std::fs::read_dir(gateway.dir().path())? {
                let path = entry?.path();
                let is_log = path.extension().is_some_and(|extension| extension == "out" || extension == "err");
                if let Some(name) = path.file_name().filter(|_| is_log) {
                    std::fs::copy(&path, to.join(name))?;
                }
            }
        }
        let dovecot = self.dovecot.lock().expect("no panic while held");
        std::fs::write(folder.join("dovecot.log"), dovecot.log())?;
        for mailbox in 0..MAILBOXES {
            std::fs::write(folder.join(format!("uids{mailbox}")), dovecot.uids(&mailbox_user(mailbox), "INBOX")?)?;
        }
        Ok(())
    }

    /// Stops those gateways that run, in good order; an empty text for each that did.
    pub fn say_goodbye(&mut self) -> Vec<String> {
        let gateways = self.gateways.iter_mut().zip(1..);
        gateways
            .filter_map(|(gateway, number)| gateway.is_running().then_some((gateway, number)))
            .map(|(gateway, number)| match gateway.stop() {
                Ok(status) if status.success() => String::new(),
                Ok(status) => format!("gateway {number} ended with {status}"),
                Err(error) => format!("gateway {number} did not end: {error:#}"),
            })
            .collect()
    }
}

fn runs(gateway: &Gateway, mailbox: usize) -> bool {
    gateway.status().is_ok_and(|status| status["instances"][format!("box{mailbox}")]["state"] == "running")
}

fn instances(dovecot: &Dovecot, pbx_port: u16) -> String {
    let fixed = INSTANCES
        .replace("@SLACK_SECRET@", SLACK_SECRET)
        .replace("@PBX_PORT@", &pbx_port.to_string())
        .replace("@PBX_SECRET@", PBX_SECRET);
    let mailbox = |number: usize| {
        MAILBOX
            .replace("@NAME@", &format!("box{number}"))
            .replace("@PORT@", &dovecot.imaps_port.to_string())
            .replace("@CA@", &dovecot.certificates.authority.display().to_string())
            .replace("@USER@", &mailbox_user(number))
    };
    fixed + &(0..MAILBOXES).map(mailbox).collect::<String>()
}
