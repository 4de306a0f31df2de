//! Rules of the repository that no compiler checks. Each says what it looked at, and fails when that is nothing.

mod anatomy;
mod dependencies;
mod files;
mod naming;
mod purity;
mod source;
mod workspace;

use std::fmt::Display;

/// Fails with all faults at once, or when nothing was looked at.
#[track_caller]
fn conclude(looked_at: usize, what: &str, faults: Vec<impl Display>) {
    let list: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "{} faults in {looked_at} {what}:\n{}", list.len(), list.join("\n"));
    assert!(looked_at > 0, "no {what} were found: the rule checked nothing");
    println!("{looked_at} {what} looked at");
}
