// SPDX-License-Identifier: Apache-2.0
//! Compares the resolution with `emerge --usepkgonly --pretend`, on generated binhosts and bases.
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

use camino::Utf8Path;
use loadgauge_builder::gentoo::atom::Atom;
use loadgauge_builder::gentoo::dependency::Dependency;
use loadgauge_builder::gentoo::index::Index;
use loadgauge_builder::gentoo::package::Package;
use loadgauge_builder::gentoo::pool::PackagePool;
use loadgauge_builder::gentoo::{Resolution, ResolveError, database, resolve};
use serde_json::{Value, json};

use crate::oracle::Oracle;
use crate::random::Random;

/// Number of generated cases; each takes half a second, nearly all of it in Portage.
const CASES: u64 = 200;
/// Percentage of cases that may have different valid solutions after a slot conflict: Portage masks one of
/// the packages and starts again, up to twenty times, and we do the same in another order.
const DIFFERENT_AFTER_CONFLICTS: usize = 3;

const NAMES: [&str; 7] =
    ["app-misc/a", "app-misc/b", "dev-libs/c", "dev-libs/d", "sys-apps/e", "sys-apps/f", "virtual/g"];
const VERSIONS: [&str; 5] = ["1", "1.1-r1", "2_beta", "2", "10"];
const FLAGS: [&str; 2] = ["x", "y"];

/// A generated package.
#[derive(Debug, Clone)]
struct Generated {
    name: &'static str,
    version: &'static str,
    values: Vec<(&'static str, String)>,
}

impl Generated {
    fn file(&self) -> String {
        let short = self.name.split('/').next_back().expect("a name");
        format!("{short}-{}", self.version)
    }

    fn value(&self, key: &str) -> &str {
        self.values.iter().find(|(name, _)| *name == key).map_or("", |(_, value)| value)
    }
}

/// A binhost, a base, and the requested packages.
#[derive(Debug)]
struct Case {
    available: Vec<Generated>,
    installed: Vec<Generated>,
    provided: Vec<String>,
    asked: Vec<String>,
}

/// Frequencies in a case, so that not all cases are unsatisfiable.
#[derive(Clone, Copy)]
struct Shape {
    strict: bool,
    blockers: usize,
    flags: usize,
    groups: usize,
    /// whether the packages are merged into another root, and `IDEPEND` is that of the host
    other_root: bool,
}

fn atom(random: &mut Random, shape: &Shape) -> String {
    let name = random.pick(&NAMES);
    let mut text = match random.below(if shape.strict { 8 } else { 24 }) {
        0 => format!(">={name}-{}", random.pick(&["1", "1.1", "2"])),
        1 => format!("<{name}-{}", random.pick(&["2", "10", "11"])),
        2 => format!("={name}-{}*", random.pick(&["1", "2"])),
        3 => format!("~{name}-{}", random.pick(&["1", "1.1"])),
        _ => name.to_owned(),
    };
    // Dependencies on virtual packages have no slot or flags.
    if name.starts_with("virtual/") {
        return text;
    }
    if random.chance(if shape.strict { 15 } else { 4 }) {
        text.push_str(random.pick(&[":0", ":0", ":1", ":=", ":*", ":0/5="]));
    }
    if random.chance(shape.flags) {
        text.push_str(random.pick(&["[x]", "[-x]", "[x(+)]", "[y(-)?]", "[x,-y]", "[z(-)]", "[-z(-)]"]));
    }
    text
}

fn dependencies(random: &mut Random, shape: &Shape) -> String {
    let mut items = Vec::new();
    for _ in 0..random.below(3) {
        if random.chance(shape.groups) {
            let choices: Vec<String> = (0..2 + random.below(2))
                .map(|_| match random.below(5) {
                    0 => format!("( {} {} )", atom(random, shape), atom(random, shape)),
                    _ => atom(random, shape),
                })
                .collect();
            items.push(format!("|| ( {} )", choices.join(" ")));
        } else {
            items.push(atom(random, shape));
        }
    }
    if random.chance(shape.blockers) {
        items.push(format!(
            "{}{}",
            random.pick(&["!", "!!"]),
            atom(random, &Shape { flags: 0, strict: true, ..*shape })
        ));
    }
    items.join(" ")
}

fn package(random: &mut Random, shape: &Shape, name: &'static str, version: &'static str) -> Generated {
    if name.starts_with("virtual/") {
        return virtual_package(random, name, version);
    }
    let slot = match random.below(8) {
        0 => "1",
        1 => "0/5",
        _ => "0",
    };
    let flags: Vec<&str> = FLAGS.into_iter().filter(|_| random.chance(50)).collect();
    let mut values = vec![
        ("SLOT", slot.to_owned()),
        ("IUSE", if random.chance(80) { "x y".to_owned() } else { "y".to_owned() }),
        ("USE", flags.join(" ")),
        ("RDEPEND", dependencies(random, shape)),
    ];
    if random.chance(15) {
        values.push(("PDEPEND", dependencies(random, shape)));
    }
    if random.chance(10) {
        let any = dependencies(random, shape);
        // A plain name, which the host has.
        let plain = NAMES[version.len() % 6].to_owned();
        values.push(("IDEPEND", if shape.other_root { plain } else { any }));
    }
    if !values[1].1.contains('x') {
        values[2].1.retain(|flag| flag != 'x');
    }
    Generated { name, version, values }
}

/// A virtual package. Portage does not support one that depends on another virtual package.
fn virtual_package(random: &mut Random, name: &'static str, version: &'static str) -> Generated {
    let count = 1 + random.below(3);
    let stands_for: Vec<&str> = (0..count).map(|_| random.pick(&NAMES[..NAMES.len() - 1])).collect();
    let stands_for =
        if count == 1 { stands_for[0].to_owned() } else { format!("|| ( {} )", stands_for.join(" ")) };
    Generated { name, version, values: vec![("SLOT", "0".to_owned()), ("RDEPEND", stands_for)] }
}

/// Whether a case is resolved for another root, as `build_sysext` does, and not for the system itself.
fn is_other_root(seed: u64) -> bool {
    seed % 2 == 1
}

fn case(seed: u64) -> Case {
    let mut random = Random(seed);
    let random = &mut random;
    let shape = Shape {
        blockers: random.pick(&[0, 0, 10]),
        strict: random.chance(50),
        flags: random.pick(&[0, 5, 15]),
        groups: random.pick(&[0, 25, 50]),
        other_root: is_other_root(seed),
    };
    let (mut available, mut installed) = (Vec::new(), Vec::new());
    for name in NAMES {
        for version in VERSIONS {
            if random.chance(45) {
                available.push(package(random, &shape, name, version));
            }
        }
        if random.chance(35) {
            let version = random.pick(&VERSIONS);
            installed.push(package(random, &shape, name, version));
        }
    }
    let provided = if random.chance(20) { vec![format!("{}-2", random.pick(&NAMES))] } else { Vec::new() };
    let asked = (0..=random.below(2))
        .map(|_| {
            let made = &available[random.below(available.len())];
            match random.below(5) {
                0 => format!("={}-{}", made.name, made.version),
                1 => format!("{}:{}", made.name, made.value("SLOT").split('/').next().unwrap_or_default()),
                _ => made.name.to_owned(),
            }
        })
        .collect();
    Case { available, installed, provided, asked }
}

/// A package file in the xpak format, with no files in it.
fn xpak(made: &Generated) -> Vec<u8> {
    let (category, _) = made.name.split_once('/').expect("a category");
    let mut entries = vec![
        ("CATEGORY", category.to_owned()),
        ("PF", made.file()),
        ("EAPI", "8".to_owned()),
        ("KEYWORDS", "amd64".to_owned()),
        ("BUILD_ID", "1".to_owned()),
        ("BUILD_TIME", "1700000000".to_owned()),
        ("CHOST", "x86_64-pc-linux-gnu".to_owned()),
        ("DEFINED_PHASES", "-".to_owned()),
        ("LICENSE", "MIT".to_owned()),
        ("repository", "loadgauge".to_owned()),
    ];
    entries.extend(made.values.iter().cloned());
    let number = |bytes: &[u8]| u32::try_from(bytes.len()).expect("small").to_be_bytes();
    let (mut index, mut data) = (Vec::new(), Vec::new());
    for (name, value) in entries.iter().filter(|(_, value)| !value.is_empty()) {
        let value = format!("{value}\n");
        index.extend(number(name.as_bytes()));
        index.extend(name.as_bytes());
        index.extend(number(&data));
        index.extend(number(value.as_bytes()));
        data.extend(value.as_bytes());
    }
    let segment = [&b"XPAKPACK"[..], &number(&index), &number(&data), &index, &data, b"XPAKSTOP"].concat();
    let mut tar = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    std::io::Write::write_all(&mut tar, &[0; 1024]).expect("packed");
    let tar = tar.finish().expect("packed");
    [&tar[..], &segment, &number(&segment), b"STOP"].concat()
}

fn write_binhost(case: &Case, directory: &Utf8Path) {
    for made in &case.available {
        let place = directory.join(made.name);
        fs::create_dir_all(&place).expect("made");
        fs::write(place.join(format!("{}-1.xpak", made.file())), xpak(made)).expect("written");
    }
}

/// The packages of a host, which satisfy every `IDEPEND`.
fn host_packages() -> Vec<Generated> {
    let package = |name| Generated { name, version: "10", values: vec![("SLOT", "0".to_owned())] };
    NAMES.map(package).to_vec()
}

fn write_database(installed: &[Generated], directory: &Utf8Path) {
    fs::create_dir_all(directory).expect("made");
    for (number, made) in installed.iter().enumerate() {
        let (category, _) = made.name.split_once('/').expect("a category");
        let place = directory.join(category).join(made.file());
        fs::create_dir_all(&place).expect("made");
        let mut values = made.values.clone();
        values.extend([
            ("CATEGORY", category.to_owned()),
            ("PF", made.file()),
            ("EAPI", "8".to_owned()),
            ("KEYWORDS", "amd64".to_owned()),
            ("COUNTER", number.to_string()),
            ("BUILD_TIME", "1600000000".to_owned()),
            ("DEFINED_PHASES", "-".to_owned()),
            ("repository", "loadgauge".to_owned()),
        ]);
        for (key, value) in values.iter().filter(|(_, value)| !value.is_empty()) {
            fs::write(place.join(key), format!("{value}\n")).expect("written");
        }
        fs::write(place.join("CONTENTS"), "").expect("written");
    }
}

fn ours(
    case: &Case,
    binhost: &Utf8Path,
    base: &Utf8Path,
    other_root: bool,
) -> (PackagePool, Result<Resolution, Box<ResolveError>>) {
    let mut pool = PackagePool::default();
    // Portage wrote the index.
    let index =
        Index::read(&fs::read(binhost.join("Packages")).expect("Portage wrote it")).expect("an index");
    assert_eq!(index.packages.len(), case.available.len());
    for metadata in &index.packages {
        let mut package = Package::of_index(metadata).expect("a package");
        if other_root {
            package.dependencies.install.clear();
        }
        pool.add_available(package, 0);
    }
    let layer = Arc::from("the base");
    for mut package in database::read(base).expect("a database") {
        if other_root {
            package.dependencies.install.clear();
        }
        pool.add_installed(package, &layer);
    }
    for name in &case.provided {
        pool.provide(name).expect("a package");
    }
    let asked: Vec<Atom> = case.asked.iter().map(|text| Atom::parse(text).expect("an atom")).collect();
    let resolution = resolve(&pool, &asked);
    (pool, resolution)
}

/// Whether the dependencies and blockers of all added packages are satisfied.
fn is_consistent(pool: &PackagePool, resolution: &Resolution) -> bool {
    let added: Vec<&Package> = resolution.added.iter().map(|added| pool.package(added.id)).collect();
    let kept = pool
        .all_installed()
        .map(|id| pool.package(id))
        .filter(|package| !added.iter().any(|other| other.name_and_slot() == package.name_and_slot()));
    let all: Vec<&Package> = added.iter().copied().chain(kept).collect();
    added.iter().all(|package| package.dependencies.iter().all(|item| is_met(pool, &all, package, item)))
}

fn is_met(pool: &PackagePool, all: &[&Package], by: &Package, item: &Dependency) -> bool {
    match item {
        Dependency::Atom(atom) => {
            let hit = all.iter().any(|package| {
                let itself = atom.blocker.is_some() && package.name_and_slot() == by.name_and_slot();
                !itself && package.satisfies(&Atom { blocker: None, ..atom.clone() }, &by.flags)
            });
            let replaced = pool
                .installed(&atom.name)
                .iter()
                .any(|id| pool.package(*id).name_and_slot() == by.name_and_slot());
            if atom.blocker.is_some() { !hit } else { hit || replaced || pool.is_provided(atom) }
        }
        Dependency::AnyOf(inside) => inside.iter().any(|item| is_met(pool, all, by, item)),
        Dependency::AllOf(inside) | Dependency::IfFlag { inside, .. } => {
            inside.iter().all(|item| is_met(pool, all, by, item))
        }
    }
}

fn describe(case: &Case) -> String {
    let mut text = format!("asked {:?}, provided {:?}\n", case.asked, case.provided);
    for (what, list) in [("available", &case.available), ("installed", &case.installed)] {
        for made in list {
            let values: Vec<String> = ["SLOT", "IUSE", "USE", "RDEPEND", "PDEPEND", "IDEPEND"]
                .into_iter()
                .filter(|key| !made.value(key).is_empty() && (*key, made.value(key)) != ("SLOT", "0"))
                .map(|key| format!("{key}={:?}", made.value(key)))
                .collect();
            writeln!(text, "  {what} {}-{} {}", made.name, made.version, values.join(" ")).expect("written");
        }
    }
    text
}

/// The result of a case.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Resolved,
    Refused,
    /// different valid results after conflicts
    DifferentAfterConflict,
    Different(String),
}

fn compare(oracle: &mut Oracle, seed: u64) -> Outcome {
    let case = case(seed);
    let place = oracle.root.path(&format!("case-{seed}"));
    let (binhost, base) = (place.join("binhost"), place.join("database"));
    fs::create_dir_all(&binhost).expect("made");
    write_binhost(&case, &binhost);
    write_database(&case.installed, &base);
    let mut question = json!({
        "ask": "resolve", "binhost": binhost, "database": base, "provided": case.provided, "atoms": case.asked,
    });
    if is_other_root(seed) {
        let host = place.join("host");
        write_database(&host_packages(), &host);
        question["host"] = json!(host);
    }
    let theirs = oracle.ask(&question);
    let (pool, ours) = ours(&case, &binhost, &base, is_other_root(seed));
    let list = |value: &Value| -> BTreeSet<String> {
        value.as_array().expect("a list").iter().map(|name| name.as_str().expect("text").to_owned()).collect()
    };
    let (merge, uninstall) = (list(&theirs["merge"]), list(&theirs["uninstall"]));
    // Portage may uninstall packages of the base, an extension cannot.
    let accepted = theirs["status"] == json!(0) && uninstall.is_empty();
    let is_valid = ours.as_ref().map_or(true, |resolution| is_consistent(&pool, resolution));
    let added: Result<BTreeSet<String>, String> = match ours {
        Ok(resolution) => Ok(resolution
            .added
            .iter()
            .map(|added| {
                let package = pool.package(added.id);
                format!("{}-{}", package.name, package.version)
            })
            .collect()),
        Err(error) => Err(error.to_string()),
    };
    fs::remove_dir_all(&place).expect("removed");
    let text = theirs["output"].as_str().unwrap_or_default();
    match &added {
        // Emerge found the packages, but no order to merge them; an extension has no order.
        Ok(added) if *added == merge && text.contains("Error: circular dependencies") => Outcome::Resolved,
        Ok(added) if accepted && *added == merge => Outcome::Resolved,
        Err(_) if !accepted => Outcome::Refused,
        _ if is_valid && !text.contains("(backtrack: 0/") => Outcome::DifferentAfterConflict,
        _ => Outcome::Different(format!("seed {seed}: {}ours {added:?}\ntheirs {text}", describe(&case))),
    }
}

#[test]
fn emerge_selects_the_same_packages() {
    let mut oracle = Oracle::start();
    let seeds: Vec<u64> = match std::env::var("LOADGAUGE_SEED") {
        Ok(seed) => seed.split(',').map(|seed| seed.parse().expect("a number")).collect(),
        Err(_) => (0..CASES).collect(),
    };
    let outcomes: Vec<Outcome> = seeds.iter().map(|seed| compare(&mut oracle, *seed)).collect();
    let count = |wanted: &Outcome| outcomes.iter().filter(|outcome| *outcome == wanted).count();
    let (resolved, refused) = (count(&Outcome::Resolved), count(&Outcome::Refused));
    let different_after_conflict = count(&Outcome::DifferentAfterConflict);
    assert!(
        different_after_conflict * 100 <= seeds.len() * DIFFERENT_AFTER_CONFLICTS,
        "{different_after_conflict} differ after conflicts"
    );
    let different: Vec<&str> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Different(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    println!(
        "{resolved} resolved, {refused} refused by both, {different_after_conflict} different after conflicts, {} different",
        different.len()
    );
    assert!(different.is_empty(), "{} of {}:\n{}", different.len(), seeds.len(), different.join("\n"));
}
