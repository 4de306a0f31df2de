//! Real servers as child processes, and scripted ones as tasks.

pub mod ami;
pub mod asterisk;
pub mod chromium;
pub mod dovecot;
pub mod kafka;
pub mod proxy;
pub mod scripted_ami;
pub mod scripted_http;
pub mod scripted_mastodon;
pub mod sip;
mod sip_message;
