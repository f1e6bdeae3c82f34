// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint as _;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::Store;
use loadgauge_host::toml_keys;

use super::*;

/// A catalogue with a file for each name. A file has the given tag; without a tag it has an error.
fn catalogue(files: &[(&str, &str)]) -> (tempfile::TempDir, Catalogue) {
    let directory = tempfile::tempdir().expect("a directory");
    let root = Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8");
    for (name, tag) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        let text = if tag.is_empty() {
            "broken = true\n".to_owned()
        } else {
            format!("summary = \"x\"\ntags = [\"{tag}\"]\n[[step]]\noverlay = {{}}\n")
        };
        std::fs::write(path, text).expect("written");
    }
    let catalogue = Catalogue::at(root).expect("a catalogue");
    (directory, catalogue)
}

const FILES: &[(&str, &str)] = &[
    ("hello.toml", "quick"),
    ("docker-vendor.toml", "docker"),
    ("docker/replace.toml", "docker"),
    ("recipes/docker.toml", ""),
    ("data/notes.txt", ""),
];

fn names(catalogue: &Catalogue, patterns: &[&str]) -> Vec<String> {
    let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    let scenarios = select(catalogue, &patterns).expect("a selection");
    scenarios.into_iter().map(|scenario| scenario.name).collect()
}

fn refusal(catalogue: &Catalogue, pattern: &str) -> SelectError {
    select(catalogue, &[pattern.to_owned()]).expect_err(pattern)
}

#[test]
fn recipes_and_data_are_not_scenarios() {
    let (_directory, catalogue) = catalogue(FILES);
    assert_eq!(catalogue.names(), ["docker-vendor", "docker/replace", "hello"]);
    assert_eq!(catalogue.recipes().expect("read"), ["docker"]);
}

#[test]
fn patterns_are_names_expressions_tags_and_files() {
    let (_directory, catalogue) = catalogue(FILES);
    assert_eq!(names(&catalogue, &[]), ["docker-vendor", "docker/replace", "hello"]);
    assert_eq!(names(&catalogue, &["hello"]), ["hello"]);
    assert_eq!(names(&catalogue, &["docker.*", "docker/.*"]), ["docker-vendor", "docker/replace"]);
    assert_eq!(names(&catalogue, &["tag:quick", "docker/replace"]), ["docker/replace", "hello"]);
    let file = catalogue.root().join("docker/replace.toml");
    assert_eq!(names(&catalogue, &[file.as_str()]), ["replace"]);
}

#[test]
fn a_pattern_is_for_the_whole_name() {
    let (_directory, catalogue) = catalogue(FILES);
    let error = refusal(&catalogue, "docker");
    assert!(matches!(error, SelectError::Nothing { .. }));
    assert_eq!(error.hint().as_deref(), Some("did you mean `docker-vendor`?"));
    assert_eq!(
        refusal(&catalogue, "docker*").hint().as_deref(),
        Some("write `.*` for any characters; did you mean `docker-vendor`?")
    );
    assert_eq!(refusal(&catalogue, "tag:quik").hint().as_deref(), Some("did you mean `tag:quick`?"));
    assert_eq!(
        refusal(&catalogue, "zzz").hint().as_deref(),
        Some("choose one of docker-vendor, docker/replace, hello")
    );
}

#[test]
fn a_glob_is_not_a_regular_expression() {
    let (_directory, catalogue) = catalogue(FILES);
    let error = refusal(&catalogue, "*docker*");
    assert_eq!(
        error.to_string(),
        "`*docker*` is not a regular expression: repetition operator missing expression"
    );
    assert_eq!(error.hint().as_deref(), Some("write `.*` for any characters: '.*docker.*'"));
    assert!(matches!(refusal(&catalogue, "a)(b"), SelectError::Pattern { .. }));
}

#[test]
fn the_problems_of_all_selected_files_are_reported() {
    let (_directory, catalogue) = catalogue(&[("a.toml", ""), ("b.toml", "x"), ("c.toml", "")]);
    let SelectError::Catalogue(CatalogueError::Parse(errors)) = refusal(&catalogue, ".*") else {
        panic!("two broken files")
    };
    assert_eq!(errors.len(), 2);
    assert_eq!(names(&catalogue, &["b"]), ["b"]);
}

#[test]
fn results_of_two_files_are_not_mixed_up() {
    let (_directory, catalogue) = catalogue(&[("a.toml", "x"), ("b/a.toml", "x")]);
    let patterns = ["a".to_owned(), catalogue.root().join("b/a.toml").into_string()];
    assert!(matches!(select(&catalogue, &patterns), Err(SelectError::DuplicateName { .. })));
}

#[test]
fn a_missing_file_is_named() {
    let (_directory, catalogue) = catalogue(&[]);
    assert_eq!(refusal(&catalogue, "/no/such.toml").to_string(), "cannot read `/no/such.toml`");
    let error = catalogue.recipe("hello").expect_err("no recipe");
    assert_eq!(error.to_string(), "there is no recipe `hello`");
    assert!(Catalogue::at("/no/such/directory").is_err());
}

fn embedded() -> (tempfile::TempDir, Catalogue) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::at(Utf8Path::from_path(directory.path()).expect("UTF-8"));
    let catalogue = Catalogue::embedded(&store).expect("written");
    (directory, catalogue)
}

#[test]
fn every_built_in_scenario_is_sound() {
    let (_directory, catalogue) = embedded();
    let scenarios = select(&catalogue, &[]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(scenarios.len(), catalogue.names().len());
    for name in ["hello", "docker-vendor", "docker-replace", "containerd-disabled", "refused"] {
        assert!(scenarios.iter().any(|scenario| scenario.name == name), "{name}");
    }
    for scenario in scenarios {
        assert!(!scenario.tags.is_empty(), "{} has no tag", scenario.name);
    }
}

#[test]
fn the_catalogue_is_written_once_and_read_quickly() {
    let (directory, first) = embedded();
    let store = Store::at(Utf8Path::from_path(directory.path()).expect("UTF-8"));
    let start = Instant::now();
    let second = Catalogue::embedded(&store).expect("found");
    select(&second, &[]).unwrap_or_else(|error| panic!("{error}"));
    // A release build needs less than 20 ms; this is a debug build on a host that may be busy.
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    assert_eq!(first.root(), second.root());
}

/// The blocks of TOML in the reference of the format.
fn reference() -> Vec<String> {
    let readme = include_str!("../../../scenarios/README.md");
    let blocks = readme.split("```toml\n").skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn what_the_reference_shows_is_accepted() {
    let (_directory, catalogue) = embedded();
    std::fs::write(catalogue.root().join("mine.raw"), "").expect("written");
    let blocks = reference();
    assert!(blocks.len() >= 6, "{} blocks", blocks.len());
    for block in blocks {
        let mut text = block.clone();
        if !text.starts_with("summary") {
            text.insert_str(0, "summary = \"x\"\n");
        }
        if !text.contains("[[step]]") && !text.contains("[[hold]]") {
            text.push_str("\n[[step]]\noverlay = {}\n");
        }
        let path = catalogue.root().join("reference.toml");
        std::fs::write(&path, &text).expect("written");
        if let Err(error) = catalogue.load_file(&path) {
            panic!("{}\n{block}", error.report());
        }
    }
}

#[test]
fn the_reference_shows_every_key() {
    let shown = reference().concat();
    for key in [toml_keys::names(keys::SCENARIO), toml_keys::names(keys::STEP)].concat() {
        let shown = shown.lines().any(|line| {
            let line = line.trim_start_matches('[');
            line.strip_prefix(key).is_some_and(|rest| rest.starts_with([' ', ']', '.']))
        });
        assert!(shown, "`{key}` is not in scenarios/README.md");
    }
}

#[test]
fn an_argument_names_a_file_a_directory_or_a_recipe() {
    let (directory, catalogue) = catalogue(&[("a.toml", "one")]);
    let root = Utf8Path::from_path(directory.path()).expect("UTF-8");
    let store = Store::at(root.join("store"));
    for path in ["recipes", "my \"tool\"/usr/bin", "dotted.d/usr"] {
        std::fs::create_dir_all(root.join(path)).expect("made");
    }
    for file in ["recipes/hello.toml", "good.squashfs", "plain", "own.toml"] {
        std::fs::write(root.join(file), "x").expect("written");
    }
    let extension = |path: &Utf8Path| catalogue.extension(path, &store).expect("found");
    for image in ["good.squashfs", "plain"] {
        assert_eq!(extension(&root.join(image)), Source::Image(root.join(image)));
    }
    assert_eq!(extension(&root.join("own.toml")), Source::Recipe(root.join("own.toml")));
    assert_eq!(extension("hello".into()), Source::Recipe(root.join("recipes/hello.toml")));
    for (name, tree) in [("my \"tool\"", "my \"tool\""), ("dotted.d", "dotted.d")] {
        let Source::Recipe(recipe) = extension(&root.join(tree)) else { panic!("a recipe") };
        let text: toml::Table = std::fs::read_to_string(recipe).expect("kept").parse().expect("TOML");
        assert_eq!(text["name"].as_str(), Some(name));
        let source = root.join(tree).canonicalize_utf8().expect("there");
        assert_eq!(text["tree"][0]["source"].as_str(), Some(source.as_str()));
    }
    let error = catalogue.extension(&root.join("nope.raw"), &store).expect_err("absent");
    assert!(error.to_string().starts_with("there is no file `"), "{error}");
    let error = catalogue.extension("helo".into(), &store).expect_err("absent");
    assert_eq!(error.hint().as_deref(), Some("did you mean `hello`?"));
}
