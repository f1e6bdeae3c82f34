// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{Entry, FileError, Hint, Store, StoreError, digest, fs};
use loadgauge_ignition::delivery::{
    Delivery, DeliveryError, HowDelivered, Payload, PayloadKind, Served, deliver, image_link,
};
use loadgauge_ignition::{
    ButaneError, Config, Conflict, Contents, File, Link, ParseError, Problem, Severity, Unit, mask_updates,
};

use super::guest_warnings::{GuestFacts, guest_warnings};
use super::{AuthorConfig, IgnitionRequest};

/// The Ignition config of a machine cannot be composed.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// the author's config cannot be read
    #[error(transparent)]
    File(#[from] FileError),
    /// the author's config is not an Ignition config
    #[error("`{path}` is not an Ignition config")]
    Ignition {
        /// the file
        path: Utf8PathBuf,
        /// error of the parser
        source: ParseError,
    },
    /// the author's config is not a Butane config
    #[error("`{path}` is not a Butane config")]
    Butane {
        /// the file
        path: Utf8PathBuf,
        /// error of the parser
        source: ButaneError,
    },
    /// the files of the author's config cannot be written to the store
    #[error(transparent)]
    Store(#[from] StoreError),
    /// an extension cannot be delivered
    #[error("cannot deliver the extension `{name}`")]
    Delivery {
        /// the extension
        name: String,
        /// error of the parser
        source: DeliveryError,
    },
    /// two parts of the config differ about the same file, link or unit
    #[error("the parts of the Ignition config conflict")]
    Conflict(#[from] Conflict),
    /// the config is not valid
    #[error("the Ignition config is not valid: {}", problems.join("; "))]
    Invalid {
        /// the errors of the validation
        problems: Vec<String>,
        /// hint of the first error that has one
        hint: Option<String>,
    },
}

impl Hint for ComposeError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::File(source) => source.hint(),
            Self::Store(source) => source.hint(),
            Self::Ignition { source, .. } => source.hint(),
            Self::Butane { source, .. } => source.hint(),
            Self::Delivery { source, .. } => source.hint(),
            Self::Conflict(source) => source.hint(),
            Self::Invalid { hint, .. } => hint.clone(),
        }
    }
}

/// Writes bytes to a file of the store, under their digest.
///
/// # Errors
/// The store cannot be written.
pub fn keep_file(store: &Store, bytes: &[u8]) -> Result<Utf8PathBuf, StoreError> {
    let directory = match store.entry("ignition-file", &digest::sha256(bytes))? {
        Entry::Ready(directory) => directory,
        Entry::Vacant(vacancy) => {
            fs::write(vacancy.directory().join(CONTENTS), bytes)?;
            vacancy.commit()?
        }
    };
    Ok(directory.join(CONTENTS))
}

/// The name of a file in its directory of the store.
const CONTENTS: &str = "contents";

/// The config of a machine, with the files that the guest fetches.
#[derive(Debug)]
pub(super) struct Composed {
    pub(super) config: Config,
    pub(super) served: Vec<Served>,
    /// how each extension is delivered, in their order
    pub(super) delivered: Vec<HowDelivered>,
    /// what the validation warns of
    pub(super) warnings: Vec<String>,
}

/// Writes bytes that a guest fetches to a file on the host.
pub type KeepFile<'a> = dyn Fn(&[u8]) -> Result<Utf8PathBuf, StoreError> + 'a;

/// Limits of the delivery of extensions.
#[derive(Clone, Copy)]
pub(super) struct Limits<'a> {
    /// URL of the harness's server as guests reach it
    pub(super) origin: &'a str,
    /// bytes of the config that inline extensions may take together, and the author's files too
    pub(super) inline: u64,
    /// writes the author's larger files to the host
    pub(super) keep: &'a KeepFile<'a>,
}

/// Merges the author's config with the one that delivers the extensions.
pub(super) fn compose(
    author: &IgnitionRequest,
    payloads: &[(Payload, Delivery)],
    limits: Limits<'_>,
    guest: GuestFacts<'_>,
) -> Result<Composed, ComposeError> {
    let mut config = author_config(author)?;
    let mut extensions = Config::new();
    let (mut served, mut delivered) = (Vec::new(), Vec::new());
    for (payload, how) in payloads {
        // The limit is for all extensions together.
        let taken = extensions.to_json().len() as u64;
        let inline_limit = limits.inline.saturating_sub(taken);
        let mut one = deliver(payload, *how, limits.origin, inline_limit)
            .map_err(|source| ComposeError::Delivery { name: payload.name.clone(), source })?;
        if let Some(target) = authors_place(&config, payload) {
            config.remove_file(&target);
            one = one.at(&target);
        }
        extensions = extensions.merge(one.config)?;
        served.extend(one.served);
        delivered.push(one.how);
    }
    let mut warnings = guest_warnings(&config, &extensions, guest);
    served.extend(config.serve_large_files(limits.inline, limits.origin, limits.keep)?);
    config = config.merge(extensions)?;
    mask_updates(&mut config);
    warnings.extend(validate(&config)?);
    Ok(Composed { config, served, delivered, warnings })
}

/// Where the author's config has the image of an extension: the target of its link in /etc/extensions.
/// A link to /dev/null masks the extension instead.
fn authors_place(config: &Config, payload: &Payload) -> Option<Utf8PathBuf> {
    let PayloadKind::Image { .. } = payload.kind else { return None };
    config.link_target(&image_link(&payload.name)).filter(|target| target != "/dev/null")
}

/// Returns the warnings of the validation.
fn validate(config: &Config) -> Result<Vec<String>, ComposeError> {
    let (errors, warnings): (Vec<_>, Vec<_>) =
        config.validate().into_iter().partition(|problem| problem.severity == Severity::Error);
    if errors.is_empty() {
        let with_hint = |problem: &Problem| match &problem.hint {
            Some(hint) => format!("{problem}; {hint}"),
            None => problem.to_string(),
        };
        return Ok(warnings.iter().map(with_hint).collect());
    }
    Err(ComposeError::Invalid {
        hint: errors.iter().find_map(|problem| problem.hint.clone()),
        problems: errors.iter().map(ToString::to_string).collect(),
    })
}

/// The author's config file, merged with the entries of the scenario file.
fn author_config(author: &IgnitionRequest) -> Result<Config, ComposeError> {
    let config = match &author.config {
        None => Config::new(),
        Some(AuthorConfig::Ignition(path)) => Config::parse(&fs::read_to_string(path)?)
            .map_err(|source| ComposeError::Ignition { path: path.clone(), source })?,
        Some(AuthorConfig::Butane(path)) => {
            let files = path.parent().unwrap_or(Utf8Path::new(""));
            Config::from_butane(&fs::read_to_string(path)?, files)
                .map_err(|source| ComposeError::Butane { path: path.clone(), source })?
        }
    };
    Ok(config.merge(inline_config(author))?)
}

/// The entries of the scenario file as a config.
fn inline_config(author: &IgnitionRequest) -> Config {
    let mut config = Config::new();
    for link in &author.links {
        config.link(Link {
            path: link.path.clone(),
            target: link.target.clone(),
            overwrite: link.overwrite,
            hard: false,
        });
    }
    for file in &author.files {
        config.file(File {
            path: file.path.clone(),
            mode: file.mode,
            contents: Contents::Inline(file.contents.clone().into_bytes()),
            overwrite: file.overwrite,
        });
    }
    for unit in &author.units {
        config.unit(Unit {
            name: unit.name.clone(),
            enabled: unit.enabled,
            mask: unit.mask,
            contents: unit.contents.clone(),
            dropins: Vec::new(),
        });
    }
    config
}
