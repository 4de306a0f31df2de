//! A disk that was told things, and what is on it when the power goes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a disk writes as a whole.
const SECTOR_BYTES: usize = 512;

/// Everything that happened, in order.
static LOG: Mutex<Vec<Step>> = Mutex::new(Vec::new());

#[derive(Clone, Debug)]
pub enum Step {
    Write {
        file: PathBuf,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        file: PathBuf,
        size: usize,
    },
    Sync {
        file: PathBuf,
    },
    Delete {
        file: PathBuf,
        synced: bool,
    },
    /// A sender was answered: its input is an obligation from here on.
    Answered(usize),
    /// Kafka has it.
    Taken(usize),
}

pub fn note(step: Step) {
    log().push(step);
}

pub fn steps() -> Vec<Step> {
    log().clone()
}

fn log() -> MutexGuard<'static, Vec<Step>> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same seed gives the same numbers.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }

    fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }
}

#[derive(Default)]
struct File {
    /// Survives.
    synced: Option<Vec<u8>>,
    /// Since the last sync: may survive or not, each sector by itself.
    pending: Vec<Step>,
}

/// Writes into `dir` what is left of the files after `steps`, of which unsynced sectors survive with so many percent.
pub fn power_loss(steps: &[Step], dir: &Path, chance: &mut Chance, survive_percent: usize) {
    let mut files: BTreeMap<PathBuf, File> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Write { file, .. } | Step::Truncate { file, .. } => {
                files.entry(file.clone()).or_default().pending.push(step.clone());
            }
            Step::Sync { file } => {
                let file = files.entry(file.clone()).or_default();
                let pending = std::mem::take(&mut file.pending);
                let image = file.synced.get_or_insert_default();
                pending.iter().for_each(|step| apply(image, step, &mut |_| true));
            }
            Step::Delete { file, synced } => {
                if *synced || chance.percent(survive_percent) {
                    files.remove(file);
                }
            }
            Step::Answered(_) | Step::Taken(_) => {}
        }
    }
    for (path, File { synced, pending }) in files {
        // The name of a file that was never synced may be lost.
        if synced.is_none() && !chance.percent(survive_percent) {
            continue;
        }
        let mut image = synced.unwrap_or_default();
        pending.iter().for_each(|step| apply(&mut image, step, &mut |_| chance.percent(survive_percent)));
        let name = path.file_name().expect("files have names");
        std::fs::write(dir.join(name), image).expect("writes");
    }
}

fn apply(image: &mut Vec<u8>, step: &Step, survives: &mut dyn FnMut(usize) -> bool) {
    match step {
        Step::Write { at, bytes, .. } => {
            let mut from = 0;
            while from < bytes.len() {
                // Up to the next border of a sector.
                let to = bytes.len().min((*at + from) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES - *at);
                if survives(from) {
                    if image.len() < at + to {
                        image.resize(at + to, 0);
                    }
                    image[at + from..at + to].copy_from_slice(&bytes[from..to]);
                }
                from = to;
            }
        }
        Step::Truncate { size, .. } if survives(0) => image.resize(*size, 0),
        _ => {}
    }
}
