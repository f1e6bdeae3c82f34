// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use loadgauge_host::{FileError, Store, digest};
use toml::Spanned;

use super::fetch::{FetchError, fetch};
use super::recipe::{Recipe, RecipeError};

/// The keys `source`, `url` and `sha256` of a recipe's table, which name one file or directory.
pub(super) struct Origin<'a> {
    /// a path beside the recipe
    pub(super) source: Option<&'a Spanned<Utf8PathBuf>>,
    /// a URL, which needs a digest
    pub(super) url: Option<&'a Spanned<String>>,
    /// SHA-256 of the file, in hex
    pub(super) sha256: Option<&'a Spanned<String>>,
    /// the size limit of a download in bytes
    pub(super) limit: u64,
}

impl Origin<'_> {
    /// Fetches the file, or compares its digest where it is beside the recipe. Returns its path on the host
    /// and its name.
    ///
    /// # Errors
    /// The file cannot be fetched or read, or has another digest.
    pub(super) fn locate<E>(
        &self,
        recipe: &Recipe,
        store: &Store,
        progress: &dyn Fn(&str),
    ) -> Result<(Utf8PathBuf, String), E>
    where
        E: From<RecipeError> + From<FetchError> + From<FileError>,
    {
        if let (Some(url), Some(sha256)) = (self.url, self.sha256) {
            let url = url.get_ref();
            progress(&format!("fetching {url}"));
            let path = fetch(url, sha256.get_ref(), self.limit, store)?;
            let end = url.split(['?', '#']).next().unwrap_or(url);
            return Ok((path, end.rsplit('/').next().unwrap_or(end).to_owned()));
        }
        let file = self.source.map(|file| file.get_ref().clone()).unwrap_or_default();
        let path = recipe.beside(&file);
        if let Some(sha256) = self.sha256.filter(|_| !path.is_dir()) {
            let found = digest::sha256_of_file(&path).map_err(FileError::at("read", &path))?;
            if found != *sha256.get_ref() {
                let cause = format!("`{file}` has SHA-256 {found}");
                let hint = "find out why the file has changed before you change the digest";
                return Err(recipe.error(sha256, cause, hint).into());
            }
        }
        let name = path.file_name().unwrap_or_default().to_owned();
        Ok((path, name))
    }
}
