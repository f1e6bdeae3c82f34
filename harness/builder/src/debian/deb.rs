// SPDX-License-Identifier: Apache-2.0
use std::io::{BufReader, Read};

use camino::{Utf8Path, Utf8PathBuf};
use globset::GlobSet;
use loadgauge_host::fs;

use crate::globs::matches;
use crate::member::merge_usr;
use crate::stage::Staged;
use crate::unpack::{Place, UnpackCause, UnpackError, Unpacking, decoder};

/// The result of unpacking a package.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// files and links outside /usr and /opt, which were not unpacked
    pub dropped: Vec<Utf8PathBuf>,
}

/// Unpacks a Debian package into a stage.
///
/// Maintainer scripts are not run. Files outside /usr and /opt are skipped and returned. Packages are
/// untrusted as all archives are: names are checked, device nodes are refused, and nothing is written
/// through a link. Format: deb(5).
///
/// # Errors
/// See [`UnpackCause`].
pub fn unpack(
    staged: &mut Staged,
    deb: &Utf8Path,
    package: &str,
    exclude: &GlobSet,
) -> Result<Unpacked, UnpackError> {
    let fail = |cause: UnpackCause| cause.of(package, None);
    let file = fs::open(deb).map_err(|error| fail(UnpackCause::Read(error.source)))?;
    let mut archive = ar::Archive::new(BufReader::with_capacity(1 << 20, file));
    let mut first = true;
    while let Some(entry) = archive.next_entry() {
        let mut entry = entry.map_err(|error| fail(layout(error.to_string())))?;
        let name = String::from_utf8_lossy(entry.header().identifier()).into_owned();
        if first {
            check_version(&name, &mut entry).map_err(fail)?;
            first = false;
        } else if let Some(suffix) = name.strip_prefix("data.tar") {
            let reader = decoder(suffix, entry).map_err(fail)?;
            let place = |path: &Utf8Path| match merge_usr(path) {
                path if matches(exclude, &path) => Place::Nowhere,
                path => Place::At(path),
            };
            return Unpacking::new(staged, package, &place).tar(reader).map(|dropped| Unpacked { dropped });
        }
    }
    Err(fail(layout("no member `data.tar`".to_owned())))
}

fn layout(why: String) -> UnpackCause {
    UnpackCause::Layout { what: "a Debian package", why }
}

fn check_version(name: &str, entry: &mut impl Read) -> Result<(), UnpackCause> {
    let mut version = String::new();
    if name != "debian-binary" {
        return Err(layout(format!("the first member is `{name}`, expected `debian-binary`")));
    }
    entry.take(64).read_to_string(&mut version).map_err(UnpackCause::Read)?;
    if version.starts_with("2.") {
        return Ok(());
    }
    Err(layout(format!("unsupported format version `{}`, expected 2.0", version.trim())))
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::fs;
    use std::io::Write as _;

    use tar::EntryType;

    use super::*;

    /// Name, kind, target of a link, contents.
    type Member<'a> = (&'a [u8], EntryType, &'a [u8], &'a [u8]);

    /// A tar with any names, even those that the tar crate's builder refuses.
    fn tar(members: &[Member<'_>]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, link, contents) in members {
            let mut header = tar::Header::new_gnu();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name);
            header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link);
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            header.set_size(contents.len() as u64);
            header.set_cksum();
            builder.append(&header, *contents).expect("appended");
        }
        builder.into_inner().expect("a tar")
    }

    fn deb(suffix: &str, data: &[u8]) -> Vec<u8> {
        let mut builder = ar::Builder::new(Vec::new());
        let data_name = format!("data.tar{suffix}");
        for (name, bytes) in [("debian-binary", &b"2.0\n"[..]), ("control.tar", b""), (&data_name, data)] {
            let header = ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64);
            builder.append(&header, bytes).expect("appended");
        }
        builder.into_inner().expect("a package")
    }

    fn unpacked(bytes: &[u8]) -> Result<(Vec<String>, Unpacked), String> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(bytes).expect("written");
        let mut staged = Staged::new_in(Utf8Path::new("/tmp")).expect("a stage");
        let path = Utf8Path::from_path(file.path()).expect("UTF-8");
        match unpack(&mut staged, path, "bad_1_amd64.deb", &GlobSet::empty()) {
            Ok(unpacked) => Ok((staged.nodes().map(|(path, _)| path.to_string()).collect(), unpacked)),
            Err(error) => Err(format!("{error}: {}", error.source().expect("a cause"))),
        }
    }

    #[test]
    fn all_compressions_and_concatenated_streams_are_supported() {
        let data = tar(&[
            (b"./lib/x", EntryType::Regular, b"", b"hello"),
            (b"./etc/x", EntryType::Regular, b"", b"y"),
        ]);
        let (left, right) = data.split_at(700);
        let gzip = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).expect("compressed");
            encoder.finish().expect("compressed")
        };
        let xz = |bytes: &[u8]| liblzma::encode_all(bytes, 1).expect("compressed");
        let zst = |bytes: &[u8]| zstd::encode_all(bytes, 1).expect("compressed");
        let packed = [
            ("", data.clone()),
            (".gz", [gzip(left), gzip(right)].concat()),
            (".xz", [xz(left), xz(right)].concat()),
            (".zst", [zst(left), zst(right)].concat()),
        ];
        for (suffix, bytes) in packed {
            let (paths, unpacked) = unpacked(&deb(suffix, &bytes)).expect("unpacked");
            assert_eq!(paths, ["usr", "usr/lib", "usr/lib/x"], "{suffix}");
            assert_eq!(unpacked.dropped, ["etc/x"], "{suffix}");
        }
    }

    #[test]
    fn hostile_packages_are_refused_with_package_and_member() {
        let evil: &[(&str, Vec<u8>)] = &[
            ("absolute", tar(&[(b"/usr/bin/x", EntryType::Regular, b"", b"x")])),
            ("upwards", tar(&[(b"./usr/../../x", EntryType::Regular, b"", b"x")])),
            ("not UTF-8", tar(&[(b"./usr/\xfe", EntryType::Regular, b"", b"x")])),
            ("link out of the tree", tar(&[(b"./usr/x", EntryType::Symlink, b"../../../etc", b"")])),
            (
                "through a link",
                tar(&[
                    (b"./usr/x", EntryType::Symlink, b"/etc", b""),
                    (b"./usr/x/shadow", EntryType::Regular, b"", b"x"),
                ]),
            ),
            ("hard link out", tar(&[(b"./usr/x", EntryType::Link, b"/etc/shadow", b"")])),
            ("hard link to nothing", tar(&[(b"./usr/x", EntryType::Link, b"./usr/y", b"")])),
            ("device", tar(&[(b"./usr/x", EntryType::Char, b"", b"")])),
            ("pipe", tar(&[(b"./usr/x", EntryType::Fifo, b"", b"")])),
        ];
        let errors: Vec<String> = evil
            .iter()
            .map(|(what, data)| format!("{what}: {}", unpacked(&deb("", data)).expect_err(what)))
            .collect();
        insta::assert_snapshot!(errors.join("\n"));
    }

    #[test]
    fn damaged_packages_and_other_files_have_different_errors() {
        let truncated = deb(".xz", &liblzma::encode_all(&tar(&[])[..], 1).expect("compressed")[..40]);
        let errors: Vec<String> = [&b"not a package"[..], &truncated, &deb(".lzma", b"")]
            .into_iter()
            .map(|bytes| unpacked(bytes).expect_err("damaged"))
            .collect();
        insta::assert_snapshot!(errors.join("\n"));
    }

    #[test]
    fn excluded_paths_are_skipped() {
        let data = tar(&[
            (b"./usr/share/doc/x/copyright", EntryType::Regular, b"", b"x"),
            (b"./usr/bin/x", EntryType::Regular, b"", b"x"),
        ]);
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), deb("", &data)).expect("written");
        let mut staged = Staged::new_in(Utf8Path::new("/tmp")).expect("a stage");
        let exclude = globset::GlobSetBuilder::new()
            .add(globset::Glob::new("/usr/share/doc/**").expect("a glob"))
            .build()
            .expect("globs");
        unpack(&mut staged, Utf8Path::from_path(file.path()).expect("UTF-8"), "x.deb", &exclude)
            .expect("unpacked");
        let paths: Vec<_> = staged.nodes().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["usr", "usr/bin", "usr/bin/x"]);
    }
}
