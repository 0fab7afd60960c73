//! What a case is.

use super::attacker::Session;

/// An attack, and against what.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) name: &'static str,
    /// What the attacker does.
    pub(super) about: &'static str,
    pub(super) target: Target,
    /// How many sessions run at once.
    pub(super) at_once: usize,
    pub(super) session: Session,
}

/// The port that is attacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Market,
    /// The market's port for metrics and health checks.
    Admin,
    /// The callback server of an honest seller.
    Callback,
}

impl Target {
    /// Returns whether the port speaks TLS with the market's certificate.
    pub(super) fn is_market(self) -> bool {
        self == Self::Market
    }
}

/// Lists the cases of a module: the target, the number of sessions at once, the function that is one session, and what
/// it does.
macro_rules! cases {
    ($($target:ident $at_once:literal $session:ident $about:literal),+ $(,)?) => {
        pub(in crate::hostile) const CASES: &[crate::hostile::case::Case] = &[$(crate::hostile::case::Case {
            name: stringify!($session),
            about: $about,
            target: crate::hostile::case::Target::$target,
            at_once: $at_once,
            session: |attacker| Box::pin($session(attacker)),
        }),+];
    };
}
pub(super) use cases;
