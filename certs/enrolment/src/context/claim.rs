//! Which context a join uses: a new one, or one that is there already.

use souk_certs::identity::{Role, TrustDomain};
use uuid::Uuid;

use super::{ContextError, ContextFolder, ContextName, Description, Listed, Locked, files, generation::LIVE};
use crate::code::InvitationId;

/// What a join does with a context that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// It completes what an earlier run with the same code has begun.
    Completes,
    /// The same party joins again, because its certificate was revoked or ended long ago: it gets another one.
    Renews,
    /// The market of the context was a demo, and so is the new one: its certificate is of an authority that is gone.
    Displaces,
}

/// The one rule for it: no other party's context is touched.
fn claim(name: &ContextName, found: &Description, joining: &Description) -> Result<Claim, ContextError> {
    if found.invitation == joining.invitation {
        Ok(Claim::Completes)
    } else if found.is_same_party(joining) {
        Ok(Claim::Renews)
    } else if found.ephemeral && joining.ephemeral && found.role() == joining.role() {
        Ok(Claim::Displaces)
    } else {
        Err(exists(name, found))
    }
}

fn exists(name: &ContextName, found: &Description) -> ContextError {
    ContextError::Exists { name: name.to_string(), role: found.role() }
}

impl ContextFolder {
    /// Begins a context, or takes one over that is of the same invitation, of the same party, or of a demo if this is one
    /// as well. Returns it locked. `unique` is a new id.
    ///
    /// It is described, unless it has a certificate of an earlier invitation of the same party: then the caller
    /// [describes](Locked::describe) it after it has installed the new one.
    ///
    /// # Errors
    /// A context of this name exists, and is another party's ([`ContextError::Exists`]); or the folder can't be used.
    pub fn begin(
        &self,
        name: &ContextName,
        description: &Description,
        unique: Uuid,
    ) -> Result<Locked, ContextError> {
        self.prepare()?;
        files::create_folder(&self.contexts())?;
        let context = self.context(name);
        let locked = context.lock()?;
        let found = context.description()?;
        match found.map(|found| claim(name, &found, description)).transpose()? {
            None | Some(Claim::Completes) => locked.describe(description, unique)?,
            Some(Claim::Renews) => {}
            Some(Claim::Displaces) => {
                let link = context.folder().join(LIVE);
                files::remove_if_there(&link).map_err(ContextError::io("remove", &link))?;
                locked.forget_pending()?;
                locked.describe(description, unique)?;
            }
        }
        Ok(locked)
    }

    /// Checks what can be checked before a code is redeemed: that [`begin`](Self::begin) can take the name for some party
    /// whom the code may be for. Nothing is created.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub fn check_free(
        &self,
        name: &ContextName,
        role: Role,
        trust_domain: &TrustDomain,
        invitation: InvitationId,
    ) -> Result<(), ContextError> {
        self.check()?;
        let Some(found) = self.context(name).description()? else { return Ok(()) };
        if found.role() != role {
            return Err(exists(name, &found));
        }
        // The most that it can turn out to be: the party of the context.
        let at_best = Description { trust_domain: trust_domain.clone(), invitation, ..found.clone() };
        claim(name, &found, &at_best).map(drop)
    }

    /// Returns the context of a party that has joined before, by preference the one that has the party's name.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn of_party(&self, joining: &Description) -> Result<Option<Listed>, ContextError> {
        let mut found = self.list()?;
        found.retain(|listed| listed.description.as_ref().is_ok_and(|found| found.is_same_party(joining)));
        let named = found.iter().position(|listed| listed.name.as_str() == joining.name);
        Ok(found.into_iter().nth(named.unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::context::fixture::{complete, described, folder, name};

    fn check(folder: &ContextFolder, joining: &Description) -> Result<(), ContextError> {
        folder.check_free(&name("alice"), joining.role(), &joining.trust_domain, joining.invitation)
    }

    #[test]
    fn a_context_of_the_same_invitation_is_completed_and_no_other_is_overwritten() {
        let (_home, folder) = folder();
        let alice = described(Role::Seller, 1, 1);
        complete(&folder.begin(&name("alice"), &alice, Uuid::nil()).unwrap(), "mine");
        for other in [described(Role::Seller, 2, 2), described(Role::Buyer, 3, 3)] {
            let refused = folder.begin(&name("alice"), &other, Uuid::nil());
            assert!(matches!(refused, Err(ContextError::Exists { .. })));
        }
        // Known before a code is redeemed: another role, another domain.
        let elsewhere =
            Description { trust_domain: "other.example".parse().unwrap(), ..described(Role::Seller, 4, 4) };
        for hopeless in [described(Role::Buyer, 3, 3), elsewhere] {
            assert!(matches!(check(&folder, &hopeless), Err(ContextError::Exists { .. })));
        }
        check(&folder, &alice).unwrap();
        let again = folder.begin(&name("alice"), &alice, Uuid::nil()).unwrap();
        assert_eq!(again.context().generation().unwrap().certificate, "mine");
    }

    #[test]
    fn a_party_that_joins_again_keeps_its_context_until_it_has_the_certificate() {
        let (_home, folder) = folder();
        let before = described(Role::Seller, 1, 1);
        complete(&folder.begin(&name("work"), &before, Uuid::nil()).unwrap(), "revoked");
        let again = described(Role::Seller, 1, 2);
        assert_eq!(folder.of_party(&again).unwrap().unwrap().name, name("work"));
        check(&folder, &again).unwrap();
        let locked = folder.begin(&name("work"), &again, Uuid::nil()).unwrap();
        // As of a crash at this point: the same command must redeem the code again.
        assert!(folder.of_invitation(again.invitation).unwrap().is_none());
        assert_eq!(locked.context().generation().unwrap().certificate, "revoked");
        complete(&locked, "new");
        locked.describe(&again, Uuid::nil()).unwrap();
        assert_eq!(folder.of_invitation(again.invitation).unwrap().unwrap().name, name("work"));
        assert_eq!(locked.context().generation().unwrap().certificate, "new");
        // A party of another authority may have any UUID.
        let elsewhere = Description { trust_domain: "other.example".parse().unwrap(), ..again };
        assert!(folder.of_party(&elsewhere).unwrap().is_none());
    }

    #[test]
    fn only_an_ephemeral_context_is_replaced_and_only_by_another() {
        let (_home, folder) = folder();
        let demo = |number: u8| Description {
            ephemeral: true,
            ..described(Role::Buyer, u128::from(number), number)
        };
        let first = folder.begin(&name("bob"), &demo(1), Uuid::nil()).unwrap();
        ["first", "first again", "and again"].iter().for_each(|text| complete(&first, text));
        drop(first);
        assert!(folder.begin(&name("bob"), &described(Role::Buyer, 9, 9), Uuid::nil()).is_err());
        let second = folder.begin(&name("bob"), &demo(2), Uuid::nil()).unwrap();
        assert!(!second.context().is_complete());
        complete(&second, "second");
        // Although generations of the one before had higher numbers.
        assert_eq!(second.context().generation().unwrap().certificate, "second");
        assert_eq!(fs::read_dir(second.context().folder().join("gen")).unwrap().count(), 1);
        drop(second);
        complete(
            &folder.begin(&name("alice"), &described(Role::Buyer, 3, 3), Uuid::nil()).unwrap(),
            "lasting",
        );
        assert!(folder.begin(&name("alice"), &demo(4), Uuid::nil()).is_err());
    }
}
