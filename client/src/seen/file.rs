//! The file behind [`Seen`](super::Seen): small, without secrets, and replaced atomically by a rename.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    fs, io,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::REMEMBERED;

/// The layout of the file; a file of another layout is replaced.
const FORMAT: u32 = 1;

/// The maximum size of a file that is read, in bytes: several times the size of [`REMEMBERED`] entries.
const MAX_BYTES: u64 = 512 * 1024;

/// The maximum length of the file name without its extension, in bytes: file systems allow 255.
const MAX_NAME: usize = 200;

/// An event that was taken.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Entry {
    pub(super) sequence: i64,
    pub(super) event_id: Arc<str>,
}

#[derive(Debug)]
pub(super) struct SeenFile {
    path: PathBuf,
    /// The market's addresses, and the name of the consumer if it has one.
    market: String,
    party: Uuid,
}

#[derive(Deserialize, Serialize)]
struct Contents {
    format: u32,
    market: String,
    party: Uuid,
    taken: VecDeque<Entry>,
}

impl SeenFile {
    /// Creates the handle for the file of one market, party and consumer in `folder`. The file of the unnamed
    /// consumer is the one that clients wrote before there were names.
    pub(super) fn new(folder: &Path, market: String, party: Uuid, consumer: &str) -> Self {
        let market = if consumer.is_empty() { market } else { format!("{market} {consumer}") };
        Self { path: folder.join(file_name(&market, party)), market, party }
    }

    /// Reads the entries; none if the file is missing, damaged or of another layout.
    pub(super) fn read(&self) -> io::Result<VecDeque<Entry>> {
        let file = match fs::File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(VecDeque::new()),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes)?;
        let Some(mut contents) = self.parse(&bytes) else {
            tracing::warn!(file = %self.path.display(), "started again: what it held can't be read");
            return Ok(VecDeque::new());
        };
        let surplus = contents.taken.len().saturating_sub(REMEMBERED);
        contents.taken.drain(..surplus);
        Ok(contents.taken)
    }

    /// Replaces the file atomically: a reader sees either the old contents or the new ones.
    pub(super) fn write(&self, taken: VecDeque<Entry>) -> io::Result<()> {
        let contents = Contents { format: FORMAT, market: self.market.clone(), party: self.party, taken };
        let bytes = serde_json::to_vec(&contents)?;
        // The process id keeps two clients of one party from writing to the same temporary file.
        let draft = self.path.with_extension(format!("{}.tmp", std::process::id()));
        let mut file = fs::File::create(&draft)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&draft, &self.path).inspect_err(|_| {
            // Best effort: the error returned is that of the rename.
            let _ = fs::remove_file(&draft);
        })
    }

    fn parse(&self, bytes: &[u8]) -> Option<Contents> {
        let contents: Contents = serde_json::from_slice(bytes).ok()?;
        let ours =
            contents.format == FORMAT && contents.market == self.market && contents.party == self.party;
        ours.then_some(contents)
    }
}

/// Returns a file name that is unique to the market and party, whatever characters the host contains.
fn file_name(market: &str, party: Uuid) -> String {
    let mut name = format!("seen-{party}-");
    for byte in market.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') {
            name.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(name, "%{byte:02x}");
        }
    }
    if name.len() > MAX_NAME {
        // A market of many addresses.
        name = format!("seen-{party}-{}", Uuid::new_v5(&Uuid::NAMESPACE_URL, market.as_bytes()));
    }
    name.push_str(".json");
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_different_markets_differ() {
        let party = Uuid::from_u128(1);
        assert_ne!(file_name("[::1]:50051", party), file_name("::1_:50051", party));
        assert!(!file_name("../../etc:1", party).contains('/'));
    }

    #[test]
    fn a_damaged_file_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = SeenFile::new(folder.path(), "souk.example:50051".into(), Uuid::from_u128(1), "");
        for damage in ["", "{", r#"{"format":2,"market":"souk.example:50051","party":null,"taken":[]}"#] {
            fs::write(&file.path, damage).expect("written");
            assert_eq!(file.read().expect("read"), VecDeque::new());
        }
    }

    #[test]
    fn what_is_written_reads_back_and_leaves_no_draft() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = SeenFile::new(folder.path(), "souk.example:50051".into(), Uuid::from_u128(1), "");
        let taken = VecDeque::from([Entry { sequence: 3, event_id: "c".into() }]);
        file.write(taken.clone()).expect("written");
        assert_eq!(file.read().expect("read"), taken);
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
    }
}
