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
use loadgauge_host::{CommandError, CommandExt as _, Entry, Store, Tool};
use loadgauge_images::base::{Archive, Base};
use loadgauge_images::{Architecture, OsRelease};

/// Counts up when the layout of an entry changes in a way that its inputs do not show.
const FORMAT: &str = "3";
/// The keyring that Debian's archive is signed by.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// No file is newer than this, so that equal packages give an equal tree: 2025-01-01.
pub(super) const TIME: u64 = 1_735_689_600;
/// What runs in the new root, in this order; the second is the era's own.
const SCRIPTS: [&str; 3] = ["customize.sh", "era.sh", "initrd.sh"];
/// What mmdebstrap calls for a suite whose packages leave it to the installer.
const MERGED_USR: &str = "/usr/share/mmdebstrap/hooks/merged-usr";

/// Files of an entry.
pub(super) const ROOT_ARCHIVE: &str = "root.tar";
pub(super) const KERNEL: &str = "vmlinuz";
pub(super) const INITRD: &str = "initrd.img";
pub(super) const DPKG_STATUS: &str = "dpkg-status";
/// The root tree with its package database, by its name on a release server.
pub(super) const BASE_SQUASHFS: &str = "flatcar_production_image_sysext.squashfs";
const OS_RELEASE: &str = "os-release";
/// Where the root tree says which archive its packages are from.
const ARCHIVE_DESCRIPTION: &str = "usr/share/loadgauge/archive.json";
/// What the archive had when the base was made: name, architecture, version and SHA-256 of each.
pub(super) const ARCHIVE_INDEX: &str = "archive-index";

/// Makes the stand-in's base, or finds it in the store, and says in which directory it lies.
///
/// The directory holds `base.json`, the package database `dpkg-status`, `os-release`, the kernel
/// `vmlinuz`, `initrd.img`, what the archive had, and the file system without extensions as
/// `root.tar` and as `flatcar_production_image_sysext.squashfs`. The store's key covers everything but the state of the mirror: a base is made anew when it is removed there.
///
/// `progress` is told what is being done, in short phrases.
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

/// The digest of all that goes in.
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

/// The scripts that run in the new root.
fn scripts(options: &Options) -> Vec<(&'static str, String)> {
    let era = format!("eras/{}/customize.sh", options.blueprint.era());
    let text = |name: &str| tree::text(if name == "era.sh" { &era } else { name }, options);
    SCRIPTS.into_iter().filter_map(|name| Some((name, text(name)?))).collect()
}

/// Has mmdebstrap make the root file system, and takes out what is wanted beside it.
fn bootstrap(directory: &Utf8Path, options: &Options, progress: &dyn Fn(&str)) -> Result<(), StandinError> {
    let overlay = directory.join("overlay.tar");
    let mut files = tree::files(options);
    files.push(TreeFile {
        path: ARCHIVE_DESCRIPTION.to_owned(),
        content: serde_json::to_vec_pretty(&archive(options))
            .map_err(|error| FileError::at::<StandinError>("write", &overlay)(error.into()))?,
        mode: 0o644,
    });
    let archive = tree::archive(&files, TIME).map_err(FileError::at::<StandinError>("write", &overlay))?;
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

/// Where the packages of the base are from.
fn archive(options: &Options) -> Archive {
    Archive {
        mirror: options.mirror.clone(),
        suite: options.blueprint.suite.to_owned(),
        components: vec!["main".to_owned()],
        keyring: Utf8PathBuf::from(KEYRING),
    }
}

/// Packs the root tree as a release server has it.
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

/// The command line of mmdebstrap(1). Its hooks run with the right identity in its namespace.
fn mmdebstrap(directory: &Utf8Path, options: &Options) -> Result<Command, StandinError> {
    let mut command = Tool::find("mmdebstrap")?.command();
    command
        .env("SOURCE_DATE_EPOCH", TIME.to_string())
        // The kernel's package would make an initrd of its own while it is installed.
        .env("INITRD", "No")
        .arg(if is_root() { "--mode=root" } else { "--mode=unshare" })
        // Without apt: Flatcar has no package manager either.
        .arg("--variant=essential")
        .arg(format!("--architectures={}", options.architecture.debian_name()))
        .arg(format!("--keyring={KEYRING}"))
        .arg(format!("--include={}", tree::packages(options).join(",")))
        .arg("--aptopt=APT::Install-Recommends \"false\"")
        // A mirror that is kept as it was has testing suites that expired.
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

/// Runs a command that tells of its progress in lines that start with `I: `.
fn run_reporting(command: &mut Command, progress: &dyn Fn(&str)) -> Result<(), CommandError> {
    let line = command.line();
    tracing::debug!(command = %line, "run");
    let failed = |source| CommandError::Start { command: line.clone(), source };
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(failed)?;
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

/// Writes base.json, the last file of an entry.
fn describe(directory: &Utf8Path, options: &Options, key: &str) -> Result<(), StandinError> {
    let os_release = directory.join(OS_RELEASE);
    let text = fs::read_to_string(&os_release)?;
    let status = directory.join(DPKG_STATUS);
    let mut inputs = Inputs::default();
    inputs.add("key", key);
    // The mirror moves on, and what is built against the base depends on what it had.
    inputs.add(
        "packages",
        digest::sha256_of_file(&status).map_err(FileError::at::<StandinError>("read", &status))?,
    );
    let base = Base {
        digest: inputs.finish(),
        os_release: OsRelease::parse(&text).map_err(|error| {
            FileError::at::<StandinError>("read", &os_release)(std::io::Error::other(error))
        })?,
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
