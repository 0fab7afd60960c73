//! Pagination (AIP-158): page sizes, and page tokens that are bound to their query.

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};
use souk_proto::Reason;
use tonic::Status;

use super::{parse::Fields, status::status};

/// Number of rows on a page if the caller does not specify it.
const DEFAULT_PAGE_SIZE: usize = 50;
/// Maximum number of rows on a page. Larger requested sizes are reduced to this.
const MAX_PAGE_SIZE: usize = 200;
/// Maximum number of bytes on a page, encoded. A page ends before the row that would exceed it, whatever its number of
/// rows: gRPC clients accept messages of up to 4 MiB by default, and an answer takes memory until it is read.
pub const MAX_PAGE_BYTES: usize = 1024 * 1024;
/// Maximum length of a page token. The market issues none that is longer.
const MAX_TOKEN_BYTES: usize = 1024;
/// Length of the hash of the query in a token. Short, because it has to detect mistakes, not attacks.
const BINDING_BYTES: usize = 8;

/// Returns the number of rows for a page from the request's `page_size`.
fn page_size(requested: i32) -> Result<usize, Status> {
    let mut fields = Fields::new();
    let size = fields.limit("page_size", requested, (DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE));
    fields.finish(size)
}

/// One page of a query: its size and where it starts.
pub struct Page<C> {
    limit: usize,
    token: PageToken,
    /// The last row of the previous page; `None` on the first page.
    pub after: Option<C>,
}

impl<C: Serialize + DeserializeOwned> Page<C> {
    /// Parses the page that a request asks for by its `page_size` and `page_token`. `token` decodes the tokens
    /// of the request's query.
    pub fn read(requested: i32, page_token: &str, token: PageToken) -> Result<Self, Status> {
        let limit = page_size(requested)?;
        let after = token.read(page_token)?;
        Ok(Self { limit, token, after })
    }

    /// Returns the maximum number of rows on the page.
    pub fn size(&self) -> usize {
        self.limit
    }

    /// Returns the number of rows to read: one more than the page holds, to find out whether there is a next
    /// page.
    pub fn rows(&self) -> usize {
        self.limit + 1
    }

    /// Returns the token of the page that starts after `last`, or an empty one if there is no such page.
    pub fn next_token(&self, last: Option<&C>) -> String {
        last.map(|last| self.token.write(last)).unwrap_or_default()
    }

    /// Fills the page with messages of the rows, up to its number of rows and to [`MAX_PAGE_BYTES`]. Returns them with
    /// the token of the next page, which is empty on the last one.
    pub fn fill<T, M: Message>(
        &self,
        rows: &[T],
        cursor: impl Fn(&T) -> C,
        message: impl Fn(&T) -> M,
    ) -> (Vec<M>, String) {
        let messages = within(MAX_PAGE_BYTES, rows.iter().take(self.limit).map(message));
        // There are rows beyond the page, so `rows` is not empty.
        let last = (messages.len() < rows.len()).then(|| messages.len() - 1);
        let next = self.next_token(last.map(|last| cursor(&rows[last])).as_ref());
        (messages, next)
    }
}

/// Collects messages as long as they take at most this many bytes, encoded, but at least one.
pub fn within<M: Message>(most: usize, messages: impl Iterator<Item = M>) -> Vec<M> {
    let (mut taken, mut bytes) = (Vec::with_capacity(messages.size_hint().0), 0);
    for message in messages {
        bytes += message.encoded_len();
        if bytes > most && !taken.is_empty() {
            break;
        }
        taken.push(message);
    }
    taken
}

/// Encodes and decodes the page tokens of one query. A token contains the key of the last row of a page and is
/// accepted only for the query for which it was issued. It contains no secret, and the binding is not a signature: it
/// detects mistakes.
pub struct PageToken {
    binding: [u8; BINDING_BYTES],
}

/// The page token does not belong to the query.
#[derive(Debug, thiserror::Error)]
#[error("the page token is not one of this query's")]
pub struct PageError;

impl PageToken {
    /// Creates the encoder for the query identified by these parts, such as the method, the caller and the filters.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        let mut binding = [0; BINDING_BYTES];
        binding.copy_from_slice(&context.finish().as_ref()[..BINDING_BYTES]);
        Self { binding }
    }

    /// Decodes a token to the cursor after which the page starts. An empty token is the first page, `None`.
    pub fn read<C: DeserializeOwned>(&self, token: &str) -> Result<Option<C>, Status> {
        if token.is_empty() {
            return Ok(None);
        }
        self.decode(token).map(Some).map_err(|_| {
            status(
                Reason::PageTokenInvalid,
                "the page token is not one of this query's: pass next_page_token unchanged, with the same query",
                [],
            )
        })
    }

    /// Encodes the token of the page that follows the row `after`.
    pub fn write<C: Serialize>(&self, after: &C) -> String {
        let mut bytes = self.binding.to_vec();
        #[expect(clippy::expect_used, reason = "cursors consist of numbers and short strings")]
        bytes.extend(serde_json::to_vec(after).expect("a cursor can always be encoded"));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn decode<C: DeserializeOwned>(&self, token: &str) -> Result<C, PageError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(PageError);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| PageError)?;
        let (binding, cursor) = bytes.split_at_checked(BINDING_BYTES).ok_or(PageError)?;
        if binding != self.binding {
            return Err(PageError);
        }
        serde_json::from_slice(cursor).map_err(|_| PageError)
    }
}

#[cfg(test)]
mod tests {
    use souk_proto::v1;

    use super::*;

    fn fill(rows: usize, bytes: usize, size: i32) -> (usize, String) {
        let page = Page::<usize>::read(size, "", PageToken::of(&[b"test"])).unwrap();
        let rows: Vec<_> = (0..rows).collect();
        let message = |_: &usize| v1::Item { description: "x".repeat(bytes), ..Default::default() };
        let (messages, token) = page.fill(&rows, |row| *row, message);
        (messages.len(), token)
    }

    #[test]
    fn page_ends_at_its_rows_or_its_bytes() {
        assert_eq!(fill(0, 1, 10), (0, String::new()));
        assert_eq!(fill(10, 1, 10), (10, String::new()));
        let token = PageToken::of(&[b"test"]);
        assert_eq!(fill(11, 1, 10), (10, token.write(&9)));
        assert_eq!(fill(11, MAX_PAGE_BYTES / 4, 10), (3, token.write(&2)));
        assert_eq!(fill(11, 2 * MAX_PAGE_BYTES, 10), (1, token.write(&0)), "it goes on in any case");
        assert_eq!(fill(1, 2 * MAX_PAGE_BYTES, 10), (1, String::new()));
    }
}
