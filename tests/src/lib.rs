//! Test servers and helpers.
