use std::net::Ipv4Addr;

use souk_certs::identity::Role;
use souk_enrolment::code::SECRET_BYTES;

use super::*;
use crate::invitation::book::NewInvitation;

const NOW: OffsetDateTime = time::macros::datetime!(2026-11-30 12:00 UTC);

fn id(number: u64) -> InvitationId {
    InvitationId(number.to_be_bytes())
}

/// Returns the secret of an invitation in these tests.
fn secret(number: u64) -> Secret {
    let mut bytes = [0xa5; SECRET_BYTES];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Secret::new(bytes)
}

fn wrong(number: u64) -> Secret {
    let mut bytes = [0x5a; SECRET_BYTES];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Secret::new(bytes)
}

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from(number).into()
}

fn redeemer(invitations: u64) -> (Redeemer, Book) {
    let folder = tempfile::tempdir().unwrap();
    let mut book = Book::read(folder.path()).unwrap();
    for number in 0..invitations {
        let new = NewInvitation {
            role: Role::Buyer,
            name: format!("party-{number}"),
            again: false,
            validity: Duration::DAY,
        };
        book.invite(new, (id(number), &secret(number)), "the root", NOW).unwrap();
    }
    (Redeemer::new(&book, &[1; 32]), book)
}

#[test]
fn unknown_invitation_and_wrong_secret_get_the_same_answer() {
    let (mut redeemer, _) = redeemer(1);
    for sent in 0..MAX_WRONG_OF_ADDRESS + 2 {
        let unknown = redeemer.check(id(9), &secret(0), address(1), NOW);
        let wrong = redeemer.check(id(0), &wrong(0), address(2), NOW);
        let without_lock = |verdict| match verdict {
            Verdict::Wrong { .. } => Verdict::Wrong { has_locked: false },
            Verdict::TooMany { wait, .. } => Verdict::TooMany { wait, has_locked: false },
            other => other,
        };
        assert_eq!(without_lock(unknown), without_lock(wrong), "after {sent}");
    }
}

#[test]
fn fifth_wrong_secret_locks_and_the_right_one_learns_of_it() {
    let (mut redeemer, mut book) = redeemer(2);
    for sent in 1..=MAX_WRONG + 1 {
        let verdict = redeemer.check(id(0), &wrong(0), address(sent), NOW);
        assert_eq!(verdict, Verdict::Wrong { has_locked: sent == MAX_WRONG }, "after {sent}");
    }
    assert_eq!(redeemer.check(id(0), &secret(0), address(9), NOW), Verdict::Locked);
    assert_eq!(redeemer.check(id(1), &secret(1), address(9), NOW), Verdict::Right);
    // The lock outlives a reload of a book in which it is not recorded yet, and a restart after it was recorded.
    redeemer.reload(&book);
    assert_eq!(redeemer.check(id(0), &secret(0), address(9), NOW), Verdict::Locked);
    book.lock(id(0), NOW);
    let mut restarted = Redeemer::new(&book, &[2; 32]);
    assert_eq!(restarted.check(id(0), &secret(0), address(9), NOW), Verdict::Locked);
}

#[test]
fn wrong_secrets_of_an_address_have_a_rate_and_a_right_one_has_none() {
    let (mut redeemer, _) = redeemer(1);
    for _ in 0..MAX_WRONG_OF_ADDRESS {
        let verdict = redeemer.check(id(7), &wrong(0), address(1), NOW);
        assert_eq!(verdict, Verdict::Wrong { has_locked: false });
    }
    let soon = NOW + Duration::seconds(20);
    let verdict = redeemer.check(id(7), &wrong(0), address(1), soon);
    assert_eq!(verdict, Verdict::TooMany { wait: Duration::seconds(40), has_locked: false });
    assert_eq!(redeemer.check(id(0), &secret(0), address(1), soon), Verdict::Right);
    assert_eq!(redeemer.check(id(7), &wrong(0), address(2), soon), Verdict::Wrong { has_locked: false });
    let verdict = redeemer.check(id(7), &wrong(0), address(1), NOW + WINDOW);
    assert_eq!(verdict, Verdict::Wrong { has_locked: false });
    // The clock was set back by an hour.
    let verdict = redeemer.check(id(7), &wrong(0), address(1), NOW - Duration::HOUR);
    assert_eq!(verdict, Verdict::Wrong { has_locked: false });
}

#[test]
fn neighbours_in_a_network_of_ipv6_share_a_rate() {
    let (mut redeemer, _) = redeemer(1);
    for host in 0..MAX_WRONG_OF_ADDRESS {
        let from = format!("2001:db8::{host:x}").parse().unwrap();
        assert_eq!(redeemer.check(id(7), &wrong(0), from, NOW), Verdict::Wrong { has_locked: false });
    }
    let neighbour = redeemer.check(id(7), &wrong(0), "2001:db8::ffff".parse().unwrap(), NOW);
    assert!(matches!(neighbour, Verdict::TooMany { .. }));
    let stranger = redeemer.check(id(7), &wrong(0), "2001:db8:0:1::1".parse().unwrap(), NOW);
    assert!(matches!(stranger, Verdict::Wrong { .. }));
}

#[test]
fn a_million_guesses_find_nothing_and_lock_nobody_else_out() {
    const GUESSES: u64 = 1_000_000;
    const INVITATIONS: u64 = 100;
    let (mut redeemer, _) = redeemer(INVITATIONS);
    let mut locks = 0;
    for guess in 0..GUESSES {
        // Ten a second from each of 1,000 addresses, at the ids of half the invitations and at unknown ones.
        let at = NOW + Duration::milliseconds(i64::try_from(guess / 10).unwrap());
        let from = address(u32::try_from(guess % 1_000).unwrap());
        let target = id(guess % INVITATIONS / 2 + if guess % 3 == 0 { 1 << 40 } else { 0 });
        match redeemer.check(target, &wrong(guess), from, at) {
            Verdict::Wrong { has_locked } | Verdict::TooMany { has_locked, .. } => {
                locks += u64::from(has_locked);
            }
            found => panic!("guess {guess} was answered with {found:?}"),
        }
    }
    assert_eq!(locks, INVITATIONS / 2);
    assert!(redeemer.by_address.len() <= MAX_ADDRESSES);
    let later = NOW + Duration::seconds(100);
    for number in 0..INVITATIONS {
        let expected = if number < INVITATIONS / 2 { Verdict::Locked } else { Verdict::Right };
        // Even from an address that has guessed.
        assert_eq!(redeemer.check(id(number), &secret(number), address(1), later), expected, "{number}");
    }
}

#[test]
fn addresses_that_are_counted_are_bounded() {
    let (mut redeemer, _) = redeemer(1);
    for from in 0..2 * u32::try_from(MAX_ADDRESSES).unwrap() {
        redeemer.check(id(7), &wrong(0), address(from), NOW);
    }
    assert_eq!(redeemer.by_address.len(), MAX_ADDRESSES + 1);
    assert_eq!(redeemer.check(id(0), &secret(0), address(u32::MAX), NOW), Verdict::Right);
    redeemer.check(id(7), &wrong(0), address(u32::MAX), NOW + WINDOW);
    assert_eq!(redeemer.by_address.len(), 1, "those whose window is over give way");
}
