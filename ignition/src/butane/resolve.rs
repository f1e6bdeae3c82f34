// SPDX-License-Identifier: Apache-2.0
//! The features of Butane that Ignition lacks: local and inline contents, trees, mount units.

use serde_saphyr::Spanned;

use super::{
    error::{ButaneCause, ButaneError},
    local::Files,
    mount_unit,
    schema::{Butane, Luks, Resource, Storage, Unit, User},
    tree,
};
use crate::data_url;

type Outcome = Result<(), ButaneError>;

/// Replaces these features by what Ignition supports; `text` is the text of the config.
pub(super) fn resolve(butane: &mut Butane, text: &str, files: &Files<'_>) -> Outcome {
    if let Some(ignition) = &mut butane.ignition {
        let config = ignition.config.iter_mut();
        for resource in config.flat_map(|c| c.merge.iter_mut().flatten().chain(&mut c.replace)) {
            self::resource(resource, files)?;
        }
        let tls = ignition.security.iter_mut().flat_map(|security| &mut security.tls);
        for resource in tls.flat_map(|tls| tls.certificate_authorities.iter_mut().flatten()) {
            self::resource(resource, files)?;
        }
    }
    for user in butane.passwd.iter_mut().flat_map(|passwd| passwd.users.iter_mut().flatten()) {
        keys(user, files)?;
    }
    for unit in butane.systemd.iter_mut().flat_map(|systemd| systemd.units.iter_mut().flatten()) {
        self::unit(unit, files)?;
    }
    if let Some(storage) = &mut butane.storage {
        self::storage(storage, text, files)?;
        let units = mount_unit::units(storage)?;
        mount_unit::add(units, &mut butane.systemd);
    }
    Ok(())
}

fn storage(storage: &mut Storage, text: &str, files: &Files<'_>) -> Outcome {
    for file in storage.files.iter_mut().flatten() {
        mode(file.mode.as_ref(), text)?;
        for resource in file.contents.iter_mut().chain(file.append.iter_mut().flatten()) {
            self::resource(resource, files)?;
        }
    }
    for directory in storage.directories.iter().flatten() {
        mode(directory.mode.as_ref(), text)?;
    }
    for luks in storage.luks.iter_mut().flatten() {
        not_too_new(luks)?;
        if let Some(resource) = &mut luks.key_file {
            self::resource(resource, files)?;
        }
    }
    tree::add_trees(storage, files)
}

/// Inline and local contents become a data URL.
fn resource(resource: &mut Resource, files: &Files<'_>) -> Outcome {
    let exclude = |place: &Spanned<String>, one, other| {
        Err(ButaneError::at(&place.referenced, ButaneCause::Exclusive(one, other)))
    };
    let bytes = match (&resource.source, &resource.inline, &resource.local) {
        (_, Some(_), Some(local)) => return exclude(local, "inline", "local"),
        (Some(_), Some(inline), _) => return exclude(inline, "source", "inline"),
        (Some(_), _, Some(local)) => return exclude(local, "source", "local"),
        (_, Some(inline), None) => inline.value.clone().into_bytes(),
        (_, None, Some(local)) => files.read(local)?,
        (_, None, None) => return Ok(()),
    };
    resource.source = Some(data_url::encode(&bytes));
    Ok(())
}

fn unit(unit: &mut Unit, files: &Files<'_>) -> Outcome {
    contents(&mut unit.contents, unit.contents_local.as_ref(), files)?;
    for dropin in unit.dropins.iter_mut().flatten() {
        contents(&mut dropin.contents, dropin.contents_local.as_ref(), files)?;
    }
    Ok(())
}

fn contents(contents: &mut Option<String>, local: Option<&Spanned<String>>, files: &Files<'_>) -> Outcome {
    let Some(local) = local else { return Ok(()) };
    if contents.is_some() {
        return Err(ButaneError::at(&local.referenced, ButaneCause::Exclusive("contents", "contents_local")));
    }
    *contents = Some(files.read_text(local)?);
    Ok(())
}

fn keys(user: &mut User, files: &Files<'_>) -> Outcome {
    for local in user.ssh_authorized_keys_local.iter().flatten() {
        let text = files.read_text(local)?;
        let lines = text.lines().filter(|line| !line.trim().is_empty()).map(ToOwned::to_owned);
        user.ssh_authorized_keys.get_or_insert_default().extend(lines);
    }
    Ok(())
}

/// Refuses a mode without a leading zero whose decimal digits look like an octal mode.
fn mode(mode: Option<&Spanned<i64>>, text: &str) -> Outcome {
    const COMMON: [i64; 17] =
        [400, 440, 444, 500, 550, 555, 600, 640, 644, 660, 664, 666, 700, 750, 755, 775, 777];
    let Some(mode) = mode.filter(|mode| COMMON.contains(&mode.value)) else { return Ok(()) };
    // The number is valid where it is written in octal: 0620 is 400.
    let place = mode.defined;
    let line = usize::try_from(place.line()).ok().and_then(|line| text.lines().nth(line.checked_sub(1)?));
    let column = usize::try_from(place.column()).unwrap_or_default().saturating_sub(1);
    if line.and_then(|line| line.chars().nth(column)) == Some('0') {
        return Ok(());
    }
    Err(ButaneError::at(&mode.referenced, ButaneCause::DecimalMode(mode.value)))
}

fn not_too_new(luks: &Luks) -> Outcome {
    let too_new = |place, key| Err(ButaneError::at(place, ButaneCause::TooNew(key)));
    if let Some(discard) = &luks.discard {
        return too_new(&discard.referenced, "discard");
    }
    if let Some(options) = &luks.open_options {
        return too_new(&options.referenced, "open_options");
    }
    let mut tang = luks.clevis.iter().flat_map(|clevis| clevis.tang.iter().flatten());
    match tang.find_map(|tang| tang.advertisement.as_ref()) {
        Some(advertisement) => too_new(&advertisement.referenced, "advertisement"),
        None => Ok(()),
    }
}
