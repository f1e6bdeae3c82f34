// SPDX-License-Identifier: Apache-2.0
//! Compares the time for packing with that of the packing programs: `pack_speed DIRECTORY`.
//!
//! The directory is a tree that contains `usr`. The output is a JSON object per line: the measurement,
//! our seconds, their seconds, and the ratio of ours to theirs. Each value is the best of three runs;
//! ours and theirs alternate.
#![expect(clippy::disallowed_methods, reason = "an example unwraps at once")]
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_builder::Format;
use loadgauge_builder::pack::{Identity, Packing, pack};
use loadgauge_builder::stage::Staged;
use loadgauge_host::{CommandExt as _, Tool};
use loadgauge_images::Architecture;
use loadgauge_images::verity::{BLOCK, Parameters, hash_area};

const TURNS: usize = 3;
const GIBIBYTE: u64 = 1 << 30;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let tree = std::env::args().nth(1).ok_or("usage: pack_speed DIRECTORY")?;
    let scratch = tempfile::tempdir()?;
    let scratch = Utf8PathBuf::from_path_buf(scratch.path().to_owned()).map_err(|_| "not UTF-8")?;
    fs::create_dir_all(&scratch)?;
    let staged = stage(Utf8Path::new(&tree), &scratch)?;
    packing(&staged, &scratch, Format::Squashfs, "mksquashfs")?;
    packing(&staged, &scratch, Format::Erofs, "mkfs.erofs")?;
    verity(&scratch)
}

/// Stages all files of a directory like the builder.
fn stage(tree: &Utf8Path, scratch: &Utf8Path) -> Result<Staged> {
    let mut staged = Staged::new_in(scratch)?;
    let origin: Arc<str> = Arc::from("the tree");
    for entry in walkdir::WalkDir::new(tree).min_depth(1).sort_by_file_name() {
        let entry = entry?;
        let host = Utf8Path::from_path(entry.path()).ok_or("not UTF-8")?;
        let path = host.strip_prefix(tree)?;
        let kind = entry.file_type();
        if kind.is_dir() {
            staged.put_directory(path, 0o755, &origin)?;
        } else if kind.is_symlink() {
            staged.put_link(path, fs::read_link(host)?.to_str().ok_or("not UTF-8")?, &origin)?;
        } else if kind.is_file() {
            let mode = fs::metadata(host)?.permissions().mode() & 0o777 | 0o600;
            staged.put_file(path, mode, &mut File::open(host)?, &origin)?;
        }
    }
    staged.settle(1_704_067_200)?;
    Ok(staged)
}

/// Compares our packing with the program's, with the same options.
fn packing(staged: &Staged, scratch: &Utf8Path, format: Format, tool: &str) -> Result<()> {
    let identity = Identity { epoch: 1_704_067_200, seed: "speed".to_owned() };
    let output = scratch.join("image");
    let alone = || -> Result<()> {
        let mut command = Tool::find(tool)?.command();
        if format == Format::Squashfs {
            command.arg(staged.root()).arg(&output);
            command.args(["-comp", "zstd", "-Xcompression-level", "3", "-b", "512k", "-all-root"]);
            command.args(["-no-xattrs", "-noappend", "-no-progress", "-quiet"]);
        } else {
            command.args(["-zlz4hc,3", "-C65536", "-Efragments,ztailpacking", "--all-root", "-x-1"]);
            command.arg("--quiet").arg(&output).arg(staged.root());
        }
        command.run()?;
        Ok(fs::remove_file(&output)?)
    };
    let ours = || -> Result<()> {
        pack(staged, format, &Packing::default(), Architecture::Amd64, &identity, &output)?;
        Ok(fs::remove_file(&output)?)
    };
    compare(&format!("packing as {format}, against {tool}"), ours, alone)
}

/// Compares our dm-verity hash tree of one gibibyte with `veritysetup format`.
fn verity(scratch: &Utf8Path) -> Result<()> {
    let (data, hashes) = (scratch.join("data"), scratch.join("hashes"));
    let mut file = File::create(&data)?;
    let mut block = vec![0_u8; 1 << 20];
    for number in 0..GIBIBYTE >> 20 {
        block[..8].copy_from_slice(&number.to_le_bytes());
        file.write_all(&block)?;
    }
    file.sync_all()?;
    let parameters = Parameters { salt: [7; 32], uuid: uuid::Uuid::from_u128(7) };
    let ours = || -> Result<()> {
        let tree = hash_area(&File::open(&data)?, 0, GIBIBYTE / BLOCK as u64, &parameters)?;
        Ok(fs::write(&hashes, tree.area)?)
    };
    let theirs = || -> Result<()> {
        let salt = format!("--salt={}", "07".repeat(32));
        Tool::find("veritysetup")?.command().arg("format").arg(salt).args([&data, &hashes]).run()?;
        Ok(())
    };
    compare("hashing of 1 GiB, against veritysetup format", ours, theirs)
}

fn compare(what: &str, ours: impl Fn() -> Result<()>, theirs: impl Fn() -> Result<()>) -> Result<()> {
    let mut best = [f64::INFINITY; 2];
    for _ in 0..TURNS {
        for (turn, seconds) in [&ours as &dyn Fn() -> Result<()>, &theirs].into_iter().zip(&mut best) {
            let start = Instant::now();
            turn()?;
            *seconds = seconds.min(start.elapsed().as_secs_f64());
        }
    }
    let [ours, theirs] = best;
    let line = serde_json::json!({ "what": what, "ours": ours, "theirs": theirs, "ratio": ours / theirs });
    writeln!(io::stdout(), "{line}")?;
    Ok(())
}
