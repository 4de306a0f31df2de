//! Configuration: one YAML file, every error with file, line and field.

mod document;
mod interpolate;
mod load;
pub mod model;
pub mod schema;
pub mod suggest;
pub mod switch;
mod units;

pub use load::{ConfigErrors, LoadedConfig, Problem, load, load_str};
pub use model::Config;
