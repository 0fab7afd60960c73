//! The market's integration tests: one binary, real sockets, real certificates minted for the run.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_update,
    reason = "a test that panics has failed; `call!` fills in whatever fields are left"
)]

mod archive;
mod audit;
mod backup;
mod crash;
mod dead_letters;
mod demo;
mod deploying;
mod encrypted;
mod fixture;
mod full_disk;
mod held_store;
mod horizon;
mod metrics;
mod migrating;
mod observing;
mod records;
mod replicas;
mod several;
mod site;
mod sources;
mod stats;
mod storage;
mod synonyms;
mod till;
mod top_talkers;
mod tracing;
mod trade;
mod versions;
mod wall_clock;
