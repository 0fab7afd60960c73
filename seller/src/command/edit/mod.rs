//! `seller edit`: items as TOML in the user's editor. The difference is sent, on condition of the version that the
//! user has seen; what is refused is kept in a file.

mod editor;
mod page;

use std::{
    fs::{self, File},
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;
use souk_cli::{CliSession, Failure, view::ItemView};
use souk_client::error::required;
use souk_proto::v1::{Item, ItemDraft, UpdateItemRequest};

use super::pick::{IdRange, Items, Picked, Tally, condition::Conditions, confirmed, paced, shop};
use page::Row;

/// The maximum number of items in the editor at once.
const MAX_EDITED: usize = 500;
/// The maximum number of names tried for a new file.
const MAX_FILES: u32 = 1_000;

/// Change items in your editor (VISUAL, EDITOR, or one that is usually there)
///
/// The editor shows the items as TOML; what you change there is changed on the market. If an item has changed
/// meanwhile, by a purchase for example, what you changed of it is kept in a file for `--file`.
#[derive(Args)]
#[command(after_help = "Examples:
  seller edit 4 9-12
  seller edit --where \"category=home, stock<5\"")]
pub(crate) struct Edit {
    /// The ids, as `items` shows them: 4, or a range such as 9-12. Ids in a range that are not yours are skipped.
    #[arg(value_name = "ITEM", required_unless_present_any = ["conditions", "file"])]
    ids: Vec<IdRange>,
    /// Instead of ids: all items on sale that meet these conditions, such as "category=home, stock<5" (see `seller
    /// items --help`).
    #[arg(long = "where", value_name = "CONDITIONS", conflicts_with = "ids")]
    conditions: Option<Conditions<Item>>,
    /// Continue with the changes that an earlier edit has kept in this file.
    #[arg(long, conflicts_with_all = ["ids", "conditions"])]
    file: Option<PathBuf>,
    /// Only check, change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// A change of an item: the row as edited, the row as opened, and the draft to send.
struct Change {
    row: Row,
    base: Row,
    draft: ItemDraft,
}

impl Edit {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        session.printer().expects::<ItemView>()?;
        let kept = self.file.as_deref().map(read_kept).transpose()?;
        let items = match &kept {
            Some(rows) => own_items(session, rows).await?,
            None => Items::new(self.ids, self.conditions).read(session).await?,
        };
        if items.is_empty() {
            return Ok(());
        }
        if items.len() > MAX_EDITED {
            return Err(Failure::usage(
                format!("these are {} items, and the editor takes at most {MAX_EDITED}", items.len()),
                "narrow them down, or use `seller export` and `seller import`",
            ));
        }
        let base: Vec<Row> = items.iter().map(Row::from).collect();
        let text = match &kept {
            None => page::written(&base),
            Some(rows) => page::written_beside(&rebased(rows, &base)),
        };
        let text = text.map_err(|error| Failure::io("write the items", io::Error::other(error)))?;
        let file = match self.file {
            Some(file) => file,
            None => new_file(session)?,
        };
        replace(&file, &text)?;
        let changes = match edited(session, &file, &base).await {
            Ok(changes) => changes,
            Err(failure) => {
                // The user has changed nothing in it.
                if kept.is_none() && fs::read_to_string(&file).is_ok_and(|now| now == text) {
                    let _ = fs::remove_file(&file);
                }
                return Err(failure);
            }
        };
        let Some(changes) = changes else {
            let _ = fs::remove_file(&file);
            session.printer().say("nothing was changed");
            return Ok(());
        };
        apply(session, &file, changes, self.dry_run).await
    }
}

async fn own_items(session: &CliSession, rows: &[Row]) -> Result<Vec<Item>, Failure> {
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(shop::own_item(session, row.id).await?);
    }
    Ok(items)
}

/// Returns kept rows beside what the market has now. A row with only the user's changes gets the present version. A
/// whole row keeps the version that it was made from, because it would undo what has changed since.
fn rebased(rows: &[Row], now: &[Row]) -> Vec<(Row, Option<Row>)> {
    let rows = rows.iter().zip(now).map(|(row, now)| {
        let version = if row.is_partial() { now.version } else { row.version };
        (Row { version, ..row.clone() }, Some(now.clone()))
    });
    rows.collect()
}

/// Opens the editor until its text can be read. Returns the changes; `None` if there are none.
async fn edited(session: &CliSession, file: &Path, base: &[Row]) -> Result<Option<Vec<Change>>, Failure> {
    loop {
        editor::open(file).await?;
        let text = fs::read_to_string(file);
        let text = text.map_err(|error| Failure::io(format!("read {}", file.display()), error))?;
        let problem = match page::read(&text).and_then(|rows| changes(rows, base, session.currency())) {
            Ok(changes) if changes.is_empty() => return Ok(None),
            Ok(changes) => return Ok(Some(changes)),
            Err(problem) => problem,
        };
        session.printer().say(problem.trim_end());
        if !io::stdin().is_terminal() || !confirmed("open the editor again", false).await? {
            return Err(Failure::usage(
                "the text can't be read, and nothing was changed",
                format!(
                    "it is kept in {0}; correct it, and go on with: seller edit --file {0}",
                    file.display()
                ),
            ));
        }
    }
}

fn changes(rows: Vec<Row>, base: &[Row], currency: Option<&str>) -> Result<Vec<Change>, String> {
    let mut changes: Vec<Change> = Vec::new();
    for row in rows {
        let Some(base) = base.iter().find(|base| base.id == row.id) else {
            return Err(format!("item {} was not opened here; leave the ids as they were", row.id));
        };
        if changes.iter().any(|change| change.row.id == row.id) {
            return Err(format!("item {} stands here twice; leave one of the two", row.id));
        }
        if let Some(draft) = row.difference(base, currency)? {
            changes.push(Change { row, base: base.clone(), draft });
        }
    }
    Ok(changes)
}

/// Sends the changes, one item after another, and keeps what is refused.
async fn apply(
    session: &CliSession,
    file: &Path,
    changes: Vec<Change>,
    dry_run: bool,
) -> Result<(), Failure> {
    let (mut rows, mut unapplied, mut tally, mut fatal) = (Vec::new(), Vec::new(), Tally::default(), None);
    for change in changes {
        if fatal.is_some() {
            unapplied.push(change);
            continue;
        }
        let request = UpdateItemRequest {
            validate_only: dry_run,
            item_id: change.row.id,
            item: Some(change.draft.clone()),
            expected_version: Some(change.row.version),
            ..Default::default()
        };
        match paced(async || session.call(request.clone()).await).await {
            Ok(updated) => {
                tally.done();
                rows.push(ItemView::from(&required(updated.item, "item")?));
            }
            Err(failure) => {
                let picked = Picked { id: change.row.id, is_of_range: false };
                fatal = tally.refused(session, ("item", picked), failure).err();
                unapplied.push(change);
            }
        }
    }
    if dry_run {
        session.printer().say("nothing was changed, only checked");
    }
    if !rows.is_empty() {
        session.printer().list(&rows)?;
    }
    if unapplied.is_empty() && !dry_run {
        let _ = fs::remove_file(file);
    } else {
        keep(session, file, &unapplied).await;
        session.printer().say(&format!(
            "what was not changed is kept in {0}; go on with: seller edit --file {0}",
            file.display()
        ));
    }
    match fatal {
        Some(failure) => Err(failure),
        None => tally.end(session, "item", "changed"),
    }
}

/// Replaces the text of the editor with the changes that were not applied, each beside what the market has now. If that
/// fails, the text stays.
async fn keep(session: &CliSession, file: &Path, unapplied: &[Change]) {
    if unapplied.is_empty() {
        return;
    }
    let mut rows = Vec::with_capacity(unapplied.len());
    for Change { row, base, .. } in unapplied {
        let now = shop::own_item(session, row.id).await.ok().as_ref().map(Row::from);
        let version = now.as_ref().map_or(row.version, |now| now.version);
        rows.push((Row { version, ..row.changed_from(base) }, now));
    }
    if let Ok(text) = page::written_beside(&rows) {
        let _ = replace(file, &text);
    }
}

fn read_kept(file: &Path) -> Result<Vec<Row>, Failure> {
    let text = fs::read_to_string(file);
    let text = text.map_err(|error| Failure::io(format!("read {}", file.display()), error))?;
    page::read(&text).map_err(|problem| {
        Failure::usage(
            format!("{} can't be read: {}", file.display(), problem.trim_end()),
            "correct it with an editor, and try again",
        )
    })
}

/// Creates an empty file of a new name, in the folder of what the user may need again.
fn new_file(session: &CliSession) -> Result<PathBuf, Failure> {
    let kept = session.kept_folder().filter(|folder| fs::create_dir_all(folder).is_ok());
    let folder = kept.unwrap_or_else(std::env::temp_dir);
    let process = std::process::id();
    let mut number = 0;
    loop {
        let file = folder.join(format!("edit-{process}-{number}.toml"));
        // Never one that exists: it may be what an earlier edit has kept, or another user's symbolic link.
        match File::create_new(&file) {
            Ok(_) => return Ok(file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MAX_FILES => number += 1,
            Err(error) => return Err(Failure::io(format!("write {}", file.display()), error)),
        }
    }
}

/// Replaces a file as a whole, so that its present text is not lost on a full disk.
fn replace(file: &Path, text: &str) -> Result<(), Failure> {
    let beside = file.with_extension("new");
    let _ = fs::remove_file(&beside);
    let written = File::create_new(&beside)
        .and_then(|mut new| new.write_all(text.as_bytes()).and_then(|()| new.sync_all()))
        .and_then(|()| fs::rename(&beside, file));
    written.map_err(|error| {
        let _ = fs::remove_file(&beside);
        Failure::io(format!("write {}", file.display()), error)
    })
}
