// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint as _;
use loadgauge_host::toml_keys::{Key, Kind, names, take_wrong_types, with_value_at_every_key};
use proptest::prelude::*;
use toml::de::DeTable;

use super::Scenario;
use super::keys::SCENARIO;
use super::parse_tests::context;

/// Names of Rust's types, and words of serde and of the TOML reader.
const FORBIDDEN: &[&str] = &[
    "struct",
    "enum",
    "variant",
    "sequence",
    "untagged",
    "serde",
    "Raw",
    "Check",
    "Table",
    "Option",
    "Spanned",
    "invalid type",
    "invalid value",
    "invalid length",
    "wanted ",
    "basic string",
    "literal string",
    "i8",
    "i16",
    "i32",
    "i64",
    "u8",
    "u16",
    "u32",
    "u64",
    "usize",
    "boolean `",
    "integer `",
    "map",
    "not of the right type",
];

/// A TOML value of any type.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (-300_i64..70_000).prop_map(|number| number.to_string()),
        Just("1.5".to_owned()),
        Just("-99999999999999999999".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        Just("1979-05-27".to_owned()),
        "[a-z0-9.=]{0,3}".prop_map(|text| format!("'{text}'")),
    ];
    leaf.prop_recursive(2, 4, 2, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..2).prop_map(|values| format!("[{}]", values.join(", "))),
            inner.prop_map(|value| format!("{{ x = {value} }}")),
            Just("{}".to_owned()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_wrong_value_has_a_place_and_plain_words(value in value()) {
        let (directory, context) = context();
        let directory = format!("{}/", directory.path().display());
        for document in with_value_at_every_key(SCENARIO, &value) {
            let Ok(table) = DeTable::parse(&document) else { continue };
            let wrong = take_wrong_types(&mut table.into_inner(), SCENARIO);
            let report = Scenario::parse(&document, &context).err();
            let report = report.map(|error| error.report().replace(&directory, ""));
            prop_assert!(report.is_some() || wrong.is_empty(), "{}", document);
            let Some(report) = report else { continue };
            let places = report.lines().filter(|line| line.starts_with("test.toml:1:")).count();
            prop_assert!(places > 0, "{}", report);
            prop_assert!(wrong.is_empty() || places == wrong.len(), "{}\n{}", document, report);
            let messages: Vec<&str> = report.lines().filter(|line| !line.contains(" | ")).collect();
            let messages = messages.join("\n");
            for word in FORBIDDEN {
                prop_assert!(!messages.contains(word), "`{}` in {}", word, messages);
            }
        }
    }
}

/// Every key, with those of the tables in it.
fn visit(keys: &'static [Key], each: &mut dyn FnMut(&'static [Key], &'static Key)) {
    fn inside(kind: &'static Kind, each: &mut dyn FnMut(&'static [Key], &'static Key)) {
        match kind {
            Kind::Table(keys) => visit(keys, each),
            Kind::List(inner) | Kind::ByName(inner) => inside(inner, each),
            Kind::Either(one, other) => {
                inside(one, each);
                inside(other, each);
            }
            Kind::Text | Kind::Number(..) | Kind::Boolean => {}
        }
    }
    for key in keys {
        each(keys, key);
        inside(key.kind, each);
    }
}

#[test]
fn every_example_is_of_the_right_type() {
    visit(SCENARIO, &mut |keys, key| {
        if key.example.starts_with('[') {
            return;
        }
        let mut table = DeTable::parse(key.example).expect(key.example).into_inner();
        assert!(table.keys().all(|name| name.get_ref() == key.name), "{}", key.example);
        assert_eq!(take_wrong_types(&mut table, keys), [], "{}", key.example);
    });
}

/// serde knows the same keys in every table as the list of keys.
#[test]
fn every_table_has_the_keys_that_are_read() {
    let mut tables = vec![names(SCENARIO)];
    visit(SCENARIO, &mut |keys, _| tables.push(names(keys)));
    for keys in &mut tables {
        keys.sort_unstable();
    }
    let (_directory, context) = context();
    let mut checked = 0;
    for document in with_value_at_every_key(SCENARIO, "{ qqqqqqqqqqqqqqqqqqqqq = 1 }") {
        let error = Scenario::parse(&document, &context).expect_err("a wrong table");
        let problem = &error.problems()[0];
        if !problem.cause.starts_with("unknown key") {
            continue;
        }
        let Some(hint) = problem.hint() else { continue };
        let mut known: Vec<&str> = hint.split('`').skip(1).step_by(2).collect();
        known.sort_unstable();
        assert!(tables.contains(&known), "{document}: {hint}");
        checked += 1;
    }
    assert!(checked > 20, "{checked} tables");
}

/// The reference is complete, and has no key that the format does not have.
#[test]
fn the_reference_lists_every_key() {
    let reference = include_str!("../../../scenarios/README.md");
    let rows = reference.lines().filter(|line| line.starts_with("| `"));
    let cells: Vec<&str> = rows.filter_map(|line| line.split('|').nth(1)).collect();
    let listed: Vec<&str> = cells.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    visit(SCENARIO, &mut |_, key| {
        let action = names(super::keys::STEP).contains(&key.name);
        assert!(action || listed.contains(&key.name), "`{}` is not in scenarios/README.md", key.name);
    });
}
