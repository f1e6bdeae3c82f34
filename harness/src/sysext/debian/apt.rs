// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_images::host::{CommandError, CommandExt as _, Entry, MissingTool, Store, StoreError, Tool};
use loadgauge_images::{Architecture, Base};
use serde::{Deserialize, Serialize};

use super::super::digest;

/// After this the lists of an archive are fetched again when packages are looked up.
const LISTS_FRESH_FOR: Duration = Duration::from_hours(24);

/// A package that an extension takes from an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// its name
    pub name: String,
    /// its version in Debian's order
    pub version: String,
    /// `amd64`, `arm64` or `all`
    pub architecture: String,
    /// SHA-256 of the package file in hex, as the signed lists have it
    pub sha256: String,
    /// bytes of the package file
    pub size: u64,
}

/// What keeps packages from being found or fetched.
#[derive(Debug, thiserror::Error)]
pub enum AptError {
    /// the host has no apt
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// apt said no
    #[error("cannot {action} from {archive}")]
    Command {
        /// what was to be done
        action: String,
        /// mirror and suite
        archive: String,
        /// apt's own words
        #[source]
        source: CommandError,
    },
    /// apt said something that cannot be read
    #[error("cannot read what apt-get says about a package: `{0}`")]
    Output(String),
    /// a file operation failed
    #[error("cannot {action} `{path}`")]
    Io {
        /// what was to be done
        action: &'static str,
        /// to what
        path: Utf8PathBuf,
        /// why not
        source: std::io::Error,
    },
    /// a package file is not what the lists say
    #[error("the package file `{file}` has the SHA-256 {found}, the archive's lists say {expected}")]
    Digest {
        /// the package file
        file: String,
        /// as listed
        expected: String,
        /// as fetched
        found: String,
    },
    /// the cache cannot be used
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What apt complains of, as far as something can be said about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Complaint {
    Stale,
    Unreachable,
    Key,
}

impl Complaint {
    /// Finds it in apt's own words.
    fn find(words: &str) -> Option<Self> {
        let marks: [(Self, &[&str]); 3] = [
            (Self::Key, &["NO_PUBKEY", "not signed"]),
            (Self::Stale, &["404", "Hash Sum mismatch"]),
            (Self::Unreachable, &["resolve '", "resolving '", "connect"]),
        ];
        marks
            .into_iter()
            .find(|(_, marks)| marks.iter().any(|mark| words.contains(mark)))
            .map(|(found, _)| found)
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Stale => {
                "the archive has changed since its lists were fetched: remove `apt-lists` in the cache and run again"
            }
            Self::Unreachable => {
                "the archive cannot be reached: check the network, and http_proxy where there is a proxy"
            }
            Self::Key => {
                "the keyring does not hold the archive's key: install or update debian-archive-keyring"
            }
        }
    }
}

impl AptError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(missing) => missing.hint(),
            Self::Digest { .. } => Some("remove the loadgauge cache and run again".to_owned()),
            _ => self.complaint().map(|complaint| complaint.hint().to_owned()),
        }
    }

    fn complaint(&self) -> Option<Complaint> {
        match self {
            Self::Command { source: CommandError::Failed { tail, .. }, .. } => Complaint::find(tail),
            _ => None,
        }
    }
}

/// The host's apt-get, set up in a directory of its own: it sees the packages and the archive of
/// a base and nothing of the host, needs no root, and changes nothing outside the directory.
///
/// apt verifies the Release file against the archive's keyring, the lists against the Release
/// file, and each package against the lists.
#[derive(Debug)]
pub(super) struct Apt<'a> {
    scratch: tempfile::TempDir,
    base: &'a Base,
    lists: Utf8PathBuf,
}

impl<'a> Apt<'a> {
    /// Sets up apt for a base.
    ///
    /// # Errors
    /// The directory cannot be made, the lists cannot be fetched.
    pub(super) fn new(base: &'a Base, store: &Store, progress: &dyn Fn(&str)) -> Result<Self, AptError> {
        let lists = lists(base, store, progress)?;
        let apt = Self { scratch: scratch(store)?, base, lists };
        write(&apt.directory().join("status"), "")?;
        write_configuration(apt.directory(), &apt.lists, base)?;
        Ok(apt)
    }

    /// The archive's indices, one behind the other. apt has held them against the signed Release file.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn index(&self) -> Result<Vec<u8>, AptError> {
        let read = |source| AptError::Io { action: "read the lists in", path: self.lists.clone(), source };
        let mut files: Vec<Utf8PathBuf> = Vec::new();
        for entry in self.lists.read_dir_utf8().map_err(read)? {
            let path = entry.map_err(read)?.into_path();
            if path.as_str().ends_with("_Packages") {
                files.push(path);
            }
        }
        files.sort();
        let mut text = Vec::new();
        for file in files {
            text.extend(fs::read(&file).map_err(read)?);
            text.push(b'\n');
        }
        Ok(text)
    }

    /// Fetches the packages that the store lacks.
    ///
    /// # Errors
    /// The archive cannot be reached, or a file is not what the lists say.
    pub(super) fn fetch(&self, packages: &[Package], store: &Store) -> Result<(), AptError> {
        let names: Vec<String> =
            packages.iter().map(|package| format!("{}={}", package.name, package.version)).collect();
        if names.is_empty() {
            return Ok(());
        }
        let mut command = self.command("apt-get")?;
        let downloads = self.directory().join("downloads");
        create(&downloads)?;
        command.args(["download", "-q"]).args(&names).current_dir(&downloads);
        self.run(command, || format!("fetch {}", names.join(", ")))?;
        for package in packages {
            keep(store, package, &downloads.join(package.file_name()))?;
        }
        Ok(())
    }

    fn directory(&self) -> &Utf8Path {
        Utf8Path::from_path(self.scratch.path()).unwrap_or(Utf8Path::new("/"))
    }

    fn command(&self, tool: &str) -> Result<Command, AptError> {
        let mut command = Tool::find(tool)?.command();
        command.env("APT_CONFIG", self.directory().join("apt.conf"));
        Ok(command)
    }

    fn run(&self, mut command: Command, action: impl Fn() -> String) -> Result<Output, AptError> {
        command.run().map_err(|source| AptError::Command {
            action: action(),
            archive: describe(self.base),
            source,
        })
    }
}

impl Package {
    /// What apt calls the file: epochs are written as `%3a`.
    pub fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version.replace(':', "%3a"), self.architecture)
    }

    /// Where the store keeps the package file, if it has it.
    pub fn kept(&self, store: &Store) -> Option<Utf8PathBuf> {
        let path = store.root().join("deb").join(&self.sha256).join(self.file_name());
        path.is_file().then_some(path)
    }
}

/// Puts a package file into the store after a look at its digest.
fn keep(store: &Store, package: &Package, file: &Utf8Path) -> Result<(), AptError> {
    let found = digest::sha256_of_file(file).map_err(|source| AptError::Io {
        action: "read",
        path: file.to_owned(),
        source,
    })?;
    if found != package.sha256 {
        let (file, expected) = (package.file_name(), package.sha256.clone());
        return Err(AptError::Digest { file, expected, found });
    }
    if let Entry::Vacant(vacancy) = store.entry("deb", &package.sha256)? {
        let target = vacancy.directory().join(package.file_name());
        fs::rename(file, &target).map_err(|source| AptError::Io { action: "keep", path: target, source })?;
        vacancy.commit()?;
    }
    Ok(())
}

/// The lists of an archive, fetched at most once a day. They are small beside the packages, and
/// an archive removes packages that its current lists no longer name.
fn lists(base: &Base, store: &Store, progress: &dyn Fn(&str)) -> Result<Utf8PathBuf, AptError> {
    let archive = &base.archive;
    let keyring = digest::sha256_of_file(&archive.keyring).map_err(|source| AptError::Io {
        action: "read the keyring",
        path: archive.keyring.clone(),
        source,
    })?;
    let architecture = base.architecture.debian_name();
    let components = archive.components.join(" ");
    let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
        / LISTS_FRESH_FOR.as_secs();
    let key = digest::of_parts([
        &archive.mirror,
        &archive.suite,
        &components,
        &keyring,
        architecture,
        &today.to_string(),
    ]);
    let vacancy = match store.entry("apt-lists", &key)? {
        Entry::Ready(path) => return Ok(path.join("lists")),
        Entry::Vacant(vacancy) => vacancy,
    };
    progress(&format!("package lists of {}", describe(base)));
    let scratch = scratch(store)?;
    let directory = Utf8Path::from_path(scratch.path()).unwrap_or(Utf8Path::new("/"));
    let lists = vacancy.directory().join("lists");
    create(&lists.join("partial"))?;
    write(&directory.join("status"), "")?;
    write_configuration(directory, &lists, base)?;
    let mut command = Tool::find("apt-get")?.command();
    // Without this an unreachable archive is a warning, and the lists stay empty.
    command.env("APT_CONFIG", directory.join("apt.conf")).args([
        "update",
        "-q",
        "-o",
        "APT::Update::Error-Mode=any",
    ]);
    command.run().map_err(|source| AptError::Command {
        action: "fetch the package lists".to_owned(),
        archive: describe(base),
        source,
    })?;
    Ok(vacancy.commit()?.join("lists"))
}

/// Writes apt.conf(5) and what it points to.
fn write_configuration(directory: &Utf8Path, lists: &Utf8Path, base: &Base) -> Result<(), AptError> {
    for name in ["archives/partial", "etc/preferences.d", "log"] {
        create(&directory.join(name))?;
    }
    let archive = &base.archive;
    let (architecture, components) = (base.architecture.debian_name(), archive.components.join(" "));
    let source = format!(
        "deb [arch={architecture} signed-by={}] {} {} {components}\n",
        archive.keyring, archive.mirror, archive.suite
    );
    write(&directory.join("sources.list"), &source)?;
    write(&directory.join("apt.conf"), &configuration(directory, lists, base.architecture))
}

fn configuration(directory: &Utf8Path, lists: &Utf8Path, architecture: Architecture) -> String {
    let architecture = architecture.debian_name();
    let mut text = String::new();
    let directories = [
        ("Dir", String::new()),
        ("Dir::Etc", "/etc".to_owned()),
        ("Dir::Etc::SourceList", "/sources.list".to_owned()),
        ("Dir::State", String::new()),
        ("Dir::State::status", "/status".to_owned()),
        ("Dir::State::extended_states", "/extended_states".to_owned()),
        ("Dir::Cache", String::new()),
        ("Dir::Cache::archives", "/archives".to_owned()),
        ("Dir::Log", "/log".to_owned()),
    ];
    for (name, path) in directories {
        let _ = writeln!(text, "{name} \"{directory}{path}\";");
    }
    let _ = writeln!(text, "Dir::State::Lists \"{lists}\";");
    let _ = writeln!(
        text,
        "APT::Architecture \"{architecture}\";\nAPT::Architectures {{ \"{architecture}\"; }};"
    );
    // Nothing of the host's own apt: no further sources, no hooks. The directories are private,
    // so there is nobody to lock out; and the user that apt drops to could not read them. A mirror
    // that is kept as it was, as it must be for a base to be extended later, has suites that expired.
    text.push_str(
        "Dir::Etc::SourceParts \"/dev/null\";\nDir::Etc::Parts \"/dev/null\";\nDebug::NoLocking \"true\";\n\
         APT::Sandbox::User \"root\";\nAcquire::Check-Valid-Until \"false\";\nAcquire::Languages \"none\";\nAcquire::Retries \"3\";\n",
    );
    text
}

fn describe(base: &Base) -> String {
    format!("{} {} ({})", base.archive.mirror, base.archive.suite, base.architecture)
}

fn scratch(store: &Store) -> Result<tempfile::TempDir, AptError> {
    create(store.root())?;
    tempfile::Builder::new().prefix(".apt-").tempdir_in(store.root()).map_err(|source| AptError::Io {
        action: "create a directory in",
        path: store.root().to_owned(),
        source,
    })
}

fn create(path: &Utf8Path) -> Result<(), AptError> {
    fs::create_dir_all(path).map_err(|source| AptError::Io {
        action: "create",
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Utf8Path, text: &str) -> Result<(), AptError> {
    fs::write(path, text).map_err(|source| AptError::Io { action: "write", path: path.to_owned(), source })
}
