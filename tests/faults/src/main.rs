//! `tests/faults/run`, `tests/faults/outage` and the other bars that are run by hand.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use inlet_faults::run::{frozen, outage, rolling, run};

const USAGE: &str =
    "run --kills N [--seed S] | outage [--minutes N] [--rate N] | rolling [--seed S] | frozen [--seed S]";
/// What consumers of other instances may wait while an owner is frozen.
const LAG_MAX: Duration = Duration::from_secs(25);

/// `--name number` pairs.
struct Numbers(BTreeMap<String, u64>);

impl Numbers {
    fn read(mut args: impl Iterator<Item = String>, known: &[&str]) -> Result<Self> {
        let mut numbers = BTreeMap::new();
        while let Some(word) = args.next() {
            let name = word.strip_prefix("--").filter(|name| known.contains(name));
            let name = name.with_context(|| format!("unknown argument '{word}'; {USAGE}"))?;
            let text = args.next().with_context(|| format!("{word} wants a number; {USAGE}"))?;
            let number = text.parse().with_context(|| format!("{word} {text} is no number"))?;
            numbers.insert(name.to_owned(), number);
        }
        Ok(Self(numbers))
    }

    fn get(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    /// The one that was given, or a fresh one; printed before anything happens.
    fn seed(&self) -> Result<u64> {
        let fresh = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64 % 1_000_000;
        let seed = self.get("seed").unwrap_or(fresh);
        eprintln!("seed {seed}");
        Ok(seed)
    }
}

/// Whether the bar was met.
fn work() -> Result<bool> {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or_default();
    match what.as_str() {
        "run" => {
            let numbers = Numbers::read(args, &["kills", "seed"])?;
            let kills = usize::try_from(numbers.get("kills").with_context(|| USAGE.to_owned())?)?;
            let report = run(numbers.seed()?, kills)?;
            println!("{report}");
            Ok(report.is_clean())
        }
        "outage" => {
            let numbers = Numbers::read(args, &["minutes", "seconds", "rate"])?;
            let minutes = numbers.get("minutes").unwrap_or(10);
            let away = Duration::from_secs(numbers.get("seconds").unwrap_or(minutes * 60));
            let report = outage::run(outage::Options { away, rate: numbers.get("rate").unwrap_or(500) })?;
            println!("{report}");
            Ok(report.is_clean())
        }
        "rolling" => {
            let report = rolling::run(Numbers::read(args, &["seed"])?.seed()?)?;
            println!("{report}");
            Ok(report.is_clean())
        }
        "frozen" => {
            let (report, lag) = frozen::run(Numbers::read(args, &["seed"])?.seed()?)?;
            println!("{report} lag={:.1}s", lag.as_secs_f64());
            Ok(report.is_clean() && lag <= LAG_MAX)
        }
        _ => bail!("{USAGE}"),
    }
}

fn main() -> ExitCode {
    match work() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the run failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
