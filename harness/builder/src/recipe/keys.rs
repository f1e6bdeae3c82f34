// SPDX-License-Identifier: Apache-2.0
//! The keys of a recipe, with their types and examples.
use loadgauge_host::toml_keys::{Key, Kind, TEXTS};

/// The numbers that a 32-bit integer holds.
const NUMBER: Kind = Kind::Number(0, 4_294_967_295);

/// The keys of the file.
pub(crate) const RECIPE: &[Key] = &[
    Key::new("name", &Kind::Text, "name = \"tool\""),
    Key::new("display-name", &Kind::Text, "display-name = \"The Tool\""),
    Key::new("summary", &Kind::Text, "summary = \"A tool\""),
    Key::new("version", &Kind::Text, "version = \"1.2.3\""),
    Key::new("homepage", &Kind::Text, "homepage = \"https://example.org\""),
    Key::new("bug-report", &Kind::Text, "bug-report = \"https://example.org/issues\""),
    Key::new("base-extensions", &TEXTS, "base-extensions = [\"docker\"]"),
    Key::new("base-packages", &TEXTS, "base-packages = [\"docker_pkginfo.raw\"]"),
    Key::new("source-date-epoch", &NUMBER, "source-date-epoch = 1704067200"),
    Key::new("compatible", &Kind::Table(COMPATIBLE), "[compatible]"),
    Key::new("debian", &Kind::List(&Kind::Table(DEBIAN)), "[[debian]]"),
    Key::new("gentoo", &Kind::List(&Kind::Table(GENTOO)), "[[gentoo]]"),
    Key::new("archive", &Kind::List(&Kind::Table(ARCHIVE)), "[[archive]]"),
    Key::new("image", &Kind::List(&Kind::Table(IMAGE)), "[[image]]"),
    Key::new("tree", &Kind::List(&Kind::Table(TREE)), "[[tree]]"),
    Key::new("file", &Kind::List(&Kind::Table(FILE)), "[[file]]"),
    Key::new("finish", &Kind::Table(FINISH), "[finish]"),
    Key::new("pack", &Kind::Table(PACK), "[pack]"),
    Key::new("publish", &Kind::Table(PUBLISH), "[publish]"),
];

const COMPATIBLE: &[Key] = &[
    Key::new("id", &Kind::Text, "id = \"_any\""),
    Key::new("version-id", &Kind::Text, "version-id = \"image\""),
    Key::new("sysext-level", &Kind::Text, "sysext-level = \"image\""),
    Key::new("architecture", &Kind::Text, "architecture = \"x86-64\""),
    Key::new("reload-manager", &Kind::Boolean, "reload-manager = true"),
    Key::new("release-name", &Kind::Text, "release-name = \"tool\""),
];

const PACKAGES: &str = "packages = [\"strace\"]";
const EXCLUDE: Key = Key::new("exclude", &TEXTS, "exclude = [\"/usr/share/doc/**\"]");
const INSTALL_MASK: Key = Key::new("install-mask", &TEXTS, "install-mask = [\"/usr/share/doc/**\"]");

const COLLISION_IGNORE: Key = Key::new("collision-ignore", &TEXTS, "collision-ignore = [\"/usr/bin/tool\"]");

const DEBIAN: &[Key] = &[
    Key::new("packages", &TEXTS, PACKAGES),
    Key::new("exclude-packages", &TEXTS, "exclude-packages = [\"adduser\"]"),
    Key::new("recommends", &Kind::Boolean, "recommends = true"),
    Key::new("allow-expired", &Kind::Boolean, "allow-expired = true"),
    COLLISION_IGNORE,
    EXCLUDE,
];

const GENTOO: &[Key] = &[
    Key::new("packages", &TEXTS, "packages = [\"dev-util/strace\"]"),
    Key::new("binhost", &Kind::Text, "binhost = \"https://example.org/{board}/{version-id}\""),
    Key::new("package-use", &TEXTS, "package-use = [\"app-misc/foo ssl -x\"]"),
    Key::new("package-provided", &TEXTS, "package-provided = [\"virtual/mta-1\"]"),
    Key::new("sdk-package-provided", &Kind::Boolean, "sdk-package-provided = false"),
    COLLISION_IGNORE,
    INSTALL_MASK,
    EXCLUDE,
    Key::new("install-dependencies", &Kind::Boolean, "install-dependencies = false"),
];

const SOURCE: Key = Key::new("source", &Kind::Text, "source = \"file-beside-the-recipe\"");
const URL: Key = Key::new("url", &Kind::Text, "url = \"https://example.org/tool.tar.gz\"");
const SHA256: Key = Key::new("sha256", &Kind::Text, "sha256 = \"the 64 digits that sha256sum prints\"");

const ARCHIVE: &[Key] = &[
    SOURCE,
    URL,
    SHA256,
    Key::new("strip-components", &NUMBER, "strip-components = 1"),
    Key::new("keep-owners", &Kind::Boolean, "keep-owners = true"),
    Key::new("into", &Kind::Text, "into = \"/usr/bin\""),
    Key::new("include", &TEXTS, "include = [\"/usr/bin/*\"]"),
    EXCLUDE,
];

const IMAGE: &[Key] = &[SOURCE, URL, SHA256, EXCLUDE];

const TREE: &[Key] = &[SOURCE];

const FILE: &[Key] = &[
    Key::new("path", &Kind::Text, "path = \"/usr/bin/tool\""),
    Key::new("mode", &Kind::Text, "mode = \"0755\""),
    Key::new("contents", &Kind::Text, "contents = \"a line\\n\""),
    SOURCE,
    Key::new("link", &Kind::Text, "link = \"/usr/bin/tool\""),
];

const FINISH: &[Key] = &[
    INSTALL_MASK,
    Key::new("script", &Kind::Text, "script = \"finish.sh\""),
    Key::new("script-inputs", &TEXTS, "script-inputs = [\"helper.sh\"]"),
    Key::new("etc", &Kind::Text, "etc = \"tmpfiles\""),
    Key::new("remove", &TEXTS, "remove = [\"/usr/share/doc/**\"]"),
    Key::new("move", &Kind::ByName(&Kind::Text), "move = { \"/usr/sbin\" = \"/usr/bin\" }"),
    Key::new("allow-missing-libraries", &TEXTS, "allow-missing-libraries = [\"libcuda.so.*\"]"),
    Key::new("upholds", &Kind::ByName(&TEXTS), "upholds = { \"multi-user.target\" = [\"tool.service\"] }"),
];

const PACK: &[Key] = &[
    Key::new("format", &Kind::Text, "format = \"erofs\""),
    Key::new("squashfs-compression", &Kind::Text, "squashfs-compression = \"xz\""),
    Key::new("squashfs-level", &NUMBER, "squashfs-level = 9"),
    Key::new("erofs-compression", &Kind::Text, "erofs-compression = \"lz4\""),
    Key::new("erofs-level", &NUMBER, "erofs-level = 9"),
    Key::new("erofs-options", &TEXTS, "erofs-options = [\"-Ededupe\"]"),
    Key::new("ddi-filesystem", &Kind::Text, "ddi-filesystem = \"erofs\""),
    Key::new("private-key", &Kind::Text, "private-key = \"key.pem\""),
    Key::new("certificate", &Kind::Text, "certificate = \"certificate.pem\""),
    Key::new("damaged", &Kind::Boolean, "damaged = true"),
];

const PUBLISH: &[Key] = &[Key::new("url", &Kind::Text, "url = \"https://example.org/extensions/tool\"")];
