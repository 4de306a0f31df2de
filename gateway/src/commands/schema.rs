//! `inlet schema`: the JSON Schemas.

use clap::{Args, ValueEnum};
use connector_sdk::Entry;

use super::Failure;
use crate::config::schema::config_schema;

#[derive(Args)]
pub struct Options {
    /// Which schema
    #[arg(value_enum, default_value = "event")]
    of: Of,
}

#[derive(Clone, Copy, ValueEnum)]
enum Of {
    Event,
    Config,
}

pub fn run(options: &Options, entries: &'static [Entry]) -> Result<(), Failure> {
    let schema = match options.of {
        Of::Event => connector_sdk::schemas::schema::event_schema(),
        Of::Config => config_schema(entries),
    };
    super::output::print(&format!("{schema:#}\n"))
}
