//! The list
