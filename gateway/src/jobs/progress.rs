//! How far a job is: a bar for people, a line now and then where nobody watches.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Between two lines where standard error is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Between two frames of a spinner.
const FRAME: Duration = Duration::from_millis(200);

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Messages,
}

pub struct Progress {
    bar: ProgressBar,
    unit: Unit,
    told: Instant,
}

impl Progress {
    /// `total`: absent where nobody knows it.
    pub fn new(unit: Unit, total: Option<u64>) -> Self {
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = match (unit, total) {
            (Unit::Bytes, Some(_)) => "{bar:30} {bytes}/{total_bytes} {msg} {bytes_per_sec} {eta} left",
            (Unit::Messages, Some(_)) => "{bar:30} {pos}/{len} {msg} {per_sec} {eta} left",
            (_, None) => "{spinner} {pos} {msg} {per_sec}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        if total.is_none() {
            bar.enable_steady_tick(FRAME);
        }
        Self { bar, unit, told: Instant::now() }
    }

    pub fn set(&mut self, position: u64, message: String) {
        self.bar.set_position(position);
        if self.bar.is_hidden() && self.told.elapsed() > LINE_EVERY {
            self.told = Instant::now();
            let unit = if self.unit == Unit::Bytes { "bytes" } else { "messages" };
            let of = self.bar.length().map(|total| format!(" of {total}")).unwrap_or_default();
            eprintln!("{position}{of} {unit}: {message}");
        }
        self.bar.set_message(message);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
