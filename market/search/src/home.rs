//! The location of the index, and opening it: as it was left, or empty if that can't be used.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use souk_store::FeedPosition;
use tantivy::{
    Directory, Index, IndexReader, IndexWriter, ReloadPolicy, TantivyError,
    directory::{INDEX_WRITER_LOCK, MmapDirectory, error::LockError},
    indexer::{IndexWriterOptions, LogMergePolicy},
};

use super::{SearchError, find::Reader, schema, words::Wording};

/// The location of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexHome {
    /// In memory; rebuilt from the store at every start.
    Memory,
    /// In a directory that only this market uses, created if missing. The index uses a folder `items` in it
    /// and touches nothing else. The folder may be deleted while the market is down, and is then rebuilt. It
    /// should be deleted after the store was restored to an earlier state.
    Directory(PathBuf),
}

/// The metadata that is stored atomically with every commit of the index.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    version: u32,
    position: FeedPosition,
    /// The languages whose stems are indexed.
    #[serde(default)]
    languages: Vec<String>,
}

/// An index that is open for writing and searching.
pub(super) struct Opened {
    pub(super) reader: Reader,
    pub(super) writer: IndexWriter,
    /// The feed position up to which the index is complete.
    pub(super) position: FeedPosition,
}

/// The writer's memory budget in bytes; the minimum that tantivy accepts.
const WRITER_MEMORY_BYTES: usize = 15_000_000;
/// The permissions of the index's folders.
const OWNER_ONLY: u32 = 0o700;
/// The permissions that others must not have.
const OTHERS: u32 = 0o077;
/// Segments with a larger share of deleted documents than this are merged.
const DELETED_SHARE_BEFORE_MERGE: f32 = 0.3;
/// Segments with more documents than this are not merged any more, which bounds the time of a merge.
const MAX_DOCUMENTS_BEFORE_MERGE: usize = 1_000_000;

impl IndexHome {
    /// Opens the index as it was left, or an empty one if there is none or it can't be used. Blocks.
    pub(super) fn open(&self, wording: &Wording) -> Result<Opened, SearchError> {
        match self.open_existing(wording)? {
            Some(opened) => Ok(opened),
            None => self.create(wording),
        }
    }

    /// Creates an empty index, replacing an existing one. Blocks.
    pub(super) fn create(&self, wording: &Wording) -> Result<Opened, SearchError> {
        let index = Index::builder().schema(schema::schema().0).settings(schema::settings());
        let index = match self {
            Self::Memory => index.create_in_ram()?,
            Self::Directory(home) => {
                let items = folder(home);
                clear(&items).map_err(|error| SearchError::Home { directory: items.clone(), error })?;
                index.create_in_dir(&items)?
            }
        };
        self.opened(index, FeedPosition(0), wording)
    }

    fn open_existing(&self, wording: &Wording) -> Result<Option<Opened>, SearchError> {
        let Self::Directory(home) = self else {
            return Ok(None);
        };
        let items = folder(home);
        if !items.exists() {
            return Ok(None);
        }
        // Before validation, whose failure leads to clearing the folder, possibly under another market.
        refuse_if_in_use(&items)?;
        for folder in [home, &items] {
            close_to_others(folder)
                .map_err(|error| SearchError::Home { directory: folder.clone(), error })?;
        }
        // An unusable index is rebuilt rather than reported: it is derived data, and the market must start.
        // The index library panics on some damage that its checksums do not cover.
        let opening = || {
            usable(&items, wording).and_then(|(index, position)| {
                match self.opened(index, position, wording) {
                    Err(SearchError::Index(error)) => Err(error.to_string()),
                    other => Ok(other),
                }
            })
        };
        // The cache of the wording stays consistent after a panic: values are computed outside its locks.
        let existing = panic::catch_unwind(AssertUnwindSafe(opening))
            .unwrap_or_else(|_| Err("the index library panicked on it".to_owned()));
        match existing {
            Ok(opened) => opened.map(Some),
            Err(reason) => {
                tracing::warn!(reason, "the search index can't be used; rebuilding it");
                Ok(None)
            }
        }
    }

    fn opened(&self, index: Index, position: FeedPosition, wording: &Wording) -> Result<Opened, SearchError> {
        let options = IndexWriterOptions::builder()
            .memory_budget_per_thread(WRITER_MEMORY_BYTES)
            .num_worker_threads(1)
            .num_merge_threads(1)
            .build();
        let writer = index.writer_with_options(options).map_err(|error| match (error, self) {
            (TantivyError::LockFailure(LockError::LockBusy, _), Self::Directory(home)) => {
                SearchError::InUse(folder(home))
            }
            (TantivyError::LockFailure(LockError::IoError(error), _), Self::Directory(home)) => {
                // Not damage: what is there stays, and can be read.
                SearchError::Home { directory: folder(home), error: io::Error::other(error) }
            }
            (error, _) => error.into(),
        })?;
        let mut merging = LogMergePolicy::default();
        // Bounded, since a merge competes with searches for the CPU and a huge one would delay the next
        // commit.
        merging.set_max_docs_before_merge(MAX_DOCUMENTS_BEFORE_MERGE);
        merging.set_del_docs_ratio_before_merge(DELETED_SHARE_BEFORE_MERGE);
        writer.set_merge_policy(Box::new(merging));
        Ok(Opened { reader: reader(&index, wording.clone())?, writer, position })
    }
}

/// Commits the written documents together with the feed position up to which the index is then complete.
///
/// The two are one atomic step, so that after a crash the index resumes from exactly what it contains.
pub(super) fn commit(
    writer: &mut IndexWriter,
    position: FeedPosition,
    wording: &Wording,
) -> Result<(), SearchError> {
    let languages = wording.languages().codes().iter().map(|code| (*code).to_owned()).collect();
    let payload = serde_json::to_string(&Payload { version: schema::VERSION, position, languages })
        .map_err(|error| TantivyError::InternalError(error.to_string()))?;
    let mut prepared = writer.prepare_commit()?;
    // The payload is written with `meta.json`, which tantivy replaces atomically.
    prepared.set_payload(&payload);
    prepared.commit()?;
    Ok(())
}

fn reader(index: &Index, wording: Wording) -> tantivy::Result<Reader> {
    let (_, fields) = schema::schema();
    // Only the indexer reloads it, after its commits. So the published progress never lags behind what
    // searches see, and a search never sees more than one state.
    let index: IndexReader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
    Reader::open(index, fields, wording)
}

/// Opens the index in a directory for reading, with its position. `None` if there is none.
pub(super) fn existing(home: &Path) -> Result<Option<(Index, FeedPosition)>, SearchError> {
    let items = folder(home);
    if !items.exists() {
        return Ok(None);
    }
    let index = Index::open_in_dir(&items)?;
    let position = position(&index)?;
    Ok(Some((index, position)))
}

/// Returns the feed position up to which an index is complete.
pub(super) fn position(index: &Index) -> Result<FeedPosition, SearchError> {
    let payload = index.load_metas()?.payload;
    let payload: Option<Payload> = payload.as_deref().and_then(|payload| serde_json::from_str(payload).ok());
    // An index that was never committed contains nothing.
    Ok(payload.map_or(FeedPosition(0), |payload| payload.position))
}

/// Returns the only folder that is ever cleared. It is a subfolder, so that a wrong setting can't delete
/// other files.
fn folder(home: &Path) -> PathBuf {
    home.join("items")
}

fn clear(items: &Path) -> io::Result<()> {
    match fs::remove_dir_all(items) {
        // A missing folder is the goal.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // The mode applies to the folders above too, if they are new.
    DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(items)
}

/// Takes an existing folder from other users of this machine, if they have access.
fn close_to_others(items: &Path) -> io::Result<()> {
    let mode = fs::metadata(items)?.permissions().mode() & 0o7777;
    if mode & OTHERS == 0 {
        return Ok(());
    }
    fs::set_permissions(items, Permissions::from_mode(mode & !OTHERS))?;
    let path = items.display();
    tracing::warn!(%path, "other users had access to this folder (mode {mode:o}); now only its owner has");
    Ok(())
}

/// Opens an index and returns it with its position, or why it can't be used.
fn usable(items: &Path, wording: &Wording) -> Result<(Index, FeedPosition), String> {
    let index = Index::open_in_dir(items).map_err(|error| error.to_string())?;
    let payload = index.load_metas().map_err(|error| error.to_string())?.payload;
    let payload: Payload = payload
        .as_deref()
        .and_then(|payload| serde_json::from_str(payload).ok())
        .ok_or("it was never committed")?;
    // The version also covers changes that the schema does not show, such as those of the tokenizer.
    if payload.version != schema::VERSION || index.schema() != schema::schema().0 {
        return Err("it is of another version".to_owned());
    }
    if payload.languages != wording.languages().codes() {
        return Err("it is for other languages".to_owned());
    }
    check_files(&index, items)?;
    Ok((index, payload.position))
}

/// Checks the lengths and checksums of all files, once at start-up (measured: 0.7 GB/s for files in the kernel's
/// cache). A damaged file would otherwise surface as a wrong answer or a panic in some search.
fn check_files(index: &Index, items: &Path) -> Result<(), String> {
    let metas = index.load_metas().map_err(|error| error.to_string())?;
    let segments: Vec<String> = metas.segments.iter().map(|segment| segment.id().uuid_string()).collect();
    let entries = fs::read_dir(items).map_err(|error| error.to_string())?;
    for entry in entries {
        let name = entry.map_err(|error| error.to_string())?.file_name();
        // The names of a segment's files begin with its id. A file that is missing fails when it is opened.
        // `Index::validate_checksum` would check only the files in tantivy's list, which may be lost itself.
        if !segments.iter().any(|id| name.to_string_lossy().starts_with(id)) {
            continue;
        }
        let shown = name.display();
        // Read, not mapped: where the disk can't read a page, reading fails, but touching the mapped page would kill
        // the process (SIGBUS), again at every start. What was read here stays in memory for the mapping.
        File::open(items.join(&name))
            .and_then(|mut file| io::copy(&mut file, &mut io::sink()))
            .map_err(|error| format!("its file {shown} can't be read: {error}"))?;
        let is_intact = index.directory().validate_checksum(Path::new(&name));
        if !is_intact.map_err(|error| error.to_string())? {
            return Err(format!("its file {shown} is damaged"));
        }
    }
    Ok(())
}

/// Checks that no other process uses the index, before anything is cleared.
fn refuse_if_in_use(items: &Path) -> Result<(), SearchError> {
    let home = |error| SearchError::Home { directory: items.to_owned(), error };
    let directory = MmapDirectory::open(items).map_err(|error| home(io::Error::other(error)))?;
    match directory.acquire_lock(&INDEX_WRITER_LOCK) {
        Ok(_) => Ok(()),
        Err(LockError::LockBusy) => Err(SearchError::InUse(items.to_owned())),
        Err(LockError::IoError(error)) => Err(home(io::Error::other(error))),
    }
}
