//! The contents of files after a power cut.
//!
//! Each unit that was written since the last successful sync is, by chance, what it was then, what it is now, or torn
//! between the two at a sector. A unit that a failed sync has forgotten is what it was. So is the length.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rand::{RngExt as _, rngs::StdRng};

/// Bytes that the library tracks together; equals UNIT in `shim/disk.c`.
const UNIT: usize = 4_096;
/// Bytes that a disk writes whole.
const SECTOR: usize = 512;
/// The size of the fields before the units in a map: see `struct map` in `shim/disk.c`.
const HEADER: usize = 24;
/// The states of a unit.
const CLEAN: u8 = 0;
const FORGOTTEN: u8 = 2;

/// How much a disk had already written by itself when the power went.
#[derive(Clone, Copy)]
enum Luck {
    /// Nothing: every unsynced write is dropped.
    None,
    /// Some of it, in any order.
    Mixed,
    /// Everything but what a failed sync has forgotten.
    All,
}

/// Applies a power cut to all files. Returns the number of bytes that were dropped.
pub(super) fn drop_unsynced(folder: &Path, undo: &Path, random: &mut StdRng) -> anyhow::Result<u64> {
    let luck = match random.random_range(0..10) {
        0..3 => Luck::None,
        3..9 => Luck::Mixed,
        _ => Luck::All,
    };
    let mut paths = HashMap::new();
    for place in [folder, undo] {
        find(place, &mut paths)?;
    }
    let mut maps: Vec<_> =
        fs::read_dir(undo)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    // In a fixed order, so that the same seed does the same.
    maps.sort();
    let mut dropped = 0;
    for map in maps.iter().filter(|path| path.extension().is_some_and(|end| end == "map")) {
        let inode: u64 = map.file_stem().and_then(|name| name.to_str()?.parse().ok()).context("an inode")?;
        // A file that was removed for good leaves its map.
        if let Some(path) = paths.get(&inode) {
            let state = State::read(map).with_context(|| format!("the state of {}", path.display()))?;
            dropped += state.apply(path, &map.with_extension("old"), luck, random)?;
        }
    }
    Ok(dropped)
}

/// Collects the files below a folder by their inodes.
fn find(folder: &Path, paths: &mut HashMap<u64, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let about = fs::symlink_metadata(&path)?;
        if about.is_dir() {
            find(&path, paths)?;
        } else if about.is_file() {
            paths.insert(about.ino(), path);
        }
    }
    Ok(())
}

/// What the library knows about a file.
struct State {
    durable_length: u64,
    /// The units that are not clean, with their states.
    units: Vec<(u64, u8)>,
}

impl State {
    fn read(map: &Path) -> anyhow::Result<Self> {
        let file = File::open(map)?;
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0)?;
        let mut fields = header.chunks_exact(8).map(|bytes| bytes.try_into().map(u64::from_le_bytes));
        let mut field = || fields.next().context("a field")?.context("eight bytes");
        let (durable_length, low, high) = (field()?, field()?, field()?);
        let mut states = vec![0; usize::try_from(high.saturating_sub(low))?];
        file.read_exact_at(&mut states, HEADER as u64 + low)?;
        let units = (low..).zip(states).filter(|(_, state)| *state != CLEAN).collect();
        Ok(Self { durable_length, units })
    }

    fn apply(&self, path: &Path, old: &Path, luck: Luck, random: &mut StdRng) -> anyhow::Result<u64> {
        let length = fs::metadata(path)?.len();
        if self.units.is_empty() && self.durable_length == length {
            return Ok(0);
        }
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let kept = match (luck, self.durable_length < length) {
            (Luck::None, _) => self.durable_length,
            (Luck::All, _) => length,
            (Luck::Mixed, true) if random.random_bool(0.2) => {
                random.random_range(self.durable_length..=length) / SECTOR as u64 * SECTOR as u64
            }
            (Luck::Mixed, _) if random.random_bool(0.5) => self.durable_length,
            (Luck::Mixed, _) => length,
        };
        let mut dropped = length.saturating_sub(kept.max(self.durable_length));
        let old = File::open(old).ok();
        file.set_len(kept)?;
        for (unit, state) in &self.units {
            let at = unit * UNIT as u64;
            if at >= kept {
                continue;
            }
            let (now, before) = (block(Some(&file), at)?, block(old.as_ref(), at)?);
            // What a shrunk file had beyond its end comes back whole, or not at all.
            let is_cut_off = at + UNIT as u64 > length && kept > length;
            let mut after = now.clone();
            for sector in sectors(*state == FORGOTTEN || is_cut_off, luck, random) {
                let bytes = sector * SECTOR..(sector + 1) * SECTOR;
                if now[bytes.clone()] != before[bytes.clone()] {
                    dropped += SECTOR as u64;
                    after[bytes.clone()].copy_from_slice(&before[bytes]);
                }
            }
            let end = UNIT.min(usize::try_from(kept - at)?);
            file.write_all_at(&after[..end], at)?;
        }
        Ok(dropped)
    }
}

/// Chooses the sectors of a unit that are as they were.
fn sectors(is_forgotten: bool, luck: Luck, random: &mut StdRng) -> Vec<usize> {
    let all = UNIT / SECTOR;
    match luck {
        _ if is_forgotten => (0..all).collect(),
        Luck::None => (0..all).collect(),
        Luck::All => Vec::new(),
        Luck::Mixed => match random.random_range(0..5) {
            0 | 1 => (0..all).collect(),
            2 | 3 => Vec::new(),
            _ => (0..all).filter(|_| random.random_bool(0.5)).collect(),
        },
    }
}

/// Reads a unit; beyond the end of the file it is zero.
fn block(file: Option<&File>, at: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; UNIT];
    let mut filled = 0;
    while let Some(file) = file {
        match file.read_at(&mut bytes[filled..], at + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(bytes)
}
