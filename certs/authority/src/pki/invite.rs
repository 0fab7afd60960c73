//! Making and cancelling invitations.

use souk_enrolment::code::{ID_BYTES, InvitationCode, InvitationId, RootPin, SECRET_BYTES, Secret};
use time::OffsetDateTime;

use super::{Pki, PkiError};
use crate::invitation::book::{Book, NewInvitation, sha256_hex};
use crate::log::{Did, Entry};

impl Pki {
    /// Makes an invitation, and returns its code and the last moment at which it can be used. The code contains the secret,
    /// which is stored nowhere else.
    ///
    /// # Errors
    /// Returns [`PkiError::NotSetUp`] without an enrolment service, the errors of [`Pki::check_invitation`],
    /// [`PkiError::Book`] if the book does not take it, and other variants if a file can't be read or written.
    pub fn invite(
        &mut self,
        new: NewInvitation,
        now: OffsetDateTime,
    ) -> Result<(InvitationCode, OffsetDateTime), PkiError> {
        self.change(|pki| {
            let Some(setup) = &pki.setup else { return Err(PkiError::NotSetUp { dir: pki.dir.clone() }) };
            let name = match pki.check_invitation(&new.name, new.role, new.again) {
                // Not joined yet, so there is no identity to keep: the open invitation is replaced.
                Err(PkiError::UnknownParty { .. }) if pki.is_invited(&new)? => new.name.parse()?,
                checked => checked?,
            };
            let id = InvitationId(pki.random.bytes::<ID_BYTES>());
            let secret = Secret::new(pki.random.bytes::<SECRET_BYTES>());
            let root = sha256_hex(pki.root());
            let mut book = Book::read(&pki.dir)?;
            let invitation = book.invite(new, (id, &secret), &root, now)?;
            let expires = invitation.expires;
            let entry = Entry {
                name: Some(name.to_string()),
                role: Some(invitation.role.as_str()),
                invitation: Some(id.to_string()),
                ..Entry::new(Did::Invite)
            };
            let pin = RootPin::of(pki.root());
            let code =
                InvitationCode::new(id, secret, pin, setup.public.clone(), pki.trust_domain().clone())?;
            pki.record(&[entry], now)?;
            book.write(&pki.dir, &root, pki.random.uuid_v4(), now)?;
            Ok((code, expires))
        })
    }

    /// Cancels an open invitation, and returns the name that it was for.
    ///
    /// # Errors
    /// Returns [`PkiError::Book`] if there is none with this id or it is not open, and other variants if a file can't be
    /// read or written.
    pub fn cancel_invitation(&mut self, id: InvitationId, now: OffsetDateTime) -> Result<String, PkiError> {
        self.change(|pki| {
            let root = sha256_hex(pki.root());
            let mut book = Book::read(&pki.dir)?;
            let name = book.cancel(id, &root, now)?.name.clone();
            let entry = Entry {
                name: Some(name.clone()),
                invitation: Some(id.to_string()),
                ..Entry::new(Did::Cancel)
            };
            pki.record(&[entry], now)?;
            book.write(&pki.dir, &root, pki.random.uuid_v4(), now)?;
            Ok(name)
        })
    }

    fn is_invited(&self, new: &NewInvitation) -> Result<bool, PkiError> {
        let book = Book::read(&self.dir)?;
        Ok(book
            .invitations()
            .iter()
            .any(|invitation| invitation.name == new.name && invitation.role == new.role))
    }
}
