//! Each server and client of the harness does once what the other suites rely on.

mod asterisk;
mod browser;
mod dovecot;
mod kafka;
mod scripted;
