// SPDX-License-Identifier: Apache-2.0
use std::io::{self, Read};

/// The size of a header and of the unit that data is padded to, in bytes.
const BLOCK: usize = 512;
/// The limit of a name, a link's target or the extended header of a member, in bytes. A path of Linux has at
/// most 4096; an extended header has attributes and comments as well.
const MAXIMUM_NAME: u64 = 1 << 20;

/// A reader of a tar archive that refuses excessive names before anything reads them into memory.
///
/// GNU tar and pax(1) write a long name as the data of a member of its own, whose size a compressed archive
/// of a few megabytes can set to gigabytes.
pub(super) struct TarGuard<R> {
    inner: R,
    /// the part of the next header that was read
    header: Vec<u8>,
    /// bytes of data and padding up to the next header
    data: u64,
    /// the data of an extended header, and how much of it is missing
    extended: Option<(Vec<u8>, u64)>,
    /// the size of the next member in an extended header
    size: Option<u64>,
    /// whether the next block continues the map of a sparse file
    is_map: bool,
    /// whether the archive has ended, or is not one
    is_over: bool,
}

impl<R: Read> TarGuard<R> {
    /// Guards the reader of an uncompressed archive.
    pub(super) fn new(inner: R) -> Self {
        Self { inner, header: Vec::new(), data: 0, extended: None, size: None, is_map: false, is_over: false }
    }

    /// Follows the structure of the archive.
    fn follow(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() && !self.is_over {
            if self.data > 0 {
                let count = bytes.len().min(usize::try_from(self.data).unwrap_or(usize::MAX));
                if let Some((extended, missing)) = &mut self.extended {
                    let own = count.min(usize::try_from(*missing).unwrap_or(usize::MAX));
                    extended.extend_from_slice(&bytes[..own]);
                    *missing -= own as u64;
                }
                self.data -= count as u64;
                bytes = &bytes[count..];
                if self.data == 0
                    && let Some((extended, _)) = self.extended.take()
                {
                    self.size = size_in(&extended);
                }
                continue;
            }
            let count = bytes.len().min(BLOCK - self.header.len());
            self.header.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if self.header.len() == BLOCK {
                let header = std::mem::take(&mut self.header);
                self.read_header(&header)?;
            }
        }
        Ok(())
    }

    fn read_header(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_map {
            self.is_map = bytes[504] != 0;
            self.data =
                if self.is_map { 0 } else { self.size.take().unwrap_or(0).next_multiple_of(BLOCK as u64) };
            return Ok(());
        }
        let header = tar::Header::from_byte_slice(bytes);
        let kind = header.entry_type();
        let is_empty = bytes.iter().all(|byte| *byte == 0);
        let Some(stated) = header.entry_size().ok().filter(|_| !is_empty) else {
            // The end of the archive, or something that tar refuses.
            self.is_over = true;
            return Ok(());
        };
        let is_name = kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions();
        if is_name {
            if stated > MAXIMUM_NAME {
                let reason =
                    format!("a name or an extended header has {stated} bytes, more than {MAXIMUM_NAME}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
            self.data = stated.next_multiple_of(BLOCK as u64);
            if kind.is_pax_local_extensions() && stated > 0 {
                self.extended = Some((Vec::new(), stated));
            }
            return Ok(());
        }
        let size = self.size.take().unwrap_or(stated);
        if kind.is_gnu_sparse() && bytes[482] != 0 {
            (self.is_map, self.size) = (true, Some(size));
            return Ok(());
        }
        self.data = size.checked_next_multiple_of(BLOCK as u64).unwrap_or(u64::MAX);
        Ok(())
    }
}

/// `size` in the records of an extended header: `20 size=12345678901\n`.
fn size_in(records: &[u8]) -> Option<u64> {
    let mut records = tar::PaxExtensions::new(records).filter_map(Result::ok);
    records.find(|record| record.key_bytes() == b"size")?.value().ok()?.parse().ok()
}

impl<R: Read> Read for TarGuard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.follow(&buffer[..count])?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use loadgauge_host::{CommandExt as _, Tool};

    use super::*;

    fn read(archive: &[u8], step: usize) -> io::Result<usize> {
        let mut guard = TarGuard::new(archive);
        let mut buffer = vec![0; step];
        let mut total = 0;
        loop {
            match guard.read(&mut buffer)? {
                0 => return Ok(total),
                count => total += count,
            }
        }
    }

    fn long_name(kind: u8, size: u64) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_size(size);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    #[test]
    fn archives_of_gnu_tar_pass() {
        let directory = tempfile::tempdir().expect("a directory");
        let run = |script: &str| {
            let mut shell = Tool::find("sh").expect("a shell").command();
            let output = shell.args(["-euc", script]).current_dir(directory.path()).run();
            output.unwrap_or_else(|error| panic!("{error}")).stdout
        };
        // Names of every length, a link with a long target, and a sparse file with many parts.
        run("mkdir -p tree && cd tree && long=$(printf '%0200d' 0) && mkdir -p $long/$long && \\
             echo x > $long/$long/$long && ln -s $long/$long/$long link && : > sparse && \\
             for part in $(seq 40); do printf x | dd of=sparse bs=1 seek=$((part * 100000)) 2>/dev/null; done && \\
             yes abcdefgh | head -c 70000 > data");
        for format in ["gnu --sparse", "gnu", "posix", "posix --pax-option=comment=x,size=70000"] {
            let archive = run(&format!("tar --format={format} -cf - tree"));
            for step in [511, 512, 70_000] {
                assert_eq!(read(&archive, step).expect(format), archive.len(), "{format}");
            }
            // The guard has followed every member: an excessive name behind them is found.
            let end = archive.iter().rposition(|byte| *byte != 0).expect("not empty") + 1;
            let mut longer = archive[..end.next_multiple_of(BLOCK)].to_vec();
            longer.extend(long_name(b'L', 3 << 30));
            if !format.contains("size=") {
                assert!(read(&longer, 4096).is_err(), "{format}");
            }
        }
    }

    #[test]
    fn excessive_names_are_refused_before_they_are_read() {
        for kind in [b'L', b'K', b'x', b'g'] {
            let error = read(&long_name(kind, 3 << 30), 4096).expect_err("refused");
            assert!(error.to_string().contains("has 3221225472 bytes"), "{error}");
            read(&long_name(kind, 5000), 4096).expect("a long name");
        }
    }
}
