// SPDX-License-Identifier: Apache-2.0
//! Owns the processes that this one starts, and its scratch directories: they end with it.
//!
//! Each child is the leader of a process group. [`end`] kills the groups and removes the directories; so does
//! a watching shell, once this process is gone without doing so, for example after SIGKILL. A command in a
//! group of its own does not get the signals of the terminal, so that this process alone decides what they
//! mean.
use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::ops::{Deref, DerefMut};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use crate::Tool;

/// What ends with this process.
struct Owned {
    /// the process groups of running children
    groups: BTreeSet<i32>,
    /// the scratch directories
    directories: BTreeSet<PathBuf>,
    /// the input of the watching shell, once it runs
    watcher: Option<ChildStdin>,
    /// whether this process is ending, so that nothing new starts
    is_ending: bool,
}

static OWNED: Mutex<Owned> = Mutex::new(Owned {
    groups: BTreeSet::new(),
    directories: BTreeSet::new(),
    watcher: None,
    is_ending: false,
});

/// How long killed processes may take to end.
const GRACE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// Reads lines: `+` and `-` with a process group, `d` with a directory. At the end of its input, which is the
/// end of the process that writes it, it kills the groups and removes the directories.
const WATCHER: &str = r#"
trap '' INT TERM HUP QUIT
groups=' '
while IFS=' ' read -r what name; do
  case $what in
  +) groups="$groups$name " ;;
  -) case $groups in *" $name "*) groups="${groups%%" $name "*} ${groups#*" $name "}" ;; esac ;;
  d) set -- "$@" "$name" ;;
  esac
done
for group in $groups; do kill -KILL -- "-$group" 2>/dev/null; done
for directory; do
  [ -e "$directory" ] || continue
  rm -rf -- "$directory" 2>/dev/null || { sleep 1; rm -rf -- "$directory"; }
done
"#;

/// A running child of this process, in a process group of its own.
///
/// When it is dropped, its group is killed, unless it was waited for.
#[derive(Debug)]
pub struct OwnedChild {
    child: Child,
    group: i32,
}

/// Starts a command.
///
/// # Errors
/// It cannot be started.
pub fn start(command: &mut Command) -> io::Result<OwnedChild> {
    command.process_group(0);
    watch();
    let mut owned = lock();
    // Held while the child starts, so that an end sees either no child or its group.
    #[expect(clippy::disallowed_methods, reason = "this is what the others are to use")]
    let child = command.spawn()?;
    let group = i32::try_from(child.id()).unwrap_or(i32::MAX);
    owned.groups.insert(group);
    tell(&mut owned, &format!("+ {group}"));
    Ok(OwnedChild { child, group })
}

impl OwnedChild {
    /// Reads both outputs, as far as they are pipes, and waits for the end.
    ///
    /// # Errors
    /// An output cannot be read.
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.child.stdin.take());
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let (stdout, stderr) = thread::scope(|scope| {
            let stderr = scope.spawn(|| read(stderr));
            (read(stdout), stderr.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked"))))
        });
        let (stdout, stderr) = (stdout?, stderr?);
        Ok(Output { status: self.child.wait()?, stdout, stderr })
    }
}

fn read(stream: Option<impl io::Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

impl Deref for OwnedChild {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

impl DerefMut for OwnedChild {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for OwnedChild {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            kill(self.group);
            let _ = self.child.wait();
        }
        // Blocks for ever if the process is ending: what follows the end of a killed child is not wanted.
        let mut owned = lock();
        owned.groups.remove(&self.group);
        tell(&mut owned, &format!("- {}", self.group));
    }
}

/// Starts the watching shell. It would inherit the limits of a thread that is confined.
pub(crate) fn watch() {
    let mut owned = lock();
    if owned.watcher.is_none() {
        match watcher() {
            Ok(input) => owned.watcher = Some(input),
            Err(error) => tracing::debug!(%error, "no shell watches over this process"),
        }
    }
}

/// Has a directory removed when this process ends. The name must not be used for anything else later.
pub(crate) fn own_directory(path: &Path) {
    watch();
    let mut owned = lock();
    owned.directories.insert(path.to_owned());
    match path.to_str() {
        Some(path) if !path.contains('\n') => tell(&mut owned, &format!("d {path}")),
        _ => tracing::debug!(path = %path.display(), "a directory that only an orderly end removes"),
    }
}

/// Gives up a directory that was removed or renamed.
pub(crate) fn disown_directory(path: &Path) {
    lock().directories.remove(path);
}

/// Kills all children with their process groups, and removes the scratch directories. From now on no child
/// starts, and threads that wait for one do not come back: the caller exits.
pub fn end() {
    let mut owned = OWNED.lock().unwrap_or_else(PoisonError::into_inner);
    owned.is_ending = true;
    let groups = std::mem::take(&mut owned.groups);
    let directories = std::mem::take(&mut owned.directories);
    drop(owned);
    for group in &groups {
        kill(*group);
    }
    let deadline = Instant::now() + GRACE;
    while groups.iter().any(|group| is_running(*group)) && Instant::now() < deadline {
        thread::sleep(PAUSE);
    }
    for directory in directories {
        // Another thread may still write a file into it.
        while crate::fs::remove_dir_all(&directory).is_err()
            && directory.exists()
            && Instant::now() < deadline
        {
            thread::sleep(PAUSE);
        }
    }
}

/// Locks the state. Once the process is ending, the calling thread stops here.
fn lock() -> MutexGuard<'static, Owned> {
    loop {
        let owned = OWNED.lock().unwrap_or_else(PoisonError::into_inner);
        if !owned.is_ending {
            return owned;
        }
        drop(owned);
        thread::park();
    }
}

/// Tells the watching shell. Without it, only an orderly end cleans up.
fn tell(owned: &mut Owned, line: &str) {
    if let Some(input) = &mut owned.watcher
        && let Err(error) = input.write_all(format!("{line}\n").as_bytes())
    {
        tracing::debug!(%error, "the shell that watches over this process has ended");
        owned.watcher = None;
    }
}

fn watcher() -> io::Result<ChildStdin> {
    let mut command = Tool::find("sh").map_err(io::Error::other)?.command();
    command.args(["-c", WATCHER, "sh"]).current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    #[expect(clippy::disallowed_methods, reason = "the watching shell outlives this process")]
    let mut child = command.spawn()?;
    child.stdin.take().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
}

fn kill(group: i32) {
    if let Some(group) = Pid::from_raw(group) {
        // It fails for a group that has ended.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Whether a group has members, those that wait to be reaped included.
fn is_running(group: i32) -> bool {
    Pid::from_raw(group).is_some_and(|group| test_kill_process_group(group).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The processes whose command line has a word.
    fn processes(word: &str) -> usize {
        let lines = std::fs::read_dir("/proc").expect("/proc").flatten();
        let lines = lines.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        lines.filter(|line| line.split(|byte| *byte == 0).any(|part| part == word.as_bytes())).count()
    }

    fn wait_for(word: &str, count: usize) {
        let deadline = Instant::now() + GRACE;
        while processes(word) != count {
            assert!(
                Instant::now() < deadline,
                "{} processes with {word} instead of {count}",
                processes(word)
            );
            thread::sleep(PAUSE);
        }
    }

    #[test]
    fn a_dropped_child_takes_its_group_with_it() {
        let word = format!("3600.{}1", std::process::id());
        let mut command = Command::new("sh");
        command.args(["-c", &format!("sleep {word} & wait")]);
        let child = start(&mut command).expect("it starts");
        wait_for(&word, 1);
        drop(child);
        wait_for(&word, 0);
    }

    #[test]
    fn the_watching_shell_cleans_up_what_is_left() {
        let scratch = tempfile::tempdir().expect("a directory");
        let word = format!("3600.{}2", std::process::id());
        let left = scratch.path().join("left behind");
        std::fs::create_dir(&left).expect("made");
        let sleeper = Command::new("sleep").arg(&word).process_group(0).spawn().expect("it starts");
        let other =
            Command::new("sleep").arg(format!("{word}1")).process_group(0).spawn().expect("it starts");
        let mut input = watcher().expect("a shell");
        let lines =
            format!("+ 1\n+ {0}\n+ {1}\n- 1\n- {1}\nd {2}\n", sleeper.id(), other.id(), left.display());
        input.write_all(lines.as_bytes()).expect("told");
        drop(input);
        let mut sleeper = sleeper;
        assert!(!sleeper.wait().expect("reaped").success(), "it was killed");
        let deadline = Instant::now() + GRACE;
        while left.exists() {
            assert!(Instant::now() < deadline, "the directory is left");
            thread::sleep(PAUSE);
        }
        let mut other = other;
        assert!(other.try_wait().expect("known").is_none(), "a group that was taken back lives");
        other.kill().expect("killed");
        other.wait().expect("reaped");
    }
}
