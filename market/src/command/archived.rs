//! Verifies archived parts of the audit log, and that the log follows on them.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use souk_store::audit::{AuditHash, AuditRow, Broken, Head, Verifier, read_archived};

/// Archived parts that were verified.
pub(super) struct ArchivedParts {
    /// The number of the first entry.
    pub(super) first: i64,
    /// The last entry.
    pub(super) end: Head,
}

/// One file, by the number of its first entry.
struct Part {
    first: AuditRow,
    path: PathBuf,
}

/// Verifies files in any order. They may overlap, because an archive that was interrupted is written again. What they
/// have in common with the log's base and the noted heads must be the same.
///
/// # Errors
///
/// Fails with [`Broken`] if an entry is not as it was written or entries are missing.
pub(super) fn verify(files: &[PathBuf], base: Head, noted: &[Head]) -> anyhow::Result<ArchivedParts> {
    let mut parts = files.iter().map(|path| Part::open(path)).collect::<anyhow::Result<Vec<_>>>()?;
    parts.sort_by_key(|part| part.first.sequence);
    let Some(first) = parts.first().map(|part| part.first.sequence) else {
        bail!("no archive file was given")
    };
    // The hashes that are compared with something outside of their file. Only these are kept.
    let wanted = parts.iter().map(|part| part.first.sequence - 1);
    let wanted = wanted.chain([base.sequence]).chain(noted.iter().map(|head| head.sequence));
    let mut hashes: BTreeMap<i64, Option<AuditHash>> = wanted.map(|sequence| (sequence, None)).collect();
    hashes.insert(0, Some(AuditHash::START));
    let mut end: Option<Head> = None;
    for part in &parts {
        let before = part.first.sequence - 1;
        let verifier = match (hashes.get(&before).copied().flatten(), end) {
            (Some(hash), _) => Verifier::after(Head { sequence: before, hash }),
            // What came before the first file is not there to verify its first entry against.
            (None, None) => Verifier::after(Head { sequence: before, hash: AuditHash::START }),
            (None, Some(end)) => {
                return Err(Broken::Missing { expected: end.sequence + 1, found: part.first.sequence }.into());
            }
        };
        let ended = part.verify(verifier, &mut hashes, end.is_none() && before > 0)?;
        end = Some(end.filter(|end| end.sequence >= ended.sequence).unwrap_or(ended));
    }
    let end = end.context("no archive file was given")?;
    if base.sequence > end.sequence {
        return Err(Broken::Missing { expected: end.sequence + 1, found: base.sequence + 1 }.into());
    }
    for head in noted.iter().chain([&base]).filter(|head| (first..=end.sequence).contains(&head.sequence)) {
        if hashes.get(&head.sequence).copied().flatten() != Some(head.hash) {
            return Err(Broken::Rewritten(head.sequence).into());
        }
    }
    Ok(ArchivedParts { first, end })
}

impl Part {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let first = rows(path)?.next().with_context(|| format!("{} is empty", path.display()))??;
        Ok(Self { first, path: path.to_owned() })
    }

    /// Verifies all entries, or all but the first, and returns the last. Notes the wanted hashes.
    fn verify(
        &self,
        mut verifier: Verifier,
        hashes: &mut BTreeMap<i64, Option<AuditHash>>,
        trusts_first: bool,
    ) -> anyhow::Result<Head> {
        for (number, row) in rows(&self.path)?.enumerate() {
            let row = row?;
            if trusts_first && number == 0 {
                verifier = Verifier::after(Head { sequence: row.sequence, hash: row.hash });
            } else {
                verifier.check(&row)?;
            }
            if let Some(hash) = hashes.get_mut(&row.sequence) {
                *hash = Some(row.hash);
            }
        }
        Ok(verifier.end())
    }
}

fn rows(path: &Path) -> anyhow::Result<impl Iterator<Item = anyhow::Result<AuditRow>>> {
    let shown = path.display().to_string();
    let file = File::open(path).with_context(|| format!("can't open {shown}"))?;
    Ok(BufReader::new(file).lines().zip(1..).map(move |(line, number)| {
        let line = line.with_context(|| format!("can't read {shown}"))?;
        read_archived(&line).with_context(|| {
            format!("line {number} of {shown} is no archived audit entry; give files that `market admin archive` wrote")
        })
    }))
}
