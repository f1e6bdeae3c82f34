# SPDX-License-Identifier: Apache-2.0
EAPI=8
DESCRIPTION="A test package"
HOMEPAGE="https://example.org/"
LICENSE="Apache-2.0"
KEYWORDS="amd64"
S="${WORKDIR}"
SLOT="0"

src_install() {
	insinto /usr/lib64
	newins - libbase.so <<<base
}
