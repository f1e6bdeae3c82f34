// SPDX-License-Identifier: Apache-2.0
//! Compares versions, atoms and dependencies with Portage's.
use std::collections::BTreeSet;

use loadgauge_builder::gentoo::atom::{Atom, Blocker, Candidate, Operator, SlotOperator};
use loadgauge_builder::gentoo::dependency;
use loadgauge_builder::gentoo::version::Version;
use loadgauge_builder::version_order::Comparison;
use serde_json::{Value, json};

use crate::oracle::Oracle;
use crate::random::Random;

/// A valid or nearly valid version.
fn version(random: &mut Random) -> String {
    let number = |random: &mut Random| {
        (random.pick(&["0", "1", "2", "9", "10", "01", "010", "00", "100", "1000000000000000000000"]))
            .to_owned()
    };
    let mut text = number(random);
    while random.chance(50) {
        text = format!("{text}.{}", number(random));
    }
    if random.chance(15) {
        text.push_str(random.pick(&["a", "b", "z", "A", "ab"]));
    }
    while random.chance(25) {
        text = format!(
            "{text}_{}{}",
            random.pick(&["alpha", "beta", "pre", "rc", "p", "q"]),
            random.pick(&["", "0", "1", "2", "10", "01"])
        );
    }
    if random.chance(30) {
        text = format!("{text}-r{}", random.pick(&["0", "1", "2", "10", "01", "00", ""]));
    }
    text
}

#[test]
fn versions_are_ordered_as_portage_orders_them() {
    let mut random = Random(1);
    let pairs: Vec<(String, String)> = (0..20_000)
        .map(|_| {
            let left = version(&mut random);
            // Similar versions find more errors than unrelated ones.
            let right = match random.below(4) {
                0 => version(&mut random),
                1 => format!("{left}{}", random.pick(&["0", ".0", ".1", "a", "_p", "_rc1", "-r1", "-r0"])),
                2 => left.replacen('1', random.pick(&["0", "2", "10", "1.0"]), 1),
                _ => left.replacen(['_', '-'], ".1_", 1),
            };
            (left, right)
        })
        .collect();
    let ours: Vec<Value> = pairs
        .iter()
        .map(|(left, right)| match (Version::parse(left), Version::parse(right)) {
            (Ok(left), Ok(right)) => json!(left.cmp(&right) as i8),
            // Portage does not parse equal texts.
            _ if left == right => json!(0),
            _ => Value::Null,
        })
        .collect();
    assert!(ours.iter().filter(|order| order.is_null()).count() > 1000);
    assert!(ours.iter().filter(|order| **order == json!(0)).count() > 500);
    let theirs = Oracle::start().ask(&json!({ "ask": "versions", "pairs": pairs }));
    for ((pair, ours), theirs) in pairs.iter().zip(&ours).zip(theirs.as_array().expect("a list")) {
        assert_eq!(ours, theirs, "{pair:?}");
    }
}

fn atom(random: &mut Random) -> String {
    let mut text = String::new();
    text.push_str(random.pick(&["", "", "", "!", "!!", "!!!"]));
    let operator = random.pick(&["", "", "", ">=", "<=", "=", "~", "<", ">", "==", "=>"]);
    text.push_str(operator);
    text.push_str(random.pick(&[
        "app-misc/foo",
        "app-misc/foo",
        "x11-libs/gtk+",
        "a/b-c",
        "_a.b/_c",
        "-a/b",
        "a/-b",
        "foo",
        "a/b/c",
        "a/b-1",
        "+a/b",
        "a/b.",
    ]));
    if random.chance(if operator.is_empty() { 10 } else { 90 }) {
        text = format!("{text}-{}{}", version(random), random.pick(&["", "", "", "*", "-", "-r1*"]));
    }
    if random.chance(35) {
        text.push_str(random.pick(&[
            ":0", ":2.0", ":=", ":*", ":0=", ":0*", ":0/1", ":0/1=", ":", ":0/", ":/1", ":-1", ":a+b",
            ":0/1/2", ":==", ":0:1", ":_", ":+0",
        ]));
    }
    if random.chance(15) {
        text.push_str(random.pick(&["::gentoo", "::", "::a-1", "::a.b", "::_a", "::-a", ":::a"]));
    }
    if random.chance(35) {
        let flag = |random: &mut Random| {
            format!(
                "{}{}{}{}",
                random.pick(&["", "", "-", "!", "!-"]),
                random.pick(&["ssl", "x", "python_targets_python3_11", "a@b", "_", "+x", ""]),
                random.pick(&["", "", "(+)", "(-)", "()"]),
                random.pick(&["", "", "?", "=", "?="])
            )
        };
        let flags: Vec<String> = (0..=random.below(3)).map(|_| flag(random)).collect();
        text = format!("{text}[{}]", flags.join(","));
    }
    text
}

/// The fields in the format of the oracle.
fn fields(atom: &Atom) -> Value {
    let operator = atom.version.as_ref().map(|(operator, _)| match operator {
        Operator::Compare(Comparison::Less) => "<",
        Operator::Compare(Comparison::LessOrEqual) => "<=",
        Operator::Compare(Comparison::Equal) => "=",
        Operator::Compare(Comparison::GreaterOrEqual) => ">=",
        Operator::Compare(Comparison::Greater) => ">",
        Operator::Glob => "=*",
        Operator::AnyRevision => "~",
    });
    let blocker = match atom.blocker {
        None => 0,
        Some(Blocker::Weak) => 1,
        Some(Blocker::Strong) => 2,
    };
    let slot_operator = atom.slot_operator.map(|operator| match operator {
        SlotOperator::Rebuild => "=",
        SlotOperator::Any => "*",
    });
    json!({
        "name": atom.name,
        "operator": operator,
        "version": atom.version.as_ref().map(|(_, version)| version.as_str()),
        "slot": atom.slot,
        "sub_slot": atom.sub_slot,
        "slot_operator": slot_operator,
        "repository": atom.repository,
        "blocker": blocker,
        "flags": atom.flags.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

#[test]
fn atoms_are_parsed_as_portage_parses_them() {
    let mut random = Random(2);
    let texts: Vec<String> = (0..20_000).map(|_| atom(&mut random)).collect();
    let ours: Vec<Value> =
        texts.iter().map(|text| Atom::parse(text).map_or(Value::Null, |atom| fields(&atom))).collect();
    let valid = ours.iter().filter(|fields| !fields.is_null()).count();
    assert!((1000..17_000).contains(&valid), "{valid}");
    let theirs = Oracle::start().ask(&json!({ "ask": "atoms", "texts": texts }));
    let differing: Vec<String> = texts
        .iter()
        .zip(&ours)
        .zip(theirs.as_array().expect("a list"))
        .filter(|((_, ours), theirs)| ours != theirs)
        .map(|((text, ours), theirs)| format!("{text}\n  ours   {ours}\n  theirs {theirs}"))
        .collect();
    assert!(
        differing.is_empty(),
        "{} differ\n{}",
        differing.len(),
        differing[..differing.len().min(20)].join("\n")
    );
}

#[test]
fn packages_match_atoms_as_in_portage() {
    let mut random = Random(3);
    let valid = |random: &mut Random| loop {
        let text = version(random);
        if let Ok(version) = Version::parse(&text) {
            return version;
        }
    };
    let mut pairs = Vec::new();
    let mut ours = Vec::new();
    while pairs.len() < 20_000 {
        let package = valid(&mut random);
        let other = match random.below(3) {
            0 => valid(&mut random),
            1 => package.clone(),
            _ => Version::parse(package.without_revision()).expect("a version"),
        };
        let operator = random.pick(&["<", "<=", "=", "~", ">=", ">", "=*", ""]);
        let slot = random.pick(&["", ":0", ":1", ":1/2", ":=", ":1="]);
        let text = match operator {
            "" => format!("a/b{slot}"),
            "=*" => format!("=a/b-{other}*{slot}"),
            operator => format!("{operator}a/b-{other}{slot}"),
        };
        let Ok(atom) = Atom::parse(&text) else { continue };
        let (slot, sub_slot) = random.pick(&[("0", "0"), ("1", "1"), ("1", "2")]);
        let candidate = Candidate { name: "a/b", version: &package, slot, sub_slot, repository: "" };
        ours.push(atom.matches(&candidate));
        pairs.push((text, format!("a/b-{package}:{slot}/{sub_slot}")));
    }
    let theirs = Oracle::start().ask(&json!({ "ask": "matches", "pairs": pairs }));
    for ((pair, ours), theirs) in pairs.iter().zip(ours).zip(theirs.as_array().expect("a list")) {
        assert_eq!(json!(ours), *theirs, "{pair:?}");
    }
}

fn items(random: &mut Random, depth: usize) -> String {
    let mut items_of_group = Vec::new();
    for _ in 0..random.below(4) {
        let inside =
            |random: &mut Random| if depth == 0 { "a/b".to_owned() } else { items(random, depth - 1) };
        items_of_group.push(match random.below(14) {
            0 | 1 => format!("|| ( {} )", inside(random)),
            2 => format!("( {} )", inside(random)),
            3 => format!("x? ( {} )", inside(random)),
            4 => format!("!y? ( {} )", inside(random)),
            5 => (random.pick(&["(", ")", "||", "x?", "|| a/b", "^^ ( a/b )", "a"])).to_owned(),
            _ => (random.pick(&["a/b", "c/d", "!e/f", ">=g/h-1:0="])).to_owned(),
        });
    }
    items_of_group.join(" ")
}

#[test]
fn dependencies_are_reduced_as_portage_reduces_them() {
    let mut random = Random(4);
    let texts: Vec<(String, Vec<&str>)> = (0..10_000)
        .map(|_| (items(&mut random, 3), ["x", "y"].into_iter().filter(|_| random.chance(50)).collect()))
        .collect();
    let theirs = Oracle::start().ask(&json!({ "ask": "dependencies", "texts": texts }));
    let mut valid = 0;
    for ((text, flags), theirs) in texts.iter().zip(theirs.as_array().expect("a list")) {
        let flags: BTreeSet<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let ours = dependency::parse(text).ok().map(|items| write(&dependency::reduce(&items, &flags)));
        valid += usize::from(ours.is_some());
        // Portage keeps redundant brackets, so its result is parsed and reduced again.
        let theirs = theirs
            .as_str()
            .map(|text| write(&dependency::reduce(&dependency::parse(text).expect("valid"), &flags)));
        assert_eq!(ours, theirs, "{text} with {flags:?}");
    }
    assert!((3000..9900).contains(&valid), "{valid}");
}

fn write(items: &[dependency::Dependency]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
