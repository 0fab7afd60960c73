//! Chooses the address for a call, and the one to dial next. Pure: no clock, no socket.

use std::time::Duration;

use souk_certs::{connector::Dial, random::Random};
use tokio::time::Instant;
use tonic::transport::Channel;

use super::member::{Link, Member};

/// How long to wait for one address before dialling the next concurrently (RFC 8305, section 8).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How long a caller that makes one call after another stays at the same address, and reports at another that
/// it was elsewhere. After that, its changes show in every market's searches.
pub const OWN_WRITES: Duration = Duration::from_secs(2);

/// The addresses of a market, and how they are doing.
pub(super) struct Members {
    pub(super) list: Vec<Member>,
    /// Where and when a call was last answered.
    last: Option<(usize, Instant)>,
    /// When the record began. What the caller did before, perhaps in another process, is unknown.
    since: Instant,
    random: Random,
}

/// What a caller does next.
pub(super) enum Plan {
    /// Send the call there, and meanwhile dial another address if one is named, because the load exceeds one.
    Use { place: usize, channel: Channel, connection: u64, dial: Option<usize>, was_elsewhere: bool },
    /// Dial an address if one is named, and plan again at the next change or at this time.
    Wait { dial: Option<usize>, until: Option<Instant> },
    /// Every address has been dialled without success since the caller arrived.
    Nowhere,
}

impl Members {
    /// Creates the list of addresses. `random` breaks ties and spreads the pauses.
    pub(super) fn new<'a>(addresses: impl Iterator<Item = &'a Dial>, now: Instant, random: Random) -> Self {
        let list = addresses.cloned().map(|address| Member::new(address, random)).collect();
        Self { list, last: None, since: now, random }
    }

    /// Plans for a caller that arrived at `begun`. An address that the plan names to be dialled counts as
    /// being dialled.
    pub(super) fn plan(&mut self, begun: Instant, now: Instant) -> Plan {
        if let Some(place) = self.least_loaded(now, |member| !member.is_left_out(now)) {
            // A second connection only under load or after a switch: a short-lived command makes one
            // handshake.
            let is_for_more = self.list[place].in_flight > 0 || !self.was_last(place, now);
            let dial = if is_for_more { self.undialled(|member| !member.is_left_out(now)) } else { None };
            return self.use_it(place, dial, now);
        }
        // An address that recently answered UNAVAILABLE is better than none.
        let makeshift = self.least_loaded(now, |_| true);
        let next = self.undialled(|member| !member.is_left_out(now)).or_else(|| {
            // Back-off must not make a call fail that could succeed: if every address is left out, each is
            // tried once per caller.
            let untried = |member: &Member| !member.failed_to_dial_since(begun);
            if makeshift.is_none() { self.undialled(untried) } else { None }
        });
        let dialled = self.list.iter().filter_map(|member| match member.link {
            Link::Dialling { since } => Some(since),
            _ => None,
        });
        let soon = dialled.max().map(|since| since + ATTEMPT_DELAY);
        match (next, soon, makeshift) {
            // No timeout: each dial ends by itself (`connect_timeout`), and its end wakes the caller.
            (None, Some(_), None) => Plan::Wait { dial: None, until: None },
            // Even if a makeshift is connected: a dial in progress may yield a healthy address within the
            // moment.
            (_, Some(soon), _) if now < soon => Plan::Wait { dial: None, until: Some(soon) },
            (Some(_), ..) => Plan::Wait { dial: self.dialling(next, now), until: Some(now + ATTEMPT_DELAY) },
            (None, _, Some(place)) => self.use_it(place, None, now),
            (None, None, None) => Plan::Nowhere,
        }
    }

    /// Returns whether an address is available, so that a call that failed at another may be repeated at
    /// once.
    pub(super) fn is_any_in(&self, now: Instant) -> bool {
        self.list.iter().any(|member| !member.is_left_out(now))
    }

    /// Records that a call that began at `begun` was answered.
    pub(super) fn worked(&mut self, place: usize, begun: Instant, now: Instant) {
        self.list[place].worked(begun, now);
        self.last = Some((place, now));
    }

    fn use_it(&mut self, place: usize, dial: Option<usize>, now: Instant) -> Plan {
        let dial = self.dialling(dial, now);
        let was_elsewhere = self.was_elsewhere(place, now);
        let member = &mut self.list[place];
        // Always up: the callers choose among connected addresses, under the same lock.
        let Link::Up(channel) = &member.link else { return Plan::Nowhere };
        // Counted here, not when the call starts: callers that plan at once must see each other.
        member.in_flight += 1;
        Plan::Use { place, channel: channel.clone(), connection: member.connections, dial, was_elsewhere }
    }

    fn dialling(&mut self, dial: Option<usize>, now: Instant) -> Option<usize> {
        if let Some(place) = dial {
            // Marked under the lock of the plan, so that two callers never dial one address at once.
            self.list[place].link = Link::Dialling { since: now };
        }
        dial
    }

    /// Returns the connected address with the fewest open calls. Of equals, it is the last one used if that
    /// is recent, otherwise a random one.
    fn least_loaded(&self, now: Instant, may_be: impl Fn(&Member) -> bool) -> Option<usize> {
        let places = 0..self.list.len();
        places
            .filter(|&place| self.list[place].is_up() && may_be(&self.list[place]))
            .min_by_key(|&place| (self.list[place].in_flight, !self.was_last(place, now), self.lot()))
    }

    /// Returns a random address without a connection, so that the clients of a market spread over all of its
    /// addresses.
    fn undialled(&self, may_be: impl Fn(&Member) -> bool) -> Option<usize> {
        let idle = |&place: &usize| matches!(self.list[place].link, Link::None) && may_be(&self.list[place]);
        (0..self.list.len()).filter(idle).min_by_key(|_| self.lot())
    }

    /// Returns whether the caller may have changed something at another address that searches here do not
    /// show yet.
    fn was_elsewhere(&self, place: usize, now: Instant) -> bool {
        let is_recent = |at: Instant| now < at + OWN_WRITES;
        let mut others = self.list.iter().enumerate().filter(|(other, _)| *other != place);
        is_recent(self.since) || others.any(|(_, member)| member.answered_at.is_some_and(is_recent))
    }

    /// Returns a random tie-breaker.
    fn lot(&self) -> u64 {
        // The bits of numbers from 0 to 1 have the same order as the numbers.
        self.random.unit().to_bits()
    }

    fn was_last(&self, place: usize, now: Instant) -> bool {
        self.last.is_some_and(|(last, at)| last == place && now < at + OWN_WRITES)
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use souk_certs::connector::{DialError, DialStep};
    use tonic::transport::Endpoint;

    use super::*;

    fn members(count: u16) -> Members {
        let addresses: Vec<_> = (1..=count).map(|port| Dial { host: "a".into(), port }).collect();
        Members::new(addresses.iter(), Instant::now(), Random::SYSTEM)
    }

    fn channel() -> Channel {
        Endpoint::from_static("http://a").connect_lazy()
    }

    fn fail(members: &mut Members, place: usize, now: Instant) {
        let target = members.list[place].address.clone();
        let source = Box::new(io::Error::from(io::ErrorKind::ConnectionRefused));
        members.list[place].dial_failed(Arc::new(DialError { step: DialStep::Tcp, target, source }), now);
    }

    fn used(plan: Plan) -> (usize, Option<usize>) {
        match plan {
            Plan::Use { place, dial, .. } => (place, dial),
            Plan::Wait { .. } | Plan::Nowhere => panic!("no address is used"),
        }
    }

    fn dialled(plan: &Plan) -> usize {
        match plan {
            Plan::Wait { dial: Some(place), until: Some(_) } => *place,
            _ => panic!("no address is dialled"),
        }
    }

    #[tokio::test]
    async fn addresses_are_dialled_one_after_the_other_until_one_answers() {
        let (mut members, begun) = (members(3), Instant::now());
        let first = dialled(&members.plan(begun, begun));
        let soon = begun + ATTEMPT_DELAY;
        match members.plan(begun, begun + ATTEMPT_DELAY / 2) {
            Plan::Wait { dial: None, until } => {
                assert_eq!(until, Some(soon), "a second caller dials no more")
            }
            _ => panic!("it does not wait"),
        }
        let second = dialled(&members.plan(begun, soon));
        assert_ne!(first, second);
        fail(&mut members, second, soon);
        let third = dialled(&members.plan(begun, soon));
        members.list[third].connected(channel());
        assert_eq!(used(members.plan(begun, soon)), (third, None), "the first is being dialled yet");
    }

    #[tokio::test]
    async fn a_caller_gives_up_when_every_dial_failed_and_the_next_tries_again() {
        let (mut members, begun) = (members(2), Instant::now());
        for _ in 0..2 {
            let place = dialled(&members.plan(begun, begun));
            fail(&mut members, place, begun);
        }
        assert!(matches!(members.plan(begun, begun), Plan::Nowhere));
        let later = begun + Duration::from_millis(1);
        dialled(&members.plan(later, later));
    }

    #[tokio::test]
    async fn calls_go_where_fewest_are_open_and_one_after_the_other_to_the_same() {
        let (mut members, begun) = (members(2), Instant::now());
        for member in &mut members.list {
            member.connected(channel());
        }
        let (first, _) = used(members.plan(begun, begun));
        assert_eq!(used(members.plan(begun, begun)).0, 1 - first);
        for member in &mut members.list {
            member.in_flight = 0;
        }
        members.worked(first, begun, begun);
        for _ in 0..32 {
            assert_eq!(used(members.plan(begun, begun)).0, first);
            members.list[first].in_flight = 0;
        }
        let later = begun + OWN_WRITES;
        let mut places = (0..64).map(|_| {
            let (place, _) = used(members.plan(later, later));
            members.list[place].in_flight = 0;
            place
        });
        assert!(places.any(|place| place != first), "nothing that was changed is too new by then");
    }

    #[tokio::test]
    async fn an_address_learns_that_the_caller_was_elsewhere_as_long_as_that_matters() {
        let (mut members, begun) = (members(2), Instant::now());
        for member in &mut members.list {
            member.connected(channel());
        }
        let plan = |members: &mut Members, at: Instant| match members.plan(at, at) {
            Plan::Use { place, was_elsewhere, .. } => {
                members.list[place].in_flight = 0;
                (place, was_elsewhere)
            }
            Plan::Wait { .. } | Plan::Nowhere => panic!("no address is used"),
        };
        assert!(plan(&mut members, begun).1, "another process may have been somewhere");
        let later = begun + OWN_WRITES;
        assert!(!plan(&mut members, later).1);
        members.worked(0, later, later);
        assert_eq!(plan(&mut members, later), (0, false), "it was there and nowhere else");
        members.list[0].in_flight = 1;
        assert_eq!(plan(&mut members, later), (1, true));
        members.list[0].in_flight = 1;
        assert_eq!(plan(&mut members, later + OWN_WRITES), (1, false));
    }

    #[tokio::test]
    async fn another_connection_is_opened_when_one_is_not_enough() {
        let (mut members, now) = (members(2), Instant::now());
        let first = dialled(&members.plan(now, now));
        members.list[first].connected(channel());
        members.worked(first, now, now);
        assert_eq!(used(members.plan(now, now)), (first, None), "one call has one connection");
        assert_eq!(used(members.plan(now, now)), (first, Some(1 - first)));
    }

    #[tokio::test]
    async fn an_address_that_failed_is_left_out_longer_and_longer_until_a_call_goes_well() {
        let (mut members, mut now) = (members(2), Instant::now());
        for member in &mut members.list {
            member.connected(channel());
        }
        let mut pauses = Vec::new();
        for _ in 0..12 {
            members.list[0].failed(now, now);
            // A call that failed with it.
            members.list[0].failed(now, now);
            let mut times = (1..10_000).map(|ms| now + Duration::from_millis(ms));
            let back = times.find(|&at| !members.list[0].is_left_out(at)).expect("it comes back");
            assert_eq!(used(members.plan(now, now)).0, 1);
            pauses.push(back - now);
            now = back;
        }
        assert!(pauses[0] <= FIRST && pauses[11] > FIRST * 10 && pauses[11] <= LONGEST, "{pauses:?}");
        members.list[0].failed(now, now);
        members.list[1].failed(now, now);
        assert!(!members.is_any_in(now));
        used(members.plan(now, now));
        members.worked(0, now - Duration::from_millis(1), now);
        assert!(members.list[0].is_left_out(now), "an answer to an earlier call proves nothing");
        members.worked(0, now + Duration::from_millis(1), now);
        assert!(members.is_any_in(now));
    }

    const FIRST: Duration = super::super::member::FIRST_LEFT_OUT;
    const LONGEST: Duration = Duration::from_millis(5_001);
}
