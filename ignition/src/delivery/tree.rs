// SPDX-License-Identifier: Apache-2.0
//! An extension that is a directory.

use std::{collections::HashSet, os::unix::fs::MetadataExt as _};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, digest, fs};
use walkdir::WalkDir;

use super::error::DeliveryError;
use super::payload::{Delivered, Delivery, HowDelivered, Served};
use super::plan::{DIRECTORIES, Plan, inline_cost, link};
use crate::config::{Config, Contents, Directory, File, Link};

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
            Contents::Inline(fs::read(&member.on_host)?)
        };
        config.file(File { path: member.in_guest.clone(), mode: member.mode, contents, overwrite: true });
    }
    config.link(link(DIRECTORIES, plan.name));
    // Files with the same contents and name have the same URL.
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
    if !fs::metadata(root)?.is_dir() {
        return Err(DeliveryError::NoDirectory(root.to_owned()));
    }
    let store = Utf8Path::new(DIRECTORIES).join(plan.name);
    let mut members = Vec::new();
    // The root can be a link; links below it are kept.
    for entry in WalkDir::new(root).sort_by_file_name().follow_root_links(true) {
        let entry = entry.map_err(|error| FileError::at("list", root)(error.into()))?;
        let not_utf8 = || DeliveryError::Encoding(entry.path().to_string_lossy().into_owned());
        let on_host = Utf8Path::from_path(entry.path()).ok_or_else(not_utf8)?.to_owned();
        let below = on_host.strip_prefix(root).unwrap_or(&on_host);
        let in_guest = if below.as_str().is_empty() { store.clone() } else { store.join(below) };
        let metadata =
            if entry.depth() == 0 { fs::metadata(&on_host)? } else { fs::symlink_metadata(&on_host)? };
        let mode = metadata.mode() & 0o7777;
        if metadata.is_symlink() {
            let target = on_host.read_link_utf8().map_err(FileError::at("read the link", &on_host))?;
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

/// The files that do not fit into the config: the largest ones, until the others fit.
fn chosen_for_http(plan: &Plan<'_>, members: &[Member]) -> Result<HashSet<Utf8PathBuf>, DeliveryError> {
    let mut cost = members.iter().map(|member| inline_cost(member.size)).sum::<u64>();
    if plan.how == Delivery::Inline && cost > plan.limit {
        return Err(DeliveryError::TooLarge { name: plan.name.to_owned(), size: cost });
    }
    let mut largest_first = members.iter().filter(|member| member.size > 0).collect::<Vec<_>>();
    // The sort is stable: files of the same size stay in the order of their paths.
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
    let path = &member.on_host;
    let sha512 = digest::sha512_of_file(path).map_err(FileError::at("read", path))?;
    Ok(plan.serve(path.clone(), path.file_name().unwrap_or("file"), sha512))
}

/// Refuses a file with capabilities, for which a config has no field.
fn refuse_capabilities(path: &Utf8Path) -> Result<(), DeliveryError> {
    let mut nothing = [0_u8; 0];
    match rustix::fs::lgetxattr(path.as_std_path(), "security.capability", &mut nothing[..]) {
        Ok(_) => Err(DeliveryError::Capabilities(path.to_owned())),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => Ok(()),
        Err(error) => Err(FileError::at("read the attributes of", path)(error.into()).into()),
    }
}
