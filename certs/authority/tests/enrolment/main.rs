//! The enrolment service against those that it is exposed to, over real TLS sockets. Each case is a row of the threat
//! table in docs/authority.md, and asserts also that nothing was signed and that others are still served.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

mod attackers;
mod away;
mod codes;
mod guessing;
mod hosts;
mod keys;
mod killed;
mod limits;
mod lying;
mod operators;
mod renewing;
mod retired;
mod revoking;
mod roots;
mod stall;
mod world;
