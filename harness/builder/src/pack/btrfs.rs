// SPDX-License-Identifier: Apache-2.0
use std::fs::File;

use camino::Utf8Path;
use loadgauge_host::{CommandError, CommandExt as _, FileError, Tool, fs};

use super::{Identity, PackError, btrfs_normalise};
use crate::namespace;
use crate::stage::Staged;

/// Copies the tree to a tmpfs and packs it from there: mkfs.btrfs adds names in the order in which the
/// host's file system lists them, which on a tmpfs depends on the order of creation alone. Kernels list the
/// newest name first or last (last from 6.6 on in some versions), so the script tries it out, and creates
/// the files such that each directory lists its names in order: `/` is sorted before any other character.
/// With `-P` tar creates links with `..` in this order too; otherwise it creates them at its end, in an
/// order that depends on its version. In a user namespace the builder's files belong to root.
const SCRIPT: &str = r#"
tree=$1 mount=$2 mkfs=$3 uuid=$4 image=$5
shift 5
mount -t tmpfs -o mode=0755 tmpfs "$mount"
mkdir "$mount/try"
: >"$mount/try/1"
: >"$mount/try/2"
case $(ls -U "$mount/try") in 2*) reverse=-r ;; *) reverse= ;; esac
rm -r "$mount/try"
cd "$tree"
find . -print0 | tr / '\001' | LC_ALL=C sort -z $reverse | tr '\001' / |
    tar --null --no-recursion -T - --numeric-owner "$@" -cf - | tar -C "$mount" --numeric-owner -Pxpf -
exec "$mkfs" -q -f -d single -m single --csum crc32c -n 16384 -s 4096 -U "$uuid" --rootdir "$mount" --shrink "$image"
"#;

/// Runs mkfs.btrfs and normalises its output: up to version 6.2 at least, it creates three random
/// identifiers and uses the clock and the host's change times, and no option changes that. See
/// [`btrfs_normalise`].
pub(super) fn pack(staged: &Staged, identity: &Identity, output: &Utf8Path) -> Result<(), PackError> {
    let file = File::create_new(output).map_err(FileError::at("create", output))?;
    // The file is sparse, and --shrink truncates it.
    file.set_len((staged.size() * 2).next_multiple_of(1 << 20) + (512 << 20))
        .map_err(FileError::at("write", output))?;
    drop(file);
    let mount = output.with_extension("mount");
    fs::create_dir(&mount)?;
    let mkfs = Tool::find("mkfs.btrfs")?;
    let uuid = identity.uuid("btrfs").to_string();
    let mut command = namespace::command(&Tool::find("unshare")?, "--mount");
    command.env_remove("TAR_OPTIONS");
    command.args(["sh", "-euc", SCRIPT, "sh"]);
    command.arg(staged.root()).arg(&mount).arg(mkfs.path()).arg(uuid).arg(output);
    // Files of others belong to them on the host as well: this user is root.
    if staged.not_of_root().next().is_none() {
        command.args(["--owner=0", "--group=0"]);
    }
    command.run().map_err(classify)?;
    fs::remove_dir(&mount)?;
    btrfs_normalise::normalise(output, identity)
}

fn classify(error: CommandError) -> PackError {
    match &error {
        CommandError::Failed { tail, .. } if tail.contains("unshare:") || tail.contains("mount:") => {
            PackError::NoNamespace(error)
        }
        _ => PackError::Command(error),
    }
}
