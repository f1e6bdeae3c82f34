// SPDX-License-Identifier: Apache-2.0
//! The recipe's own script, run on the staged tree.
use loadgauge_host::Hint;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{CommandError, CommandExt as _, MissingTool, Tool};

use super::rescan::{RescanError, rescan};
use super::stage::{StageError, Staged};

/// What a script finds in its environment, beside what is the same for all of them.
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

/// A script that could not be run, or that left something behind which no extension can hold.
#[derive(Debug, thiserror::Error)]
pub enum MangleError {
    /// the host has no `unshare`
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// the script cannot be read
    #[error("cannot read the script `{path}`")]
    Read {
        /// where it lies
        path: Utf8PathBuf,
        /// why not
        source: std::io::Error,
    },
    /// the host does not let it run apart
    #[error("the script needs namespaces of its own, which the host refuses")]
    NoNamespace(#[source] CommandError),
    /// it ended with another status than 0
    #[error("the script `{path}` failed")]
    Failed {
        /// where it lies
        path: Utf8PathBuf,
        /// its own words
        source: CommandError,
    },
    /// what it left cannot become part of an extension
    #[error("the script `{path}` left something that no extension can hold")]
    Left {
        /// where it lies
        path: Utf8PathBuf,
        /// what
        source: RescanError,
    },
    /// the tree cannot be given its modes
    #[error(transparent)]
    Stage(#[from] StageError),
}

impl MangleError {
    /// Whether the host lacks something, rather than the script being wrong.
    pub(super) fn is_host(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::NoNamespace(_))
    }
}

impl Hint for MangleError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(missing) => missing.hint(),
            Self::NoNamespace(_) => Some(
                "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, or \
                 kernel.apparmor_restrict_unprivileged_userns=0)"
                    .to_owned(),
            ),
            Self::Failed { .. } => {
                Some("it is run in the root of the tree, whose path is its first argument".to_owned())
            }
            Self::Left { source, .. } => source.hint(),
            Self::Read { .. } | Self::Stage(_) => None,
        }
    }
}

/// Runs a script with the tree as its working directory and its first argument, and takes in what
/// it left there. It says what the script's opaque markers were removed from.
///
/// It runs as root of a user namespace in which the builder's files are root's, without a network,
/// under the umask 022, and with an environment that is the same everywhere. Real root needs no
/// user namespace for that.
///
/// # Errors
/// See [`MangleError`].
pub(super) fn run(
    staged: &mut Staged,
    script: &Utf8Path,
    environment: &Environment<'_>,
) -> Result<Vec<Utf8PathBuf>, MangleError> {
    let script =
        script.canonicalize_utf8().map_err(|source| MangleError::Read { path: script.to_owned(), source })?;
    staged.settle(environment.epoch)?;
    let mut command = apart(&Tool::find("unshare")?);
    command.args(["sh", "-euc", "umask 022; exec \"$@\"", "sh"]);
    let read = |source| MangleError::Read { path: script.clone(), source };
    command.args(interpreter(&script).map_err(read)?).arg(&script).arg(staged.root());
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
    command.run().map_err(|error| tell_apart(error, &script))?;
    rescan(staged, &script).map_err(|source| MangleError::Left { path: script.clone(), source })
}

fn apart(unshare: &Tool) -> Command {
    let mut command = unshare.command();
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("--net");
    command
}

/// What the first line names, so that a script needs no executable bit; `sh` where it names nothing.
fn interpreter(script: &Utf8Path) -> std::io::Result<Vec<String>> {
    let mut line = Vec::new();
    BufReader::new(File::open(script)?).read_until(b'\n', &mut line)?;
    let line = String::from_utf8_lossy(&line).into_owned();
    let Some(named) = line.strip_prefix("#!") else { return Ok(vec!["sh".to_owned()]) };
    // The kernel passes all that follows the interpreter as one argument (execve(2)).
    let words = named.trim().splitn(2, char::is_whitespace);
    Ok(words.map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect())
}

fn tell_apart(error: CommandError, script: &Utf8Path) -> MangleError {
    match &error {
        CommandError::Failed { tail, .. } if tail.starts_with("unshare:") => MangleError::NoNamespace(error),
        _ => MangleError::Failed { path: script.to_owned(), source: error },
    }
}

/// Whether a path is a script that can be run: a file.
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
    fn what_a_script_does_is_taken_in() {
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
        assert!(!environment.contains("CARGO"), "nothing of the builder's own: {environment}");
    }

    #[test]
    fn a_script_that_fails_has_its_words_told() {
        let error = ran("echo 'no such tool' >&2\nexit 3\n").result.expect_err("it fails");
        let cause = error.source().expect("a cause").to_string();
        assert!(cause.contains("exit status: 3") && cause.contains("no such tool"), "{cause}");
    }

    #[test]
    fn what_no_extension_can_hold_is_refused() {
        for (script, told) in
            [("mkfifo usr/pipe", "a pipe"), ("printf x > \"usr/$(printf 'a\\nb')\"", "control character")]
        {
            let error = ran(script).result.expect_err(script);
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(inner) = cause {
                text = format!("{text}: {inner}");
                cause = inner.source();
            }
            assert!(text.contains(told), "{text}");
        }
    }

    #[test]
    fn there_is_no_network() {
        let ran = ran("ip -o link 2>/dev/null | grep -v ' lo:' | grep . && exit 1 || true\n\
                       test \"$(tail -n +3 /proc/net/dev | grep -vc ' lo:')\" = 0\n");
        ran.result.expect("there is nothing but a loopback");
    }
}
