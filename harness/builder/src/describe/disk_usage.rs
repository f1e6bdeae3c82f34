// SPDX-License-Identifier: Apache-2.0
//! The size of an extension in the format of `df --human-readable
//! --output=file,size,used,avail,pcent,fstype ./`, which Flatcar's SDK publishes.
use crate::extension::Format;

/// The table of two lines. `size` is that of the image in bytes, and `used` that of its files; a
/// compressed file system is always full.
pub(super) fn table(format: Format, size: u64, used: u64) -> String {
    let used = match format {
        Format::Ext4 | Format::Btrfs => used.min(size),
        Format::Directory | Format::Squashfs | Format::Erofs | Format::Ddi => size,
    };
    let percent = if size == 0 { "-".to_owned() } else { format!("{}%", (used * 100).div_ceil(size)) };
    let row = [human(size), human(used), human(size - used)];
    format!(
        "File  Size  Used Avail Use% Type\n./   {:>5} {:>5} {:>5} {percent:>4} {format}\n",
        row[0], row[1], row[2]
    )
}

/// The format of `df` and `numfmt --to=iec --round=up`: one decimal place below ten.
fn human(bytes: u64) -> String {
    let mut unit = 1_u64;
    let mut letters = ["", "K", "M", "G", "T", "P"].into_iter();
    let mut letter = letters.next().unwrap_or_default();
    // 1024 and more of a unit are written in the next one.
    while bytes.div_ceil(unit) >= 1024 {
        unit *= 1024;
        letter = letters.next().unwrap_or_default();
    }
    let tenths = (bytes * 10).div_ceil(unit);
    if letter.is_empty() || tenths > 99 {
        format!("{}{letter}", bytes.div_ceil(unit))
    } else {
        format!("{}.{}{letter}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use loadgauge_host::{CommandExt as _, Tool};

    use super::*;

    #[test]
    fn sizes_are_written_as_coreutils_does() {
        let numbers: Vec<u64> = (0..40)
            .flat_map(|shift| {
                [1_u64 << shift, (1 << shift) - 1, (1 << shift) + 1, 77 << shift, 1_000_003 << shift]
            })
            .filter(|number| *number < 1 << 50)
            .collect();
        let arguments = numbers.iter().map(u64::to_string);
        let mut numfmt = Tool::find("numfmt").expect("a tool of the host").command();
        let output = numfmt.args(["--to=iec", "--round=up"]).args(arguments).run().expect("it runs");
        let theirs = String::from_utf8(output.stdout).expect("UTF-8");
        let ours: Vec<String> = numbers.iter().map(|number| human(*number)).collect();
        assert_eq!(ours, theirs.lines().collect::<Vec<_>>());
    }

    #[test]
    fn the_table_has_the_format_of_df() {
        let tables = [table(Format::Squashfs, 41_000_000, 99_000_000), table(Format::Ext4, 8 << 20, 5 << 20)];
        insta::assert_snapshot!(tables.concat());
    }
}
