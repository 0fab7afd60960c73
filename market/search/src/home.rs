//! The location of the index, and opening it: as it was left, or empty if that can't be used.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use souk_store::FeedPosition;
use tantivy::{
    Directory, Index, IndexMeta, IndexReader, IndexWriter, ReloadPolicy, TantivyError,
    directory::{INDEX_WRITER_LOCK, MmapDirectory, error::LockError},
    index::SegmentComponent,
    indexer::IndexWriterOptions,
};

use super::{
    SearchError, directory::UnsyncedDirectory, find::Reader, merging::MergeAlike, schema, words::Wording,
};

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
    #[serde(flatten)]
    extent: Extent,
    /// The languages whose stems are indexed.
    #[serde(default)]
    languages: Vec<String>,
}

/// How much of the feed an index holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Extent {
    /// The feed position up to which the index is complete.
    pub(super) complete: FeedPosition,
    /// The feed position of the latest change that it holds. A store whose feed ends before this has lost changes.
    pub(super) latest: FeedPosition,
}

/// An index that is open for writing and searching.
pub(super) struct Opened {
    pub(super) reader: Reader,
    pub(super) writer: IndexWriter,
    pub(super) extent: Extent,
    /// The files of the index; `None` if it is in memory.
    pub(super) directory: Option<UnsyncedDirectory>,
}

/// The threads that make segments. A small commit occupies one of them.
const WRITER_THREADS: usize = 2;
/// The memory of each, in bytes, for which it makes one segment.
const WRITER_MEMORY_BYTES: usize = 64_000_000;
/// The file that names the segments of the last commit.
const META: &str = "meta.json";
/// The permissions of the index's folders.
const OWNER_ONLY: u32 = 0o700;
/// The permissions that others must not have.
const OTHERS: u32 = 0o077;

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
        let (index, directory) = match self {
            Self::Memory => (index.create_in_ram()?, None),
            Self::Directory(home) => {
                let items = folder(home);
                clear(&items).map_err(|error| SearchError::Home { directory: items.clone(), error })?;
                let directory = UnsyncedDirectory::open(&items).map_err(TantivyError::from)?;
                (index.open_or_create(directory.clone())?, Some(directory))
            }
        };
        self.opened(index, Extent::default(), directory, wording)
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
            usable(&items, wording).and_then(|(index, extent, directory)| {
                match self.opened(index, extent, Some(directory), wording) {
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

    fn opened(
        &self,
        index: Index,
        extent: Extent,
        directory: Option<UnsyncedDirectory>,
        wording: &Wording,
    ) -> Result<Opened, SearchError> {
        let options = IndexWriterOptions::builder()
            .memory_budget_per_thread(WRITER_MEMORY_BYTES)
            .num_worker_threads(WRITER_THREADS)
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
        if let Some(directory) = &directory {
            // Under the writer's lock, and before the writer creates any file.
            let named = named_files(&index.load_metas()?);
            directory
                .remove_others(&|name| named.contains(name) || name == Path::new(META))
                .map_err(|error| SearchError::Home { directory: directory.folder().to_owned(), error })?;
        }
        writer.set_merge_policy(Box::new(MergeAlike::FEW));
        Ok(Opened { reader: reader(&index, wording.clone())?, writer, extent, directory })
    }
}

/// Commits the written documents together with how much of the feed the index then holds.
///
/// The two are one atomic step, so that after a crash the index resumes from exactly what it contains.
pub(super) fn commit(writer: &mut IndexWriter, extent: Extent, wording: &Wording) -> Result<(), SearchError> {
    let languages = wording.languages().codes().iter().map(|code| (*code).to_owned()).collect();
    let payload = serde_json::to_string(&Payload { version: schema::VERSION, extent, languages })
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
    let index = Index::open(UnsyncedDirectory::open(&items).map_err(TantivyError::from)?)?;
    let position = position(&index)?;
    Ok(Some((index, position)))
}

/// Returns the feed position up to which an index is complete.
pub(super) fn position(index: &Index) -> Result<FeedPosition, SearchError> {
    let payload = index.load_metas()?.payload;
    let payload: Option<Payload> = payload.as_deref().and_then(|payload| serde_json::from_str(payload).ok());
    // An index that was never committed contains nothing.
    Ok(payload.map_or(FeedPosition(0), |payload| payload.extent.complete))
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
fn usable(items: &Path, wording: &Wording) -> Result<(Index, Extent, UnsyncedDirectory), String> {
    let directory = UnsyncedDirectory::open(items).map_err(|error| error.to_string())?;
    let index = Index::open(directory.clone()).map_err(|error| error.to_string())?;
    let metas = index.load_metas().map_err(|error| error.to_string())?;
    let payload: Payload = metas
        .payload
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
    check_files(&index, &metas, items)?;
    Ok((index, payload.extent, directory))
}

/// Checks the lengths and checksums of all files of the last commit, once at start-up (measured: 0.7 GB/s for files in
/// the kernel's cache). A damaged file would otherwise surface as a wrong answer or a panic in some search; without its
/// file of positions, a segment opens as if it had none.
fn check_files(index: &Index, metas: &IndexMeta, items: &Path) -> Result<(), String> {
    for name in named_files(metas) {
        let shown = name.display();
        // Read, not mapped: where the disk can't read a page, reading fails, but touching the mapped page would kill
        // the process (SIGBUS), again at every start. What was read here stays in memory for the mapping.
        File::open(items.join(&name))
            .and_then(|mut file| io::copy(&mut file, &mut io::sink()))
            .map_err(|error| format!("its file {shown} can't be read: {error}"))?;
        let is_intact = index.directory().validate_checksum(&name);
        if !is_intact.map_err(|error| error.to_string())? {
            return Err(format!("its file {shown} is damaged"));
        }
    }
    Ok(())
}

/// Returns the names of the segments' files. `Index::validate_checksum` would check only those in tantivy's own list of
/// files, which may be lost itself.
fn named_files(metas: &IndexMeta) -> BTreeSet<PathBuf> {
    let mut names: BTreeSet<PathBuf> = metas.list_segment_files().into_iter().collect();
    for segment in metas.segments.iter().filter(|segment| !segment.has_deletes()) {
        names.remove(&segment.relative_path(SegmentComponent::Delete));
    }
    names
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
