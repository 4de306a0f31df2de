//! `tests/faults/run`.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use inlet_faults::run::{Options, run};

const USAGE: &str = "run --kills N [--seed S]";

fn options() -> Result<Options> {
    let mut args = std::env::args().skip(1);
    let (mut kills, mut seed) = (None, None);
    while let Some(name) = args.next() {
        let place = match name.as_str() {
            "--kills" => &mut kills,
            "--seed" => &mut seed,
            _ => bail!("unknown argument '{name}'; {USAGE}"),
        };
        let text = args.next().with_context(|| format!("{name} wants a number; {USAGE}"))?;
        *place = Some(text.parse::<u64>().with_context(|| format!("{name} {text} is no number"))?);
    }
    let fresh = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64 % 1_000_000;
    let kills = usize::try_from(kills.with_context(|| USAGE.to_owned())?)?;
    Ok(Options { kills, seed: seed.unwrap_or(fresh) })
}

fn main() -> ExitCode {
    let done = options().and_then(|options| {
        eprintln!("seed {}: {} kills", options.seed, options.kills);
        run(options)
    });
    match done {
        Ok(report) => {
            println!("{report}");
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("the run failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
