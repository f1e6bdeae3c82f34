// SPDX-License-Identifier: Apache-2.0
//! The recipe's script, which Flatcar's SDK calls a mangle script, run on the staged tree.
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use loadgauge_host::{CommandError, CommandExt as _, FileError, Hint, MissingTool, Tool, digest, fs};

use super::describe::Input;
use super::namespace;
use super::owner::Owner;
use super::recipe::Recipe;
use super::rescan::{RescanError, rescan};
use super::stage::{StageError, Staged};
use super::tree_digest;

/// The variables of a script's environment that depend on the extension.
#[derive(Debug, Clone)]
pub(super) struct Environment<'a> {
    /// the extension's name
    pub(super) name: &'a str,
    /// the extension's version, empty where the recipe has none
    pub(super) version: &'a str,
    /// systemd's name of the architecture
    pub(super) architecture: &'a str,
    /// seconds since 1970
    pub(super) epoch: u32,
}

/// A script that cannot be run, or that has created a file which no extension can contain.
#[derive(Debug, thiserror::Error)]
pub enum MangleError {
    /// the host lacks `unshare`
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// the script cannot be read
    #[error(transparent)]
    File(#[from] FileError),
    /// the host does not allow the script's namespaces
    #[error("cannot create the namespaces of the script")]
    NoNamespace(#[source] CommandError),
    /// the script failed
    #[error("the script `{path}` failed")]
    Failed {
        /// the script
        path: Utf8PathBuf,
        /// its status and output
        source: CommandError,
    },
    /// the script has created a file that no extension can contain
    #[error("the script `{path}` has created a file that no extension can contain")]
    Result {
        /// the script
        path: Utf8PathBuf,
        /// the file
        source: RescanError,
    },
    /// a set-id file does not belong to root, and only root can show that to the script
    #[error("the script `{script}` would see `/{path}` as set-id of root, but it belongs to {owner}")]
    Owner {
        /// the script
        script: Utf8PathBuf,
        /// the set-id file
        path: Utf8PathBuf,
        /// its owner
        owner: Owner,
    },
    /// the modes of the tree cannot be set
    #[error(transparent)]
    Stage(#[from] StageError),
}

impl MangleError {
    /// Whether the host lacks something; otherwise the script is wrong.
    pub(super) fn is_host(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::NoNamespace(_))
    }
}

impl Hint for MangleError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(missing) => missing.hint(),
            Self::NoNamespace(_) => Some(namespace::HINT.to_owned()),
            Self::Failed { .. } => Some(
                "correct the script: its working directory and first argument are the root of the tree, and it \
                 reads files beside it if [finish] script-inputs names them"
                    .to_owned(),
            ),
            Self::Result { source, .. } => source.hint(),
            Self::Owner { .. } => {
                Some("build as root, exclude the file, or do without the script".to_owned())
            }
            Self::File(error) => error.hint(),
            Self::Stage(error) => error.hint(),
        }
    }
}

/// A script with the files that it reads.
#[derive(Debug, Clone)]
pub(super) struct Script {
    /// the script
    path: Utf8PathBuf,
    /// the script and its inputs, each with its path relative to the recipe
    files: Vec<(Utf8PathBuf, Utf8PathBuf)>,
}

impl Script {
    /// The script of a recipe.
    pub(super) fn of(recipe: &Recipe) -> Option<Self> {
        let script = recipe.finish.script.as_ref()?.get_ref();
        let inputs = recipe.finish.script_inputs.iter().map(toml::Spanned::get_ref);
        let files = std::iter::once(script).chain(inputs);
        let files = files.map(|file| (recipe.beside(file), inside(file))).collect();
        Some(Self { path: recipe.beside(script), files })
    }

    /// Everything about the script that decides the files of an extension.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn key(&self) -> Result<String, FileError> {
        let mut parts = Vec::new();
        for (host, relative) in &self.files {
            parts.push(relative.to_string());
            parts.push(tree_digest::sha256_of_file_or_directory(host)?);
        }
        Ok(digest::of_parts(parts))
    }

    /// The files, for the provenance statement.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn inputs(&self, directory: &Utf8Path) -> Result<Vec<Input>, FileError> {
        let input = |(host, _): &(Utf8PathBuf, Utf8PathBuf)| {
            let sha256 = tree_digest::sha256_of_file_or_directory(host)?;
            Ok(Input::of_uri(host.strip_prefix(directory).unwrap_or(host).to_string(), sha256))
        };
        self.files.iter().map(input).collect()
    }

    /// Copies the files to a directory, and returns the path of the script in it.
    fn copy_to(&self, directory: &Utf8Path) -> Result<Utf8PathBuf, FileError> {
        for (host, relative) in &self.files {
            for entry in walkdir::WalkDir::new(host).sort_by_file_name() {
                let entry = entry.map_err(|error| FileError::at("list", host)(error.into()))?;
                let below = entry.path().strip_prefix(host).unwrap_or(Path::new(""));
                let target = directory.join(relative).into_std_path_buf();
                let target = if below.as_os_str().is_empty() { target } else { target.join(below) };
                if entry.file_type().is_dir() {
                    fs::create_dir_all(&target)?;
                    continue;
                }
                if let Some(parent) = target.parent() {
                    fs::create_dir_all(parent)?;
                }
                if entry.file_type().is_symlink() && !below.as_os_str().is_empty() {
                    fs::symlink(fs::read_link(entry.path())?, &target)?;
                } else {
                    fs::copy(entry.path(), &target)?;
                }
            }
        }
        Ok(directory.join(self.files.first().map_or(Utf8Path::new(""), |(_, script)| script)))
    }
}

/// The path of a file beside the copies of the others: its own where it is below the recipe's directory.
fn inside(file: &Utf8Path) -> Utf8PathBuf {
    let is_below =
        file.components().all(|part| matches!(part, Utf8Component::Normal(_) | Utf8Component::CurDir));
    if is_below { file.to_owned() } else { Utf8PathBuf::from(file.file_name().unwrap_or("script")) }
}

/// Makes everything read-only but the tree and a directory for temporary files, hides the sockets of the
/// host's services, and takes the capabilities that could undo that. The namespaces end with the script.
const CONFINE: &str = r#"
umask 022
tree=$1 temporary=$2
shift 2
fail() { echo "cannot confine the script: $1" >&2; exit 1; }
for directory in "$tree" "$temporary"; do
    mount --bind "$directory" "$directory" || fail "$directory cannot be mounted"
done
mount -t proc proc /proc 2>/dev/null || :
case $tree in
/run/*) ;;
*) mount -t tmpfs -o mode=0755 tmpfs /run || fail "/run cannot be mounted" ;;
esac
cut -d ' ' -f 5,6 /proc/self/mountinfo >"$temporary/mounts"
while read -r point options; do
    point=$(printf '%b' "$point")
    case $point in "$tree" | "$temporary") continue ;; esac
    case $options in ro | ro,*) continue ;; esac
    mount -o remount,bind,ro "$point" 2>/dev/null || [ ! -w "$point" ] || fail "$point stays writable"
done <"$temporary/mounts"
rm "$temporary/mounts"
cd "$tree"
exec setpriv --no-new-privs --inh-caps -all \
    --bounding-set -all,+chown,+dac_override,+fowner,+fsetid -- "$@"
"#;

/// Runs a script with the tree as its working directory and first argument, and adds the files that it has
/// created. Returns the directories from which opaque markers of the script were removed.
///
/// The script runs as root, with its files alone beside it, in namespaces of its own: it has no network,
/// sees no other processes, can write to the tree and `TMPDIR` only, and its processes are killed with it.
/// A builder other than root is root of a user namespace in which the tree belongs to root. The umask is 022
/// and the environment is the same on every host.
///
/// # Errors
/// See [`MangleError`].
pub(super) fn run(
    staged: &mut Staged,
    script: &Script,
    environment: &Environment<'_>,
) -> Result<Vec<Utf8PathBuf>, MangleError> {
    let files = staged.scratch("script")?;
    let copy = script.copy_to(&files)?;
    let script = script.path.clone();
    if !rustix::process::geteuid().is_root()
        && let Some((path, node)) = staged.not_of_root().find(|(_, node)| node.mode & 0o6000 != 0)
    {
        return Err(MangleError::Owner { script, path: path.to_owned(), owner: node.owner });
    }
    staged.settle(environment.epoch)?;
    let temporary = staged.scratch("temporary")?;
    let mut command = namespace::command(&Tool::find("unshare")?, "--net");
    command.args(["--mount", "--propagation", "private", "--ipc", "--pid", "--fork", "--kill-child"]);
    let confine = files.with_file_name("confine.sh");
    fs::write(&confine, CONFINE)?;
    command.args(["sh", "-eu"]).arg(&confine).arg(staged.root()).arg(&temporary);
    command.args(interpreter(&copy)?).arg(&copy).arg(staged.root());
    command.env_clear().envs([
        ("HOME", "/nonexistent"),
        ("LC_ALL", "C.UTF-8"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("SOURCE_DATE_EPOCH", &environment.epoch.to_string()),
        ("SYSEXT_ARCHITECTURE", environment.architecture),
        ("SYSEXT_ID", environment.name),
        ("SYSEXT_VERSION_ID", environment.version),
        ("TMPDIR", temporary.as_str()),
        ("TZ", "UTC"),
    ]);
    command.run().map_err(|error| classify(error, &script))?;
    fs::remove_dir_all(&files)?;
    fs::remove_dir_all(&temporary)?;
    rescan(staged, &script).map_err(|source| MangleError::Result { path: script.clone(), source })
}

/// The interpreter of the first line, so that a script needs no executable bit; `sh` without one.
fn interpreter(script: &Utf8Path) -> Result<Vec<String>, MangleError> {
    let mut line = Vec::new();
    BufReader::new(fs::open(script)?).read_until(b'\n', &mut line).map_err(FileError::at("read", script))?;
    let line = String::from_utf8_lossy(&line).into_owned();
    let Some(named) = line.strip_prefix("#!") else { return Ok(vec!["sh".to_owned()]) };
    // The kernel passes all that follows the interpreter as one argument (execve(2)).
    let parts = named.trim().splitn(2, char::is_whitespace);
    Ok(parts.map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect())
}

fn classify(error: CommandError, script: &Utf8Path) -> MangleError {
    match &error {
        CommandError::Failed { tail, .. }
            if tail.starts_with("unshare:") || tail.contains("cannot confine the script:") =>
        {
            MangleError::NoNamespace(error)
        }
        _ => MangleError::Failed { path: script.to_owned(), source: error },
    }
}

/// Whether a path is a file, as a script must be.
pub(super) fn is_script(path: &Utf8Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::sync::Arc;

    use super::*;

    /// The script and further files, relative to its directory.
    fn script(directory: &Utf8Path, text: &str, inputs: &[&str]) -> Script {
        fs::write(directory.join("mangle.sh"), text).expect("written");
        let files = std::iter::once("mangle.sh").chain(inputs.iter().copied());
        let files = files.map(|file| (directory.join(file), Utf8PathBuf::from(file))).collect();
        Script { path: directory.join("mangle.sh"), files }
    }

    struct Ran {
        _scratch: tempfile::TempDir,
        staged: Staged,
        result: Result<Vec<Utf8PathBuf>, MangleError>,
    }

    /// Runs a script on a tree of one program.
    fn ran(text: &str) -> Ran {
        ran_with(text, &[])
    }

    /// Runs a script that may read the file `helper.sh` or the directory `files` beside it.
    fn ran_with(text: &str, inputs: &[&str]) -> Ran {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        fs::create_dir_all(directory.join("files/inside")).expect("made");
        fs::write(directory.join("helper.sh"), "helped=yes\n").expect("written");
        fs::write(directory.join("files/inside/data"), "data").expect("written");
        let script = script(directory, text, inputs);
        let mut staged = Staged::new_in(Utf8Path::new("/tmp")).expect("a stage");
        let origin: Arc<str> = Arc::from("a test");
        staged.put_file(Utf8Path::new("usr/bin/tool"), 0o755, &mut &b"tool"[..], &origin).expect("a file");
        let environment =
            Environment { name: "it", version: "1", architecture: "x86-64", epoch: 1_704_067_200 };
        let result = run(&mut staged, &script, &environment);
        Ran { _scratch: scratch, staged, result }
    }

    fn listing(ran: &Ran) -> Vec<(String, u32, String)> {
        let nodes = ran.staged.nodes();
        nodes.map(|(path, node)| (path.to_string(), node.mode, node.origin.to_string())).collect()
    }

    #[test]
    fn changes_of_a_script_are_part_of_the_tree() {
        let ran = ran("#!/bin/bash -eu\n\
             [[ $(id -u) = 0 && $1 = \"$PWD\" && $(stat -c %u usr/bin/tool) = 0 ]]\n\
             mkdir -p usr/share/it\n\
             env | sort > usr/share/it/environment\n\
             ln -s ../bin/tool usr/share/it/link\n\
             chmod 4711 usr/bin/tool\n");
        ran.result.as_ref().expect("it runs");
        let names: Vec<_> = listing(&ran).into_iter().map(|(path, mode, _)| (path, mode)).collect();
        let expected = [
            ("usr", 0o755),
            ("usr/bin", 0o755),
            ("usr/bin/tool", 0o4711),
            ("usr/share", 0o755),
            ("usr/share/it", 0o755),
            ("usr/share/it/environment", 0o644),
            ("usr/share/it/link", 0o777),
        ];
        assert_eq!(names, expected.map(|(path, mode)| (path.to_owned(), mode)));
        let origins: Vec<_> = listing(&ran).into_iter().map(|(_, _, origin)| origin).collect();
        assert_eq!(origins[2], "a test");
        assert!(origins[5].contains("mangle.sh"), "{origins:?}");
        let environment =
            fs::read_to_string(ran.staged.root().join("usr/share/it/environment")).expect("read");
        assert!(environment.contains("SYSEXT_ID=it\n") && environment.contains("TZ=UTC\n"));
        assert!(
            !environment.contains("CARGO"),
            "the environment of the builder does not leak: {environment}"
        );
    }

    #[test]
    fn a_script_reads_the_inputs_of_the_recipe_and_no_other_file_beside_it() {
        let text = ". \"$(dirname \"$0\")/helper.sh\"\n\
                    cat \"$(dirname \"$0\")/files/inside/data\" > usr/$helped\n";
        let ran = ran_with(text, &["helper.sh", "files"]);
        ran.result.as_ref().expect("it runs");
        assert_eq!(fs::read_to_string(ran.staged.root().join("usr/yes")).expect("read"), "data");
        let error = ran_with(text, &["files"]).result.expect_err("no helper");
        assert!(error.hint().is_some_and(|hint| hint.contains("script-inputs")), "{error}");
    }

    #[test]
    fn inputs_are_part_of_the_key() {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        fs::create_dir(directory.join("files")).expect("made");
        fs::write(directory.join("files/data"), "one").expect("written");
        let script = script(directory, "true\n", &["files"]);
        let before = script.key().expect("read");
        fs::write(directory.join("files/data"), "two").expect("written");
        assert_ne!(script.key().expect("read"), before);
    }

    #[test]
    fn a_script_writes_nowhere_else() {
        let scratch = tempfile::tempdir().expect("a directory");
        let outside = Utf8Path::from_path(scratch.path()).expect("UTF-8").join("outside");
        fs::write(&outside, "before").expect("written");
        for attempt in [
            format!("echo after > {outside}"),
            format!("chmod 600 {outside}"),
            format!("rm {outside}"),
            format!("touch {outside}-2"),
            "echo x > \"$(dirname \"$0\")/x\"".to_owned(),
            "mount -o remount,bind,rw /".to_owned(),
            "echo 1 > /proc/sys/kernel/printk_ratelimit".to_owned(),
            // mount(8) makes a directory of its own.
            "ls /run | grep -v '^mount$'".to_owned(),
        ] {
            let error = ran(&format!("{attempt}\n")).result.expect_err(&attempt);
            assert!(matches!(error, MangleError::Failed { .. }), "{attempt}: {error:?}");
        }
        assert_eq!(fs::read_to_string(&outside).expect("read"), "before");
        ran("test -d \"$TMPDIR\" && f=$(mktemp) && echo x > $f && cp $f usr/x\n")
            .result
            .expect("temporary files");
    }

    #[test]
    fn processes_of_a_script_end_with_it() {
        let start = std::time::Instant::now();
        let ran = ran("setsid sleep 47 &\nsleep 47 &\ntest \"$(ls -d /proc/[0-9]* | wc -l)\" -lt 10\n");
        ran.result.expect("it runs");
        assert!(start.elapsed() < std::time::Duration::from_secs(30), "{:?}", start.elapsed());
    }

    #[test]
    fn the_output_of_a_failed_script_is_part_of_the_error() {
        let error = ran("echo 'no such tool' >&2\nexit 3\n").result.expect_err("it fails");
        let cause = error.source().expect("a cause").to_string();
        assert!(cause.contains("exit status: 3") && cause.contains("no such tool"), "{cause}");
    }

    #[test]
    fn files_that_no_extension_can_contain_are_refused() {
        for (script, expected) in
            [("mkfifo usr/pipe", "a pipe"), ("printf x > \"usr/$(printf 'a\\nb')\"", "control character")]
        {
            let error = ran(script).result.expect_err(script);
            let text = loadgauge_host::error::on_one_line(&error);
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn there_is_no_network() {
        let ran = ran("ip -o link 2>/dev/null | grep -v ' lo:' | grep . && exit 1 || true\n\
                       test \"$(tail -n +3 /proc/net/dev | grep -vc ' lo:')\" = 0\n");
        ran.result.expect("there is nothing but a loopback");
    }
}
