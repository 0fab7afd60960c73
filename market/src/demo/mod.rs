//! A market of one's own on this machine: what `market demo`, the tests and the measurements stand on.

pub mod ground;
