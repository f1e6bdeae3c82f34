// SPDX-License-Identifier: Apache-2.0
//! Reads and checks recipes.
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::toml_keys::take_wrong_types;
use loadgauge_host::toml_syntax::explain_syntax;
use loadgauge_host::{Problem, fs, problem};
use serde::Deserialize as _;
use toml::Spanned;
use toml::de::DeTable;

use super::fetch::is_sha256;
use super::recipe::{FileSection, KEYS, Publish, Recipe, RecipeError, check_name, is_version};
use super::stage::is_kept;
use super::{gentoo, mangle};

/// Former names of keys, with their present ones.
const RENAMED: [(&str, &str); 10] = [
    ("beyond", "base-extensions"),
    ("ddi", "ddi-filesystem"),
    ("epoch", "source-date-epoch"),
    ("erofs", "erofs-compression"),
    ("mask", "install-mask"),
    ("missing-libraries", "allow-missing-libraries"),
    ("provided", "package-provided"),
    ("squashfs", "squashfs-compression"),
    ("strip", "strip-components"),
    ("use", "package-use"),
];

const GLOB_HINT: &str = "write a glob such as \"/usr/share/doc/**\"";

impl Recipe {
    /// Reads and checks a recipe.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or has an unknown key or a value that is not valid.
    pub fn load(path: &Utf8Path) -> Result<Self, RecipeError> {
        Self::parse(&fs::read_to_string(path)?, path)
    }

    /// Checks the text of a recipe. `path` is its file, which need not exist; the files that the recipe
    /// names are relative to its directory.
    ///
    /// # Errors
    /// The text is not TOML, or has an unknown key or a value that is not valid.
    pub fn parse(text: &str, path: &Utf8Path) -> Result<Self, RecipeError> {
        let problem = |span: Range<usize>, (cause, hint): (String, Option<String>)| {
            RecipeError::from(Problem::new(path, text, span, cause, hint))
        };
        let mut document = DeTable::parse(text)
            .map_err(|error| problem(error.span().unwrap_or_default(), explain_syntax(error.message())))?;
        if let Some(wrong) = take_wrong_types(document.get_mut(), KEYS).into_iter().next() {
            return Err(problem(wrong.span, (wrong.cause, Some(wrong.hint))));
        }
        let mut recipe = Self::deserialize(toml::Deserializer::from(document)).map_err(|error| {
            problem(error.span().unwrap_or_default(), problem::explain(error.message(), KEYS, &RENAMED))
        })?;
        path.clone_into(&mut recipe.path);
        text.clone_into(&mut recipe.text);
        check(&recipe)?;
        Ok(recipe)
    }
}

fn check(recipe: &Recipe) -> Result<(), RecipeError> {
    check_name(recipe.name()).map_err(|(cause, hint)| recipe.error(&recipe.name, cause, hint))?;
    if let Some(version) = recipe.version.as_ref().filter(|version| !is_version(version.get_ref())) {
        let cause = format!("`{}` is not a valid version", version.get_ref());
        let hint = "use letters, digits, `.`, `+`, `~` and `^`, and start with a letter or digit";
        return Err(recipe.error(version, cause, hint));
    }
    check_sections(recipe)?;
    check_finish(recipe)?;
    check_globs(recipe)?;
    check_publish(recipe)?;
    check_packing(recipe)
}

fn check_sections(recipe: &Recipe) -> Result<(), RecipeError> {
    let empty = recipe.files.is_empty() && recipe.trees.is_empty() && recipe.images.is_empty();
    if empty && recipe.debian.is_empty() && recipe.gentoo.is_empty() && recipe.archives.is_empty() {
        let hint = "add [[file]], [[tree]], [[archive]], [[image]], [[debian]] or [[gentoo]]";
        return Err(recipe.error(&recipe.name, "the recipe adds nothing to the extension", hint));
    }
    for file in &recipe.files {
        check_file(recipe, file)?;
    }
    for database in &recipe.base_packages {
        check_source(recipe, database)?;
    }
    for tree in &recipe.trees {
        check_source(recipe, &tree.source)?;
        check_tree(recipe, &tree.source)?;
    }
    for section in &recipe.gentoo {
        gentoo::check_section(section, recipe)?;
    }
    let debian = recipe.debian.iter();
    for package in debian.flat_map(|section| section.packages.iter().chain(&section.exclude_packages)) {
        if !is_package_name(package.get_ref()) {
            let cause = format!("`{}` is not the name of a Debian package", package.get_ref());
            let hint = "write the name alone, in lower case; dependencies are resolved";
            return Err(recipe.error(package, cause, hint));
        }
    }
    for section in &recipe.archives {
        let (source, url) = (section.source.as_ref(), section.url.as_ref());
        check_origin(recipe, "archive", &section.sha256, source, url, Some(&section.sha256))?;
        if let Some(into) = section.into.as_ref().filter(|into| into.get_ref() != "/") {
            check_path(recipe, into, into.get_ref())?;
        }
    }
    for section in &recipe.images {
        let (source, url) = (section.source.as_ref(), section.url.as_ref());
        check_origin(recipe, "image", recipe.place_of(section), source, url, section.sha256.as_ref())?;
    }
    Ok(())
}

/// Checks that a tree is a directory with entries.
fn check_tree(recipe: &Recipe, source: &Spanned<Utf8PathBuf>) -> Result<(), RecipeError> {
    let hint = "name a directory that contains `usr` or `opt`; [[file]] adds a single file";
    let path = recipe.beside(source.get_ref());
    if !path.is_dir() {
        let cause = format!("`{}` is not a directory", source.get_ref());
        return Err(recipe.error(source, cause, hint));
    }
    let is_empty = path.read_dir_utf8().is_ok_and(|mut entries| entries.next().is_none());
    if is_empty {
        let cause = format!("the directory `{}` is empty", source.get_ref());
        return Err(recipe.error(source, cause, hint));
    }
    Ok(())
}

/// Checks the keys `source`, `url` and `sha256` of a table.
fn check_origin(
    recipe: &Recipe,
    table: &str,
    at: &Spanned<String>,
    source: Option<&Spanned<Utf8PathBuf>>,
    url: Option<&Spanned<String>>,
    sha256: Option<&Spanned<String>>,
) -> Result<(), RecipeError> {
    if let Some(sha256) = sha256.filter(|sha256| !is_sha256(sha256.get_ref())) {
        let cause = format!("`{}` is not a SHA-256 digest", sha256.get_ref());
        return Err(recipe.error(sha256, cause, "write 64 digits of 0-9 and a-f, as sha256sum prints them"));
    }
    match (source, url) {
        (Some(source), None) => check_source(recipe, source),
        (None, Some(url)) => {
            if !["http://", "https://", "file:"].iter().any(|scheme| url.get_ref().starts_with(scheme)) {
                let cause = format!("`{}` is not a URL that can be fetched", url.get_ref());
                return Err(recipe.error(url, cause, "use http, https or file"));
            }
            if sha256.is_none() {
                let hint = "add sha256 = \"..\", with the 64 digits that sha256sum prints";
                return Err(recipe.error(url, format!("an [[{table}]] from a URL needs its digest"), hint));
            }
            Ok(())
        }
        _ => {
            let hint = "add source = \"a file beside the recipe\", or url = \"https://..\"";
            Err(recipe.error(at, format!("an [[{table}]] needs exactly one of source and url"), hint))
        }
    }
}

fn check_finish(recipe: &Recipe) -> Result<(), RecipeError> {
    if let Some(script) = &recipe.finish.script {
        check_source(recipe, script)?;
        if !mangle::is_script(&recipe.beside(script.get_ref())) {
            let cause = format!("`{}` is not a file", script.get_ref());
            return Err(recipe.error(script, cause, "name a script"));
        }
    }
    for input in &recipe.finish.script_inputs {
        check_source(recipe, input)?;
        if recipe.finish.script.is_none() {
            let hint = "add script = \"..\", or remove the key";
            return Err(recipe.error(input, "script-inputs without a script have no effect", hint));
        }
    }
    for (from, to) in &recipe.finish.moves {
        check_path(recipe, to, from)?;
        check_path(recipe, to, to.get_ref())?;
    }
    Ok(())
}

fn check_globs(recipe: &Recipe) -> Result<(), RecipeError> {
    let debian =
        recipe.debian.iter().flat_map(|section| section.exclude.iter().chain(&section.collision_ignore));
    let gentoo = recipe.gentoo.iter();
    let gentoo = gentoo.flat_map(|section| {
        let mask = section.install_mask.iter().flatten();
        section.exclude.iter().chain(&section.collision_ignore).chain(mask)
    });
    let archives = recipe.archives.iter().flat_map(|section| section.include.iter().chain(&section.exclude));
    let images = recipe.images.iter().flat_map(|section| &section.exclude);
    let finish = &recipe.finish;
    let finish = finish.remove.iter().chain(&finish.install_mask).chain(&finish.allow_missing_libraries);
    for pattern in debian.chain(gentoo).chain(archives).chain(images).chain(finish) {
        if let Err(error) = globset::Glob::new(pattern.get_ref()) {
            return Err(recipe.error(pattern, error.to_string(), GLOB_HINT));
        }
    }
    Ok(())
}

fn check_publish(recipe: &Recipe) -> Result<(), RecipeError> {
    let Some(Publish { url }) = &recipe.publish else { return Ok(()) };
    let plain = |c: char| !c.is_whitespace() && !c.is_control();
    let web = ["https://", "http://", "file:///"].iter().any(|scheme| url.get_ref().starts_with(scheme));
    if !web || !url.get_ref().chars().all(plain) {
        let cause = format!("`{}` is not a URL that systemd-sysupdate can fetch from", url.get_ref());
        let hint = "write a directory such as \"https://example.org/extensions/tool\"";
        return Err(recipe.error(url, cause, hint));
    }
    if recipe.version.is_none() {
        let hint = "add `version = \"1.2.3\"`: systemd-sysupdate tells images apart by their versions";
        return Err(recipe.error(url, "a published extension needs a version", hint));
    }
    Ok(())
}

fn check_packing(recipe: &Recipe) -> Result<(), RecipeError> {
    let pack = &recipe.pack;
    if let Some((level, what, expected)) = pack.wrong_level() {
        let cause = format!("{} is not a level of {what}", level.get_ref());
        return Err(recipe.error(level, cause, &format!("it can be {expected}")));
    }
    if let Some(option) = pack.erofs_options.iter().find(|option| !option.get_ref().starts_with('-')) {
        // It would be taken for the image or the directory.
        let cause = format!("`{}` is not an option of mkfs.erofs", option.get_ref());
        return Err(recipe.error(option, cause, "write an option with its value, such as \"-C65536\""));
    }
    match (&pack.private_key, &pack.certificate) {
        (Some(key), Some(certificate)) => {
            check_source(recipe, key)?;
            check_source(recipe, certificate)
        }
        (None, None) => Ok(()),
        (Some(one), None) | (None, Some(one)) => {
            let cause = "a signature needs both a private-key and a certificate";
            Err(recipe.error(one, cause, "name both, or neither"))
        }
    }
}

fn check_file(recipe: &Recipe, file: &FileSection) -> Result<(), RecipeError> {
    let path = file.path.get_ref();
    let in_etc = recipe.finish.etc.is_some().then(|| path.strip_prefix("/etc/")).flatten();
    match in_etc {
        Some(rest) => check_path(recipe, &file.path, &format!("/usr/{rest}"))?,
        None => check_path(recipe, &file.path, path)?,
    }
    let kinds = [file.contents.is_some(), file.source.is_some(), file.link.is_some()];
    if kinds.into_iter().filter(|given| *given).count() != 1 {
        let cause = format!("`{path}` needs exactly one of contents, source and link");
        return Err(recipe.error(&file.path, cause, ""));
    }
    if let (None, Some(mode)) = (file.mode(), &file.mode) {
        let cause = format!("`{}` is not the mode of a file", mode.get_ref());
        return Err(recipe.error(mode, cause, "write four octal digits, such as \"0755\""));
    }
    file.source.as_ref().map_or(Ok(()), |source| check_source(recipe, source))
}

fn check_path<T>(recipe: &Recipe, at: &Spanned<T>, path: &str) -> Result<(), RecipeError> {
    let plain = path.strip_prefix('/').is_some_and(|rest| {
        rest.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
            && is_kept(Utf8Path::new(rest))
    });
    if plain && !path.chars().any(char::is_control) {
        return Ok(());
    }
    let hint = "use an absolute path under /usr or /opt; files in /etc come through Ignition, or with \
                [finish] etc = \"tmpfiles\"";
    Err(recipe.error(at, format!("an extension cannot contain `{path}`"), hint))
}

fn check_source(recipe: &Recipe, source: &Spanned<Utf8PathBuf>) -> Result<(), RecipeError> {
    let path = recipe.beside(source.get_ref());
    if path.exists() {
        return Ok(());
    }
    let cause = format!("`{}` does not exist", source.get_ref());
    let hint = format!("create {path}, or correct the path, which is relative to the recipe");
    Err(recipe.error(source, cause, &hint))
}

/// Debian policy 5.6.1.
fn is_package_name(name: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let rest = |byte: u8| alphanumeric(byte) || b"+-.".contains(&byte);
    // A trailing `-` would tell apt to remove the package.
    name.len() > 1
        && name.bytes().next().is_some_and(alphanumeric)
        && name.bytes().all(rest)
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use loadgauge_host::toml_keys::with_value_at_every_key;

    use super::*;

    fn report(text: &str) -> String {
        match Recipe::parse(text, Utf8Path::new("recipes/hello.toml")).expect_err("a wrong recipe") {
            RecipeError::Problem(problem) => problem.report(),
            error @ RecipeError::File(_) => panic!("{error}"),
        }
    }

    #[test]
    fn errors_have_a_place_a_cause_and_a_hint() {
        let file = "[[file]]\npath = \"/usr/bin/x\"\n";
        let wrong = [
            "name = \"hello\"\nsumary = \"x\"\n".to_owned(),
            "name = \"hello\"\n[[debian]]\npackages = [\"docker.io\"]\nwith-recommends = true\n".to_owned(),
            "name = \"hello\"\n[compatible]\ncolour = \"blue\"\n".to_owned(),
            "name = \"hello\"\n".to_owned(),
            "name = \"a/b\"\n".to_owned(),
            "name = \"hello.raw\"\n".to_owned(),
            "name = hello\n".to_owned(),
            "summary = \"no name\"\n".to_owned(),
            format!("name = \"hello\"\n{file}"),
            format!("name = \"hello\"\n{file}contents = \"x\"\nlink = \"y\"\n"),
            format!("name = \"hello\"\n{file}contents = \"x\"\nmode = \"rwx\"\n"),
            format!("name = \"hello\"\n{file}source = \"not-there\"\n"),
            "name = \"hello\"\n[[file]]\npath = \"/etc/motd\"\ncontents = \"x\"\n".to_owned(),
            "name = \"hello\"\n[[file]]\npath = \"/usr/../etc/motd\"\ncontents = \"x\"\n".to_owned(),
            "name = \"hello\"\n[[tree]]\nsource = \"not-there\"\n".to_owned(),
            "name = \"hello\"\n[[debian]]\npackages = [\"--force-yes\"]\n".to_owned(),
            format!("name = \"hello\"\n{file}contents = \"x\"\n[finish]\nremove = [\"/usr/[\"]\n"),
        ];
        let reports: Vec<String> =
            wrong.iter().map(|text| format!("{}\n---\n{}", text.trim_end(), report(text))).collect();
        insta::assert_snapshot!(reports.join("\n\n"));
    }

    #[test]
    fn first_attempts_get_an_example_of_the_right_form() {
        for (text, place, cause, hint) in [
            ("version = 3", "2:11", "`version` must be a text, not a number", "write `version = \"1.2.3\"`"),
            (
                "base-extensions = \"docker\"",
                "2:19",
                "`base-extensions` must be a list of texts, not a text",
                "write `base-extensions = [\"docker\"]`",
            ),
            (
                "[debian]\npackages = [\"x\"]",
                "2:1",
                "`debian` must be a list of tables, not a table",
                "write `[[debian]]`",
            ),
            (
                "[[debian]]\npackages = \"strace\"",
                "3:12",
                "`packages` must be a list of texts, not a text",
                "write `packages = [\"strace\"]`",
            ),
            ("[[debian]]\nrecommends = true", "2:1", "the key `packages` is missing", ""),
            (
                "[[file]]\npath = \"/usr/x\"\nmode = 0o755",
                "4:8",
                "`mode` must be a text, not a number",
                "write `mode = \"0755\"`",
            ),
            (
                "[[file]]\npath = \"/usr/x\"\nmode = 0755",
                "4:8",
                "a number cannot begin with 0",
                "write a file mode as a text: `mode = \"0644\"`",
            ),
            ("file = [[\"/usr/x\"]]", "2:9", "`file` must contain a table, not a list", "write `[[file]]`"),
            (
                "[finish]\nupholds = { \"a.target\" = \"x.service\" }",
                "3:26",
                "`upholds` must contain a list of texts, not a text",
                "write `upholds = { \"multi-user.target\" = [\"tool.service\"] }`",
            ),
            (
                "[pack]\nformat = true",
                "3:10",
                "`format` must be a text, not `true`",
                "write `format = \"erofs\"`",
            ),
            (
                "[pack]\nerofs-level = -1",
                "3:15",
                "`erofs-level` must be a whole number from 0 to 4294967295, not -1",
                "write `erofs-level = 9`",
            ),
        ] {
            let report = report(&format!("name = \"hello\"\n{text}\n"));
            let lines: Vec<&str> = report.lines().collect();
            assert_eq!(lines[0], format!("recipes/hello.toml:{place}: {cause}"), "{report}");
            let shown = lines.iter().find_map(|line| line.strip_prefix("  hint: ")).unwrap_or_default();
            assert_eq!(shown, hint, "{report}");
        }
    }

    /// serde knows the same keys in every table as the list of keys, and the reference has all of them.
    #[test]
    fn every_key_that_is_read_is_in_the_list_and_in_the_reference() {
        let reference = include_str!("../../../scenarios/recipes/README.md");
        let rows = reference.lines().filter(|line| line.starts_with("| `"));
        let cells = rows.filter_map(|line| line.split('|').nth(1));
        let listed: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        let all: Vec<String> = with_value_at_every_key(KEYS, "VALUE")
            .iter()
            .filter_map(|document| document.split_once(" = VALUE").map(|(before, _)| before.to_owned()))
            .filter_map(|before| before.rsplit([' ', '[']).next().map(str::to_owned))
            .collect();
        for key in &all {
            assert!(listed.contains(&key.as_str()), "`{key}` is not in scenarios/recipes/README.md");
        }
        let unknown = "{ qqqqqqqqqqqqqqqqqqqqq = 1 }";
        let documents = with_value_at_every_key(KEYS, unknown).into_iter();
        let mut checked = 0;
        for document in documents.chain(["qqqqqqqqqqqqqqqqqqqqq = 1".to_owned()]) {
            let report = report(&document);
            let Some((_, hint)) = report.split_once("hint: valid names here:") else { continue };
            for key in hint.split('`').skip(1).step_by(2) {
                assert!(all.iter().any(|known| known == key), "`{key}` is not in the list of keys");
            }
            checked += 1;
        }
        assert!(checked > 8, "{checked} tables");
    }

    /// Values of every type at every key: each is accepted, or has a message without Rust's and serde's words.
    #[test]
    fn a_wrong_value_has_a_place_and_plain_words() {
        let forbidden = [
            "struct",
            "enum",
            "variant",
            "sequence",
            "untagged",
            "serde",
            "Section",
            "Option",
            "Spanned",
            "invalid type",
            "invalid value",
            "invalid length",
            "wanted ",
            "basic string",
            "i64",
            "u8",
            "u16",
            "u32",
            "usize",
            "boolean `",
            "integer `",
            "map",
            "not of the right type",
        ];
        for value in [
            "3",
            "-3",
            "1.5",
            "99999999999999999999",
            "true",
            "'x'",
            "1979-05-27",
            "[]",
            "[3]",
            "['x']",
            "[[]]",
            "[{}]",
            "{}",
            "{ x = 3 }",
        ] {
            for document in with_value_at_every_key(KEYS, value) {
                let Ok(table) = DeTable::parse(&document) else { continue };
                let wrong = take_wrong_types(&mut table.into_inner(), KEYS);
                match Recipe::parse(&document, Utf8Path::new("recipes/hello.toml")) {
                    Ok(_) => assert_eq!(wrong, [], "{document}"),
                    Err(RecipeError::File(error)) => panic!("{document}: {error}"),
                    Err(RecipeError::Problem(problem)) => {
                        let report = problem.report();
                        assert!(report.starts_with("recipes/hello.toml:1:"), "{report}");
                        let messages: Vec<&str> =
                            report.lines().filter(|line| !line.contains(" | ")).collect();
                        let messages = messages.join("\n").replace("os-release", "");
                        for word in forbidden {
                            assert!(!messages.contains(word), "`{word}` in {messages}");
                        }
                        assert!(wrong.is_empty() || messages.contains(&wrong[0].cause), "{report}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_tree_is_a_directory_with_entries() {
        let scratch = tempfile::tempdir().expect("a directory");
        let path = Utf8Path::from_path(scratch.path()).expect("UTF-8").join("x.toml");
        fs::create_dir(scratch.path().join("empty")).expect("made");
        fs::write(scratch.path().join("file"), "x").expect("written");
        for (source, expected) in [
            ("file", "x.toml:3:10: `file` is not a directory"),
            ("empty", "x.toml:3:10: the directory `empty` is empty"),
        ] {
            let text = format!("name = \"x\"\n[[tree]]\nsource = \"{source}\"\n");
            let error = Recipe::parse(&text, &path).expect_err(source).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_former_key_is_an_error_that_names_the_present_one() {
        for (text, place, present) in [
            ("beyond = [\"docker\"]\n", "2:1", "base-extensions"),
            ("epoch = 1\n", "2:1", "source-date-epoch"),
            ("[finish]\nmissing-libraries = []\n", "3:1", "allow-missing-libraries"),
            ("[finish]\nmask = []\n", "3:1", "install-mask"),
            ("[[gentoo]]\npackages = []\nprovided = []\n", "4:1", "package-provided"),
            ("[[gentoo]]\npackages = []\n  mask = []\n", "4:3", "install-mask"),
            ("[[gentoo]]\npackages = []\nuse = []\n", "4:1", "package-use"),
            ("[[archive]]\nsha256 = \"\"\nstrip = 1\n", "4:1", "strip-components"),
            ("[pack]\nsquashfs = \"xz\"\n", "3:1", "squashfs-compression"),
            ("[pack]\nerofs = \"lz4\"\n", "3:1", "erofs-compression"),
            ("[pack]\nddi = \"erofs\"\n", "3:1", "ddi-filesystem"),
        ] {
            let report = report(&format!("name = \"hello\"\n{text}"));
            assert!(report.starts_with(&format!("recipes/hello.toml:{place}: unknown key `")), "{report}");
            assert!(report.ends_with(&format!("hint: the key is now called `{present}`")), "{report}");
        }
    }
}
