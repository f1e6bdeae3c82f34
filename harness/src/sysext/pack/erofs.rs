// SPDX-License-Identifier: Apache-2.0

use camino::Utf8Path;
use loadgauge_images::host::{CommandExt as _, Tool};

use super::help::said;
use super::options::ErofsCompression;
use super::{Identity, PackError};
use crate::sysext::stage::Staged;

/// With the options of Flatcar's SDK, but at a level that takes seconds unless another is asked
/// for. Kernels from 6.1 read it (`fragments`); Flatcar's have erofs from release 4284.
pub(super) fn pack(
    staged: &Staged,
    (compression, level): (ErofsCompression, Option<u32>),
    identity: &Identity,
    output: &Utf8Path,
) -> Result<(), PackError> {
    let mut command = Tool::find("mkfs.erofs")?.command();
    command.env_remove("SOURCE_DATE_EPOCH");
    command.args(arguments(compression, level));
    command.args(["--all-root", "-x-1", "--quiet"]);
    command.arg(format!("-T{}", identity.epoch)).arg(format!("-U{}", identity.uuid("erofs")));
    command.arg(output).arg(staged.root()).run()?;
    Ok(())
}

fn arguments(compression: ErofsCompression, level: Option<u32>) -> Vec<String> {
    let level = level.unwrap_or(3);
    let (how, cluster) = match compression {
        ErofsCompression::Lz4hc => (format!("-zlz4hc,{level}"), "-C65536"),
        ErofsCompression::Lz4 => ("-zlz4".to_owned(), "-C65536"),
        ErofsCompression::Zstd => (format!("-zzstd,level={level}"), "-C524288"),
        ErofsCompression::None => return Vec::new(),
    };
    vec![how, cluster.to_owned(), "-Efragments,ztailpacking".to_owned()]
}

/// Refuses a compression that the host's mkfs.erofs was built without.
pub(super) fn check(compression: ErofsCompression) -> Result<(), PackError> {
    if compression == ErofsCompression::None {
        return Ok(());
    }
    let text = said("mkfs.erofs", "--help")?;
    if offers(&text, &compression.to_string()) {
        return Ok(());
    }
    Err(PackError::Compression { format: "erofs", compression: compression.to_string() })
}

/// Whether the help of mkfs.erofs lists a compression: up to version 1.7 in one line after
/// `Available compressors are:`, from 1.8 after `supported compressors and their option ranges are:`,
/// each at the start of a line of its own, until the next option.
fn offers(help: &str, name: &str) -> bool {
    let is_heading =
        |line: &str| line.contains("vailable compressors are") || line.contains("supported compressors");
    let mut lines = help.lines().skip_while(|line| !is_heading(line));
    let Some(first) = lines.next() else { return false };
    let listed = first.rsplit_once(':').map_or("", |(_, listed)| listed);
    let mut own = lines
        .map_while(|line| line.strip_prefix(' ').map(str::trim_start))
        .take_while(|line| !line.starts_with('-'));
    listed.split(',').any(|word| word.trim() == name)
        || own.any(|line| line.split(|c: char| !c.is_ascii_alphanumeric()).next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mkfs_erofs_can_do_is_read_from_its_help() {
        let old = "usage: ...\n --quiet   quiet\n\nAvailable compressors are: lz4hc, lz4\n";
        assert!(offers(old, "lz4") && offers(old, "lz4hc") && !offers(old, "zstd"));
        let new = " -zX[,level=Y]         X=compressor (Y=compression level, Z=dictionary size, optional)\n    \
                   [,dictsize=Z]      alternative compressors can be separated by colons(:)\n    \
                   [:...]             supported compressors and their option ranges are:\n                         \
                   lz4\n                         lz4hc\n                           \
                   [,level=<0-12>]\t\t(default=9)\n                         zstd\n                           \
                   [,level=<0-22>]\t\t(default=3)\n                           \
                   [,dictsize=<dictsize>]\t(default=<auto>, max=1048576)\n -C#                   specify the size\n \
                   lzma                  of no meaning here\n";
        assert!(offers(new, "lz4") && offers(new, "lz4hc") && offers(new, "zstd"));
        assert!(!offers(new, "lzma") && !offers(new, "level"));
    }
}
