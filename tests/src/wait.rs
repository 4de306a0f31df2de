//! Waiting for a condition, with a limit. The only place in the suites that sleeps.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Pause between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(25);

/// Looks until `probe` gives `Ok(Some(_))`. An `Err` of the probe is a 'not yet' whose text is shown at the limit.
pub fn until<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    let mut last = None;
    loop {
        match probe() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) => last = Some(error),
        }
        if started.elapsed() >= limit {
            let last = last.map(|e| format!("; last error: {e:#}")).unwrap_or_default();
            bail!("waited {limit:?} for {what}{last}");
        }
        std::thread::sleep(PAUSE);
    }
}

/// [`until`] for a plain yes or no.
pub fn until_true(limit: Duration, what: &str, mut probe: impl FnMut() -> bool) -> Result<()> {
    until(limit, what, || Ok(probe().then_some(())))
}
