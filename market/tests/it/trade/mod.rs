//! Trade over real sockets, on every back end. Many tests are named after a weakness of classic solutions.

mod announcing;
mod bad_input;
mod buying;
pub(crate) mod consumers;
mod delivering;
mod fulfilling;
mod full_tills;
mod identity;
mod importing;
mod importing_again;
mod listing;
mod rating;
mod riding;
mod searching;
mod silent;
mod syncing;
mod watched_results;
mod watching;
mod wishing;
mod withdrawing;
