//! The calls of AdminService about mailboxes and dead letters.

use std::collections::BTreeSet;

use souk_domain::{DeadLetterId, PartyId, Redelivered, action};
use souk_proto::{Reason, v1};
use souk_store::DeadLetterQuery;
use tonic::Status;

use super::{Api, read};
use crate::{
    access::Operator,
    wire::{
        self,
        command::{self, Parsed, Redelivery},
        query,
    },
};

impl Api {
    pub(super) async fn list_mailboxes(
        &self,
        request: &v1::ListMailboxesRequest,
    ) -> Result<v1::ListMailboxesResponse, Status> {
        let page = query::list_mailboxes(request)?;
        let (after, parts) = (page.after.map(PartyId), &self.parts);
        let found = parts.dead_letters.mailboxes(after, request.backlog_only, page.rows()).await;
        let message = |record: &_| wire::mailbox_record(record, &parts.steady);
        let (mailboxes, next_page_token) = page.fill(&read(found)?, |record| record.owner.0, message);
        Ok(v1::ListMailboxesResponse { mailboxes, next_page_token })
    }

    pub(super) async fn list_dead_letters(
        &self,
        request: &v1::ListDeadLettersRequest,
    ) -> Result<v1::ListDeadLettersResponse, Status> {
        let (page, recipient) = query::list_dead_letters(request)?;
        let query = DeadLetterQuery { recipient, after: page.after.map(DeadLetterId), limit: page.rows() };
        let found = self.parts.dead_letters.dead_letters(&query).await;
        let message = |letter: &_| wire::dead_letter(letter, &self.parts.steady);
        let (dead_letters, next_page_token) = page.fill(&read(found)?, |letter| letter.id.0, message);
        Ok(v1::ListDeadLettersResponse { dead_letters, next_page_token })
    }

    pub(super) async fn redeliver(
        &self,
        operator: Operator,
        request: v1::RedeliverRequest,
    ) -> Result<v1::RedeliverResponse, Status> {
        let Redelivery { request, validate_only, letters: ids } = command::redeliver(request)?;
        // A replay must return the first outcome, and the letters are gone.
        let repeated = read(self.reads().request(operator.id, request.id).await)?.is_some();
        let letters =
            if repeated { Vec::new() } else { read(self.parts.dead_letters.dead_letters_by_id(&ids).await)? };
        let wanted: BTreeSet<_> = ids.into_iter().collect();
        if !repeated && letters.len() < wanted.len() {
            let found: BTreeSet<_> = letters.iter().map(|letter| letter.id).collect();
            let missing: Vec<_> = wanted.difference(&found).map(ToString::to_string).collect();
            let message =
                format!("no dead letter has the number {}; nothing was redelivered", missing.join(", "));
            return Err(wire::status(Reason::DeadLetterNotFound, message, []));
        }
        let parsed = Parsed { request, validate_only, action: action::Redeliver { letters } };
        let done = self.submit(parsed.by(operator.id, operator.origin())).await?;
        let Redelivered(redelivered_count) = done.outcome;
        Ok(v1::RedeliverResponse { redelivered_count })
    }
}
