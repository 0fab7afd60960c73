//! The idempotency keys of an import's batches, and the report of an import that was interrupted.

use aws_lc_rs::digest;
use prost::Message as _;
use souk_domain::{Fingerprint, RequestId, RequestKey};
use souk_proto::{Reason, explain::sent_reason, v1};
use tonic::Status;
use uuid::Uuid;

use super::{
    parse::{Fields, request_key, shortened},
    status::status,
};

/// The keys of the batches of one import, derived from the import's `request_id` and the batch's place in the stream.
///
/// A client that sends the same rows under the same id makes the market form the same batches, so that each of them
/// gets the key that it had before, and its first outcome.
pub struct BatchKeys {
    import: RequestId,
    validate_only: bool,
    batch: u64,
    rows: digest::Context,
}

impl BatchKeys {
    /// Returns the keys of an import; `None` if it has no `request_id`.
    ///
    /// # Errors
    /// The `request_id` is not a UUID.
    pub fn of(header: &v1::ImportHeader) -> Result<Option<Self>, Status> {
        if header.request_id.is_empty() {
            return Ok(None);
        }
        let mut fields = Fields::new();
        let key = request_key(&mut fields, &header.request_id, Fingerprint([0; 16]));
        let keys = key.map(|key| Self {
            import: key.id,
            validate_only: header.validate_only,
            batch: 0,
            rows: digest::Context::new(&digest::SHA256),
        });
        fields.finish(keys.map(Some))
    }

    /// Adds a row to the current batch.
    pub fn add(&mut self, row: &v1::ImportRow) {
        self.rows.update(&row.encode_length_delimited_to_vec());
    }

    /// Returns the key of the current batch, and begins the next one.
    pub fn end_batch(&mut self) -> RequestKey {
        let mut rows = std::mem::replace(&mut self.rows, digest::Context::new(&digest::SHA256));
        rows.update(&[u8::from(self.validate_only)]);
        let id = Uuid::new_v5(&self.import.0, &self.batch.to_be_bytes());
        self.batch += 1;
        RequestKey { id: RequestId(id), fingerprint: shortened(rows) }
    }
}

/// How far an import has come when it is interrupted.
pub struct ImportProgress<'a> {
    /// The number of rows, from the beginning of the stream, that have been imported or rejected.
    pub rows: i64,
    /// The line of the last one that was imported.
    pub line: i64,
    /// What these rows did.
    pub done: &'a v1::ImportItemsResponse,
}

/// Adds to the status of an interrupted import which rows have been imported and what they did, and for retryable errors
/// from where to continue.
pub fn import_interrupted(cause: &Status, progress: &ImportProgress<'_>) -> Status {
    let ImportProgress { rows, line, done } = progress;
    let changed = done.created_count + done.updated_count;
    let message = format!(
        "{}; the rows up to line {line} are in, {changed} of them changed something",
        cause.message()
    );
    let metadata = [
        ("line", line.to_string()),
        ("rows", rows.to_string()),
        ("created_count", done.created_count.to_string()),
        ("updated_count", done.updated_count.to_string()),
        ("unchanged_count", done.unchanged_count.to_string()),
        ("failed_count", done.failed_count.to_string()),
    ];
    let reason = match sent_reason(cause) {
        // A deadline is that of the next row: a client whose own deadline has passed does not read this.
        Reason::Overloaded
        | Reason::Unavailable
        | Reason::StorageFull
        | Reason::OutcomeUnknown
        | Reason::DeadlineExceeded => Reason::ImportInterrupted,
        reason => reason,
    };
    status(reason, message, metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(validate_only: bool) -> BatchKeys {
        let request_id = Uuid::from_u128(7).to_string();
        BatchKeys::of(&v1::ImportHeader { validate_only, request_id }).unwrap().unwrap()
    }

    fn key(keys: &mut BatchKeys, lines: &[i64]) -> RequestKey {
        for line in lines {
            keys.add(&v1::ImportRow { line: *line, ..Default::default() });
        }
        keys.end_batch()
    }

    #[test]
    fn batches_sent_again_have_the_keys_that_they_had() {
        let (mut first, mut again) = (keys(false), keys(false));
        for lines in [&[1, 2][..], &[3, 4], &[3, 4]] {
            assert_eq!(key(&mut first, lines), key(&mut again, lines));
        }
        assert_ne!(key(&mut first, &[5]).fingerprint, key(&mut again, &[6]).fingerprint);
        assert_ne!(key(&mut first, &[]).id, key(&mut keys(false), &[]).id, "another place in the stream");
        let checked = key(&mut keys(true), &[1]);
        assert_ne!(checked.fingerprint, key(&mut keys(false), &[1]).fingerprint);
    }

    #[test]
    fn import_whose_sender_stalls_is_interrupted() {
        let done = v1::ImportItemsResponse { failed_count: 2, ..Default::default() };
        let progress = ImportProgress { rows: 3, line: 1, done: &done };
        let told = import_interrupted(&Status::deadline_exceeded("no row came"), &progress);
        assert_eq!(Reason::of(&told), Some(Reason::ImportInterrupted));
        // A message that can't be read would not be read next time either.
        let told = import_interrupted(&Status::out_of_range("too large"), &progress);
        assert_eq!(Reason::of(&told), Some(Reason::MessageTooLarge));
    }

    #[test]
    fn id_of_an_import_is_optional_but_a_uuid() {
        let header =
            |request_id: &str| v1::ImportHeader { request_id: request_id.to_owned(), ..Default::default() };
        assert!(BatchKeys::of(&header("")).unwrap().is_none());
        assert!(BatchKeys::of(&header("seven")).is_err());
    }
}
