// SPDX-License-Identifier: Apache-2.0
//! The recipe's script, which Flatcar's SDK calls a mangle script, run on the staged tree.
use std::io::{BufRead as _, BufReader};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{CommandError, CommandExt as _, FileError, Hint, MissingTool, Tool, fs};

use super::namespace;
use super::owner::Owner;
use super::rescan::{RescanError, rescan};
use super::stage::{StageError, Staged};

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
                "correct the script; its working directory and first argument are the root of the tree"
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

/// Runs a script with the tree as its working directory and first argument, and adds the files that it has
/// created. Returns the directories from which opaque markers of the script were removed.
///
/// The script runs as root of a user namespace in which the tree belongs to root, without a network, with
/// the umask 022, and with the same environment on every host. Real root needs no user namespace for that.
///
/// # Errors
/// See [`MangleError`].
pub(super) fn run(
    staged: &mut Staged,
    script: &Utf8Path,
    environment: &Environment<'_>,
) -> Result<Vec<Utf8PathBuf>, MangleError> {
    let script = script.canonicalize_utf8().map_err(FileError::at("resolve", script))?;
    if !rustix::process::geteuid().is_root()
        && let Some((path, node)) = staged.not_of_root().find(|(_, node)| node.mode & 0o6000 != 0)
    {
        return Err(MangleError::Owner { script, path: path.to_owned(), owner: node.owner });
    }
    staged.settle(environment.epoch)?;
    let mut command = namespace::command(&Tool::find("unshare")?, "--net");
    command.args(["sh", "-euc", "umask 022; exec \"$@\"", "sh"]);
    command.args(interpreter(&script)?).arg(&script).arg(staged.root());
    command.current_dir(staged.root());
    command.env_clear().envs([
        ("HOME", "/nonexistent"),
        ("LC_ALL", "C.UTF-8"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("SOURCE_DATE_EPOCH", &environment.epoch.to_string()),
        ("SYSEXT_ARCHITECTURE", environment.architecture),
        ("SYSEXT_ID", environment.name),
        ("SYSEXT_VERSION_ID", environment.version),
        ("TZ", "UTC"),
    ]);
    command.run().map_err(|error| classify(error, &script))?;
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
        CommandError::Failed { tail, .. } if tail.starts_with("unshare:") => MangleError::NoNamespace(error),
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

    struct Ran {
        _scratch: tempfile::TempDir,
        staged: Staged,
        result: Result<Vec<Utf8PathBuf>, MangleError>,
    }

    /// Runs a script on a tree of one program.
    fn ran(script: &str) -> Ran {
        let scratch = tempfile::tempdir().expect("a directory");
        let path = Utf8Path::from_path(scratch.path()).expect("UTF-8").join("mangle.sh");
        fs::write(&path, script).expect("written");
        let mut staged = Staged::new_in(Utf8Path::new("/tmp")).expect("a stage");
        let origin: Arc<str> = Arc::from("a test");
        staged.put_file(Utf8Path::new("usr/bin/tool"), 0o755, &mut &b"tool"[..], &origin).expect("a file");
        let environment =
            Environment { name: "it", version: "1", architecture: "x86-64", epoch: 1_704_067_200 };
        let result = run(&mut staged, &path, &environment);
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
