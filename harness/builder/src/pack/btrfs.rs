// SPDX-License-Identifier: Apache-2.0
use std::fs::{self, File};
use std::process::Command;

use camino::Utf8Path;
use loadgauge_host::{CommandError, CommandExt as _, Tool};

use super::{Identity, PackError, btrfs_normalise};
use crate::stage::Staged;

/// Copies the tree to a tmpfs and packs it from there: mkfs.btrfs takes names in the order in which the
/// host's file system lists them, which for a tmpfs comes from the order of creation alone. Kernels list
/// the newest first or last (last from 6.6 on for some versions), so it is tried out, and the tree made
/// such that each directory lists its names in order: `/` is sorted as what comes before any other
/// character. With `-P` tar makes links that lead upwards where they come, and not at its end, in an
/// order of each version's own. Inside a user namespace the builder's files are root's.
const SCRIPT: &str = r#"
mount -t tmpfs -o mode=0755 tmpfs "$2"
mkdir "$2/try"
: >"$2/try/1"
: >"$2/try/2"
case $(ls -U "$2/try") in 2*) reverse=-r ;; *) reverse= ;; esac
rm -r "$2/try"
cd "$1"
find . -print0 | tr / '\001' | LC_ALL=C sort -z $reverse | tr '\001' / |
    tar --null --no-recursion -T - --owner=0 --group=0 --numeric-owner -cf - | tar -C "$2" -Pxpf -
exec "$3" -q -f -d single -m single --csum crc32c -n 16384 -s 4096 -U "$4" --rootdir "$2" --shrink "$5"
"#;

/// mkfs.btrfs, and then a pass over its output: up to version 6.2 at least, it draws three
/// identifiers by chance and reads the clock and the host's change times, and no option changes
/// that. See [`btrfs_normalise`].
pub(super) fn pack(staged: &Staged, identity: &Identity, output: &Utf8Path) -> Result<(), PackError> {
    let file = File::create_new(output).map_err(PackError::io("create", output))?;
    // Sparse, and cut off by --shrink.
    file.set_len((staged.size() * 2).next_multiple_of(1 << 20) + (512 << 20))
        .map_err(PackError::io("write", output))?;
    drop(file);
    let mount = output.with_extension("mount");
    fs::create_dir(&mount).map_err(PackError::io("create", &mount))?;
    let mkfs = Tool::find("mkfs.btrfs")?;
    let uuid = identity.uuid("btrfs").to_string();
    let mut command = namespace(&Tool::find("unshare")?);
    command.args(["sh", "-euc", SCRIPT, "sh"]);
    command.arg(staged.root()).arg(&mount).arg(mkfs.path()).arg(uuid).arg(output);
    command.run().map_err(tell_apart)?;
    fs::remove_dir(&mount).map_err(PackError::io("remove", &mount))?;
    btrfs_normalise::normalise(output, identity)
}

fn namespace(unshare: &Tool) -> Command {
    let mut command = unshare.command();
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("--mount").env_remove("TAR_OPTIONS");
    command
}

fn tell_apart(error: CommandError) -> PackError {
    match &error {
        CommandError::Failed { tail, .. } if tail.contains("unshare:") || tail.contains("mount:") => {
            PackError::NoNamespace(error)
        }
        _ => PackError::Command(error),
    }
}
