//! Changes of a context, by the process that holds its lock.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use souk_certs::file::Secrecy;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    Context, ContextError, Description, Generation, files,
    generation::{GENERATIONS, LIVE},
};

/// How many generations are kept: the one in use, and the one before for readers that have followed the link already.
const KEPT: u64 = 2;
/// The folder of a renewal's key ends with this.
const PENDING: &str = ".pending";
/// The name of the key in it.
const PENDING_KEY: &str = "party.key";
/// The name under which the link is made before it replaces the one in use.
const NEXT_LINK: &str = ".live.new";

/// How often a task that waits for a lock looks whether it is free.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// A context that no other process changes until this value is dropped.
#[derive(Debug)]
pub struct Locked {
    context: Context,
    _lock: File,
}

/// A new generation on its way.
struct Installation<'a> {
    context: &'a Context,
    generation: &'a Generation,
    number: u64,
}

impl Context {
    /// Takes the context's lock, which a process needs to change it. The folder is created if it is missing. Blocks for
    /// at most ten seconds.
    ///
    /// # Errors
    /// Another process holds the lock ([`ContextError::Busy`]), others may write to the folder, or it can't be created.
    pub fn lock(&self) -> Result<Locked, ContextError> {
        self.prepare()?;
        Ok(Locked::new(self.clone(), files::lock(self.folder())?))
    }

    /// Like [`lock`](Self::lock), but returns `None` at once if another process holds the lock.
    ///
    /// # Errors
    /// Others may write to the folder, or it can't be created.
    pub fn try_lock(&self) -> Result<Option<Locked>, ContextError> {
        self.prepare()?;
        let lock = files::try_lock(self.folder(), Duration::ZERO)?;
        Ok(lock.map(|lock| Locked::new(self.clone(), lock)))
    }

    /// Like [`try_lock`](Self::try_lock), but waits for another process, without blocking the thread. Returns `None` if
    /// that still holds the lock after `wait`.
    ///
    /// # Errors
    /// As [`try_lock`](Self::try_lock).
    pub async fn lock_within(&self, wait: Duration) -> Result<Option<Locked>, ContextError> {
        let deadline = Instant::now() + wait;
        loop {
            let locked = self.try_lock()?;
            if locked.is_some() || Instant::now() >= deadline {
                return Ok(locked);
            }
            sleep(LOCK_POLL).await;
        }
    }

    fn prepare(&self) -> Result<(), ContextError> {
        files::create_folder(self.folder())?;
        files::check_folder(self.folder())
    }
}

impl Locked {
    pub(super) fn new(context: Context, lock: File) -> Self {
        Self { context, _lock: lock }
    }

    /// Returns the context.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Writes what the context is for. `unique` is a new id, for the name of a temporary file.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn describe(&self, description: &Description, unique: Uuid) -> Result<(), ContextError> {
        let path = self.context.description_path();
        files::replace(&path, description.to_toml(&path)?.as_bytes(), Secrecy::Public, unique)
    }

    /// Puts a new generation in place of the one in use, in one step. The one before is kept, older ones are removed.
    ///
    /// # Errors
    /// A file can't be written; the generation before then stays in use.
    pub fn install(&self, generation: &Generation) -> Result<(), ContextError> {
        let installation = self.installation(generation)?;
        Installation::STEPS.iter().try_for_each(|step| step(&installation))
    }

    /// Returns the path of the key of a renewal that is under way, in a folder that is created if it is missing. A key
    /// that is there has to be used again: the authority may have signed it already. One that is in use was left behind by a
    /// crash after the renewal, and is removed: each certificate has a key of its own.
    ///
    /// # Errors
    /// The folder can't be read or created.
    pub fn pending_key(&self) -> Result<PathBuf, ContextError> {
        if self.is_pending_key_in_use()? {
            self.forget_pending()?;
        }
        let folder = match self.pending()?.pop() {
            Some(folder) => folder,
            None => {
                let next = self.context.number()?.unwrap_or(0) + 1;
                let folder = self.context.generations().join(format!("{next}{PENDING}"));
                files::create_folder(&folder)?;
                folder
            }
        };
        Ok(folder.join(PENDING_KEY))
    }

    /// Removes the keys of renewals that are over.
    ///
    /// # Errors
    /// A folder can't be removed.
    pub fn forget_pending(&self) -> Result<(), ContextError> {
        self.pending()?.iter().try_for_each(|folder| {
            files::remove_folder_if_there(folder).map_err(ContextError::io("remove", folder))
        })
    }

    fn is_pending_key_in_use(&self) -> Result<bool, ContextError> {
        let Some(folder) = self.pending()?.pop() else { return Ok(false) };
        match self.context.generation() {
            Ok(live) => Ok(files::read_text(&folder.join(PENDING_KEY))?.is_some_and(|key| key == live.key)),
            // A first certificate is under way.
            Err(ContextError::Incomplete { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn pending(&self) -> Result<Vec<PathBuf>, ContextError> {
        let mut found = entries(&self.context.generations())?;
        found.retain(|path| path.to_string_lossy().ends_with(PENDING));
        found.sort();
        Ok(found)
    }

    fn installation<'a>(&'a self, generation: &'a Generation) -> Result<Installation<'a>, ContextError> {
        let number = self.context.number()?.unwrap_or(0) + 1;
        Ok(Installation { context: &self.context, generation, number })
    }
}

/// A step of an installation.
type Step<'a> = fn(&Installation<'a>) -> Result<(), ContextError>;

impl<'a> Installation<'a> {
    /// The steps in order, each of which may be the last one before a crash. Up to `swap`, the generation before is in
    /// use; from then on, the new one is.
    const STEPS: [Step<'a>; 5] = [Self::write, Self::name, Self::make_link, Self::swap, Self::prune];

    /// Writes the files under a name that no reader looks for.
    fn write(&self) -> Result<(), ContextError> {
        let folder = self.unnamed();
        files::create_folder(&self.context.generations())?;
        // Left behind by a process that was killed.
        for left in [&folder, &self.named()] {
            files::remove_folder_if_there(left).map_err(ContextError::io("remove", left))?;
        }
        self.generation.write_to(&folder)
    }

    fn name(&self) -> Result<(), ContextError> {
        let named = self.named();
        let renamed =
            fs::rename(self.unnamed(), &named).and_then(|()| files::sync_folder(&self.context.generations()));
        renamed.map_err(ContextError::io("write", &named))
    }

    fn make_link(&self) -> Result<(), ContextError> {
        let link = self.context.folder().join(NEXT_LINK);
        let target = Path::new(GENERATIONS).join(self.number.to_string());
        let made = files::remove_if_there(&link).and_then(|()| symlink(target, &link));
        made.map_err(ContextError::io("write", &link))
    }

    fn swap(&self) -> Result<(), ContextError> {
        let (next, live) = (self.context.folder().join(NEXT_LINK), self.context.folder().join(LIVE));
        let swapped = fs::rename(next, &live).and_then(|()| files::sync_folder(self.context.folder()));
        swapped.map_err(ContextError::io("write", &live))
    }

    fn prune(&self) -> Result<(), ContextError> {
        let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u64>().ok();
        for path in entries(&self.context.generations())? {
            // Higher ones are of a context that this one has replaced.
            let is_old = |number| number > self.number || number + KEPT <= self.number;
            if number(&path).is_some_and(is_old) {
                files::remove_folder_if_there(&path).map_err(ContextError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    fn named(&self) -> PathBuf {
        self.context.generations().join(self.number.to_string())
    }

    fn unnamed(&self) -> PathBuf {
        self.context.generations().join(format!(".{}.new", self.number))
    }
}

/// Returns the paths in a folder; none if it does not exist.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, ContextError> {
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ContextError::io("read", folder)(error)),
    };
    let paths = listed.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>();
    paths.map_err(ContextError::io("read", folder))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn generation(number: u8) -> Generation {
        Generation::of_text(&number.to_string())
    }

    fn kept(context: &Context) -> Vec<String> {
        let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        let mut names: Vec<_> = entries(&context.generations()).unwrap().into_iter().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_generation_replaces_all_files_and_the_one_before_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let context = Context::at(folder.path().join("alice"));
        let locked = context.lock().unwrap();
        assert!(matches!(context.generation(), Err(ContextError::Incomplete { .. })));
        for number in 1..=4 {
            locked.install(&generation(number)).unwrap();
            assert_eq!(context.generation().unwrap(), generation(number));
            assert_eq!(context.trust().unwrap(), number.to_string().as_bytes());
        }
        assert_eq!(kept(&context), ["3", "4"]);
        assert!(context.is_complete());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&context.credential_files().key_path()), 0o600);
        assert_eq!((mode(context.folder()), mode(&context.generations().join("4"))), (0o700, 0o700));
    }

    #[test]
    fn a_crash_at_any_step_leaves_the_old_generation_or_the_new_one() {
        for crash in 0..=Installation::STEPS.len() {
            let folder = tempfile::tempdir().unwrap();
            let context = Context::at(folder.path());
            let locked = context.lock().unwrap();
            locked.install(&generation(1)).unwrap();
            let next = generation(2);
            let installation = locked.installation(&next).unwrap();
            Installation::STEPS[..crash].iter().for_each(|step| step(&installation).unwrap());
            let is_swapped = crash >= 4;
            assert_eq!(context.generation().unwrap(), generation(if is_swapped { 2 } else { 1 }), "{crash}");
            // The next change is not hindered by what was left behind.
            locked.install(&generation(3)).unwrap();
            assert_eq!(context.generation().unwrap(), generation(3), "{crash}");
            locked.install(&generation(4)).unwrap();
            assert_eq!(kept(&context).len() as u64, KEPT, "{crash}");
        }
    }

    #[test]
    fn a_crash_in_the_middle_of_the_files_is_no_generation() {
        let folder = tempfile::tempdir().unwrap();
        let context = Context::at(folder.path());
        let locked = context.lock().unwrap();
        locked.install(&generation(1)).unwrap();
        let half = context.generations().join(".2.new");
        files::create_folder(&half).unwrap();
        fs::write(half.join("party.pem"), "half").unwrap();
        assert_eq!(context.generation().unwrap(), generation(1));
        locked.install(&generation(2)).unwrap();
        assert_eq!(
            (context.generation().unwrap(), kept(&context)),
            (generation(2), vec!["1".into(), "2".into()])
        );
    }

    #[test]
    fn the_key_of_a_renewal_outlives_a_crash_and_other_changes() {
        let folder = tempfile::tempdir().unwrap();
        let context = Context::at(folder.path());
        let locked = context.lock().unwrap();
        locked.install(&generation(1)).unwrap();
        let key = locked.pending_key().unwrap();
        assert!(!key.exists());
        fs::write(&key, "new key").unwrap();
        drop(locked);
        let locked = context.lock().unwrap();
        // News of roots arrive while the renewal is under way.
        locked.install(&generation(2)).unwrap();
        locked.install(&generation(3)).unwrap();
        assert_eq!(locked.pending_key().unwrap(), key);
        assert_eq!(fs::read_to_string(&key).unwrap(), "new key");
        locked.forget_pending().unwrap();
        assert_eq!((key.exists(), kept(&context).len() as u64), (false, KEPT));
    }

    #[test]
    fn a_key_in_use_is_no_key_of_the_next_renewal() {
        let folder = tempfile::tempdir().unwrap();
        let context = Context::at(folder.path());
        let locked = context.lock().unwrap();
        let key = locked.pending_key().unwrap();
        fs::write(&key, &generation(1).key).unwrap();
        locked.install(&generation(1)).unwrap();
        // Killed here, before the key was forgotten.
        let next = locked.pending_key().unwrap();
        assert!(!key.exists() && !next.exists());
        fs::write(&next, "another key").unwrap();
        assert_eq!(locked.pending_key().unwrap(), next);
        assert!(next.exists());
    }

    #[test]
    fn one_process_at_a_time_changes_a_context() {
        let folder = tempfile::tempdir().unwrap();
        let context = Context::at(folder.path());
        let locked = context.try_lock().unwrap().unwrap();
        assert!(context.try_lock().unwrap().is_none());
        drop(locked);
        assert!(context.try_lock().unwrap().is_some());
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let context = Context::at(folder.path());
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(context.lock(), Err(ContextError::Exposed { .. })));
        assert!(matches!(context.description(), Err(ContextError::Exposed { .. })));
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for target in ["/etc", "gen/../..", "gen/x", "elsewhere/1"] {
            let _ = fs::remove_file(folder.path().join(LIVE));
            symlink(target, folder.path().join(LIVE)).unwrap();
            assert!(
                matches!(Context::at(folder.path()).number(), Err(ContextError::Malformed { .. })),
                "{target}"
            );
        }
    }
}
