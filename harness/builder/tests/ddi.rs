// SPDX-License-Identifier: Apache-2.0
//! Disk images with dm-verity, judged by the tools that others read them with.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod workbench;

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use camino::Utf8PathBuf;
use loadgauge_builder::signing::KeyPair;
use loadgauge_builder::{Format, Recipe, check_reproducible};
use loadgauge_host::{CommandExt as _, Store, Tool};
use serde_json::Value;
use workbench::{Place, ask, catalogue, contents, rich_recipe};

/// A partition as sfdisk sees it, with its bytes in a file of its own.
struct Part {
    name: String,
    uuid: String,
    kind: String,
    path: Utf8PathBuf,
}

/// Takes an image apart by the table that sfdisk reads.
fn parts(place: &Place, image: &Utf8PathBuf) -> Vec<Part> {
    let verified = ask("sfdisk", &["--verify"], image);
    assert!(verified.contains("No errors detected"), "{verified}");
    let table: Value = serde_json::from_str(&ask("sfdisk", &["--json"], image)).expect("JSON");
    assert_eq!(table["partitiontable"]["label"], "gpt");
    let disk = File::open(image).expect("opened");
    let partitions = table["partitiontable"]["partitions"].as_array().expect("partitions");
    let text = |value: &Value| value.as_str().expect("text").to_lowercase();
    partitions
        .iter()
        .map(|partition| {
            let number = |key: &str| partition[key].as_u64().expect("a number") * 512;
            assert_eq!(text(&partition["attrs"]), "guid:60", "read-only");
            let mut bytes = vec![0; usize::try_from(number("size")).expect("small")];
            disk.read_exact_at(&mut bytes, number("start")).expect("read");
            let name = text(&partition["name"]);
            let path = place.path(&format!("{name}.part"));
            fs::write(&path, bytes).expect("written");
            Part { name, uuid: text(&partition["uuid"]), kind: text(&partition["type"]), path }
        })
        .collect()
}

fn signed(recipe: &Recipe) -> (Recipe, KeyPair) {
    let pair = KeyPair::generate("a test").expect("a pair");
    (recipe.signed_by(&pair), pair)
}

#[test]
fn an_unsigned_image_has_a_file_system_and_its_hash_tree() {
    let place = Place::new();
    let recipe = rich_recipe(&place);
    let expected = contents(&place.build(&recipe, Format::Directory).expect("built").extension.path);
    let image = place.build(&recipe, Format::Ddi).expect("built").extension.path;
    let parts = parts(&place, &image);
    let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names, ["root-x86-64", "root-x86-64-verity"]);
    let kinds: Vec<&str> = parts.iter().map(|part| part.kind.as_str()).collect();
    assert_eq!(kinds, ["4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"]);
    // systemd finds the hash tree by the identifiers: they are the halves of the root hash.
    let root = format!("{}{}", parts[0].uuid, parts[1].uuid).replace('-', "");
    let [data, hashes] = &parts[..] else { panic!("two partitions") };
    let verify = |root: &str| {
        let mut command = Tool::find("veritysetup").expect("a tool of the host").command();
        command.arg("verify").args([&data.path, &hashes.path]).arg(root).run()
    };
    verify(&root).unwrap_or_else(|error| panic!("{error}"));
    let unpacked = place.path("unpacked");
    ask("fsck.erofs", &[&format!("--extract={unpacked}")], &data.path);
    assert_eq!(contents(&unpacked), expected);

    let file = File::options().write(true).open(&data.path).expect("opened");
    file.write_all_at(b"!", 4096).expect("written");
    verify(&root).expect_err("a changed byte is found");
}

#[test]
fn the_signature_is_of_the_root_hash() {
    let place = Place::new();
    let (recipe, pair) = signed(&catalogue("hello"));
    let image = place.build(&recipe, Format::Ddi).expect("built").extension.path;
    let parts = parts(&place, &image);
    let [root, verity, signature] = &parts[..] else { panic!("three partitions") };
    assert_eq!(
        (signature.name.as_str(), signature.kind.as_str()),
        ("root-x86-64-verity-sig", "41092b05-9fc8-4523-994f-2def0408b176")
    );
    let text = fs::read_to_string(&signature.path).expect("text");
    let json: Value = serde_json::from_str(text.trim_end_matches('\0')).expect("JSON, and then zeros");
    let hash = format!("{}{}", root.uuid, verity.uuid).replace('-', "");
    assert_eq!(json["rootHash"], hash.as_str());
    assert_eq!(json["certificateFingerprint"], pair.fingerprint().expect("a digest").as_str());
    let write = |name: &str, bytes: &[u8]| {
        let path = place.path(name);
        fs::write(&path, bytes).expect("written");
        path
    };
    let encoded = write("signature.base64", json["signature"].as_str().expect("text").as_bytes());
    let der = Tool::find("base64").expect("a tool").command().arg("-d").arg(encoded).run().expect("decoded");
    let der = write("signature.der", &der.stdout);
    let certificate = write("certificate", &pair.certificate_pem().expect("a certificate"));
    let mut openssl = Tool::find("openssl").expect("a tool of the host").command();
    openssl.args(["cms", "-verify", "-binary", "-inform", "DER", "-noverify", "-nointern", "-in"]);
    openssl.arg(der).arg("-content").arg(write("hash", hash.as_bytes())).arg("-certfile").arg(certificate);
    openssl.run().unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn signed_images_and_images_of_squashfs_are_reproducible() {
    let place = Place::new();
    let store = Store::at(place.path("cache"));
    let (recipe, _) = signed(&rich_recipe(&place));
    check_reproducible(&recipe, &place.target(), Format::Ddi, &store, &|_| {}).expect("the same bytes");
    let text = format!("{}[pack]\nddi-filesystem = \"squashfs\"\n", recipe.text);
    let squashfs = Recipe::parse(&text, &recipe.path).expect("a recipe");
    let built = check_reproducible(&squashfs, &place.target(), Format::Ddi, &store, &|_| {});
    let parts = parts(&place, &built.expect("the same bytes").extension.path);
    let statistics = ask("unsquashfs", &["-s"], &parts[0].path);
    assert!(statistics.contains("Compression zstd"), "{statistics}");
}

#[test]
fn a_damaged_image_differs_in_one_byte_that_verity_finds() {
    let place = Place::new();
    let sound = catalogue("hello");
    let text = format!("{}[pack]\ndamaged = true\n", sound.text);
    let damaged = Recipe::parse(&text, &sound.path).expect("a recipe");
    let image = place.build(&damaged, Format::Ddi).expect("built").extension.path;
    let parts = parts(&place, &image);
    let root = format!("{}{}", parts[0].uuid, parts[1].uuid).replace('-', "");
    let mut command = Tool::find("veritysetup").expect("a tool of the host").command();
    command.arg("verify").args([&parts[0].path, &parts[1].path]).arg(root).run().expect_err("it is found");
    let kind = ask("file", &["--brief"], &parts[0].path);
    assert!(kind.contains("EROFS"), "its kind can still be told: {kind}");
}
