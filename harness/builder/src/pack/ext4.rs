// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;
use std::fs::File;

use camino::Utf8Path;
use loadgauge_host::{CommandExt as _, FileError, Scratch, Tool, fs};

use super::{Identity, PackError};
use crate::owner::Owner;
use crate::stage::{NodeKind, Staged};

const BLOCK: u64 = 4096;

/// Features that every kernel since 4.4 reads. The list is complete, so that the host's mke2fs.conf does
/// not matter; there is no journal, since the image is read-only.
const FEATURES: &str = "none,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,\
                        huge_file,dir_nlink,extra_isize,metadata_csum";

/// Creates an empty file system with mke2fs and fills it with debugfs.
///
/// `mke2fs -d` would take owners and change times from the host's files and the order of names from its
/// directories. Files of debugfs belong to root, have the time of `E2FSPROGS_FAKE_TIME`, and are created in
/// the order of its commands.
pub(super) fn pack(staged: &Staged, identity: &Identity, output: &Utf8Path) -> Result<(), PackError> {
    let epoch = identity.epoch.to_string();
    let inodes = staged.nodes().count() + 16;
    let file = File::create_new(output).map_err(FileError::at("create", output))?;
    file.set_len(size(staged, inodes)).map_err(FileError::at("write", output))?;
    let mut command = Tool::find("mke2fs")?.command();
    command
        .env("MKE2FS_CONFIG", "/dev/null")
        .env("E2FSPROGS_FAKE_TIME", &epoch)
        .env_remove("SOURCE_DATE_EPOCH");
    command.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "0", "-O", FEATURES]);
    command.arg("-N").arg(inodes.to_string()).arg("-U").arg(identity.uuid("ext4").to_string());
    let seed = identity.uuid("ext4 directories");
    command.arg("-E").arg(format!("hash_seed={seed},root_owner=0:0,lazy_itable_init=0,nodiscard"));
    command.arg(output).run()?;
    fill(staged, &epoch, output)
}

fn fill(staged: &Staged, epoch: &str, output: &Utf8Path) -> Result<(), PackError> {
    let scratch = Scratch::new()?;
    let script = scratch.path().join("commands");
    fs::write(&script, commands(staged))?;
    let mut command = Tool::find("debugfs")?.command();
    command.env("E2FSPROGS_FAKE_TIME", epoch).env_remove("SOURCE_DATE_EPOCH").current_dir(staged.root());
    command.arg("-w").arg("-f").arg(&script).arg(output);
    let run = command.run()?;
    // Its exit status is always 0; it prints its version and then its errors.
    let stderr = String::from_utf8_lossy(&run.stderr);
    let errors: Vec<&str> = stderr.lines().filter(|line| !line.starts_with("debugfs 1.")).collect();
    if errors.is_empty() { Ok(()) } else { Err(PackError::Debugfs(errors.join("\n"))) }
}

/// The commands for debugfs. Files of the host are relative to the root of the stage.
fn commands(staged: &Staged) -> String {
    let mut script = String::new();
    for (path, node) in staged.nodes() {
        let inside = quote(&format!("/{path}"));
        let _ = match &node.kind {
            NodeKind::Directory => {
                writeln!(script, "mkdir {inside}\nset_inode_field {inside} mode 04{:04o}", node.mode)
            }
            NodeKind::File { .. } => {
                let host = quote(path.as_str());
                writeln!(script, "write {host} {inside}\nset_inode_field {inside} mode 010{:04o}", node.mode)
            }
            NodeKind::Link { target } => writeln!(script, "symlink {inside} {}", quote(target)),
        };
        if !node.owner.is_root() {
            let Owner { uid, gid } = node.owner;
            let _ =
                writeln!(script, "set_inode_field {inside} uid {uid}\nset_inode_field {inside} gid {gid}");
        }
    }
    script
}

/// Quotes an argument for libss, in which a quote inside quotes is doubled.
fn quote(argument: &str) -> String {
    format!("\"{}\"", argument.replace('"', "\"\""))
}

/// The size of a file system with a small reserve, in bytes: data, directories (a block each and one more
/// for every hundred names), inodes, and tables.
fn size(staged: &Staged, inodes: usize) -> u64 {
    let blocks: u64 = staged
        .nodes()
        .map(|(_, node)| match &node.kind {
            NodeKind::File { size } => size.div_ceil(BLOCK),
            NodeKind::Directory | NodeKind::Link { .. } => 1,
        })
        .sum();
    let inodes = inodes as u64;
    let bytes = blocks * BLOCK + inodes * 256 + inodes.div_ceil(100) * BLOCK;
    (bytes + bytes / 50 + (1 << 20)).next_multiple_of(1 << 20)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn quotes_in_names_are_escaped_for_debugfs() {
        let mut staged = Staged::new_in(Utf8Path::new("/tmp")).expect("a stage");
        let origin: Arc<str> = Arc::from("a test");
        staged.put_file(Utf8Path::new("usr/a \"b\" c"), 0o4755, &mut &b"x"[..], &origin).expect("a file");
        staged.set_owner(Utf8Path::new("usr/a \"b\" c"), Owner { uid: 6, gid: 100_000 });
        staged.put_link(Utf8Path::new("usr/link"), "a \"b\" c", &origin).expect("a link");
        insta::assert_snapshot!(commands(&staged), @r#"
        mkdir "/usr"
        set_inode_field "/usr" mode 040755
        write "usr/a ""b"" c" "/usr/a ""b"" c"
        set_inode_field "/usr/a ""b"" c" mode 0104755
        set_inode_field "/usr/a ""b"" c" uid 6
        set_inode_field "/usr/a ""b"" c" gid 100000
        symlink "/usr/link" "a ""b"" c"
        "#);
    }
}
