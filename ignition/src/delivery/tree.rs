// SPDX-License-Identifier: Apache-2.0
//! An extension that is a directory.

use std::{collections::HashSet, fs, io, os::unix::fs::MetadataExt as _};

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest as _, Sha512};
use walkdir::WalkDir;

use super::{DIRECTORIES, Delivered, Delivery, DeliveryError, HowDelivered, Plan, Served, inline_cost};
use crate::{Config, Contents, Directory, File, Link};

/// A regular file of the extension.
struct Member {
    on_host: Utf8PathBuf,
    in_guest: Utf8PathBuf,
    mode: u32,
    size: u64,
}

pub(super) fn deliver(plan: &Plan<'_>, root: &Utf8Path) -> Result<Delivered, DeliveryError> {
    let mut config = Config::new();
    let members = walk(plan, root, &mut config)?;
    let by_http = chosen_for_http(plan, &members)?;
    let mut served = Vec::new();
    for member in &members {
        let contents = if by_http.contains(&member.in_guest) {
            let (url, file) = serve(plan, member)?;
            let sha512 = file.sha512.clone();
            served.push(file);
            Contents::Remote { url, sha512 }
        } else {
            Contents::Inline(fs::read(&member.on_host).map_err(unreadable(&member.on_host))?)
        };
        config.file(File { path: member.in_guest.clone(), mode: member.mode, contents, overwrite: true });
    }
    config.link(super::link(DIRECTORIES, plan.name));
    // Two files with the same bytes and name are one address.
    served.sort();
    served.dedup_by(|one, other| one.url_path == other.url_path);
    let with_contents = members.iter().filter(|member| member.size > 0).count();
    let how = match by_http.len() {
        0 => HowDelivered::Inline,
        count if count == with_contents => HowDelivered::Http,
        _ => HowDelivered::Mixed,
    };
    Ok(Delivered { config, served, how })
}

/// Adds directories and links to the config, and returns the files in the order of their paths.
fn walk(plan: &Plan<'_>, root: &Utf8Path, config: &mut Config) -> Result<Vec<Member>, DeliveryError> {
    if !fs::metadata(root).map_err(unreadable(root))?.is_dir() {
        return Err(DeliveryError::NoDirectory(root.to_owned()));
    }
    let store = Utf8Path::new(DIRECTORIES).join(plan.name);
    let mut members = Vec::new();
    // The root itself may be given as a link; what is below it is taken as it is.
    for entry in WalkDir::new(root).sort_by_file_name().follow_root_links(true) {
        let entry = entry.map_err(|error| {
            let path = error.path().and_then(Utf8Path::from_path).unwrap_or(root).to_owned();
            DeliveryError::Read { path, source: error.into() }
        })?;
        let not_utf8 = || DeliveryError::Encoding(entry.path().to_string_lossy().into_owned());
        let on_host = Utf8Path::from_path(entry.path()).ok_or_else(not_utf8)?.to_owned();
        let below = on_host.strip_prefix(root).unwrap_or(&on_host);
        let in_guest = if below.as_str().is_empty() { store.clone() } else { store.join(below) };
        let metadata =
            if entry.depth() == 0 { fs::metadata(&on_host) } else { fs::symlink_metadata(&on_host) };
        let metadata = metadata.map_err(unreadable(&on_host))?;
        let mode = metadata.mode() & 0o7777;
        if metadata.is_symlink() {
            let target = on_host.read_link_utf8().map_err(unreadable(&on_host))?;
            config.link(Link { path: in_guest, target, overwrite: true, hard: false });
            continue;
        }
        if !metadata.is_dir() && !metadata.is_file() {
            return Err(DeliveryError::Kind(on_host));
        }
        if mode & 0o7000 != 0 {
            return Err(DeliveryError::SpecialBits { path: on_host, mode });
        }
        if metadata.is_dir() {
            config.directory(Directory { path: in_guest, mode });
        } else {
            refuse_capabilities(&on_host)?;
            members.push(Member { on_host, in_guest, mode, size: metadata.len() });
        }
    }
    Ok(members)
}

/// The files that do not fit into the config: the largest first, until the others do.
fn chosen_for_http(plan: &Plan<'_>, members: &[Member]) -> Result<HashSet<Utf8PathBuf>, DeliveryError> {
    let mut cost = members.iter().map(|member| inline_cost(member.size)).sum::<u64>();
    if plan.how == Delivery::Inline && cost > plan.limit {
        return Err(DeliveryError::TooLarge { name: plan.name.to_owned(), size: cost });
    }
    let mut largest_first = members.iter().filter(|member| member.size > 0).collect::<Vec<_>>();
    // A stable sort: files of one size stay in the order of their paths.
    largest_first.sort_by_key(|member| std::cmp::Reverse(member.size));
    let mut chosen = HashSet::new();
    for member in largest_first {
        if cost <= plan.limit {
            break;
        }
        cost -= inline_cost(member.size);
        chosen.insert(member.in_guest.clone());
    }
    Ok(chosen)
}

fn serve(plan: &Plan<'_>, member: &Member) -> Result<(String, Served), DeliveryError> {
    let mut file = fs::File::open(&member.on_host).map_err(unreadable(&member.on_host))?;
    let mut digest = Sha512::new();
    io::copy(&mut file, &mut digest).map_err(unreadable(&member.on_host))?;
    let name = member.on_host.file_name().unwrap_or("file");
    Ok(plan.serve(member.on_host.clone(), name, hex::encode(digest.finalize())))
}

/// A config has no field for extended attributes; a file that needs its capabilities would come without.
fn refuse_capabilities(path: &Utf8Path) -> Result<(), DeliveryError> {
    let mut nothing = [0_u8; 0];
    match rustix::fs::lgetxattr(path.as_std_path(), "security.capability", &mut nothing[..]) {
        Ok(_) => Err(DeliveryError::Capabilities(path.to_owned())),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => Ok(()),
        Err(error) => Err(unreadable(path)(error.into())),
    }
}

fn unreadable(path: &Utf8Path) -> impl FnOnce(io::Error) -> DeliveryError {
    let path = path.to_owned();
    move |source| DeliveryError::Read { path, source }
}
