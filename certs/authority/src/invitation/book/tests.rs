use souk_enrolment::code::SECRET_BYTES;

use super::*;

const NOW: OffsetDateTime = time::macros::datetime!(2026-11-30 12:00 UTC);
const ROOT: &str = "the root";
const KEY: &str = "a key";

fn id(number: u64) -> InvitationId {
    InvitationId(number.to_be_bytes())
}

fn new(name: &str) -> NewInvitation {
    NewInvitation { role: Role::Seller, name: name.to_owned(), again: false, validity: Duration::DAY }
}

fn invite(book: &mut Book, number: u64, new: NewInvitation) -> Result<(), BookError> {
    book.invite(new, (id(number), &Secret::new([7; SECRET_BYTES])), ROOT, NOW).map(drop)
}

fn book() -> (tempfile::TempDir, Book) {
    let folder = tempfile::tempdir().unwrap();
    let mut book = Book::read(folder.path()).unwrap();
    invite(&mut book, 1, new("alice")).unwrap();
    (folder, book)
}

fn claim(book: &mut Book, key: &str, at: OffsetDateTime) -> Result<Claim, Unusable> {
    book.claim(id(1), Some(Role::Seller), key, ROOT, at).map(|(claim, _)| claim)
}

#[test]
fn first_key_binds_and_may_come_again_for_a_quarter_of_an_hour() {
    let (_folder, mut book) = book();
    assert_eq!(claim(&mut book, KEY, NOW), Ok(Claim::First));
    assert_eq!(claim(&mut book, "another", NOW), Err(Unusable::Used));
    assert_eq!(claim(&mut book, KEY, NOW + REPEATABLE), Ok(Claim::Again));
    assert_eq!(claim(&mut book, KEY, NOW + REPEATABLE + Duration::SECOND), Err(Unusable::Used));
}

#[test]
fn repetition_is_answered_after_the_end_of_the_invitation() {
    let (_folder, mut book) = book();
    assert_eq!(claim(&mut book, KEY, NOW + Duration::DAY), Ok(Claim::First));
    assert_eq!(claim(&mut book, KEY, NOW + Duration::DAY + Duration::MINUTE), Ok(Claim::Again));
}

#[test]
fn what_is_not_open_stays_unused() {
    let (_folder, mut book) = book();
    assert_eq!(claim(&mut book, KEY, NOW + Duration::DAY + Duration::SECOND), Err(Unusable::Expired));
    let role = book.claim(id(1), Some(Role::Buyer), KEY, ROOT, NOW).map(drop);
    assert_eq!(role, Err(Unusable::Role(Role::Seller)));
    assert_eq!(book.claim(id(1), None, KEY, ROOT, NOW).map(drop), Err(Unusable::Role(Role::Seller)));
    let other_root = book.claim(id(1), Some(Role::Seller), KEY, "another root", NOW).map(drop);
    assert_eq!(other_root, Err(Unusable::Used));
    assert_eq!(book.claim(id(2), Some(Role::Seller), KEY, ROOT, NOW).map(drop), Err(Unusable::Used));
    assert_eq!(claim(&mut book, KEY, NOW), Ok(Claim::First), "nothing of this has used it up");
}

#[test]
fn cancelled_and_locked_ones_can_not_be_used() {
    let (_folder, mut book) = book();
    book.lock(id(1), NOW);
    assert_eq!(claim(&mut book, KEY, NOW), Err(Unusable::Locked));
    assert_eq!(book.cancel(id(1), ROOT, NOW).unwrap().name, "alice");
    assert_eq!(claim(&mut book, KEY, NOW), Err(Unusable::Used));
    assert!(matches!(book.cancel(id(1), ROOT, NOW), Err(BookError::NotOpen { state: "cancelled", .. })));
    assert!(matches!(book.cancel(id(2), ROOT, NOW), Err(BookError::Unknown { .. })));
}

#[test]
fn one_open_invitation_for_each_name() {
    let (_folder, mut book) = book();
    assert!(matches!(invite(&mut book, 2, new("alice")), Err(BookError::Invited { .. })));
    invite(&mut book, 2, NewInvitation { again: true, ..new("alice") }).unwrap();
    let states: Vec<_> = book.invitations().iter().map(|invitation| invitation.state(ROOT, NOW)).collect();
    assert_eq!(states, [State::Cancelled, State::Open]);
}

#[test]
fn validity_and_number_are_bounded() {
    let (_folder, mut book) = book();
    for validity in [MIN_VALIDITY - Duration::SECOND, MAX_VALIDITY + Duration::SECOND, -Duration::DAY] {
        let refused = invite(&mut book, 2, NewInvitation { validity, ..new("bob") });
        assert!(matches!(refused, Err(BookError::Validity)));
    }
    let template = book.invitations[0].clone();
    book.invitations = (0..MAX_OPEN as u64)
        .map(|number| Invitation { id: id(number), name: format!("party-{number}"), ..template.clone() })
        .collect();
    assert!(matches!(invite(&mut book, 99_999, new("bob")), Err(BookError::Full)));
    book.cancel(id(0), ROOT, NOW).unwrap();
    invite(&mut book, 99_999, new("bob")).unwrap();
}

#[test]
fn what_is_written_is_read_back_without_the_secret() {
    let (folder, mut book) = book();
    claim(&mut book, KEY, NOW).unwrap();
    book.write(folder.path(), ROOT, Uuid::nil(), NOW).unwrap();
    let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
    assert!(!text.contains("07070707") && !text.contains("7, 7"), "{text}");
    let again = Book::read(folder.path()).unwrap();
    assert_eq!(format!("{again:?}"), format!("{book:?}"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn closed_invitations_are_forgotten_after_a_month() {
    let (folder, mut book) = book();
    invite(&mut book, 2, NewInvitation { validity: MAX_VALIDITY, ..new("bob") }).unwrap();
    let much_later = NOW + Duration::DAY + KEPT + Duration::SECOND;
    book.write(folder.path(), ROOT, Uuid::nil(), much_later).unwrap();
    let names: Vec<_> = book.invitations().iter().map(|invitation| invitation.name.as_str()).collect();
    assert_eq!(names, ["bob"]);
}

#[test]
fn damaged_file_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["", "{", r#"{"version":2,"invitations":[]}"#] {
        std::fs::write(folder.path().join(FILE), text).unwrap();
        assert!(matches!(Book::read(folder.path()), Err(BookError::Format { .. })), "{text}");
    }
}
