//! The market's integration tests: one binary, real sockets, real certificates minted for the run.

mod crash;
mod fair;
mod tidy;
mod trade;
