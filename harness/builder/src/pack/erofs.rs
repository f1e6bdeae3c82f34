// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_host::{CommandExt as _, Tool};

use super::options::{ErofsCompression, Packing};
use super::program_text::program_text;
use super::{Identity, PackError};
use crate::stage::Staged;

/// Packs with the options of Flatcar's SDK, but at a level that takes seconds by default. `fragments`
/// needs Linux 6.1; Flatcar's kernels have erofs from release 4284 on.
pub(super) fn pack(
    staged: &Staged,
    packing: &Packing,
    identity: &Identity,
    output: &Utf8Path,
) -> Result<(), PackError> {
    let mut command = Tool::find("mkfs.erofs")?.command();
    command.env_remove("SOURCE_DATE_EPOCH");
    let (compression, level) = packing.erofs();
    command.args(arguments(compression, level)).args(packing.erofs_arguments());
    command.args(["-x-1", "--quiet"]);
    // Files of others belong to them on the host as well: this user is root.
    if staged.not_of_root().next().is_none() {
        command.arg("--all-root");
    }
    command.arg(format!("-T{}", identity.epoch)).arg(format!("-U{}", identity.uuid("erofs")));
    command.arg(output).arg(staged.root()).run()?;
    Ok(())
}

fn arguments(compression: ErofsCompression, level: Option<u32>) -> Vec<String> {
    let level = level.unwrap_or(3);
    let (compressor, cluster) = match compression {
        ErofsCompression::Lz4hc => (format!("-zlz4hc,{level}"), "-C65536"),
        ErofsCompression::Lz4 => ("-zlz4".to_owned(), "-C65536"),
        ErofsCompression::Zstd => (format!("-zzstd,level={level}"), "-C524288"),
        ErofsCompression::None => return Vec::new(),
    };
    vec![compressor, cluster.to_owned(), "-Efragments,ztailpacking".to_owned()]
}

/// Checks that the host's mkfs.erofs was built with a compression.
pub(super) fn check(compression: ErofsCompression) -> Result<(), PackError> {
    if compression == ErofsCompression::None {
        return Ok(());
    }
    let text = program_text("mkfs.erofs", "--help")?;
    if lists(&text, &compression.to_string()) {
        return Ok(());
    }
    Err(PackError::Compression { format: "erofs", compression: compression.to_string() })
}

/// Whether the help text of mkfs.erofs lists a compression: before erofs-utils 1.8 in one line after
/// `Available compressors are:`, later each at the start of a line below `supported compressors and their
/// option ranges are:`, up to the next option.
fn lists(help: &str, name: &str) -> bool {
    let mut lines = help.lines().skip_while(|line| !(line.contains("compressors") && line.contains("are:")));
    let Some(first) = lines.next() else { return false };
    let listed = first.split_once("are:").map_or("", |(_, listed)| listed);
    let mut own = lines.map(str::trim_start).take_while(|line| !line.starts_with('-'));
    listed.split(',').any(|word| word.trim() == name) || own.any(|line| line.trim_end() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The end of the help text of erofs-utils 1.5.
    const OLD: &str = " --quiet               quiet execution (do not write anything to standard output.)

Available compressors are: lz4hc, lz4
";
    /// The middle of the help text of erofs-utils 1.8.6.
    const NEW: &str = " -x#                   set xattr tolerance to # (< 0, disable xattrs; default 2)
 -zX[,level=Y]         X=compressor (Y=compression level, Z=dictionary size, optional)
    [,dictsize=Z]      alternative compressors can be separated by colons(:)
    [:...]             supported compressors and their option ranges are:
                         lz4
                         lz4hc
                           [,level=<0-12>]\t\t(default=9)
                         lzma
                           [,level=<0-9,100-109>]\t0-9=normal, 100-109=extreme (default=6)
                         zstd
                           [,level=<0-22>]\t\t(default=3)
 -C#                   specify the size of compress physical cluster in bytes
    deflate
";

    #[test]
    fn compressions_are_read_from_the_help_text() {
        assert!(lists(OLD, "lz4") && lists(OLD, "lz4hc") && !lists(OLD, "zstd"));
        assert!(lists(NEW, "lz4") && lists(NEW, "lz4hc") && lists(NEW, "zstd") && lists(NEW, "lzma"));
        assert!(!lists(NEW, "deflate"), "part of another option");
        assert!(!lists("usage: mkfs.erofs", "lz4"));
    }
}
