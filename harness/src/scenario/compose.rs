// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, Hint, fs};
use loadgauge_ignition::delivery::{
    Delivered, Delivery, DeliveryError, HowDelivered, Payload, Served, deliver,
};
use loadgauge_ignition::{
    ButaneError, Config, Conflict, Contents, File, Link, ParseError, Severity, Unit, mask_updates,
};

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
            Self::Ignition { source, .. } => source.hint(),
            Self::Butane { source, .. } => source.hint(),
            Self::Delivery { source, .. } => source.hint(),
            Self::Conflict(source) => source.hint(),
            Self::Invalid { hint, .. } => hint.clone(),
        }
    }
}

/// The config of a machine, with the files that the guest fetches.
#[derive(Debug)]
pub(super) struct Composed {
    pub(super) config: Config,
    pub(super) served: Vec<Served>,
    /// how each extension is delivered, in their order
    pub(super) delivered: Vec<HowDelivered>,
}

/// Limits of the delivery of extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits<'a> {
    /// URL of the harness's server as guests reach it
    pub(super) origin: &'a str,
    /// bytes of the config that inline extensions may take together
    pub(super) inline: u64,
}

/// Merges the author's config with the one that delivers the extensions.
pub(super) fn compose(
    author: &IgnitionRequest,
    payloads: &[(Payload, Delivery)],
    limits: Limits<'_>,
) -> Result<Composed, ComposeError> {
    let mut config = author_config(author)?;
    let mut composed = Composed { config: Config::new(), served: Vec::new(), delivered: Vec::new() };
    for (payload, how) in payloads {
        // The limit is for all extensions together.
        let taken = composed.config.to_json().len() as u64;
        let inline_limit = limits.inline.saturating_sub(taken);
        let Delivered { config, served, how } = deliver(payload, *how, limits.origin, inline_limit)
            .map_err(|source| ComposeError::Delivery { name: payload.name.clone(), source })?;
        composed.config = composed.config.merge(config)?;
        composed.served.extend(served);
        composed.delivered.push(how);
    }
    config = config.merge(composed.config)?;
    mask_updates(&mut config);
    validate(&config)?;
    Ok(Composed { config, ..composed })
}

fn validate(config: &Config) -> Result<(), ComposeError> {
    let mut problems = config.validate();
    problems.retain(|problem| problem.severity == Severity::Error);
    if problems.is_empty() {
        return Ok(());
    }
    Err(ComposeError::Invalid {
        hint: problems.iter().find_map(|problem| problem.hint.clone()),
        problems: problems.iter().map(ToString::to_string).collect(),
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
