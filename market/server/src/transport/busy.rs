//! Measures for how long calls and connections keep their thread busy.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use pin_project_lite::pin_project;

use crate::observe::Talker;

pin_project! {
    /// A future whose polls are timed. On a thread that is not interrupted this is its CPU time, and reading the clock
    /// twice is much cheaper than asking the kernel for that.
    pub(super) struct Busy<F> {
        #[pin]
        future: F,
        talker: Talker,
    }
}

impl<F> Busy<F> {
    /// Adds the time of the future's polls to the usage of a connection.
    pub(super) fn new(future: F, talker: Talker) -> Self {
        Self { future, talker }
    }
}

impl<F: Future> Future for Busy<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let began = Instant::now();
        let polled = this.future.poll(context);
        this.talker.add_busy(began.elapsed());
        polled
    }
}
