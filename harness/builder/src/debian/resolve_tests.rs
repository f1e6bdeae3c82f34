// SPDX-License-Identifier: Apache-2.0
//! Compares the resolution with apt-get's, on generated archives.
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use camino::Utf8Path;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

use super::super::index::Index;
use super::*;

/// A generated package.
#[derive(Debug, Clone)]
struct Generated {
    name: String,
    version: u32,
    depends: Vec<String>,
    conflicts: Vec<String>,
    breaks: Vec<String>,
    provides: Vec<String>,
    recommends: Vec<String>,
}

impl Generated {
    fn paragraph(&self, status: bool) -> String {
        let Self { name, version, .. } = self;
        let mut text = format!("Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: x\n");
        if let Some(at) = NAMES.iter().position(|one| one == name).filter(|at| *at < PRIORITIES.len()) {
            let _ = writeln!(text, "Priority: {}", PRIORITIES[at]);
        }
        for (field, values) in [
            ("Depends", &self.depends),
            ("Conflicts", &self.conflicts),
            ("Breaks", &self.breaks),
            ("Provides", &self.provides),
            ("Recommends", &self.recommends),
        ] {
            if !values.is_empty() {
                let _ = writeln!(text, "{field}: {}", values.join(", "));
            }
        }
        text.push_str(if status {
            "Status: install ok installed\nDescription: x\n\n"
        } else {
            "Filename: pool/x.deb\nSize: 1\nSHA256: 0000000000000000000000000000000000000000000000000000000000000000\n\
             Description: x\n\n"
        });
        text
    }
}

fn archive(packages: &[Generated]) -> String {
    packages.iter().map(|package| package.paragraph(false)).collect()
}

fn status(packages: &[Generated]) -> String {
    packages.iter().map(|package| package.paragraph(true)).collect()
}

/// Versions of the added packages by name, or the error.
type Outcome = Result<BTreeMap<String, String>, String>;

fn ours(archive: &str, status: &str, names: &[&str], recommends: bool) -> Outcome {
    search(archive, status, names, recommends).1
}

/// The outcome, and whether it was found without backtracking.
fn search(archive: &str, status: &str, names: &[&str], recommends: bool) -> (bool, Outcome) {
    let (archive, installed) = (Index::of_archive(archive.into()), Index::of_status(status.into()));
    let universe = Universe { installed: &installed, archive: &archive };
    let solution = match resolve(universe, names, recommends, &BTreeSet::new()) {
        Ok(solution) => solution,
        Err(error) => return (true, Err(error.to_string())),
    };
    let pairs =
        solution.added.iter().map(|added| (added.record.name.clone(), added.record.version.to_string()));
    (!solution.backtracked, Ok(pairs.collect()))
}

/// apt-get with its own configuration and state.
struct Apt(tempfile::TempDir);

impl Apt {
    fn new(archive: &str, status: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Utf8Path::from_path(directory.path()).expect("UTF-8");
        for name in ["lists/partial", "archives/partial", "log", "preferences.d", "repo"] {
            fs::create_dir_all(root.join(name)).expect("made");
        }
        fs::write(root.join("repo/Packages"), archive).expect("written");
        fs::write(root.join("status"), status).expect("written");
        fs::write(root.join("sources.list"), format!("deb [trusted=yes] file:{root}/repo ./\n"))
            .expect("written");
        let configuration = format!(
            "Dir \"{root}\";\nDir::Etc \"{root}\";\nDir::Etc::SourceList \"{root}/sources.list\";\n\
             Dir::Etc::SourceParts \"/dev/null\";\nDir::Etc::Parts \"/dev/null\";\nDir::State \"{root}\";\n\
             Dir::State::status \"{root}/status\";\nDir::State::Lists \"{root}/lists\";\nDir::Cache \"{root}\";\n\
             Dir::Log \"{root}/log\";\nAPT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; }};\n\
             Debug::NoLocking \"true\";\nAPT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n"
        );
        fs::write(root.join("apt.conf"), configuration).expect("written");
        let apt = Self(directory);
        let output = apt.command().args(["update", "-q"]).output().expect("apt-get runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        apt
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.env("APT_CONFIG", self.0.path().join("apt.conf")).env("LC_ALL", "C.UTF-8");
        command
    }

    /// The packages that apt-get would install, or its output.
    fn simulate(&self, names: &[&str], recommends: bool) -> Result<BTreeMap<String, String>, String> {
        let recommend = if recommends { "--install-recommends" } else { "--no-install-recommends" };
        let mut command = self.command();
        command.args(["-s", "--no-remove", "-y", recommend, "install", "--"]).args(names);
        let output = command.output().expect("apt-get runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            return Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)));
        }
        let line = |line: &str| {
            let mut fields = line.strip_prefix("Inst ")?.split_whitespace();
            let name = fields.next()?.to_owned();
            let version = fields.find_map(|field| field.strip_prefix('('))?;
            Some((name, version.to_owned()))
        };
        Ok(text.lines().filter_map(line).collect())
    }

    /// Whether the dependencies of the installed packages are satisfied.
    fn is_consistent(&self) -> bool {
        self.command().args(["check", "-q"]).output().expect("apt-get runs").status.success()
    }
}

fn package(name: &str, version: u32, depends: &[&str]) -> Generated {
    let none = Vec::new;
    let depends = depends.iter().map(|one| (*one).to_owned()).collect();
    let name = name.to_owned();
    Generated {
        name,
        version,
        depends,
        conflicts: none(),
        breaks: none(),
        provides: none(),
        recommends: none(),
    }
}

#[test]
fn installed_packages_are_kept_and_others_are_added_with_a_reason() {
    let packages = [
        package("a", 1, &["b (>= 2)", "c | d"]),
        package("b", 2, &[]),
        package("c", 1, &[]),
        package("d", 1, &[]),
    ];
    let status = status(&[package("d", 1, &[])]);
    let (archive, installed) =
        (Index::of_archive(archive(&packages).into()), Index::of_status(status.into()));
    let solution =
        resolve(Universe { installed: &installed, archive: &archive }, &["a"], false, &BTreeSet::new())
            .expect("solved");
    let reasons: Vec<String> =
        solution.added.iter().map(|added| format!("{}: {}", added.record.name, added.reason)).collect();
    assert_eq!(reasons, ["a: the recipe asks for it", "b: a needs b (>= 2)"]);
    assert_eq!(solution.already_installed.len(), 1);
    assert_eq!(
        (solution.already_installed[0].name.as_str(), solution.already_installed[0].needed_by.as_str()),
        ("d", "a")
    );
}

#[test]
fn errors_name_the_chain_of_dependencies() {
    let packages = [
        package("app", 1, &["middle"]),
        package("middle", 3, &["lib (>= 2)"]),
        package("lib", 1, &[]),
        package("other", 1, &["nothing"]),
        Generated { conflicts: vec!["lib".to_owned()], ..package("eager", 1, &["lib"]) },
    ];
    let archive = archive(&packages);
    let refuse = |name: &str| ours(&archive, "", &[name], false).expect_err("refused");
    assert_eq!(
        refuse("app"),
        "app 1 needs middle; middle 3 needs lib (>= 2); no version satisfies `lib (>= 2)`: found lib 1 in the archive"
    );
    assert_eq!(refuse("other"), "other 1 needs nothing; the archive has no package `nothing`");
    assert_eq!(
        refuse("eager"),
        "eager 1 needs lib; eager 1 is incompatible with lib 1: eager 1 declares `lib`"
    );
    let base = status(&[package("lib", 1, &[])]);
    let error = ours(&archive, &base, &["eager"], false).expect_err("refused");
    assert_eq!(error, "eager 1 is incompatible with lib 1 of the base: eager 1 declares `lib`");
}

#[test]
fn packages_of_the_base_are_replaced_only_where_necessary() {
    let packages = [
        package("app", 1, &["lib (>= 2)", "tool"]),
        package("lib", 2, &[]),
        package("tool", 2, &[]),
        package("lib-dev", 2, &["lib (= 2)"]),
    ];
    let base =
        status(&[package("lib", 1, &[]), package("tool", 1, &[]), package("lib-dev", 1, &["lib (= 1)"])]);
    let found = ours(&archive(&packages), &base, &["app"], false).expect("solved");
    assert_eq!(found.keys().collect::<Vec<_>>(), ["app", "lib", "lib-dev"]);
}

#[test]
fn another_alternative_is_tried_after_a_conflict() {
    let packages = [
        package("app", 1, &["one | two"]),
        Generated { conflicts: vec!["kept".to_owned()], ..package("one", 1, &[]) },
        package("two", 1, &[]),
        package("kept", 1, &[]),
    ];
    let found =
        ours(&archive(&packages), &status(&[package("kept", 1, &[])]), &["app"], false).expect("solved");
    assert_eq!(found.keys().collect::<Vec<_>>(), ["app", "two"]);
}

const NAMES: [&str; 8] = ["pa", "pb", "pc", "pd", "pe", "pf", "pg", "ph"];
/// Priorities of the first names, which alone provide others: between packages of equal priority, apt
/// follows the order of its hash table.
const PRIORITIES: [&str; 5] = ["optional", "required", "extra", "standard", "important"];

fn relation() -> impl Strategy<Value = String> {
    let name = prop_oneof![6 => proptest::sample::select(&NAMES[..]), 1 => Just("va"), 1 => Just("vb")];
    let bound = prop_oneof![
        4 => Just(String::new()),
        1 => (proptest::sample::select(&[">=", "<<", "=", "<="][..]), 1..4_u32).prop_map(|(operator, version)| format!(" ({operator} {version})")),
    ];
    (name, bound).prop_map(|(name, bound)| format!("{name}{bound}"))
}

fn group() -> impl Strategy<Value = String> {
    proptest::collection::vec(relation(), 1..3).prop_map(|group| group.join(" | "))
}

fn any_package(name: &'static str) -> impl Strategy<Value = Vec<Generated>> {
    let few = |chance: f64| {
        proptest::option::weighted(chance, relation()).prop_map(|one| one.into_iter().collect::<Vec<_>>())
    };
    let may_provide = NAMES.iter().position(|one| *one == name).is_some_and(|at| at < PRIORITIES.len());
    let provides = proptest::option::weighted(0.4, proptest::sample::select(&["va", "vb", "va (= 2)"][..]));
    let version = 1..4_u32;
    (version, proptest::collection::vec(group(), 0..3), few(0.15), few(0.15), provides, few(0.2)).prop_map(
        move |(version, depends, conflicts, breaks, provides, recommends)| {
            let provides = provides.into_iter().filter(|_| may_provide).map(str::to_owned).collect();
            vec![Generated {
                name: name.to_owned(),
                version,
                depends,
                conflicts,
                breaks,
                provides,
                recommends,
            }]
        },
    )
}

/// An archive, the package that becomes the base, and the package that is added to it.
fn any_archive() -> impl Strategy<Value = (Vec<Generated>, &'static str, &'static str, bool)> {
    let all: Vec<_> = NAMES.into_iter().map(any_package).collect();
    let name = || proptest::sample::select(&NAMES[..]);
    (all, name(), name(), any::<bool>())
        .prop_map(|(packages, first, then, recommends)| (packages.concat(), first, then, recommends))
}

/// Where apt finds a solution, ours is the same. Where apt finds none, we find none, or one that apt
/// accepts as consistent; so it is where our search backtracked, since apt keeps the packages that it had
/// marked for an abandoned choice, and we do not.
///
/// Returns whether the outcomes had to be equal.
fn compare(packages: &[Generated], first: &str, then: &str, recommends: bool) -> Result<bool, TestCaseError> {
    let archive = archive(packages);
    let Ok(base) = ours(&archive, "", &[first], false) else {
        let theirs = Apt::new(&archive, "").simulate(&[first], false);
        prop_assert!(theirs.is_err(), "ours: none\napt: {theirs:?}\n{archive}");
        return Ok(true);
    };
    let installed: Vec<Generated> =
        packages.iter().filter(|package| base.contains_key(&package.name)).cloned().collect();
    let status = status(&installed);
    let apt = Apt::new(&archive, &status);
    prop_assert!(apt.is_consistent(), "the resolved base is inconsistent:\n{status}");
    let ((direct, mine), theirs) =
        (search(&archive, &status, &[then], recommends), apt.simulate(&[then], recommends));
    match (mine, theirs) {
        (Ok(mine), Ok(theirs)) if direct => {
            prop_assert_eq!(mine, theirs, "{}\n{}", archive, status);
            Ok(true)
        }
        (Err(mine), Ok(theirs)) => {
            Err(TestCaseError::fail(format!("ours: {mine}\napt: {theirs:?}\n{archive}\n{status}")))
        }
        (Ok(mine), _) => {
            let all: Vec<Generated> = packages
                .iter()
                .filter(|package| mine.contains_key(&package.name) || base.contains_key(&package.name))
                .cloned()
                .collect();
            prop_assert!(Apt::new(&archive, &super::tests::status(&all)).is_consistent());
            Ok(false)
        }
        (Err(_), Err(_)) => Ok(true),
    }
}

/// The archives are the same in every run, so that the result depends on the code alone;
/// `PROPTEST_RNG_SEED` and `PROPTEST_CASES` select others.
#[test]
fn apt_finds_the_same_solutions() {
    let mut config = ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = RngSeed::Fixed(3654);
    }
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 150;
    }
    let cases = config.cases;
    let same = Cell::new(0);
    let result = TestRunner::new(config).run(&any_archive(), |(packages, first, then, recommends)| {
        same.set(same.get() + u32::from(compare(&packages, first, then, recommends)?));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(same.get() >= cases * 8 / 10, "only {} of {cases} outcomes had to be equal", same.get());
}
