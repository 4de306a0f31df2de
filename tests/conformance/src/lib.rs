//! The laws that every connector obeys, run over its fixtures.
