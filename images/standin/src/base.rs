// SPDX-License-Identifier: Apache-2.0
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, fs};

use super::error::StandinError;
use super::namespace::is_root;
use super::options::Options;
use super::tree::{self, TreeFile};
use loadgauge_host::digest::{self, Inputs};
use loadgauge_host::{CommandError, CommandExt as _, Entry, Store, Tool, children};
use loadgauge_images::base::{Archive, Base};
use loadgauge_images::{Architecture, OsRelease};

/// The version of an entry's layout, raised when the layout changes and the inputs do not.
const FORMAT: &str = "4";
/// The keyring with the keys that sign Debian's archive.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The latest modification time in the tree (2025-01-01), so that equal packages give an equal tree.
pub(super) const TIME: u64 = 1_735_689_600;
/// The scripts that run in the new root, in this order; the second is specific to the era.
const SCRIPTS: [&str; 3] = ["customize.sh", "era.sh", "initrd.sh"];
/// The hooks of mmdebstrap for suites whose packages leave the merged /usr to the installer.
const MERGED_USR: &str = "/usr/share/mmdebstrap/hooks/merged-usr";

/// Names of files in an entry.
pub(super) const ROOT_ARCHIVE: &str = "root.tar";
pub(super) const KERNEL: &str = "vmlinuz";
pub(super) const INITRD: &str = "initrd.img";
pub(super) const DPKG_STATUS: &str = "dpkg-status";
/// The root tree with its package database, under its name on a release server.
pub(super) const BASE_SQUASHFS: &str = "flatcar_production_image_sysext.squashfs";
const OS_RELEASE: &str = "os-release";
/// The file in the root tree that names the archive of its packages.
const ARCHIVE_DESCRIPTION: &str = "usr/share/loadgauge/archive.json";
/// The index of the archive when the base was made: name, architecture, version and SHA-256 of each
/// package.
pub(super) const ARCHIVE_INDEX: &str = "archive-index";

/// Builds the base of a stand-in, or finds it in the store, and returns it with its directory.
///
/// The directory contains:
///
/// - `base.json`, `os-release` and the package database `dpkg-status`
/// - the kernel `vmlinuz` and the initrd `initrd.img`
/// - the archive's index `archive-index`
/// - the root tree without extensions, as `root.tar` and as `flatcar_production_image_sysext.squashfs`
///
/// The store's key covers all inputs except the state of the mirror. A base is rebuilt after it was
/// removed from the store.
///
/// `progress` receives short messages about the current step.
///
/// # Errors
/// The host lacks a tool or refuses user namespaces, the mirror cannot be reached, or the store
/// cannot be written.
pub fn build_base(
    store: &Store,
    options: &Options,
    progress: &dyn Fn(&str),
) -> Result<(Base, Utf8PathBuf), StandinError> {
    if options.architecture != Architecture::Amd64 {
        return Err(StandinError::Architecture(options.architecture));
    }
    let key = key(options);
    let directory = match store.entry("standin-base", &key)? {
        Entry::Ready(directory) => directory,
        Entry::Vacant(vacancy) => {
            bootstrap(vacancy.directory(), options, progress)?;
            progress("packing the base");
            pack(vacancy.directory())?;
            describe(vacancy.directory(), options, &key)?;
            vacancy.commit()?
        }
    };
    Ok((Base::open(&directory)?, directory))
}

/// Returns the digest of all inputs.
fn key(options: &Options) -> String {
    let mut inputs = Inputs::default();
    inputs.add("format", FORMAT);
    inputs.add("mirror", &options.mirror);
    inputs.add("suite", options.blueprint.suite);
    inputs.add("architecture", options.architecture.debian_name());
    inputs.add("packages", tree::packages(options).join(" "));
    for (name, script) in scripts(options) {
        inputs.add(name, script);
    }
    for file in tree::files(options) {
        inputs.add(&format!("{:o} {}", file.mode, file.path), &file.content);
    }
    inputs.finish()
}

/// Returns the scripts that run in the new root, with their names.
fn scripts(options: &Options) -> Vec<(&'static str, String)> {
    let era = format!("eras/{}/customize.sh", options.blueprint.era());
    let text = |name: &str| tree::text(if name == "era.sh" { &era } else { name }, options);
    SCRIPTS.into_iter().filter_map(|name| Some((name, text(name)?))).collect()
}

/// Makes the root file system with mmdebstrap, whose hooks also export the kernel, the initrd and lists.
fn bootstrap(directory: &Utf8Path, options: &Options, progress: &dyn Fn(&str)) -> Result<(), StandinError> {
    let overlay = directory.join("overlay.tar");
    let mut files = tree::files(options);
    files.push(TreeFile {
        path: ARCHIVE_DESCRIPTION.to_owned(),
        content: serde_json::to_vec_pretty(&archive(options))
            .map_err(|error| FileError::at("write", &overlay)(error.into()))?,
        mode: 0o644,
    });
    let archive = tree::archive(&files, TIME).map_err(FileError::at("write", &overlay))?;
    fs::write(&overlay, archive)?;
    let mut scratch = vec![overlay];
    for (name, script) in scripts(options) {
        let path = directory.join(name);
        fs::write(&path, script)?;
        scratch.push(path);
    }
    let mut command = mmdebstrap(directory, options)?;
    let count = tree::packages(options).len();
    progress(&format!("installing {count} packages of Debian's suite {}", options.blueprint.suite));
    run_reporting(&mut command, progress)?;
    for path in scratch {
        fs::remove_file(&path)?;
    }
    Ok(())
}

/// Describes the archive that the packages of the base come from.
fn archive(options: &Options) -> Archive {
    Archive {
        mirror: options.mirror.clone(),
        suite: options.blueprint.suite.to_owned(),
        components: vec!["main".to_owned()],
        keyring: Utf8PathBuf::from(KEYRING),
        // As for mmdebstrap below.
        allow_expired: true,
    }
}

/// Packs the root tree into the squashfs that a release server publishes.
fn pack(directory: &Utf8Path) -> Result<(), StandinError> {
    let path = directory.join(ROOT_ARCHIVE);
    let archive = fs::open(&path)?;
    // sqfstar(1) of squashfs-tools 4.5 takes no compression level.
    let mut command = Tool::find("mksquashfs")?.command();
    command
        .args(["-", directory.join(BASE_SQUASHFS).as_str(), "-tar", "-quiet", "-no-progress"])
        .args(["-comp", "zstd", "-Xcompression-level", "3"])
        .env("SOURCE_DATE_EPOCH", TIME.to_string());
    command.run_with(archive.into())?;
    Ok(())
}

/// Returns the mmdebstrap(1) command, whose hooks run as root of its namespace.
fn mmdebstrap(directory: &Utf8Path, options: &Options) -> Result<Command, StandinError> {
    let mmdebstrap = Tool::find("mmdebstrap")?;
    // As real root it mounts file systems, which must not stay on the host if it is killed.
    let mut command = if is_root() {
        let mut command = Tool::find("unshare")?.command();
        command.args(["--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL", "--"]);
        command.arg(mmdebstrap.path());
        command
    } else {
        mmdebstrap.command()
    };
    command
        // Its own directory of temporary files goes where everything of a broken build is removed.
        .env("TMPDIR", directory)
        .env("SOURCE_DATE_EPOCH", TIME.to_string())
        // The kernel package would otherwise build an initrd of its own during installation.
        .env("INITRD", "No")
        .arg(if is_root() { "--mode=root" } else { "--mode=unshare" })
        // Flatcar has no package manager, so apt is left out.
        .arg("--variant=essential")
        .arg(format!("--architectures={}", options.architecture.debian_name()))
        .arg(format!("--keyring={KEYRING}"))
        .arg(format!("--include={}", tree::packages(options).join(",")))
        .arg("--aptopt=APT::Install-Recommends \"false\"")
        // A snapshot of the mirror contains testing suites whose validity has expired.
        .arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
    for path in ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"] {
        command.arg(format!("--dpkgopt=path-exclude={path}"));
    }
    if options.blueprint.merged_by_installer {
        command.arg(format!("--hook-dir={MERGED_USR}"));
    }
    let quoted = |name: &str| format!("'{}'", directory.join(name).as_str().replace('\'', r"'\''"));
    let mut hooks = vec![
        format!("tar-in {} /", quoted("overlay.tar")),
        "APT_CONFIG=\"$MMDEBSTRAP_APT_CONFIG\" apt-cache dumpavail | \
         grep -E '^((Package|Architecture|Version|SHA256): |$)' >\"$1/archive-index\""
            .to_owned(),
        format!("download /archive-index {}", quoted(ARCHIVE_INDEX)),
        "rm \"$1/archive-index\"".to_owned(),
    ];
    for (name, _) in scripts(options) {
        hooks.push(format!("upload {} /{name}", quoted(name)));
        hooks.push(format!("chroot \"$1\" sh /{name}"));
        hooks.push(format!("rm \"$1/{name}\""));
    }
    for (from, to) in [
        ("/boot/vmlinuz", KERNEL),
        ("/boot/initrd", INITRD),
        ("/var/lib/dpkg/status", DPKG_STATUS),
        ("/usr/lib/os-release", OS_RELEASE),
    ] {
        hooks.push(format!("download {from} {}", quoted(to)));
    }
    hooks.push("rm -r \"$1/boot\"/*".to_owned());
    for hook in hooks {
        command.arg(format!("--customize-hook={hook}"));
    }
    command.arg(options.blueprint.suite).arg(directory.join(ROOT_ARCHIVE)).arg(&options.mirror);
    Ok(command)
}

/// Runs a command and reports its lines that start with `I: ` as progress.
fn run_reporting(command: &mut Command, progress: &dyn Fn(&str)) -> Result<(), CommandError> {
    let line = command.line();
    tracing::debug!(command = %line, "run");
    let failed = |source| CommandError::Start { command: line.clone(), source };
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = children::start(command).map_err(failed)?;
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        for text in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&text).trim_end().to_owned();
            let phase = text.strip_prefix("I: ").filter(|phase| !phase.contains("hook"));
            if let Some(phase) = phase {
                progress(phase.trim_end_matches("..."));
            }
            said.push(text);
        }
    }
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    let tail = said[said.len().saturating_sub(30)..].join("\n");
    Err(CommandError::Failed { command: line, status, tail })
}

/// Writes `base.json`, the last file of an entry.
fn describe(directory: &Utf8Path, options: &Options, key: &str) -> Result<(), StandinError> {
    let os_release = directory.join(OS_RELEASE);
    let text = fs::read_to_string(&os_release)?;
    let status = directory.join(DPKG_STATUS);
    let mut inputs = Inputs::default();
    inputs.add("key", key);
    // The mirror changes over time, and builds against the base depend on its state.
    inputs.add("packages", digest::sha256_of_file(&status).map_err(FileError::at("read", &status))?);
    let base = Base {
        digest: inputs.finish(),
        os_release: OsRelease::parse(&text)
            .map_err(|error| FileError::at("read", &os_release)(std::io::Error::other(error)))?,
        architecture: options.architecture,
        dpkg_status: Utf8PathBuf::from(DPKG_STATUS),
        archive: archive(options),
    };
    Ok(base.write(directory)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_changes_the_key() {
        let plain = Options { mirror: "http://a".to_owned(), ..Options::default() };
        let mut others = vec![plain.clone(); 3];
        others[0].mirror.push('b');
        others[1].blueprint.suite = "sid";
        others[2].blueprint.release.patch += 1;
        for other in others {
            assert_ne!(key(&plain), key(&other), "{other:?}");
        }
        assert_eq!(key(&plain), key(&plain.clone()));
    }

    #[test]
    fn a_failure_carries_the_end_of_what_was_said() {
        let seen = std::cell::RefCell::new(Vec::new());
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'I: unpacking...' >&2; echo 'E: no space' >&2; exit 5"]);
        let error = run_reporting(&mut command, &|phase| seen.borrow_mut().push(phase.to_owned()));
        assert!(error.expect_err("status 5").to_string().contains("E: no space"));
        assert_eq!(seen.into_inner(), ["unpacking"]);
    }
}
